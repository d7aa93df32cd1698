import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace as with_
from sqlalchemy import text

from meter.model.charge import Charge, Draw, LineTax
from meter.model.errors import BadInput
from meter.model.event import EventKey
from meter.store.booking import insert_charges
from meter.store.engine import Database
from meter.store.readers import (
    ChargeFilter,
    chain_of,
    charge_by_id,
    charges_after,
    cursor_text,
    drawn_until,
    parse_cursor,
)
from meter.store.usage import BEGINNING, Cursor
from tests.booked import NOON, OPERATOR, a_charge, a_line, book
from tests.rows.sizes import SEED, sized

EVERYTHING = ChargeFilter()
WRITERS = 32
# About two and a half lines each are committed.
TRANSACTIONS = sized(12, 1_310)


async def _read(database: Database, cursor: Cursor, wanted: ChargeFilter = EVERYTHING) -> tuple[list[str], Cursor]:
    async with database.begin() as conn:
        page = await charges_after(conn, OPERATOR, cursor, wanted, charges_max=100)
    return [charge.id for charge, _ in page.charges], page.next


async def test_every_field_of_a_charge_comes_back_as_it_was_booked(database: Database) -> None:
    line = a_line(
        1,
        member=None,
        kind="refund",
        events=(EventKey("berlin/pos/till", "a"), EventKey("berlin/pos/till", "b")),
        dimensions={"color": True, "paper": "A4", "rate": Decimal("0.1234567890123456789"), "copies": 2, "none": None},
        covered=Decimal("3.333333"),
        amount=Decimal("-0.123456789012"),
        tax=LineTax(name="vat19", rate=Decimal("0.19"), inclusive=True, amount=Decimal("-0.02")),
        draws=(
            Draw(grant="pages@2026-03", unit="page", amount=Decimal(3)),
            Draw(grant="a", unit="EUR", amount=Decimal("-0.1")),
        ),
        settlement="paid",
        estimated=True,
        unpriced=True,
        tip=Decimal("0.50"),
        total=Decimal("12.00"),
    )
    charge = a_charge(
        line, revision=2, role="replacement", corrects="ch_x", reason="late event", tax_amount=Decimal("-0.02")
    )
    plain = a_charge(a_line(2))
    async with database.begin() as conn:
        await book(conn, charge, plain)
    async with database.begin() as conn:
        assert await charge_by_id(conn, OPERATOR, charge.id) == charge
        page = await charges_after(conn, OPERATOR, BEGINNING, EVERYTHING, charges_max=10)
        assert [found for found, _ in page.charges] == [charge, plain]
        assert await charge_by_id(conn, "another", charge.id) is None


async def test_a_line_that_commits_late_is_not_skipped(database: Database) -> None:
    """Two writers, the slow one with the smaller transaction id and sequence; the reader comes in between."""
    slow, fast, last = (a_charge(a_line(n)) for n in range(3))
    async with database.engine.connect() as writer:
        transaction = await writer.begin()
        await book(writer, slow)
        async with database.begin() as conn:
            await book(conn, fast)
        seen, cursor = await _read(database, BEGINNING)
        assert seen == []  # the fast one waits for the slow one, which may land before it
        await transaction.commit()
    async with database.begin() as conn:
        await book(conn, last)
    again, cursor = await _read(database, cursor)
    assert seen + again == [slow.id, fast.id, last.id]
    assert await _read(database, cursor) == ([], cursor)


async def test_a_plain_sequence_as_the_cursor_would_lose_that_line(database: Database) -> None:
    """The same two writers read by `seq > cursor`: why the cursor is what it is (decision 0005)."""

    async def plainly(cursor: int) -> list[tuple[str, int]]:
        query = text("SELECT id, seq FROM charges WHERE seq > :cursor ORDER BY seq")
        async with database.begin() as conn:
            return [(row.id, row.seq) for row in await conn.execute(query, {"cursor": cursor})]

    slow, fast = a_charge(a_line(0)), a_charge(a_line(1))
    async with database.engine.connect() as writer:
        transaction = await writer.begin()
        await book(writer, slow)
        async with database.begin() as conn:
            await book(conn, fast)
        [(seen, cursor)] = await plainly(0)
        await transaction.commit()
    assert seen == fast.id
    assert await plainly(cursor) == []  # and the slow one never comes


async def test_sequences_drawn_in_the_other_order_are_not_skipped(database: Database) -> None:
    """The later transaction draws the smaller sequence and commits last."""
    early, late = a_charge(a_line(0)), a_charge(a_line(1))
    async with database.engine.connect() as first, database.engine.connect() as second:
        one, two = await first.begin(), await second.begin()
        await first.execute(text("SELECT pg_current_xact_id()"))  # numbered first, inserts last
        await book(second, late)
        await book(first, early)
        await one.commit()
        seen, cursor = await _read(database, BEGINNING)
        assert seen == [early.id]
        await two.commit()
    assert (await _read(database, cursor))[0] == [late.id]


async def test_a_cursor_stays_good_and_pages_never_overlap(database: Database) -> None:
    booked = [a_charge(a_line(n)) for n in range(7)]
    for charge in booked:
        async with database.begin() as conn:
            await book(conn, charge)
    seen: list[str] = []
    cursor = BEGINNING
    first_cursors: list[Cursor] = []
    for _ in range(3):
        async with database.begin() as conn:
            page = await charges_after(conn, OPERATOR, cursor, EVERYTHING, charges_max=3)
        seen += [charge.id for charge, _ in page.charges]
        first_cursors += [behind for _, behind in page.charges]
        cursor = parse_cursor(cursor_text(page.next))
    assert seen == [charge.id for charge in booked]
    for n, behind in enumerate(first_cursors):
        assert (await _read(database, behind))[0] == seen[n + 1 :]


async def test_a_reader_whose_filter_fits_nothing_still_moves_on(database: Database) -> None:
    async with database.begin() as conn:
        await book(conn, a_charge(a_line(0)))
    seen, cursor = await _read(database, BEGINNING, ChargeFilter(account="nobody"))
    assert seen == []
    assert cursor > BEGINNING
    theirs = a_charge(a_line(1, account="nobody"))
    async with database.begin() as conn:
        await book(conn, theirs)
    assert (await _read(database, cursor, ChargeFilter(account="nobody")))[0] == [theirs.id]


async def test_filters_are_conjunctive_and_time_is_half_open(database: Database) -> None:
    lines = [
        a_line(0),
        a_line(1, account="beta", member=None),
        a_line(2, site="hamburg"),
        a_line(3, meter="cafe"),
        a_line(4, member="bob"),
    ]
    ids = [a_charge(line).id for line in lines]
    async with database.begin() as conn:
        await book(conn, *(a_charge(line) for line in lines))

    async def got(wanted: ChargeFilter) -> list[int]:
        return [ids.index(found) for found in (await _read(database, BEGINNING, wanted))[0]]

    assert await got(ChargeFilter(account="acme")) == [0, 2, 3, 4]
    assert await got(ChargeFilter(member="ada")) == [0, 2, 3]
    assert await got(ChargeFilter(site="hamburg")) == [2]
    assert await got(ChargeFilter(meter="cafe")) == [3]
    assert await got(ChargeFilter(meter="cafe", member="bob")) == []
    assert await got(ChargeFilter(start=NOON + timedelta(seconds=1), end=NOON + timedelta(seconds=3))) == [1, 2]


async def test_no_reader_skips_or_repeats_under_many_writers(database: Database) -> None:
    """32 writers, transactions of all lengths, some rolled back; readers of all and of a part keep up with them."""
    dice = random.Random(SEED)  # noqa: S311 -- the same run every time
    committed: set[str] = set()
    writing = asyncio.Event()
    writing.set()

    async def write(writer: int) -> None:
        for step in range(TRANSACTIONS):
            lines = [
                a_line((writer * TRANSACTIONS + step) * 10 + n, account=f"a{writer % 4}")
                for n in range(dice.randrange(1, 6))
            ]
            booked = [a_charge(line) for line in lines]
            async with writers.engine.connect() as conn:
                transaction = await conn.begin()
                for charge in booked:
                    await insert_charges(conn, OPERATOR, [charge])
                    await asyncio.sleep(dice.choice((0, 0, 0.001, 0.01)))
                if dice.random() < 0.2:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    committed.update(charge.id for charge in booked)

    async def read(wanted: ChargeFilter, page_max: int) -> list[str]:
        seen: list[str] = []
        cursor = BEGINNING
        while True:
            last = not writing.is_set()
            async with database.begin() as conn:
                page = await charges_after(conn, OPERATOR, cursor, wanted, charges_max=page_max)
            seen += [charge.id for charge, _ in page.charges]
            cursor = parse_cursor(cursor_text(page.next))
            if last and not page.more:
                return seen
            await asyncio.sleep(0)

    writers = Database(database.url, operator=OPERATOR)
    readers = [
        asyncio.create_task(read(wanted, page_max))
        for wanted, page_max in ((EVERYTHING, 100), (EVERYTHING, 3), (ChargeFilter(account="a1"), 7))
    ]
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    writing.clear()
    whole, small, part = [await reader for reader in readers]
    await writers.dispose()
    assert len(committed) > 500
    assert whole == small  # the same order, however it is cut
    assert sorted(whole) == sorted(committed)
    assert part == [found for found in whole if found in set(part)]
    async with database.begin() as conn:
        page = await charges_after(conn, OPERATOR, BEGINNING, ChargeFilter(account="a1"), charges_max=10**6)
    assert part == [charge.id for charge, _ in page.charges]
    print(f"pull API, seed {SEED}: {WRITERS} writers, {len(committed)} lines, three readers")  # noqa: T201  for the long form


async def test_the_chain_holds_the_corrections_of_one_line_only(database: Database) -> None:
    original = a_charge(a_line(0))
    undone = with_(original.line, quantity=Decimal(-10), billable=Decimal(-10), amount=Decimal("-0.5"))
    reversal = a_charge(undone, revision=1, role="reversal", corrects=original.id, reason="voided")
    other = a_charge(a_line(1))
    async with database.begin() as conn:
        await book(conn, original, other)
        await book(conn, reversal)
    async with database.begin() as conn:
        for charge in (original, reversal):
            assert await chain_of(conn, OPERATOR, charge) == [original, reversal]
        assert await chain_of(conn, OPERATOR, other) == [other]


async def test_what_was_drawn_is_summed_up_to_and_with_the_instant(database: Database) -> None:
    def drawing(n: int, amount: str, **changes: str) -> Charge:
        return a_charge(a_line(n, draws=(Draw(grant="pages", unit="page", amount=Decimal(amount)),), **changes))

    async with database.begin() as conn:
        await book(conn, drawing(0, "10"), drawing(1, "5"), drawing(2, "1.5"), drawing(0, "99", account="beta"))
    async with database.begin() as conn:
        assert await drawn_until(conn, OPERATOR, "acme", NOON + timedelta(seconds=1)) == {"pages": Decimal(15)}
        assert await drawn_until(conn, OPERATOR, "acme", NOON - timedelta(seconds=1)) == {}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0",
        "c",
        "c1",
        "c1-",
        "c-1",
        "C1-2",
        "c1-2 ",
        "cg-1",
        "c1-2-3",
        "c8000000000000000-1",
        "c\uff11-2",
        "c" + "0" * 17 + "-1",
    ],
)
def test_what_is_no_cursor_is_refused(given: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_cursor(given)
    assert caught.value.code == "bad_cursor"
