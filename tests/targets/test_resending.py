"""What a target lost is sent again, and what it holds is not: kinds that can be asked, on vendors that keep state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from meter.config import TargetSettings
from meter.export.payload import Invoice, LineItem, PeriodClosed, day_of, thawed
from meter.export.reconcile import Expected, reconcile
from meter.export.role import Resender
from meter.export.targets.setups import Targets
from meter.export.targets.spec import Means
from meter.model.errors import BadInput
from meter.store.deliveries import Renew, Retried, list_deliveries
from meter.store.lanes import Change, record
from meter.store.outbox import OutboxItem, add_items
from meter.store.resending import resend
from meter.store.sent import sent_items
from tests.booked import OPERATOR
from tests.export.books import entry, items_of
from tests.export.gathering import NOW
from tests.targets.case import TargetCase
from tests.targets.cases import files, quickbooks, spaces, square, stripe, xero
from tests.targets.driving import driven


def _of_quickbooks(vendor: Any, id: str) -> None:
    kind = next(kind for kind in ("JournalEntry", "Invoice", "CreditMemo") if id in vendor.entities[kind])
    vendor.by_hand(kind, id, None)


def _of_square(vendor: Any, id: str) -> None:
    order = vendor.invoices[id]["order_id"]
    vendor.by_hand(id, None)
    vendor.by_hand(order, {"state": "CANCELED"})


def _of_stripe(vendor: Any, id: str) -> None:
    for one in id.partition("/")[2].split("+"):
        vendor.by_hand(one, None)


def _by_hand(vendor: Any, id: str) -> None:
    vendor.by_hand(id, None)


def _of_a_store(vendor: Any, id: str) -> None:
    vendor.by_hand(next(key for key in vendor.objects if key.endswith(id)), None)


CASES = [
    pytest.param(quickbooks.CASE, _of_quickbooks, id="quickbooks journals"),
    pytest.param(quickbooks.INVOICES, _of_quickbooks, id="quickbooks invoices"),
    pytest.param(xero.CASE, _by_hand, id="xero journals"),
    pytest.param(xero.INVOICES, _by_hand, id="xero invoices"),
    pytest.param(square.DRAFTS, _of_square, id="square"),
    pytest.param(stripe.CASE, _of_stripe, id="stripe"),
    pytest.param(files.CASE, _of_a_store, id="files"),
    pytest.param(spaces.COBOT_CASE, _by_hand, id="cobot"),
]


Held: TypeAlias = list[tuple[int, OutboxItem]]


async def held_items(means: Means, target: str) -> Held:
    """The newest delivered item of each batch, with its number."""
    async with means.database.begin() as conn:
        return [found async for found in sent_items(conn, OPERATOR, target)]


async def missing(means: Means, exporter: Any, target: str) -> list[int]:
    """The numbers of what reconciling finds missing; nothing else differs."""
    expected = [
        Expected(delivery=number, item=item, figures=figures)
        for number, item in await held_items(means, target)
        if (figures := exporter.figures(item)).lines
    ]
    known = frozenset(one.item.batch for one in expected)
    days = [day for one in expected if (day := day_of(thawed(one.item.operation, one.item.payload)))]
    since, until = min(days) - timedelta(days=1), max(days) + timedelta(days=2)
    found = await reconcile(exporter, expected, known, since=since, until=until)
    assert {one.fault for one in found.discrepancies} <= {"missing"}
    return [one.delivery for one in found.discrepancies if one.delivery is not None]


def losable(held: Held) -> list[tuple[int, str]]:
    """What a person could delete, by number and the target's name for it: nothing that is credited, nor credits."""
    contents = {number: thawed(item.operation, item.payload) for number, item in held}
    credited = {one.credits for one in contents.values() if isinstance(one, Invoice)}
    found = []
    for number, item in held:
        content, id = contents[number], item.known_id
        if isinstance(content, Invoice) and (content.number in credited or content.net <= 0):
            continue
        if isinstance(content, LineItem) and (content.line.net <= 0 or id is None or "~" in id):
            continue
        if id is not None and not isinstance(content, PeriodClosed):
            found.append((number, id))
    return found


@pytest.mark.parametrize(("case", "lose"), CASES)
async def test_what_was_lost_is_there_once_more_and_nothing_twice(
    means: Means, case: TargetCase, lose: Callable[[Any, str], None]
) -> None:
    made = case.items(14, 3)
    async with case.fake() as vendor:
        given = case.setup(vendor.url)
        exporter = case.open(given, means)
        async with driven(means.database, exporter, given.name) as lane:
            await lane.add(made)
            await lane.drain()
            before = case.books(vendor)
            [*_, there], lost = (found := losable(await held_items(means, given.name))), found[:2]
            for _, id in lost:
                lose(vendor, id)
            assert case.books(vendor) != before == case.wanted(made)
            numbers = await missing(means, exporter, given.name)
            assert sorted(numbers) == sorted(number for number, _ in lost)
            async with means.database.begin() as conn:
                resent = await resend(conn, OPERATOR, [*numbers, there[0]], by="command line")
            assert (len(resent.made), resent.left) == (3, {})
            await lane.drain()
            assert case.books(vendor) == before
            assert await missing(means, exporter, given.name) == []
            settled = [one for one in await lane.deliveries() if one.id in resent.made]
            assert [one.state for one in settled] == ["delivered"] * 3
            assert sorted(bool(one.attempts) for one in settled) == [False, True, True]


async def test_only_the_newest_that_was_delivered_is_sent_again(means: Means) -> None:
    made = files.CASE.items(2, 3)
    async with files.CASE.fake() as vendor:
        given = files.CASE.setup(vendor.url)
        async with driven(means.database, files.CASE.open(given, means), given.name) as lane:
            await lane.add(made)
            for number, says in ((1, "is pending"), (99, "there is no delivery 99")):
                with pytest.raises(BadInput, match=says):
                    await asked(means, number)
            await lane.drain()
            await asked(means, 1)
            with pytest.raises(BadInput, match="was followed by 3, which is uncertain"):
                await asked(means, 1)
            await lane.drain()
            assert files.CASE.books(vendor) == files.CASE.wanted(made)
            with pytest.raises(BadInput, match="was followed by 3, which is delivered"):
                await asked(means, 1)


async def asked(means: Means, number: int, renew: Renew | None = None) -> Retried:
    async with means.database.begin() as conn:
        return await resend(conn, OPERATOR, [number], by="command line", renew=renew)


@pytest.mark.parametrize(("kind", "says"), [("ledger", "move the ledger's directory"), ("stripe-meters", "twice")])
async def test_what_cannot_be_looked_for_is_never_sent_again(means: Means, kind: str, says: str) -> None:
    given = {"books": TargetSettings.model_validate({"kind": kind, "api_key": "sk"})}
    targets = Targets(given, operator=OPERATOR, data_dir=Path("data"))
    [item, *_] = [replace(one, target="books") for one in items_of(entry("ch_1"))]
    async with means.database.begin() as conn:
        await add_items(conn, [item])
        await record(conn, OPERATOR, [Change(id=1, state="delivered")])
    left = await asked(means, 1, Resender(targets, means.database, clock=lambda: NOW))
    assert left.made == []
    assert says in left.left[1]
    async with means.database.begin() as conn:
        [kept] = await list_deliveries(conn, OPERATOR, deliveries_max=9)
    assert (kept.state, kept.fault) == ("delivered", None)
