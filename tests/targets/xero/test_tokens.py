"""Tokens of Xero: what ends them, and what needs no refresh."""

from __future__ import annotations

from dataclasses import replace

from meter.export.contract import Barred, Delivered
from meter.export.targets.spec import Means
from tests.targets.cases.xero import item, journal, open_unhurried, setup
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TOKEN_PATH
from tests.targets.xero.given import Make


async def test_a_token_that_ends_loses_nothing(vendor: FakeXero, make: Make) -> None:
    target = make()
    assert isinstance(await one(target.send([item(journal())])), Delivered)
    vendor.advance(hours=1)
    assert isinstance(await one(target.send([item(journal(part=2))])), Delivered)
    vendor.advance(hours=1)
    vendor.tokens.refresh.clear()
    outcome = await one(target.send([item(journal(part=3))]))
    assert isinstance(outcome, Barred)
    assert "offline_access" in outcome.reason
    assert isinstance(await one(target.look_up([item(journal())])), Barred)


async def test_a_token_that_is_refused_early_is_replaced_for_all_that_came_with_it(
    vendor: FakeXero, make: Make
) -> None:
    await make().check()
    vendor.tokens.access.clear()  # as when somebody connects the app anew
    sent = [item(journal(site=site)) for site in ("berlin", "hamburg", "köln's")]
    outcomes = await make(tracking="").send(sent)
    assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes


async def test_a_custom_connection_needs_no_refresh_token(vendor: FakeXero, means: Means) -> None:
    given = replace(setup(vendor.url, grant="client_credentials"), refresh_token=None)
    target = open_unhurried(given, means)
    assert isinstance(await one(target.send([item(journal())])), Delivered)
    [asked] = vendor.calls("POST", TOKEN_PATH)
    assert asked.call.body == b"grant_type=client_credentials"
    await target.close()
