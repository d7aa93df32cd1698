"""Movements that came long ago hold no more than a bill needs, and no bill, seal or repetition notices (0026)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from meter.booking.audit import audit
from meter.booking.movements import MovementsKeeper, thin
from meter.booking.rerate import rerate
from meter.booking.ties import ties
from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import BadInput
from meter.store import thinning
from meter.store.acting import say_operator
from meter.store.engine import Database
from meter.store.seals import seal_some
from meter.store.thinning import MARK
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, LATER, Space, event, open_space, pages, void
from tests.cli.command import done, machine, meter
from tests.evidence.test_seals import tampering, verified, verify_in
from tests.gateway import RunningGateway

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
BEFORE = LONG_AGO + timedelta(days=1)
# Everything of a movement that a fold can read, by two versions.
RICH = CATALOG.replace(
    "  cafe: {event",
    """  presence: {event: door.access, where: {granted: true}, aggregate: duration, unit: hour, key: member,
    start: {direction: in}, end: {direction: out}, max: 14h, missing_end: cap, group_by: [zone]}
  wifi-data: {event: wifi.session, aggregate: counter, value: bytes_in, key: session, from_zero: true, reset: none,
    scale: "1e-9", unit: GB}
  cafe: {event""",
).replace(
    "      day-passes: [",
    """      presence: [{id: hours, model: per_unit, unit_price: "2.00"}]
      wifi-data: [{id: gb, model: per_unit, unit_price: "0.30"}]
      day-passes: [""",
)
KEPT = {"granted", "direction", "zone", "estimated"}


def door(event_id: str, time: str, direction: str, subject: str = "badge:ADA1", **more: Any) -> bytes:
    """A door as systems tell of it: with a credential, a name and what it is called."""
    data = {"door": "main", "granted": True, "direction": direction, "credential": "04A2", "holder": "Ada Lovelace"}
    body = json.loads(event("door.access", event_id, time, subject, "berlin/door/main", data | {"zone": "hall"} | more))
    return json.dumps(body | {"badgeholder": "ada", "authorization": "a1"}).encode()


def wifi(event_id: str, time: str, status: str, count: int, subject: str = "badge:ADA1") -> bytes:
    data = {"session": "s1", "status": status, "bytes_in": count, "bytes_out": 7, "ap": "desk-12", "seconds": 60}
    return event("wifi.session", event_id, time, subject, "berlin/wifi/net", data)


BODIES = [
    *(door(f"i{n}", f"0{2 + n}T08:00", "in") for n in range(5)),
    *(door(f"o{n}", f"0{2 + n}T17:{10 + n}", "out") for n in range(4)),
    door("no", "03T09:00", "in", granted=False, reason="expired"),
    door("b1", "03T10:00", "in", "badge:B0B1"),
    door("u1", "03T10:30", "in", "badge:NOBODY"),
    wifi("w1", "03T10:00", "start", 0),
    wifi("w2", "03T11:00", "interim", 3_000_000_000),
    wifi("w3", "03T12:00", "stop", 9_000_000_000),
    pages("p1", "03T08:00", 70, owner="Ada Lovelace"),
    void("v1", "05T20:00", "i3", "berlin/door/main"),
]


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url, RICH) as opened:
        for n in range(0, len(BODIES), 5):
            await opened.take(*BODIES[n : n + 5])
            await seal(opened.database)
        yield opened


async def seal(database: Database) -> None:
    """Seal everything that is committed, long ago."""
    while True:
        async with database.begin() as connection:
            if not await seal_some(connection, OPERATOR, at=LONG_AGO):
                return


@asynccontextmanager
async def owner(space: Space) -> AsyncIterator[AsyncConnection]:
    database = Database(space.database.url, as_owner=True)
    try:
        async with database.begin() as connection:
            await say_operator(connection, OPERATOR)
            yield connection
    finally:
        await database.dispose()


async def stored(space: Space) -> dict[str, tuple[Any, Any]]:
    rows = await space.rows("SELECT id, data, attributes FROM events WHERE type IN ('door.access', 'wifi.session')")
    return {row[0]: (row[1], row[2]) for row in rows}


async def marked(space: Space) -> int:
    return sum(MARK in (attributes or {}) for _, attributes in (await stored(space)).values())


async def test_only_what_a_bill_needs_is_left_and_the_bill_is_the_same(space: Space) -> None:
    before = await space.books()
    charges = await space.rows("SELECT id, event_id, amount, rounded, dimensions FROM charges ORDER BY 1")
    assert {row[1] for row in charges} >= {"i0", "w2", "p1"}
    would = await machine("privacy", "movements", "--days", "35", "--dry-run")
    assert (would["movements"], would["thinned"]) == (15, 15)
    assert would["members"]["door.access holder"] == 12
    assert all("holder" in data for data, _ in (await stored(space)).values() if "door" in data), "only told"

    told = await machine("privacy", "movements", "--days", "35", "--yes")
    assert told == would
    for data, attributes in (await stored(space)).values():
        wanted = {"session", "status", "seconds", "bytes_in"} if "session" in data else KEPT
        assert data.keys() <= wanted
        assert attributes in ({MARK: True}, {MARK: True, "authorization": "a1"})
    [[owner_of_job]] = await space.rows("SELECT data ->> 'owner' FROM events WHERE id = 'p1'")
    assert owner_of_job == "Ada Lovelace", "a print job is no movement"

    await seal(space.database)
    found = await verified(space.database)
    assert (found.faults, found.thinned, found.redacted) == ([], 15, 0)
    # Folded again: by a worker that remembers nothing, and by the check.
    space.new_worker()
    await space.apply(RICH.replace('unit_price: "2.00"', 'unit_price: "2.50"') + "effective: 2026-01-01\n")
    await space.apply(RICH + "effective: 2026-01-01\n")
    await space.rate()
    assert await space.books() == before
    assert await audit(space.database, OPERATOR, at=LATER)
    assert [told.fault async for told in ties(space.database, OPERATOR) if told.fault] == []
    # What comes once more is known, and what comes as something else is told.
    assert {receipt.status for receipt in await space.accept(BODIES)} == {"duplicate"}
    other = await space.accept([door("i0", "02T08:00", "in", zone="roof")])
    assert [receipt.status for receipt in other] == ["rejected"]
    # Once more there is nothing to do.
    again = await machine("privacy", "movements", "--days", "35", "--yes")
    assert again == {"movements": 0, "thinned": 0, "changed": 0, "members": {}}

    charge = next(row[0] for row in charges if row[1] == "i0")
    shown = await machine("explain", charge)
    assert [one["thinned"] for one in shown["events"]] == [True] * len(shown["events"])
    assert "of its data only what a bill needs was kept" in shown["text"]


async def test_what_is_young_or_not_sealed_is_whole(space: Space) -> None:
    await space.take(door("young", "07T08:00", "in"))
    async with space.database.begin() as connection:
        assert await seal_some(connection, OPERATOR, at=BEFORE)
    await space.take(door("unsealed", "07T09:00", "in"))
    found = await thin(lambda: owner(space), OPERATOR, before=BEFORE)
    assert found.thinned == 15
    assert {name for name, (data, _) in (await stored(space)).items() if "holder" in data} == {"young", "unsealed"}
    await seal(space.database)
    assert (await thin(lambda: owner(space), OPERATOR, before=BEFORE + timedelta(seconds=1))).thinned == 2


EDITS = {
    "another value": "UPDATE events SET data = data || '{\"direction\": \"out\"}' WHERE id = 'i1'",
    "a member more": "UPDATE events SET data = data || '{\"zone2\": \"x\"}' WHERE id = 'w2'",
    "another person": "UPDATE events SET subject = 'badge:B0B1' WHERE id = 'i1'",
    "a subject less": "UPDATE events SET subject = NULL WHERE id = 'o1'",
    "all that was there": "UPDATE events SET data = data || '{\"holder\": \"Ada Lovelace\"}' WHERE id = 'i0'",
    "no movement": "UPDATE events SET data = data || '{\"impressions\": 1}' WHERE id = 'p1'",
    "a type": "UPDATE events SET type = 'room.entered' WHERE id = 'i1'",
    "a digest": "UPDATE audit SET detail = detail || '{\"digest\": \"00\"}' WHERE action = 'thinned'",
    "another catalog": "UPDATE audit SET detail = detail || '{\"catalog\": 99}' WHERE action = 'thinned'",
    "no record": "DELETE FROM audit WHERE action = 'thinned'",
    "another block": "UPDATE audit SET object = lpad((object::bigint + 1)::text, 12, '0') WHERE action = 'thinned'",
}


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS.keys())
async def test_an_edit_of_what_was_left_is_found(space: Space, statement: str) -> None:
    await thin(lambda: owner(space), OPERATOR, before=BEFORE)
    await seal(space.database)
    async with tampering(space.database) as connection:
        assert await verify_in(connection) == []
        assert (await connection.execute(text(statement))).rowcount
        assert await verify_in(connection) != []


async def test_what_was_edited_before_is_left_for_verifying_to_name(space: Space) -> None:
    """Else the record of thinning would stand over the edit."""
    await space.rows("UPDATE events SET data = data || '{\"direction\": \"out\"}' WHERE id = 'i1' RETURNING id")
    assert (await thin(lambda: owner(space), OPERATOR, before=BEFORE)).changed == 1
    await seal(space.database)
    data, _ = (await stored(space))["i1"]
    assert data["holder"] == "Ada Lovelace"
    assert (await verified(space.database)).faults != []


async def test_a_record_counts_once_it_is_sealed(space: Space) -> None:
    await thin(lambda: owner(space), OPERATOR, before=BEFORE)
    young = (await verified(space.database)).faults
    assert young
    assert all("not sealed yet" in fault for fault in young)


@pytest.mark.parametrize("order", ["erased first", "thinned first", "erased around"])
async def test_erased_and_thinned_in_any_order(space: Space, order: str) -> None:
    before, charged = await space.books(), await space.rows("SELECT id, amount, rounded FROM charges ORDER BY 1")
    if order != "thinned first":
        await machine("privacy", "erase", "bob", "--yes")
        await seal(space.database)
    await thin(lambda: owner(space), OPERATOR, before=BEFORE)
    await seal(space.database)
    if order != "erased first":
        await machine("privacy", "erase", "ada", "--yes")
        await seal(space.database)
    found = await verified(space.database)
    assert (found.faults, found.thinned) == ([], 15)
    assert found.redacted
    assert await space.rows("SELECT id, amount, rounded FROM charges ORDER BY 1") == charged
    await space.rate()
    assert (await space.books())["rounded"] == before["rounded"]
    async with tampering(space.database) as connection:
        edit = "UPDATE events SET data = data || '{\"direction\": \"in\"}' WHERE id IN ('o1', 'o2')"
        assert (await connection.execute(text(edit))).rowcount == 2
        assert await verify_in(connection) != []


async def test_killed_between_and_within_transactions_it_goes_on(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "ROWS_MAX", 1)

    class KilledError(Exception):
        pass

    def at_second(found: Any) -> None:
        if found.thinned >= 5:
            raise KilledError

    with pytest.raises(KilledError):
        await thin(lambda: owner(space), OPERATOR, before=BEFORE, told=at_second)
    done_so_far = await marked(space)
    assert 0 < done_so_far < 15

    @asynccontextmanager
    async def cut_off() -> AsyncIterator[AsyncConnection]:
        async with owner(space) as connection:
            yield connection
            raise KilledError  # rolled back whole, events and record

    with pytest.raises(KilledError):
        await thin(cut_off, OPERATOR, before=BEFORE)
    assert await marked(space) == done_so_far
    # Two at once: each block is one's.
    both = await asyncio.gather(*(thin(lambda: owner(space), OPERATOR, before=BEFORE) for _ in range(2)))
    assert await marked(space) == 15
    assert sum(found.thinned for found in both) == 15 - done_so_far
    assert [found.changed for found in both] == [0, 0]
    await seal(space.database)
    assert ((await verified(space.database)).faults, (await verified(space.database)).thinned) == ([], 15)


async def test_a_catalog_that_reads_what_is_gone_is_refused(space: Space) -> None:
    await thin(lambda: owner(space), OPERATOR, before=BEFORE)
    reads = RICH.replace("group_by: [zone]", "group_by: [zone, door]")
    for effective in ("2026-01-01", "2026-03-02"):
        with pytest.raises(
            BadInput, match=r"door\.access read door, which movements up to 2026-03-06T08:00:00"
        ) as told:
            await space.apply(f"{reads}effective: {effective}\n")
        assert told.value.code == "movements_thinned"
    # From later on, and what every thinned event has, is no matter.
    await space.apply(f"{reads}effective: 2026-03-07\n")
    await space.apply(RICH.replace('unit_price: "2.00"', 'unit_price: "3.00"') + "effective: 2026-02-01\n")
    async with space.database.begin() as connection:
        with pytest.raises(BadInput, match="movements up to"):
            await rerate(
                connection,
                OPERATOR,
                since=datetime(2026, 2, 1, tzinfo=UTC),
                account=None,
                reason="by doors",
                now=datetime(2026, 3, 8, tzinfo=UTC),
            )


async def test_the_gateway_thins_under_its_lease(space: Space) -> None:
    keeper = MovementsKeeper(
        space.database, operator=OPERATOR, leases=space.leases, days=35, clock=lambda: BEFORE + timedelta(days=35)
    )
    assert await keeper.step() is None, "another has the lease"
    await space.leases.maintain([keeper.lease_name])
    found = await keeper.step()
    assert found is not None
    assert found.thinned == 15


async def test_a_login_that_does_not_own_the_tables_says_so(space: Space, pg_server: EmbeddedPostgres) -> None:
    """The wall stands: nothing is granted for it."""
    admin = await asyncpg.connect(pg_server.admin_url)
    await admin.execute("CREATE ROLE thinning LOGIN PASSWORD 'thinning'; GRANT meter_gateway TO thinning")
    parts = urlsplit(space.database.url)
    url = parts._replace(netloc=f"thinning:thinning@{parts.hostname}:{parts.port}").geturl()
    database = Database(url, operator=OPERATOR)
    keeper = MovementsKeeper(database, operator=OPERATOR, leases=space.leases, days=35, clock=lambda: LATER)
    try:
        await space.leases.maintain([keeper.lease_name])
        with capture_logs() as told:
            running = asyncio.create_task(keeper.run())
            async with asyncio.timeout(60):
                await keeper.tried.wait()
            running.cancel()
        [said] = [line for line in told if line["event"] == "movements_kept"]
        assert "run `meter privacy movements --yes` daily" in said["detail"]
        assert await marked(space) == 0
    finally:
        await database.dispose()
        await admin.execute("DROP ROLE thinning")
        await admin.close()


async def test_the_check_warns_of_what_is_whole_for_too_long(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    async def told() -> list[tuple[str, str]]:
        found = json.loads((await meter("check", "--deep", "--json")).stdout)
        return [(one["state"], one["detail"] or "") for one in found if one["part"] == "movements"]

    assert await told() == []
    monkeypatch.setenv("METER_PRIVACY__MOVEMENTS_DAYS", "35")
    [(state, detail)] = await told()
    assert (state, "15 came more than 35 days ago" in detail) == ("warning", True)
    await machine("privacy", "movements", "--yes")
    assert await told() == [("ok", "")]


@pytest.mark.slow
async def test_a_gateway_that_is_told_to_takes_the_lease(data_dir: Path) -> None:
    home, catalog = data_dir / "home", data_dir / "catalog.yaml"
    home.mkdir(mode=0o711)
    catalog.write_text(RICH)
    told = {"METER_CATALOG": str(catalog), "METER_PRIVACY__MOVEMENTS_DAYS": "35"}
    async with RunningGateway(home, env=told) as gateway:
        lease = f"SELECT 1 FROM leases WHERE name = 'movements {OPERATOR}'"  # noqa: S608 -- a constant of ours
        async with asyncio.timeout(60):
            while not await gateway.rows(lease):  # noqa: ASYNC110 -- another process takes it
                await asyncio.sleep(0.1)
    assert "movements_kept" not in gateway.log.read_text()


async def test_days_are_asked_for_and_have_a_least(space: Space) -> None:
    assert "give --days" in str((await meter("privacy", "movements", "--yes")).exception)
    assert (await meter("privacy", "movements", "--days", "34", "--yes")).exit_code == 2
    assert "--json asks nothing" in str((await meter("privacy", "movements", "--days", "35", "--json")).exception)
    said = await done("privacy", "movements", "--days", "35", "--dry-run")
    assert "15 of 15 movements would lose what no bill needs" in said
    assert "door.access holder: 12" in said
