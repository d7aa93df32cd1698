"""From Square to the event log: by webhook, by sweep, by both, the same events under the same ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from meter.ingest.arrival import Arrival
from meter.ingest.fetching.square import SquareTransport
from meter.model.errors import BadInput
from meter.sources.pos.square import SIGNATURE_HEADER, SQUARE, check, read, signature
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Setup
from meter.store.engine import Database
from meter.store.tables import events, feeds, fetches, rejections
from tests.ingest.bodies import NOW, acceptor
from tests.ingest.rows import rows
from tests.ingest.square import KEYS, URL, payment, webhook
from tests.ingest.square_server import TOKEN, SquareServer, serving
from tests.ingest.vendor import Asking, asking_for
from tests.sources.case import delivery, setup
from tests.sources.square_objects import (
    REFUND,
    Square,
    item,
    order,
    order_notice,
    refund,
    refund_notice,
    return_order,
    returned,
)

COFFEE = item("coffee", 238, 38, quantity="2")
CAKE = item("cake", 182, 12)


def account() -> Square:
    """Two coffees and a cake, of which one coffee came back."""
    back = return_order(returned("coffee", 119, 19))
    return Square().holds(
        orders=[order(COFFEE, CAKE), back],
        payments=[payment(refund_ids=[REFUND])],
        refunds=[refund("COMPLETED", 119, created_at="2026-03-02T09:00:00Z", updated_at="2026-03-02T09:05:00Z")],
    )


TOLD = [
    webhook(),
    order_notice(),
    refund_notice("COMPLETED", 119, created_at="2026-03-02T09:00:00Z", updated_at="2026-03-02T09:05:00Z"),
]


class Gateway(Asking):
    """What asks Square, and what receives its webhooks."""

    async def turns(self) -> None:
        """Until nothing is due, as far as ten turns bring it."""
        for _ in range(10):
            await self.turn()
        assert await rows(self.database, fetches) == []

    async def told(self, *bodies: bytes, key: str = KEYS[0]) -> None:
        for body in bodies:
            signed = delivery(body, headers={SIGNATURE_HEADER: signature(key, URL, body).decode()})
            check(self.source.setup, signed)
            await self.receive(read(self.source.setup, signed).items)

    async def receive(self, items: Any) -> None:
        arrivals = [
            Arrival(parsed=one, channel="webhook", origin="POST", received_at=NOW, site="berlin") for one in items
        ]
        await acceptor(self.database).accept(arrivals)


@asynccontextmanager
async def gateway(database: Database, server: SquareServer, **given: Any) -> AsyncIterator[Gateway]:
    configured: Setup = setup(
        "square", "till", **{"secrets": tuple(KEYS), "url": URL, "api_base": server.base, "api_key": TOKEN, **given}
    )
    source = ConfiguredSource(vendor=SQUARE, setup=configured)
    async with asking_for(database, source, Gateway, over="square", by=SquareTransport) as made:
        yield made


async def stored(database: Database) -> list[str]:
    """The sales and refunds that are known, by id."""
    return sorted(row["id"] for row in await rows(database, events) if row["type"].startswith("pos."))


async def test_webhooks_lead_to_the_lines(database: Database) -> None:
    async with serving(account()) as server, gateway(database, server) as gate:
        await gate.told(*TOLD)
        await gate.turns()
        found = {row["id"].rpartition(":")[0]: row["data"] for row in await rows(database, events)}
    sale, back = found[f"{payment()['id']}:3"], found[f"{REFUND}:11"]
    assert [(line["name"], line["amount"], line["tax"]) for line in sale["lines"]] == [
        ("Coffee", "2.00", "0.38"),
        ("Cake", "1.70", "0.12"),
    ]
    assert [(line["name"], line["amount"]) for line in back["lines"]] == [("Coffee", "1.00")]
    assert await rows(database, rejections) == []
    assert len(await stored(database)) == 4


@pytest.mark.parametrize("page", [1, 100])
async def test_the_sweep_alone_finds_the_same(database: Database, page: int) -> None:
    async with serving(account(), page=page) as server, gateway(database, server) as gate:
        await gate.turns()
        swept = await stored(database)
        await gate.told(*TOLD)
        await gate.turns()
        assert await stored(database) == swept
        assert len(swept) == 4
        assert await rows(database, rejections) == []
        cursors = {row["feed"]: row["cursor"] for row in await rows(database, feeds)}
    assert cursors == {feed: {"since": "2026-03-02T12:00:00Z"} for feed in ("orders", "payments", "refunds")}


async def test_a_second_round_stores_nothing_new_and_fetches_nothing_again(database: Database) -> None:
    async with serving(account()) as server, gateway(database, server) as gate:
        await gate.turns()
        before, asked = await stored(database), len(server.asked)
        gate.moment += timedelta(seconds=1000)
        await gate.turns()
        assert await stored(database) == before
        again = server.asked[asked:]
    assert sorted(set(again)) == ["GET /v2/locations", "GET /v2/payments", "GET /v2/refunds", "POST /v2/orders/search"]
    assert len(again) == 6


async def test_keys_may_be_replaced_meanwhile_and_nothing_doubles(database: Database) -> None:
    async with serving(account()) as server, gateway(database, server) as gate:
        await gate.told(*TOLD)
        await gate.turns()
        before = await stored(database)
        gate.source = replace(gate.source, setup=replace(gate.source.setup, secrets=("a-third-key",)))
        with pytest.raises(BadInput, match="signing key"):
            await gate.told(*TOLD)
        await gate.told(*TOLD, key="a-third-key")
        gate.moment += timedelta(seconds=1000)
        await gate.turns()
        assert await stored(database) == before


async def test_a_token_that_square_refuses_keeps_what_is_to_be_fetched(database: Database) -> None:
    async with serving(account()) as server, gateway(database, server, api_key="wrong") as gate:
        await gate.told(TOLD[0])
        await gate.turn()
        (kept,) = await rows(database, fetches)
        assert "check api_key" in kept["fault"]
        assert len(await stored(database)) == 1
    async with serving(account()) as server, gateway(database, server) as gate:
        gate.moment += timedelta(hours=2)
        await gate.turns()
        assert len(await stored(database)) == 4
