"""Months that end, agents that say how far they are, and whoever closes what is complete."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from meter.booking.closer import Closer
from meter.model.charge import Charge
from meter.store.closes import Closing, close_periods
from meter.store.readers import ChargeFilter, charges_after
from meter.store.usage import BEGINNING
from tests.booking.space import Space, event
from tests.owning import as_owner

# Months of Berlin.
ACME_FEBRUARY = Closing("acme", datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC))
ACME_MARCH = Closing("acme", ACME_FEBRUARY.end, datetime(2026, 3, 31, 22, tzinfo=UTC))
ACME_APRIL = Closing("acme", ACME_MARCH.end, datetime(2026, 4, 30, 22, tzinfo=UTC))


def at(body: bytes, time: str, **more: Any) -> bytes:
    """The event at another time, like "2026-02-03T08:00:00Z", and with other attributes."""
    return json.dumps(json.loads(body) | {"time": time} | more).encode()


def heartbeat(
    until: datetime, edge: str = "edge-1", *, sequence: int | None = None, boot: int = 1, site: str = "berlin"
) -> bytes:
    """An agent's word that it has sent everything before `until`."""
    name = f"{edge}/{boot}/{sequence}/{until.isoformat()}"
    body = event("edge.heartbeat", name, "01T08:00", None, f"{site}/edge", {"complete_until": until.isoformat()})
    marks = {"edge": edge} | ({} if sequence is None else {"boot": boot, "sequence": sequence})
    return json.dumps(json.loads(body) | marks).encode()


class Closes:
    """A space whose periods close."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.closer = self.new_closer()

    def new_closer(self) -> Closer:
        """A closer that remembers nothing, beside the space's worker of now."""
        space = self.space
        self.closer = Closer(
            space.worker,
            database=space.database,
            operator="northside",
            telemetry=space.telemetry,
            clock=lambda: space.now,
            interval_s=0.0,
        )
        return self.closer

    @classmethod
    async def of(cls, space: Space, *, since: datetime = ACME_FEBRUARY.start) -> Closes:
        """The closes of a gateway that was set up at `since`."""
        async with as_owner(space.database) as connection:
            await connection.execute(text("UPDATE operators SET created_at = :since"), {"since": since})
        return cls(space)

    async def sweep(self) -> None:
        """Rate, close what is complete, and book what that makes due."""
        await self.space.rate()
        while await self.closer.step():
            pass
        await self.space.rate()

    async def close(self, closing: Closing) -> bool:
        """Close a period by hand; booking what that makes due is the worker's."""
        async with self.space.database.begin() as connection:
            return bool(await close_periods(connection, "northside", [closing], at=self.space.now, reason="test"))

    async def closed(self, account: str = "acme") -> list[tuple[Any, ...]]:
        """An account's closed periods by their starts, and whether what closing makes due is booked."""
        return await self.space.rows(
            f"SELECT period_start, booked FROM closes WHERE account = '{account}' ORDER BY 1"  # noqa: S608 -- a test's
        )

    async def charges(self, **wanted: Any) -> list[Charge]:
        """What is booked, in the order of booking."""
        async with self.space.database.begin() as connection:
            page = await charges_after(connection, "northside", BEGINNING, ChargeFilter(**wanted), charges_max=10_000)
        return [charge for charge, _ in page.charges]

    async def begin_anew(self) -> None:
        """Forget every event, every close and the books."""
        tables = "event_keys, events, revisions, charges, draws, entries, deferrals, journal, outbox, rating_cursors,"
        tables += " refolds, checkpoints"
        async with as_owner(self.space.database) as connection:
            await connection.execute(text(f"TRUNCATE {tables}, unresolved, closes, wakes"))
        self.space.new_worker()
