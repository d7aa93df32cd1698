"""What Stripe counts against what was sent, in each way of sending, also when the network fails and time passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from meter.export import limiter
from meter.export.contract import Absent, Delivered, Refused, Retry, Uncertain
from meter.export.payload import MeterUsage
from meter.export.targets.stripe_meters import STRIPE_METERS
from meter.export.targets.stripe_meters.exporter import StripeMetersTarget
from meter.export.targets.stripe_meters.shape import Usage
from meter.model.errors import BadInput
from meter.store.engine import Database
from meter.store.outbox import OutboxItem
from tests.booked import a_charge, a_line
from tests.contract.judged import ContractServer
from tests.export.gathering import Desk, account, contents, customers, known
from tests.targets.cases.stripe_meters import CASE, fake, item, setup, usage
from tests.targets.driving import driven
from tests.targets.fakes.clock import START
from tests.targets.fakes.stripe import FakeStripe
from tests.targets.proxy import FaultProxy, Odds

WAYS = ("v1", "v2", "v2-stream")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "PAUSE_FIRST_S", 0.0)


@pytest.fixture
async def stripe(stripe_contract: ContractServer) -> AsyncIterator[FakeStripe]:
    """A fake that refuses what Stripe's document of v1 does not allow."""
    async with fake(check_request=lambda call: stripe_contract.check(call) if "/v1/" in call.path else None) as made:
        yield made


def target_at(url: str, **options: object) -> StripeMetersTarget:
    return StripeMetersTarget(setup(url, **options), lambda: START)


@pytest.mark.parametrize("way", WAYS)
async def test_usage_is_counted_once_however_often_it_is_sent(stripe: FakeStripe, way: str) -> None:
    target = target_at(stripe.url, api=way)
    made = [item("a", usage("12.5")), item("b", usage("-2")), item("c", usage("3", customer=1))]
    for _ in range(2):
        outcomes = await target.send(made)
        assert outcomes == [Delivered(one.key) for one in made]
    await target.close()
    assert stripe.usage() == {("cus_0", "print_pages"): Decimal("10.5"), ("cus_1", "print_pages"): Decimal(3)}


@pytest.mark.parametrize("way", WAYS)
async def test_what_stripe_cannot_count_is_refused_with_its_remedy(stripe: FakeStripe, way: str) -> None:
    target = target_at(stripe.url, api=way)
    old = item("old", usage(at=START - timedelta(days=36)))
    long = item("long", usage("1234567890.123456", customer=1))
    early = item("early", usage(customer=2, at=START + timedelta(hours=1)))
    good = item("good", usage(customer=3))
    refused, coarse, later, taken = await target.send([old, long, early, good])
    await target.close()
    assert isinstance(refused, Refused)
    assert "36 days old" in refused.reason
    assert isinstance(coarse, Refused)
    assert "coarser unit" in coarse.reason
    assert later == Retry(later.reason if isinstance(later, Retry) else "", after_s=3300.0)
    assert taken == Delivered(good.key)


async def test_a_session_is_opened_once_and_again_when_it_is_over(stripe: FakeStripe) -> None:
    target = target_at(stripe.url, api="v2-stream")
    await target.send([item("a", usage())])
    await target.send([item("b", usage())])
    assert len(stripe.calls("POST", "/meter_event_session")) == 1
    stripe.advance(minutes=20)
    assert await target.send([made := item("c", usage())]) == [Delivered(made.key)]
    await target.close()
    assert len(stripe.calls("POST", "/meter_event_session")) == 2


async def test_the_stream_fits_stripes_document(stripe_v2_contract: ContractServer) -> None:
    for way in ("v2", "v2-stream"):
        target = target_at(stripe_v2_contract.base_url, api=way)
        await target.send([item("a", usage("1000")), item("b", usage("0.25"))])
        await target.close()
    stripe_v2_contract.assert_accepted()
    assert stripe_v2_contract.sent[0].json()["payload"] == {"stripe_customer_id": "cus_0", "value": "1000"}


@pytest.mark.parametrize("way", WAYS)
async def test_stripe_counts_what_was_sent_whatever_fails(database: Database, way: str) -> None:
    made = CASE.items(200, 5)
    async with (
        CASE.fake() as stripe,
        FaultProxy(stripe, Odds.evenly(0.25), seed=5, retry_after_s=0, hang_s_max=0.05) as proxy,
        driven(database, target_at(proxy.url, api=way), "stripe-meters") as lane,
    ):
        await lane.add(made)
        await lane.drain()
        dead = [one.fault for one in await lane.deliveries() if one.state == "dead"]
    assert not dead
    assert CASE.books(stripe) == CASE.wanted(made)


async def test_an_outage_beyond_what_identifiers_are_kept_doubles_nothing(database: Database) -> None:
    made = CASE.items(40, 6)
    async with (
        CASE.fake() as stripe,
        FaultProxy(stripe, Odds(reset_after=0.6), seed=6) as proxy,
        driven(database, target_at(proxy.url), "stripe-meters") as lane,
    ):
        await lane.add(made)
        for _ in range(3):
            await lane.step()
            stripe.advance(hours=30)
            async with lane.database.begin() as conn:
                await conn.execute(text("UPDATE outbox SET first_sent_at = first_sent_at - interval '30 hours'"))
        proxy.odds = Odds()
        await lane.drain()
    assert CASE.books(stripe) == CASE.wanted(made)


async def test_what_cannot_be_told_from_its_minute_stays_uncertain(stripe: FakeStripe) -> None:
    target = target_at(stripe.url)
    first, second = item("a", usage("5", alone=True)), item("b", usage("3"))
    assert isinstance((await target.look_up([first]))[0], Absent)
    await target.send([first])
    assert await target.look_up([first]) == [Delivered(first.key)]
    [unknown] = await target.look_up([second])
    assert isinstance(unknown, Uncertain)
    assert "compare the meter's events" in unknown.reason
    await target.close()


async def test_check_names_a_meter_that_is_missing(stripe: FakeStripe) -> None:
    good, wrong = target_at(stripe.url), target_at(stripe.url, events={"coffee": "coffee_cups"})
    await good.check()
    with pytest.raises(BadInput, match="coffee_cups"):
        await wrong.check()
    await good.close()
    await wrong.close()


# --- what is made of charges ------------------------------------------------------------------------------------------


def shape(**changes: object) -> Usage:
    given = {"events": {}, "value_of": "billable", "bucket_s": 60, **changes}
    return Usage(target="stripe", customers=customers(), **given)  # type: ignore[arg-type]


def sums(made: list[OutboxItem] | list[object]) -> list[tuple[str, Decimal]]:
    return [(one.event, one.value) for one in made if isinstance(one, MeterUsage)]


def test_a_minute_is_one_event_and_what_comes_late_another() -> None:
    desk, facts = Desk(shape()), known(account(stripe="cus_1"))
    assert desk.put([a_charge(a_line(n)) for n in range(3)], facts) == []
    [made] = contents(desk.due(facts))
    assert isinstance(made, MeterUsage)
    assert (made.event, made.value, made.customer, made.charges, made.alone) == (
        "print_pages", Decimal(30), "cus_1", 3, True
    )  # fmt: skip
    assert made.at == datetime(2026, 3, 2, 12, tzinfo=UTC)
    back = a_line(1, quantity=Decimal(-10), billable=Decimal(-10))
    desk.put([a_charge(back, revision=1, role="reversal")], facts)
    [less] = contents(desk.due(facts))
    assert isinstance(less, MeterUsage)
    assert (less.value, less.alone) == (Decimal(-10), False)


def test_what_nets_to_nothing_is_not_sent() -> None:
    desk, facts = Desk(shape()), known(account(stripe="cus_1"))
    back = a_line(1, quantity=Decimal(-10), billable=Decimal(-10))
    desk.put([a_charge(a_line(1)), a_charge(back, revision=1)], facts)
    assert desk.due(facts) == []


def test_each_charge_may_be_an_event() -> None:
    desk, facts = Desk(shape(bucket_s=0, value_of="quantity")), known(account(stripe="cus_1"))
    made = desk.put([a_charge(a_line(n, covered=Decimal(10), billable=Decimal(0))) for n in range(2)], facts)
    assert [one.stream for one in made] == ["acme/print-pages"] * 2
    assert len({one.batch for one in made}) == 2
    assert sums(contents(made)) == [("print_pages", Decimal(10))] * 2  # type: ignore[arg-type]


def test_meters_have_the_names_that_the_settings_give_and_may_have_none() -> None:
    desk, facts = (
        Desk(shape(bucket_s=0, events={"print-pages": "sheets", "coffee": ""})),
        known(account(stripe="cus_1")),
    )
    made = desk.put([a_charge(a_line(0)), a_charge(a_line(1, meter="coffee"))], facts)
    assert sums(contents(made)) == [("sheets", Decimal(10))]  # type: ignore[arg-type]


def test_an_account_without_a_customer_waits_for_one() -> None:
    desk, facts = Desk(shape(bucket_s=0)), known(account())
    [made] = desk.put([a_charge(a_line(0))], facts)
    assert made.unmet is not None
    renewed, unmet = desk.shape.renew(made.content, known(account(stripe="cus_9")))
    assert isinstance(renewed, MeterUsage)
    assert (renewed.customer, unmet) == ("cus_9", None)


@pytest.mark.parametrize("options", [{"bucket_s": -1}, {"bucket_s": 3601}, {"events": {"a": "x" * 101}}])
def test_options_out_of_range_are_faults(options: dict[str, object]) -> None:
    given = setup("http://127.0.0.1")
    assert STRIPE_METERS.faults(given) == []
    assert STRIPE_METERS.faults(replace(given, options={**given.options, **options})) != []
