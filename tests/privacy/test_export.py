"""All that is held of a member is exported, whichever column holds it, and nothing that is another's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    insert,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.personal import NOBODY, UNTOLD, rows_of, traces_of
from meter.store.tables import metadata
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, open_space, pages
from tests.cli.command import done, meter
from tests.owning import as_owner

MEMBER, NAME, MAIL, BADGE, MAC = "zoe-9", "Zoë Quandt", "zoe.quandt@example.org", "04C0FFEE", "da-de-df-ee-92-51"
PEOPLE = (
    f"  {MEMBER}: {{account: acme, name: {NAME}, email: {MAIL}, identities: ['badge:{BADGE}', 'mac:{MAC}']}}\n"
    f"  {MEMBER}-2: {{account: solo, name: Zoë Quandtner}}\n"
)
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
# In texts, JSON and bytes: as it is stored, as vendors write it, as a body that was kept as sent has it.
SPELLINGS = [NAME, json.dumps(NAME)[1:-1], MAIL, BADGE, MAC, "DADE.DFEE.9251", f"member:{MEMBER}"]
CHECKS = text(
    "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint"
    " WHERE contype = 'c' AND connamespace = CAST('public' AS regnamespace) AND conparentid = 0"
)
# The member's own rows hold these already, and no others can.
ITS_OWN = {("members", "member"), ("member_keys", "member"), ("member_keys", "pseudonym")}
SEARCHED = [
    (table, column)
    for table in metadata.sorted_tables
    if table.name not in NOBODY
    for column in table.columns
    if isinstance(column.type, (Text, JSONB, LargeBinary))
    and column.name != "operator"
    and f"{table.name}.{column.name}" not in UNTOLD
]


def test_what_is_not_searched_exists() -> None:
    columns = {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns}
    assert metadata.tables.keys() >= NOBODY.keys()
    assert columns >= UNTOLD.keys()


def test_of_bytes_only_bodies_are_told() -> None:
    """New bytes are a hash, a secret or somebody's: whoever adds them says which."""
    told = {f"{table.name}.{column.name}" for table, column in SEARCHED if isinstance(column.type, LargeBinary)}
    assert told == {"outbox.payload", "rejections.body", "rejections.stands"}


def test_lists_of_texts_name_nobody() -> None:
    """They are not searched: of a new one somebody says so here."""
    lists = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, ARRAY) and isinstance(column.type.item_type, Text)
    }
    assert lists == {"api_keys.scopes", "grants.meters"}


async def test_a_canary_in_any_column_is_found(database_url: str) -> None:
    """Every searched column of every table in turn holds what the member is known by, and nothing else does."""
    async with open_space(database_url, CATALOG + PEOPLE) as space, as_owner(space.database) as owner:
        for dropped in (await owner.execute(CHECKS)).scalars().all():
            await owner.execute(text(dropped))  # a state of words only is no less searched
        traces = await traces_of(owner, OPERATOR, MEMBER)
        before = {table.name: 0 for table in metadata.sorted_tables}
        async for found in rows_of(owner, OPERATOR, traces):
            before[found.table] += 1
        planted = dict.fromkeys(before, 0)
        for table, column in SEARCHED:
            for spelling in [] if (table.name, column.name) in ITS_OWN else spellings(column):
                async with owner.begin_nested():
                    await owner.execute(insert(table), [row_of(table, column, spelling, sum(planted.values()))])
                planted[table.name] += 1
        after = dict.fromkeys(before, 0)
        named = set()
        async for found in rows_of(owner, OPERATOR, traces):
            after[found.table] += 1
            named |= {(found.table, one) for one in found.by}
        await owner.rollback()
    # What is planted is recorded as well.
    assert after.pop("audit") - before["audit"] >= planted.pop("audit")
    assert {name: after[name] - before[name] for name in after} == planted
    assert named >= {(table.name, column.name) for table, column in SEARCHED} - ITS_OWN


def spellings(column: Column[Any]) -> list[Any]:
    """Return what is planted into `column`: whole values into ids, spellings amid a text into what holds texts."""
    if isinstance(column.type, JSONB):
        return [{"note": {"by": [f"seen: {one}."]}} for one in SPELLINGS if "\\" not in one]
    if isinstance(column.type, LargeBinary):
        return [f'{{"by": "{one}"}}'.encode() for one in SPELLINGS]
    if getattr(column.type, "collation", None) is None:
        return [f"seen: {one}." for one in SPELLINGS]
    return [MEMBER] if column.name == "member" else [MEMBER, f"badge:{BADGE}", MAIL]


def row_of(table: Table, planted: Column[Any], value: Any, n: int) -> dict[str, Any]:
    """Return a row of `table` that names the member in `planted` only."""
    filled = {
        column.name: _filler(column, n)
        for column in table.columns
        if not column.nullable and column.identity is None and (column.server_default is None or column.primary_key)
    }
    if "member" in filled and table.name != "members":  # of a row that names another nothing is told
        filled["member"] = MEMBER
    return filled | {"operator": OPERATOR, planted.name: value}


def _filler(column: Column[Any], n: int) -> Any:
    match column.type:
        case BigInteger() | Integer():
            return 1 if column.name == "anchor_day" else n + 100
        case Numeric():
            return Decimal(n + 1)
        case DateTime():
            return AT
        case Date():
            return date(2026, 3, 2)
        case Boolean():
            return False
        case JSONB():
            return {}
        case LargeBinary():
            return f"none-{n}".encode()
        case ARRAY():
            return []
        case _:
            return f"none-{n}"


async def test_nothing_of_another_is_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a member whose id or name begins alike, nor of whoever had the badge before."""
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    people = (
        f"  {MEMBER}: {{account: acme, name: {NAME}, email: {MAIL}, identities: [{{id: 'badge:{BADGE}', "
        "from: 2026-03-05}]}\n"
        f"  {MEMBER}-2: {{account: solo, name: Zoë Quandtner, identities: [{{id: 'badge:{BADGE}', "
        "to: 2026-03-05}]}\n"
    )
    async with open_space(database_url, CATALOG + people) as space:
        await space.take(pages("before", "02T08:00", 40, f"badge:{BADGE}"))
        await space.take(pages("hers", "06T08:00", 7, f"badge:{BADGE}"))
        await space.rate()
        told = json.loads(await done("privacy", "export", MEMBER))
    rows = told["rows"]
    assert [row["row"]["id"] for row in rows if row["table"] == "events"] == ["hers"]
    assert {row["row"]["event_id"] for row in rows if row["table"] == "charges"} == {"hers"}
    assert [row["row"]["member"] for row in rows if row["table"] == "members"] == [MEMBER]
    assert {row["row"]["member"] for row in rows if row["table"] in {"identities", "member_accounts"}} == {MEMBER}
    assert [row["row"]["account"] for row in rows if row["table"] == "accounts"] == ["acme"]
    assert "Zoë Quandtner" not in json.dumps(rows, ensure_ascii=False)
    key = next(row["row"] for row in rows if row["table"] == "member_keys")
    assert "key" not in key
    assert any(row["table"] == "audit" and row["row"]["member"] == key["pseudonym"] for row in rows)


async def test_nobody_is_said(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url):
        failed = await meter("privacy", "export", "nobody")
    assert failed.exit_code != 0
    assert not failed.stdout
