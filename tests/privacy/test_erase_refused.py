"""Where erasing would change a bill, or what a target may hold already, all stays as it is, and it is said why."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import insert, select

from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import BadInput
from meter.store.acting import gateway_role
from meter.store.engine import Database
from meter.store.tables import metadata, outbox
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, LATER, open_space, pages
from tests.cli.command import machine, meter
from tests.owning import as_owner
from tests.privacy.test_export import BADGE, MEMBER, NAME, PEOPLE

COUNTED = "where: {status: completed}, aggregate: sum, value: impressions"


@pytest.fixture(autouse=True)
def _command_line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)


async def dump(database: Database, **where: str) -> dict[str, list[Any]]:
    """Every row of every table, but for the record of who ran what."""
    found = {}
    async with as_owner(database) as owner:
        for table in metadata.sorted_tables:
            if table.name != "audit":
                query = select(table)
                for name, value in where.items():
                    query = query.where(table.c[name] == value) if name in table.c else query
                found[table.name] = sorted(map(repr, await owner.execute(query)))
    return found


async def refused() -> str:
    """The code with which erasing her ends."""
    result = await meter("privacy", "erase", MEMBER, "--yes")
    assert isinstance(result.exception, BadInput), result.output
    return result.exception.code


@pytest.mark.parametrize(
    ("owner", "wanted"),
    [
        # More than her name: the catalog's word is another one, so what stands in events would be replaced.
        (f"{NAME} (guest)", f"{NAME} (guest)"),
        # Her badge in another spelling than the one that is stored.
        ("04:c0:ff:ee", "04:c0:ff:ee"),
    ],
)
async def test_what_decides_on_a_price_is_not_erased(database_url: str, owner: str, wanted: str) -> None:
    catalog = CATALOG.replace(COUNTED, COUNTED.replace("{status", f'{{job_owner: "{wanted}", status'))
    assert catalog != CATALOG
    async with open_space(database_url, catalog + PEOPLE) as space:
        await space.take(pages("z1", "02T08:00", 130, f"badge:{BADGE}", job_owner=owner))
        assert len(await space.sums()) == 1
        before = await dump(space.database)
        assert await refused() == "bill_would_change"
        assert await dump(space.database) == before


async def test_what_is_still_to_be_booked_is_no_change(database_url: str) -> None:
    """Of another's account in whose events she is named, too: rating may be behind."""
    async with open_space(database_url, CATALOG + PEOPLE) as space:
        await space.take(pages("e0", "02T08:00", 10, "badge:EFE1", job_owner=NAME))
        await space.accept([pages("e1", "03T08:00", 130, "badge:EFE1", job_owner=NAME)])
        await space.accept([pages("z1", "03T08:00", 7, f"badge:{BADGE}")])
        done = await machine("privacy", "erase", MEMBER, "--yes")
        assert done["accounts"] == ["acme", "solo"]
        await space.rate()
        sums = {(account, member): quantity for account, member, _, _, _, quantity, *_ in await space.sums()}
        assert sums == {("solo", "eve"): 140, ("acme", done["pseudonym"]): 7}


@pytest.mark.parametrize(
    ("state", "first_sent_at", "goes"),
    [
        ("sending", None, False),
        ("uncertain", LATER, False),
        ("pending", LATER, False),
        ("pending", None, True),
        ("delivered", LATER, True),
        ("dead", LATER, True),
    ],
)
async def test_what_a_target_may_hold_is_not_rewritten(
    database_url: str, state: str, first_sent_at: datetime | None, *, goes: bool
) -> None:
    async with open_space(database_url, CATALOG + PEOPLE) as space:
        async with as_owner(space.database) as owner:
            item: dict[str, Any] = {"operator": OPERATOR, "target": "ledger", "operation": "journal", "state": state}
            item |= {"first_sent_at": first_sent_at, "batch": "b"}
            of_another = f'{{"by": "{MEMBER}-2"}}'.encode()
            await owner.execute(insert(outbox), [item | {"key": "1", "payload": f'{{"by": "{NAME}"}}'.encode()}])
            await owner.execute(insert(outbox), [item | {"key": "2", "payload": of_another, "state": "sending"}])
        before = await dump(space.database)
        if not goes:
            assert await refused() == "deliveries_under_way"
            assert await dump(space.database) == before
            return
        done = await machine("privacy", "erase", MEMBER, "--yes")
        [[hers], [others]] = await space.rows("SELECT payload FROM outbox ORDER BY key")
        assert hers == f'{{"by": "{done["pseudonym"]}"}}'.encode()
        assert others == of_another


async def test_a_gateways_login_erases_nobody(
    pg_server: EmbeddedPostgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(database_url)
    role = gateway_role(str(parts.username))
    admin = await asyncpg.connect(pg_server.admin_url)
    await admin.execute(f"CREATE ROLE erasing LOGIN PASSWORD 'erasing'; GRANT \"{role}\" TO erasing")
    try:
        async with open_space(database_url, CATALOG + PEOPLE) as space:
            await space.take(pages("z1", "02T08:00", 130, f"badge:{BADGE}"))
            before = await dump(space.database)
            url = parts._replace(netloc=f"erasing:erasing@{parts.hostname}:{parts.port}").geturl()
            monkeypatch.setenv("METER_DATABASE_URL", url)
            assert await refused() == "not_owner"
            assert await dump(space.database) == before
    finally:
        await admin.execute("DROP ROLE erasing")
        await admin.close()
