"""An erased member is in no column any more, and no bill, balance, seal or repetition notices."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Table, Text, cast, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.audit import audit
from meter.store.directory import load_directory
from meter.store.erasing import erase_member
from meter.store.kept import EVERYWHERE, KEPT, WHOLE, erased_columns
from meter.store.personal import NOBODY, searched
from meter.store.redactions import forms, write_redactions
from meter.store.tables import checkpoints, metadata, outbox, rejections
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, LATER, Space, entry, open_space, pages, sale
from tests.cli.command import machine, meter
from tests.evidence.test_seals import seal, tampering, verified, verify_in
from tests.owning import as_owner
from tests.privacy.test_export import BADGE, CHECKS, ITS_OWN, MAC, MAIL, MEMBER, NAME, PEOPLE, row_of, spellings

# As each stands in a text of PostgreSQL, JSON and bytes too.
CANARIES = [NAME, json.dumps(NAME)[1:-1], MAIL, BADGE, MAC, "DADE.DFEE.9251", MEMBER]
# What a fold reads: a minimum, credit and a price of a member's own, and a dimension that vendors fill in.
OWN = (
    CATALOG.replace("for: account}", "for: member}")
    .replace("unit: page}", "unit: page, group_by: [job_owner]}")
    .replace("id: mono, model", 'id: mono, per: member, period_minimum: {amount: "40.00"}, model')
)


def test_what_is_kept_exists_and_nothing_is_named_twice() -> None:
    columns = {table.name: {column.name for column in searched(table)} for table in metadata.sorted_tables}
    assert metadata.tables.keys() >= WHOLE.keys()
    assert not WHOLE.keys() & NOBODY.keys()
    assert not WHOLE.keys() & KEPT.keys()
    for table, kept in KEPT.items():
        assert columns[table] >= kept.keys()
        assert not kept.keys() & EVERYWHERE.keys()
    assert set.union(*columns.values()) >= EVERYWHERE.keys()


async def test_a_canary_in_any_column_is_erased(database_url: str) -> None:
    """Every column that is rewritten holds what the member is known by; afterwards none of any table does."""
    async with open_space(database_url, CATALOG + PEOPLE) as space, as_owner(space.database) as owner:
        for dropped in (await owner.execute(CHECKS)).scalars().all():
            await owner.execute(text(dropped))
        directory = await load_directory(owner, OPERATOR)
        n = 0
        for table in metadata.sorted_tables:
            for column in erased_columns(table):
                for spelling in [] if (table.name, column.name) in ITS_OWN else spellings(column):
                    planted = row_of(table, column, spelling, n := n + 1)
                    await owner.execute(insert(table), [hers(table, planted, column.name)])
        await owner.execute(
            insert(checkpoints),
            [
                {
                    "operator": OPERATOR,
                    "account": "acme",
                    "time": LATER,
                    "source": "",
                    "id": "",
                    "format": 1,
                    "state": {"by": MEMBER},
                }
            ],
        )
        assert n > 100
        assert len(await found_in(owner)) > 30
        told = await erase_member(owner, OPERATOR, MEMBER, directory)
        assert sum(told.rows.values()) > n
        assert await found_in(owner) == []
        assert (await owner.execute(text("SELECT count(*) FROM members WHERE member = 'zoe-9-2'"))).scalar() == 1
        await owner.rollback()


def hers(table: Table, planted: dict[str, Any], column: str) -> dict[str, Any]:
    """What is found by an identity and carries its time counts where the claim held; nothing of it was sent yet."""
    if table.name == "wifi_due" and column == "name":
        return planted | {"kind": "session"}
    return planted | ({"state": "delivered"} if table is outbox and column != "state" else {})


async def found_in(connection: AsyncConnection) -> list[str]:
    """Every column of any table that holds a canary still: none is left out but another member's."""
    found = []
    words = "|".join(f"{re.escape(one)}($|[^n-])" for one in CANARIES)
    for table in metadata.sorted_tables:
        for column in table.columns:
            told = func.encode(column, "escape") if isinstance(column.type, LargeBinary) else cast(column, Text)
            rows = await connection.execute(select(told).select_from(table).where(told.op("~*")(words)).limit(1))
            found += [f"{table.name}.{column.name}: {one}" for one in rows.scalars()]
    return found


@pytest.fixture
def people() -> str:
    return OWN + PEOPLE + "\n"


async def filled(space: Space) -> list[bytes]:
    """A member's month beside another's: credit and minimums of her own, sales, doors, and a draft of her bytes."""
    bodies = [
        *(pages(f"z{n}", f"0{2 + n}T08:00", 60, f"badge:{BADGE}", job_owner=NAME) for n in range(4)),
        pages("b1", "03T08:00", 70, "badge:B0B1", job_owner="Bob"),
        pages("m1", "04T08:00", 30, f"member:{MEMBER}", job_owner=MEMBER),
        entry("d1", "05T09:00", f"badge:{BADGE}"),
        sale("s1", "05T10:00", "3.50", f"mac:{MAC}", "account"),
    ]
    await space.take(*bodies)
    async with as_owner(space.database) as owner:
        await owner.execute(
            insert(rejections),
            [
                {
                    "operator": OPERATOR,
                    "digest": b"d",
                    "code": "c",
                    "detail": f"of {MAIL}",
                    "channel": "http",
                    "origin": "o",
                    "body": f'{{"by": "{NAME}"}}'.encode(),
                    "first_at": LATER,
                    "last_at": LATER,
                }
            ],
        )
    return bodies


def renamed(books: dict[str, Any], name: str) -> Any:
    """Books in which a pseudonym stands for the member."""
    return json.loads(json.dumps(books, default=str, sort_keys=True).replace(MEMBER, name))


async def test_the_bill_the_seals_and_repetitions_stand(
    database_url: str, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url, people) as space:
        bodies = await filled(space)
        await seal(space.database)
        assert (await verified(space.database)).faults == []
        before, charged = await space.books(), await space.rows("SELECT id, amount, rounded FROM charges ORDER BY 1")
        assert MEMBER in str(before["draws"]), "her credit is hers"

        told = await machine("privacy", "erase", MEMBER, "--yes")
        assert told["rows"]["events"] == 7
        await seal(space.database)
        found = await verified(space.database)
        assert found.faults == []
        assert found.redacted == told["redacted"] > 10
        async with as_owner(space.database) as owner:
            assert await found_in(owner) == []

        # The fold runs again on what is left: from a worker that remembers nothing, and from one that does.
        await space.rate()
        space.new_worker()
        await space.rate()
        assert same(await space.books(), renamed(before, told["pseudonym"]))
        assert await space.rows("SELECT id, amount, rounded FROM charges ORDER BY 1") == charged
        assert await audit(space.database, OPERATOR, at=LATER)

        # What is delivered again is known, whatever stands in its place.
        assert {receipt.status for receipt in await space.accept(bodies)} == {"duplicate"}

        # Once more does no harm, and by her id nobody is known.
        again = await machine("privacy", "erase", told["pseudonym"], "--yes")
        assert (again["rows"], again["redacted"]) == ({}, 0)
        assert "no member" in str((await meter("privacy", "erase", MEMBER, "--yes")).exception)

        # Of hers that comes later nobody answers for it: it is somebody's only once somebody says so.
        await space.take(pages("late", "06T08:00", 5, f"badge:{BADGE}"))
        assert await space.rows("SELECT id FROM unresolved") == [("late",)]
        assert await space.rows("SELECT id, amount, rounded FROM charges ORDER BY 1") == charged


def same(books: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare without the order that names give."""
    told = json.loads(json.dumps(books, default=str))
    return {name: sorted(map(str, rows)) for name, rows in told.items()} == {
        name: sorted(map(str, rows)) for name, rows in wanted.items()
    }


async def test_a_redaction_that_is_not_in_the_sealed_log_hides_nothing(
    database_url: str, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url, people) as space:
        await filled(space)
        await seal(space.database)
        await machine("privacy", "erase", MEMBER, "--yes")
        young = (await verified(space.database)).faults
        assert young
        assert all("not sealed yet" in fault for fault in young)
        await seal(space.database)
        assert (await verified(space.database)).faults == []
        for statement in (
            "UPDATE audit SET detail = detail || '{\"after\": \"00\"}' WHERE action = 'redacted' AND kind = 'charges'",
            "UPDATE charges SET amount = amount + 1 WHERE member <> 'bob'",
            "UPDATE events SET data = data || '{\"impressions\": 1}' WHERE id = 'z1'",
            "DELETE FROM audit WHERE action = 'redacted' AND kind = 'entries'",
            # The directory's rows of her are held by their records as everybody's.
            "UPDATE member_accounts SET \"end\" = now() WHERE member NOT IN ('ada', 'bob', 'eve', 'zoe-9-2')",
            "UPDATE identities SET \"end\" = now() WHERE identity LIKE '%erased-%'",
            "DELETE FROM identities WHERE identity LIKE '%erased-%'",
        ):
            async with tampering(space.database) as connection:
                assert (await connection.execute(text(statement))).rowcount
                assert await verify_in(connection) != [], statement
        async with tampering(space.database) as connection:
            [charge] = (await connection.execute(text("SELECT id FROM charges WHERE event_id = 'b1'"))).scalars()
            before = (await forms(connection, OPERATOR, "charges", [charge]))[charge]
            await connection.execute(text("UPDATE charges SET amount = amount + 1 WHERE id = :id"), {"id": charge})
            after = (await forms(connection, OPERATOR, "charges", [charge]))[charge]
            await write_redactions(
                connection, OPERATOR, member="forged", changed=[("charges", before, after)], summary={}
            )
            assert any("(charges, " in fault for fault in await verify_in(connection))
