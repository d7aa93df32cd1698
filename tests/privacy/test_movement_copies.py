"""What other tables hold of movements goes with them, or says why it stays (decision 0026)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from meter.booking import warm
from meter.booking.audit import audit
from meter.booking.movements import thin
from meter.store.movement_copies import CLEARED, STAYS
from meter.store.personal import NOBODY
from meter.store.tables import metadata, rejections
from tests.booked import OPERATOR
from tests.booking.space import LATER, Space, open_space, pages
from tests.owning import as_owner
from tests.privacy.test_movements import BEFORE, LONG_AGO, RICH, door, owner, seal


def test_every_table_that_is_searched_is_cleared_or_says_why_not() -> None:
    assert not CLEARED & STAYS.keys()
    assert CLEARED | STAYS.keys() == metadata.tables.keys() - NOBODY.keys()


async def refused(space: Space, *rows: tuple[str, str | None, bytes, int]) -> None:
    """Rejections: status, source, body, and how many days before `BEFORE` it came last."""
    async with as_owner(space.database) as connection:
        for n, (status, source, body, days) in enumerate(rows):
            at = BEFORE - timedelta(days=days)
            row: dict[str, Any] = {
                "operator": OPERATOR,
                "digest": b"%d" % n,
                "code": "conflict",
                "detail": "d",
                "channel": "http",
            }
            row |= {"origin": "o", "source": source, "body": body, "stands": body, "status": status}
            await connection.execute(insert(rejections), [row | {"first_at": at, "last_at": at}])


async def test_decided_rejections_of_movements_lose_their_bytes(database_url: str) -> None:
    async with open_space(database_url, RICH) as space:
        body = door("x", "02T08:00", "in")
        batch = b"[" + pages("p1", "02T08:00", 3) + b"," + body + b"]"
        await refused(
            space,
            ("retried", "berlin/door/main", body, 1),
            ("discarded", "berlin/wifi/net", b"\xff vendor's own", 1),
            ("discarded", None, batch, 1),
            ("open", "berlin/door/main", body, 1),
            ("retried", "berlin/door/main", body, 0),
            ("retried", "berlin/print/hall", pages("p1", "02T08:00", 3), 1),
            ("discarded", None, b"no JSON", 1),
        )
        await thin(lambda: owner(space), OPERATOR, before=BEFORE)
        left = await space.rows("SELECT length(body) > 0, length(stands) > 0 FROM rejections ORDER BY digest")
        assert [both for both, _ in left] == [False, False, False, True, True, True, True]
        assert all(body == stands for body, stands in left)


async def test_an_open_session_is_held_by_no_checkpoint(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts to the same end; whoever has the state in memory folds anew, and once only."""
    monkeypatch.setattr(warm, "CHECKPOINT_EVERY_EVENTS", 1)
    async with open_space(database_url, RICH) as space:
        space.now = datetime(2026, 3, 2, 10, tzinfo=UTC)  # the session may still end
        await space.take(door("in", "02T08:00", "in"), door("no", "02T08:05", "in", granted=False))
        for n in range(3):
            await space.take(pages(f"p{n}", f"02T08:3{n}", 3))
        assert await held(space) > 0
        await seal(space.database)
        await thin(lambda: owner(space), OPERATOR, before=LONG_AGO + timedelta(days=1))
        assert await held(space) == 0
        await space.rate()
        for n in range(3):
            await space.take(pages(f"q{n}", f"02T09:0{n}", 3))
        assert await held(space) == 0, "the state in memory was not written again"
        assert await space.rows("SELECT count(*) > 0 FROM checkpoints") == [(True,)]
        before = await space.rows("SELECT count(*) FROM refolds")
        await thin(lambda: owner(space), OPERATOR, before=BEFORE)
        assert await space.rows("SELECT count(*) FROM refolds") == before, "nothing is left to do"
        space.now = LATER
        await space.take(door("out", "02T12:00", "out"))
        assert [row[5] for row in await space.sums() if row[2] == "presence"] == [4]
        assert await audit(space.database, OPERATOR, at=LATER)


async def held(space: Space) -> int:
    [[count]] = await space.rows("SELECT count(*) FROM checkpoints WHERE state::text LIKE '%Lovelace%'")
    return int(count)
