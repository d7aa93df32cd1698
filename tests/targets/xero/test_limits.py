"""How often Xero is asked: what it says, what is left of a day, five at a time."""

from __future__ import annotations

from meter.export.contract import Delivered, Retry, Untried
from meter.export.targets.spec import Means
from meter.export.targets.xero.exporter import LIMITS
from tests.export.clocks import VirtualClock
from tests.targets.cases.xero import fake, item, journal, open_unhurried, setup
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import Make


async def test_xero_is_left_alone_for_as_long_as_it_asks(vendor: FakeXero, make: Make) -> None:
    clock = VirtualClock()
    target = make(clock=clock)
    vendor.fail_next(429, committed=False, path="/ManualJournals", method="PUT")
    refused = await one(target.send([item(journal())]))
    assert isinstance(refused, Retry)
    asked = len(vendor.requests)
    outcome = await one(target.send([item(journal())]))
    assert isinstance(outcome, Retry)
    assert outcome.throttled
    assert isinstance(await one(target.look_up([item(journal())])), Untried)
    assert len(vendor.requests) == asked
    clock.moment_s += 61
    assert isinstance(await one(target.send([item(journal())])), Delivered)


async def test_a_days_quota_is_kept_before_xero_refuses(means: Means) -> None:
    clock = VirtualClock()
    async with fake(day_max=6) as vendor:
        target = open_unhurried(setup(vendor.url), means, clock)
        outcomes = [await one(target.send([item(journal(part=part))])) for part in range(1, 5)]
        # The organisation and the tracking category are asked for once each.
        assert [isinstance(outcome, Delivered) for outcome in outcomes] == [True, True, False, False]
        assert all(isinstance(outcome, Retry) and outcome.throttled for outcome in outcomes[2:])
        assert all(recorded.status != 429 for recorded in vendor.requests)
        clock.moment_s += 61
        assert isinstance(await one(target.send([item(journal(part=3))])), Retry)
        assert vendor.requests[-1].status == 429
        vendor.advance(days=1)
        clock.moment_s += 86_400
        assert isinstance(await one(target.send([item(journal(part=3))])), Delivered)
        await target.close()


async def test_five_requests_at_a_time_are_not_reached(vendor: FakeXero, make: Make) -> None:
    target = make(tracking="")
    sent = [item(journal(site=f"site-{number}")) for number in range(30)]
    assert all(isinstance(outcome, Delivered) for outcome in await target.send(sent))
    assert LIMITS.in_flight == 4
    assert LIMITS.rate_per_s is not None
    assert LIMITS.rate_per_s * 60 + LIMITS.burst <= 60
    assert all(recorded.status == 200 for recorded in vendor.requests)
