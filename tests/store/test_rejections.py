from datetime import UTC, datetime, timedelta
from typing import Any

from meter.store.engine import Database
from meter.store.rejections import (
    Rejection,
    find_rejection,
    list_rejections,
    mark_rejection,
    record_rejections,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def rejection(body: bytes = b"\x00\xff", **changes: Any) -> Rejection:
    facts: dict[str, Any] = {
        "code": "not_json",
        "detail": "no JSON",
        "channel": "mqtt",
        "origin": "spaces/berlin/door/main",
        "site": "berlin",
        "at": NOW,
    }
    return Rejection(body=body, **(facts | changes))


async def record(database: Database, *refused: Rejection) -> None:
    async with database.begin() as connection:
        await record_rejections(connection, "northside", refused)


async def test_the_same_refusal_again_is_counted(database: Database) -> None:
    await record(database, rejection(), rejection(at=NOW + timedelta(hours=1)), rejection(origin="elsewhere"))
    await record(database, rejection(at=NOW + timedelta(hours=2)))
    async with database.begin() as connection:
        elsewhere, first = await list_rejections(connection, "northside")
    assert (first.count, first.first_at, first.last_at) == (3, NOW, NOW + timedelta(hours=2))
    assert first.body == b"\x00\xff"
    assert elsewhere.count == 1


async def test_lists_are_bounded_filtered_and_go_on(database: Database) -> None:
    await record(database, *(rejection(bytes([n])) for n in range(5)), rejection(code="conflict", site="hamburg"))
    async with database.begin() as connection:
        page = await list_rejections(connection, "northside", limit=2)
        rest = await list_rejections(connection, "northside", before=page[-1].id)
        assert [len(page), len(rest)] == [2, 4]
        assert max(item.id for item in rest) < min(item.id for item in page)
        assert [item.site for item in await list_rejections(connection, "northside", code="conflict")] == ["hamburg"]
        assert len(await list_rejections(connection, "northside", site="berlin")) == 5
        assert await list_rejections(connection, "southside") == []


async def test_what_is_put_aside_leaves_the_list_and_keeps_its_bytes(database: Database) -> None:
    await record(database, rejection())
    async with database.begin() as connection:
        (listed,) = await list_rejections(connection, "northside")
        assert await mark_rejection(connection, "southside", listed.id, "discarded") is None
        await mark_rejection(connection, "northside", listed.id, "discarded")
        assert await list_rejections(connection, "northside") == []
        kept = await find_rejection(connection, "northside", listed.id)
    assert kept is not None
    assert (kept.status, kept.body) == ("discarded", b"\x00\xff")
    await record(database, rejection())
    async with database.begin() as connection:
        assert await list_rejections(connection, "northside") == []
