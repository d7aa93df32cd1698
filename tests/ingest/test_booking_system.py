"""From a booking system's notice to a line: fetched, drafted, applied by itself, billed, followed when it changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from meter.ingest.arrival import Arrival
from meter.sources.registry import VENDORS
from meter.sources.setups import ConfiguredSource
from meter.store.drafts import apply_open
from meter.store.tables import events, fetches
from tests.booking.space import CATALOG, LATER, Space, open_space
from tests.ingest.bodies import acceptor
from tests.ingest.loopback import served
from tests.ingest.rows import rows
from tests.ingest.vendor import Asking, asking_for
from tests.sources.case import KEYS, delivery, setup
from tests.sources.cases.cobot import BOOKING, MEMBERSHIP

ROOMS = CATALOG.replace(
    "plans:\n",
    "  rooms: {event: room.booking, where: {status: booked}, aggregate: count, unit: booking}\nplans:\n",
).replace("    prices:\n", '    prices:\n      rooms: [{id: room, model: per_unit, unit_price: "10.00"}]\n', 1)


@dataclass
class Cobot:
    """What stands at the booking system's addresses."""

    base: str
    objects: dict[str, Any]
    asked: list[str]


@asynccontextmanager
async def cobot() -> AsyncIterator[Cobot]:
    held = Cobot("", {}, [])

    async def answer(request: web.Request) -> web.StreamResponse:
        held.asked.append(request.headers["Authorization"])
        found = held.objects.get(request.path)
        return web.Response(status=404) if found is None else web.json_response(found)

    async with served(answer) as held.base:
        yield held


@dataclass
class Story:
    """A space beside its booking system."""

    space: Space
    vendor: Cobot
    told: Asking

    async def hear(self, body: dict[str, Any]) -> None:
        """Receive a webhook, ask for what it names, apply what may be applied, and rate."""
        hook = VENDORS["cobot"].hook
        assert hook is not None
        moment = delivery(json.dumps(body).encode(), at=self.told.moment)
        items = hook.read(self.told.source.setup, moment).items
        arrivals = [
            Arrival(parsed=item, channel="webhook", origin="/hooks/cobot/main", received_at=self.told.moment)
            for item in items
        ]
        await acceptor(self.space.database).accept(arrivals)
        await self.told.turn()
        async with self.space.database.begin() as conn:
            await apply_open(conn, "northside", [("cobot", "main")], now=self.told.moment)
        await self.space.rate()
        self.told.later(1)

    async def billed(self) -> dict[str, str]:
        async with self.space.database.begin() as conn:
            found = await conn.exec_driver_sql(
                "SELECT account, sum(rounded)::text AS due FROM charges WHERE meter = 'rooms' GROUP BY account"
            )
            return {row.account: row.due for row in found}


@pytest.fixture
async def story(database_url: str) -> AsyncIterator[Story]:
    async with open_space(database_url) as space, cobot() as vendor:
        space.now = LATER.replace(month=2)  # rooms are metered from then on
        await space.apply(ROOMS)
        space.now = LATER
        made = setup(
            "cobot",
            secrets=KEYS,
            api_base=vendor.base,
            api_key="the-token",
            timezone="Europe/Berlin",
            options={"plans": {"Flex 10": "flex"}},
        )
        source = ConfiguredSource(vendor=VENDORS["cobot"], setup=made, apply_drafts=True)
        async with asking_for(space.database, source, Asking) as told:
            yield Story(space, vendor, told)


async def test_a_booking_is_billed_once_its_member_is_known_and_no_longer_once_it_is_deleted(story: Story) -> None:
    vendor = story.vendor
    vendor.objects = {"/api/bookings/b17": BOOKING}
    await story.hear({"url": f"{vendor.base}/api/bookings/b17"})
    assert await story.billed() == {}
    vendor.objects["/api/memberships/m93207605"] = MEMBERSHIP
    await story.hear({"url": f"{vendor.base}/api/memberships/m93207605"})
    assert await story.billed() == {"cobot-m93207605": "10.00"}
    await story.hear({"url": f"{vendor.base}/api/bookings/b17"})
    assert await story.billed() == {"cobot-m93207605": "10.00"}
    del vendor.objects["/api/bookings/b17"]
    await story.hear(BOOKING)
    assert await story.billed() == {"cobot-m93207605": "0.00"}
    assert set(vendor.asked) == {"Bearer the-token"}
    assert await rows(story.space.database, fetches) == []


async def test_what_is_gone_before_it_was_asked_is_nothing(story: Story) -> None:
    await story.hear({"url": f"{story.vendor.base}/api/bookings/b18"})
    assert await rows(story.space.database, fetches) == []
    assert {row["type"] for row in await rows(story.space.database, events)} == {"source.changed"}
