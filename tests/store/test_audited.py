"""Every change of what people decide is recorded, whoever's code made it (decision 0020)."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import text

from meter.catalog.load import read_catalog_text
from meter.store.apply import apply_catalog
from meter.store.audited import AUDITED, SEALED, UNRECORDED, acting_for
from meter.store.engine import Database
from meter.store.keys import create_key
from meter.store.walls import NEEDS
from tests.booked import DUES, NOON, OPERATOR
from tests.owning import as_owner


async def recorded(database: Database, kind: str) -> list[Any]:
    async with as_owner(database) as connection:
        rows = await connection.execute(
            text("SELECT actor, action, object, member, detail FROM audit WHERE kind = :kind ORDER BY seq"),
            {"kind": kind},
        )
        return list(rows)


async def test_each_table_is_recorded_sealed_or_neither_for_a_reason() -> None:
    parts = [*AUDITED, *SEALED, *UNRECORDED]
    assert sorted(parts) == sorted(NEEDS), "say in meter/store/audited.py what is recorded of the new table"


async def test_the_database_has_the_triggers_that_the_code_names(database: Database) -> None:
    async with as_owner(database) as connection:
        rows = await connection.execute(
            text(
                "SELECT c.relname, t.tgname, encode(t.tgargs, 'escape') AS arguments FROM pg_trigger AS t"
                " JOIN pg_class AS c ON c.oid = t.tgrelid WHERE t.tgname LIKE 'audited%' AND t.tgenabled = 'O'"
            )
        )
        found = {(row.relname, row.tgname): tuple(row.arguments.split("\\000")[:-1]) for row in rows}
    wanted = {
        (table, f"audited_{event}"): audited.arguments
        for table, audited in AUDITED.items()
        for event in ("insert", "update", "delete")
    }
    assert found == wanted


async def test_a_catalog_and_its_people_are_recorded_without_a_name(database: Database) -> None:
    with acting_for("key_1"):
        async with database.begin() as connection:
            await apply_catalog(connection, read_catalog_text([("catalog.yaml", DUES)]), now=NOON)
    for kind, count in (("catalogs", 1), ("accounts", 1), ("members", 1), ("identities", 1), ("grants", 1)):
        rows = await recorded(database, kind)
        assert [(row.actor, row.action) for row in rows] == [("key_1", "made")] * count, kind
    [identity] = await recorded(database, "identities")
    [member] = await recorded(database, "members")
    assert identity.member == member.member == member.object
    told = str([*(await recorded(database, "members")), *(await recorded(database, "identities"))])
    assert not re.search("Ada|ADA1|'ada'", told)


async def test_what_changes_is_named_and_what_stays_is_not_recorded(database: Database) -> None:
    async with database.begin() as connection:
        await apply_catalog(connection, read_catalog_text([("catalog.yaml", DUES)]), now=NOON)
        key, _ = await create_key(connection, OPERATOR, scopes=frozenset({"admin"}), site=None, account=None)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE members SET name = 'Ada L.'"))
        await connection.execute(text("UPDATE members SET name = 'Ada L.'"))
        await connection.execute(text("UPDATE accounts SET currency = 'USD'"))
    assert [(row.action, row.detail.get("fields")) for row in await recorded(database, "members")] == [
        ("made", None),
        ("changed", ["name"]),
    ]
    assert [row.detail.get("fields") for row in await recorded(database, "accounts")] == [None, ["currency"]]
    assert [row.object for row in await recorded(database, "api_keys")] == [key.id]
    assert {row.actor for row in await recorded(database, "accounts")} == {"system"}


async def test_a_change_that_is_rolled_back_leaves_no_record(database: Database) -> None:
    async with database.begin() as connection:
        await apply_catalog(connection, read_catalog_text([("catalog.yaml", DUES)]), now=NOON)
    before = len(await recorded(database, "accounts"))
    async with database.engine.connect() as connection:
        await connection.execute(text("UPDATE accounts SET currency = 'USD'"))
        await connection.rollback()
    assert len(await recorded(database, "accounts")) == before
