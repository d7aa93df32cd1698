"""The list of what could not be counted, by places."""

from __future__ import annotations

from datetime import UTC, datetime

from meter.model.event import Position
from meter.store.engine import Database
from meter.store.unread import UnreadChange, UnreadValue, change_unread, unread_after
from meter.store.usage import ORIGIN

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def value(place: Position, source: str, id: str, reason: str = "why") -> UnreadValue:
    return UnreadValue(place, source, id, "pages", 0, "unread", reason)


async def test_what_lies_after_a_place_is_told_by_where_it_stands(database: Database) -> None:
    """A refund stands behind its sale, though its own source and id come before the place at the same instant."""
    own = value(Position(NOON, "berlin/door", "1"), "berlin/door", "1")
    behind = value(Position(NOON, "berlin/pos", "sale"), "berlin/bar", "refund")
    async with database.begin() as conn:
        await change_unread(conn, "northside", [UnreadChange(account="acme", gone=(), fresh=(own, behind))])
        for after, expected in (
            (ORIGIN, {own, behind}),
            (Position(NOON, "berlin/d", ""), {own, behind}),
            (Position(NOON, "berlin/door", "1"), {behind}),
            (Position(NOON, "berlin/pos", "sale"), set()),
        ):
            found = await unread_after(conn, "northside", ["acme", "beta"], after=after)
            assert found == ({"acme": expected} if expected else {})
        assert await unread_after(conn, "northside", ["beta"], after=ORIGIN) == {}
        assert await unread_after(conn, "other", ["acme"], after=ORIGIN) == {}


async def test_an_entry_with_another_reason_takes_the_place_of_the_old_one(database: Database) -> None:
    place = Position(NOON, "berlin/door", "1")
    first, second = value(place, "berlin/door", "1"), value(place, "berlin/door", "1", "another")
    async with database.begin() as conn:
        await change_unread(conn, "northside", [UnreadChange(account="acme", gone=(), fresh=(first,))])
        await change_unread(conn, "northside", [UnreadChange(account="acme", gone=(first,), fresh=(second,))])
        assert await unread_after(conn, "northside", ["acme"], after=ORIGIN) == {"acme": {second}}
