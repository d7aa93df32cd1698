"""What no meter could count is listed, and the list says the same whatever came first."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from meter.booking.audit import audit
from tests.booking.space import Space, amend, open_space, pages, sale, void
from tests.booking.uncounted import HALL, MAIN, MENDED, NO_START, SPACE, door, refund, scan
from tests.owning import as_owner


async def listed(space: Space) -> list[tuple[Any, ...]]:
    return await space.rows("SELECT account, id, meter, code, reason FROM unread ORDER BY account, time, source, id")


async def test_the_list_is_a_function_of_the_set_of_events(database_url: str) -> None:
    bodies = [
        scan("a-bad", "02T09:00", "many"),
        scan("b-mended", "02T10:00", "many"),
        amend("b-by", "20T10:00", "b-mended", HALL, MENDED),
        scan("c-spoilt", "02T11:00", 5),
        amend("c-by", "20T11:00", "c-spoilt", HALL, {"parts": [{"pages": None}]}),
        scan("d-void", "02T12:00", "many"),
        void("d-by", "20T12:00", "d-void", HALL),
        door("e-in", "03T09:00", "in"),
        door("e-out", "03T12:00", "out"),
        door("f-again", "03T13:00", "out"),
        sale("g-sale", "04T09:00", "10.00", "badge:ADA1"),
        refund("g-early", "01T09:00", "g-sale", "100.00"),
        refund("g-late", "05T09:00", "g-sale", "1.00"),
        scan("h-eve", "02T09:00", "", subject="badge:EFE1"),
    ]
    expected = [
        ("acme", "a-bad", "scans", "unread", "parts.pages is 'many', not a number"),
        ("acme", "c-spoilt", "scans", "unread", "parts.pages is 'None', not a number"),
        ("acme", "f-again", "presence", "orphan", NO_START),
        ("acme", "g-early", "pos", "refund", "only 11.9 is left of the sale"),
        ("acme", "g-late", "pos", "refund", "nothing is left to refund"),
        ("solo", "h-eve", "scans", "unread", "parts.pages is '', not a number"),
    ]
    async with open_space(database_url, SPACE) as space:
        books = None
        for seed in range(8):
            random.Random(seed).shuffle(bodies)  # noqa: S311 -- the same orders for the same seed
            if seed % 4 == 0:
                await space.take(*bodies)
            for body in bodies:
                await space.take(body)
                if seed % 4 == 1:
                    space.new_worker()
            assert await listed(space) == expected, seed
            books = books or await space.books()
            assert await space.books() == books
            await space.forget()


async def test_a_late_start_takes_its_end_off_the_list(database_url: str) -> None:
    async with open_space(database_url, SPACE) as space:
        await space.take(door("out", "03T12:00", "out"))
        assert await listed(space) == [("acme", "out", "presence", "orphan", NO_START)]
        await space.take(door("in", "03T09:00", "in"))
        assert await listed(space) == []
        await space.take(void("v", "04T09:00", "in", MAIN))
        assert [row[1] for row in await listed(space)] == ["out"]


async def test_what_is_listed_follows_its_event_to_another_account(database_url: str) -> None:
    async with open_space(database_url, SPACE) as space:
        await space.take(scan("1", "02T09:00", "many", subject="badge:NEW1"))
        assert await listed(space) == []
        await space.apply(SPACE.replace('["badge:EFE1"]', '["badge:EFE1", {id: "badge:NEW1", from: 2026-03-01}]'))
        await space.rate()
        assert [row[:2] for row in await listed(space)] == [("solo", "1")]
        await space.apply(SPACE.replace('["badge:B0B1"]', '["badge:B0B1", {id: "badge:NEW1", from: 2026-03-02}]'))
        await space.rate()
        assert [row[:2] for row in await listed(space)] == [("acme", "1")]


async def test_what_lies_far_back_stays_and_is_still_mended(database_url: str) -> None:
    """Behind what is kept in memory, and behind a checkpoint, by the same worker and by a new one."""
    async with open_space(database_url, SPACE) as space:
        await space.take(*(scan(f"x{n}", f"01T0{n}:00", "many") for n in range(4)))
        for day in range(2, 10):
            await space.take(*(pages(f"{day}-{n}", f"{day:02}T{n // 60:02}:{n % 60:02}", 1) for n in range(100)))
        assert [row[1] for row in await listed(space)] == ["x0", "x1", "x2", "x3"]
        await space.take(amend("m0", "12T09:00", "x0", HALL, MENDED))
        assert [row[1] for row in await listed(space)] == ["x1", "x2", "x3"]
        space.new_worker()
        await space.take(pages("late", "09T12:00", 1), scan("more", "10T12:00", "few"))
        assert [row[1] for row in await listed(space)] == ["x1", "x2", "x3", "more"]
        await space.take(amend("m1", "12T09:00", "x1", HALL, MENDED), pages("last", "11T12:00", 1))
        assert [row[1] for row in await listed(space)] == ["x2", "x3", "more"]


async def test_what_comes_onto_the_list_is_counted_once_by_meter_and_code(database_url: str) -> None:
    def counted(meter: str, code: str) -> float | None:
        return space.telemetry.registry.get_sample_value("meter_unread_values_total", {"meter": meter, "code": code})

    async with open_space(database_url, SPACE) as space:
        await space.take(
            scan("bad", "02T09:00", "many", 1, "few"),
            door("out", "03T12:00", "out"),
            sale("sale", "04T09:00", "10.00", "badge:ADA1"),
            refund("high", "05T09:00", "sale", "100.00"),
        )
        expected = [2, 1, 1]
        kinds = [("scans", "unread"), ("presence", "orphan"), ("pos", "refund")]
        assert [counted(*kind) for kind in kinds] == expected
        # Folded again, in memory and from the log, it is what it was.
        await space.take(pages("late", "01T09:00", 1))
        space.new_worker()
        await space.take(pages("later", "01T10:00", 1))
        assert [counted(*kind) for kind in kinds] == expected
        # Off the list and onto it again: that is new.
        await space.take(door("in", "03T09:00", "in"))
        await space.take(void("v", "06T09:00", "in", MAIN))
        assert [counted(*kind) for kind in kinds] == [2, 2, 1]


async def test_nothing_unread_is_no_statement(database_url: str) -> None:
    async with open_space(database_url, SPACE) as space:
        await space.take(pages("1", "02T09:00", 1))
        said: list[str] = []

        def hear(*about: Any) -> None:
            said.append(about[2])

        sqlalchemy_event.listen(space.database.engine.sync_engine, "before_cursor_execute", hear)
        await space.take(pages("2", "02T10:00", 1))
        assert any("rating_cursors" in statement for statement in said)
        assert [statement for statement in said if "unread" in statement] == []


async def test_each_element_is_listed_by_itself(database_url: str) -> None:
    async with open_space(database_url, SPACE) as space:
        await space.take(scan("1", "02T09:00", 1, "x", 2, "x"))
        assert await space.rows("SELECT element, code FROM unread ORDER BY 1") == [(1, "unread"), (3, "unread")]


@pytest.mark.parametrize(
    ("statement", "gone", "fresh"),
    [
        ("UPDATE unread SET reason = 'made up' WHERE id = 'out'", [("acme", "out")], [("acme", "out")]),
        ("UPDATE unread SET code = 'unread' WHERE id = 'out'", [("acme", "out")], [("acme", "out")]),
        ("UPDATE unread SET behind_id = 'other' WHERE id = 'early'", [("acme", "early")], [("acme", "early")]),
        ("UPDATE unread SET account = 'solo' WHERE id = 'out'", [("solo", "out")], [("acme", "out")]),
        ("UPDATE unread SET id = 'more' WHERE id = 'out'", [("acme", "more")], [("acme", "out")]),
        ("DELETE FROM unread WHERE id = 'out'", [], [("acme", "out")]),
    ],
)
async def test_an_audit_finds_every_entry_that_was_touched(
    database_url: str, statement: str, gone: list[tuple[str, str]], fresh: list[tuple[str, str]]
) -> None:
    async with open_space(database_url, SPACE) as space:
        await space.take(
            door("out", "03T12:00", "out"),
            scan("bad", "02T09:00", "many"),
            sale("sale", "04T09:00", "10.00", "badge:ADA1"),
            refund("early", "01T09:00", "sale", "100.00"),
        )
        assert await audit(space.database, "northside", at=space.now)
        async with as_owner(space.database) as connection:
            await connection.execute(text(statement))
        found = await audit(space.database, "northside", at=space.now)
        assert not found
        assert [(change.account, one.id) for change in found.unread for one in change.gone] == gone
        assert [(change.account, one.id) for change in found.unread for one in change.fresh] == fresh
        assert (found.differing, found.sums) == ((), ())
