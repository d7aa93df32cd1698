"""A spool in memory for collectors: what was committed, what is refused, and what waits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec

from edge.clock import Clock
from edge.intake import REFUSAL, Intake
from edge.spool.errors import Full
from edge.spool.keeper import Keeper
from edge.spool.records import PUT_BYTES_MAX, PUT_EVENTS_MAX, Item, Put
from tests.edge.clocks import VirtualClock


class Kept:
    """Commits at once unless it is `full`, or `shut` until it is opened."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.stored: dict[str, str] = {}
        self.full = False
        self.waiting = 0
        self._open = asyncio.Event()
        self._open.set()

    async def put(self, items: Iterable[Item], positions: Mapping[str, str] | None = None) -> tuple[()]:
        one = Put(items=tuple(items), positions=positions or {})
        assert len(one.items) <= PUT_EVENTS_MAX
        assert one.size <= PUT_BYTES_MAX
        self.waiting += 1
        await self._open.wait()
        self.waiting -= 1
        if self.full:
            raise Full("no room", bound="bytes")
        self.items += one.items
        self.stored |= one.positions
        return ()

    async def positions(self) -> Mapping[str, str]:
        return dict(self.stored)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    @property
    def keeper(self) -> Keeper:
        return cast("Keeper", self)

    def intake(self, clock: Clock | None = None) -> Intake:
        return Intake(self.keeper, site="berlin", edge="berlin-edge", clock=clock or VirtualClock())

    @property
    def events(self) -> list[dict[str, Any]]:
        decoded = [msgspec.json.decode(item.body) for item in self.items]
        return [event for event in decoded if event["type"] != REFUSAL]

    @property
    def refusals(self) -> list[dict[str, Any]]:
        decoded = [msgspec.json.decode(item.body) for item in self.items]
        return [event["data"] for event in decoded if event["type"] == REFUSAL]


def spooled(directory: Path) -> list[dict[str, Any]]:
    """The events in the spool of an agent that has ended, waiting or kept, as they came."""
    with closing(sqlite3.connect(directory / "spool" / "spool" / "events.sqlite")) as connection:
        return [msgspec.json.decode(row[0]) for row in connection.execute("SELECT body FROM events ORDER BY place")]
