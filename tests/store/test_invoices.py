"""Invoices: the latest state counts in whatever order it comes, only from the vendor, and settles deliveries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, Final

import pytest
from sqlalchemy import text

from meter.ingest.arrival import Arrival, Channel
from meter.model.wire import Parsed
from meter.sources.billing.stripe import STRIPE
from meter.sources.spec import Delivery
from meter.store.engine import Database
from meter.store.invoices import Invoice, list_invoices
from meter.store.lanes import Change, record
from meter.store.outbox import OutboxItem, add_items, revised
from tests.booked import OPERATOR
from tests.ingest.bodies import acceptor
from tests.sources.cases.stripe import CASE, FETCHED, INVOICE, event

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def news(kind: str, *, id: str, at_s: int = 0, **changes: Any) -> Sequence[Parsed]:
    """What a webhook becomes."""
    body = json.dumps(event(kind, {**INVOICE, **changes}, id=id, created=int(AT.timestamp()) + at_s)).encode()
    return parsed(body)


def parsed(body: bytes) -> Sequence[Parsed]:
    assert STRIPE.hook is not None
    delivery = Delivery(method="POST", path="/", body=body, received_at=AT)
    return STRIPE.hook.read(CASE.setup, delivery).items


async def tell(database: Database, *items: Parsed, channel: Channel = "webhook") -> None:
    arrivals = [
        Arrival(parsed=one, channel=channel, origin="stripe", received_at=AT + timedelta(minutes=1)) for one in items
    ]
    await acceptor(database).accept(arrivals)


async def shown(database: Database, **narrowed: Any) -> list[Invoice]:
    async with database.begin() as conn:
        return await list_invoices(conn, OPERATOR, invoices_max=10, **narrowed)


async def states(database: Database) -> dict[str, tuple[str, str | None]]:
    async with database.begin() as conn:
        rows = await conn.execute(text("SELECT batch, state, fault FROM outbox ORDER BY id"))
        return {row.batch: (row.state, row.fault) for row in rows}


async def deliver(database: Database, target: str, **remote_ids: str | None) -> dict[str, str]:
    """Put items into the outbox that were delivered so (None: not yet); return their keys by batch."""
    item = OutboxItem(operator=OPERATOR, target=target, operation="line", batch="", key="", payload=b"{}")
    made = {batch: revised(replace(item, batch=batch), 0) for batch in remote_ids}
    async with database.begin() as conn:
        await add_items(conn, list(made.values()))
        for batch, remote_id in remote_ids.items():
            if remote_id is not None:
                query = text("UPDATE outbox SET state = 'delivered', remote_id = :remote WHERE batch = :batch")
                await conn.execute(query, {"remote": remote_id, "batch": batch})
    return {batch: item.key for batch, item in made.items()}


STORY = (
    news("invoice.created", id="evt_1", status="draft"),
    news("invoice.finalized", id="evt_2", at_s=5),
    news("invoice.payment_failed", id="evt_3", at_s=5),
    news("invoice.paid", id="evt_4", at_s=9, status="paid", amount_paid=1190, amount_due=1190),
)


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
async def test_the_latest_state_counts_in_whatever_order_it_comes(database: Database, order: tuple[int, ...]) -> None:
    for place in order:
        await tell(database, *STORY[place])
        await tell(database, *STORY[place])
    [invoice] = await shown(database)
    assert (invoice.target, invoice.remote_id, invoice.number) == ("stripe", "in_1", "ACME-0001")
    assert (invoice.status, invoice.account, invoice.invoice) == ("paid", "acme", "20260228-K7Q2M4XA")
    assert (str(invoice.total), str(invoice.amount_paid), invoice.currency) == ("11.90", "11.90", "EUR")
    assert invoice.start == datetime(2026, 2, 1, tzinfo=UTC)


async def test_of_one_second_the_state_that_is_further_on_counts(database: Database) -> None:
    await tell(database, *STORY[2], *STORY[1])
    assert [one.status for one in await shown(database)] == ["failed"]


async def test_only_the_vendor_itself_is_believed(database: Database) -> None:
    await deliver(database, "stripe", a="in_1/ii_1")
    await tell(database, *STORY[3], channel="http")
    assert await shown(database) == []
    assert await states(database) == {"a": ("delivered", None)}


async def test_what_was_delivered_to_a_final_invoice_is_verified(database: Database) -> None:
    places = {"a": "in_1/ii_1", "b": "in_1", "c": "in_10/ii_3", "d": None, "e": "ii_1"}
    await deliver(database, "stripe", **places)
    await tell(database, *STORY[0])
    assert {state for state, _ in (await states(database)).values()} == {"delivered", "pending"}
    await tell(database, *STORY[1])
    found = {batch: state for batch, (state, _) in (await states(database)).items()}
    assert found == {"a": "verified", "b": "verified", "c": "delivered", "d": "pending", "e": "verified"}


async def test_usage_that_was_thrown_away_is_dead_with_the_reason(database: Database) -> None:
    keys = await deliver(database, "stripe-meters", a="k", b="k")
    body = json.dumps(FETCHED).replace("k7q2m4xa", keys["a"]).encode()
    await tell(database, *parsed(body), channel="fetch")
    found = await states(database)
    assert found["a"] == (
        "dead",
        "Stripe threw the usage away (meter_event_customer_not_found): No such customer: cus_9",
    )
    assert found["b"] == ("delivered", None)


THROWN = "Stripe threw the usage away (meter_event_customer_not_found): No such customer: cus_9"
ENDS: Final[Mapping[str, Change]] = {
    "delivered": Change(id=0, was="sending", state="delivered", remote_id="k"),
    "uncertain": Change(id=0, was="sending", state="uncertain", fault="timed out"),
    "pending": Change(id=0, was="sending", state="pending", fault="slow down", attempt=-1),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("first", ["event", "answer"])
async def test_usage_that_was_thrown_away_is_dead_whichever_comes_first(
    database: Database, end: str, first: str
) -> None:
    """What Stripe says of an event may overtake the answer to the request that brought it."""
    keys = await deliver(database, "stripe-meters", a=None, b=None)
    async with database.begin() as conn:
        query = "UPDATE outbox SET state = 'sending', attempts = 1 WHERE batch = 'a' RETURNING id"
        id = (await conn.execute(text(query))).scalar_one()
    news = parsed(json.dumps(FETCHED).replace("k7q2m4xa", keys["a"]).encode())

    async def answer() -> None:
        async with database.begin() as conn:
            await record(conn, OPERATOR, [replace(ENDS[end], id=id)])

    if first == "answer":
        await answer()
    await tell(database, *news, channel="fetch")
    if first == "event":
        assert (await states(database))["a"] == ("sending", None)
        await answer()
    assert await states(database) == {"a": ("dead", THROWN), "b": ("pending", None)}


async def test_of_a_key_that_is_used_up_nothing_is_said_to_the_next(database: Database) -> None:
    keys = await deliver(database, "stripe-meters", a=None)
    async with database.begin() as conn:
        query = "UPDATE outbox SET state = 'sending', attempts = 1 RETURNING id"
        id = (await conn.execute(text(query))).scalar_one()
    await tell(database, *parsed(json.dumps(FETCHED).replace("k7q2m4xa", keys["a"]).encode()), channel="fetch")
    async with database.begin() as conn:
        await record(conn, OPERATOR, [Change(id=id, was="sending", state="pending", renewed=True)])
        await record(conn, OPERATOR, [Change(id=id, was="pending", state="delivered")])
    assert await states(database) == {"a": ("delivered", None)}


async def test_an_invoice_of_the_targets_own_finds_its_account_by_the_customer(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(
            text(
                "INSERT INTO accounts (operator, account, name, currency, timezone, anchor_day, external)"
                " VALUES (:operator, 'bolt', 'Bolt', 'EUR', 'UTC', 1, '{\"stripe\": \"cus_1\"}')"
            ),
            {"operator": OPERATOR},
        )
    await tell(database, *news("invoice.finalized", id="evt_9", metadata={}))
    [invoice] = await shown(database, account="bolt", status="open")
    assert (invoice.invoice, invoice.start) == (None, None)
    assert await shown(database, status="paid") == []


async def test_a_period_that_somebody_wrote_by_hand_is_none(database: Database) -> None:
    await tell(database, *news("invoice.paid", id="evt_9", status="paid", metadata={"meter_start": "last month"}))
    assert [one.start for one in await shown(database)] == [None]
