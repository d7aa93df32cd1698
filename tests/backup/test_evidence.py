"""The evidence as Parquet: whole, exact, readable by others, and found out where it is altered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from meter.backup import evidence as writing
from meter.backup.evidence import evidence_faults, read_evidence
from meter.backup.keeping import EvidenceKeeper, Evidences
from meter.backup.manifest import MANIFEST
from meter.config import StoreSettings
from meter.model.errors import BadInput, Unavailable
from meter.store.leases import LeaseKeeper
from meter.store.seals import newest, seal_some
from meter.telemetry import Telemetry
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, LATER, Space, entry, open_space, pages, sale
from tests.cli.command import meter
from tests.gateway import RunningGateway
from tests.owning import as_owner
from tests.targets.fakes.s3 import FakeS3

PACKED = CATALOG + (
    "grants:\n"
    '  - {id: pack, account: acme, unit: page, amount: "50", effective: 2026-03-01, bought: {price: "10.00"}}\n'
)
TABLES = ("events", "charges", "draws", "entries", "journal", "grants")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setattr(writing, "_PAGE_ROWS", 7)  # so that there are many
    async with open_space(database_url, PACKED) as opened:
        await opened.take(*(pages(f"p{n}", f"0{2 + n % 7}T08:{n:02}", 20 + n) for n in range(20)))
        await opened.take(entry("d1", "03T09:00"), sale("s1", "05T10:00", "3.50"))
        async with opened.database.begin() as connection:
            await seal_some(connection, OPERATOR, at=LATER)
        yield opened


def place(folder: Path) -> Evidences:
    return Evidences(str(folder), StoreSettings(), staging=folder)


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


async def test_every_row_is_there_once_and_says_what_is_stored(space: Space, data_dir: Path) -> None:
    made = await place(data_dir / "kept").export(space.database, OPERATOR, at=LATER)
    folder = data_dir / "kept" / made.name
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, *(f"{one}.parquet" for one in TABLES)])
    assert oct((folder / "events.parquet").stat().st_mode & 0o777) == "0o600"
    for file in made.files:
        table = file.name.removesuffix(".parquet")
        [[count]] = await space.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 -- our tables
        assert (file.rows, len(rows(folder, table))) == (count, count), table
        assert count > 0, f"no {table}: nothing is shown of them"
    stored = await space.rows(
        "SELECT id, amount, rounded, xid::text::bigint, event_time FROM charges ORDER BY xid, seq"
    )
    told = [(r["id"], r["amount"], r["rounded"], r["xid"], r["event_time"]) for r in rows(folder, "charges")]
    assert told == stored
    sent = {r["id"]: json.loads(r["data"]) for r in rows(folder, "events")}
    assert sent["p3"]["impressions"] == 23
    [[digest]] = await space.rows("SELECT encode(content_hash, 'hex') FROM event_keys WHERE id = 'p3'")
    assert digest in {r["content_hash"] for r in rows(folder, "events") if r["id"] == "p3"}
    assert sum(r["amount"] for r in rows(folder, "journal")) == 0
    [grant] = rows(folder, "grants")
    assert (grant["grant"], grant["amount"]) == ("pack", Decimal(50))
    async with space.database.begin() as connection:
        head = await newest(connection, OPERATOR)
    assert head is not None
    assert made.head is not None
    assert (made.head.n, made.head.hash) == (head.block.n, head.hash.hex())
    assert list(evidence_faults(folder, read_evidence(folder))) == []


async def test_a_number_that_no_decimal_column_takes_is_there_to_the_digit(space: Space, data_dir: Path) -> None:
    long = "0.1234567890123456789012345678901234567890"
    async with as_owner(space.database) as connection:
        await connection.execute(text(f"UPDATE charges SET quantity = {long} WHERE event_id = 'p1'"))  # noqa: S608
    made = await place(data_dir / "kept").export(space.database, OPERATOR, at=LATER)
    [row] = [r for r in rows(data_dir / "kept" / made.name, "charges") if r["event_id"] == "p1"]
    assert row["quantity"] is None
    assert json.loads(row["exact"]) == {"quantity": long.rstrip("0")}


async def test_what_is_committed_meanwhile_is_of_the_next_one(space: Space, data_dir: Path) -> None:
    """A transaction that was open before the export began holds back its whole: nothing above it is told by halves."""
    async with space.database.engine.connect() as slow:
        await slow.execute(text("SELECT pg_current_xact_id()"))
        await space.take(pages("after", "09T08:00", 5))
        made = await place(data_dir / "kept").export(space.database, OPERATOR, at=LATER)
        await slow.rollback()
    await space.rate()
    folder = data_dir / "kept" / made.name
    assert all(r["id"] != "after" for r in rows(folder, "events"))
    assert all(r["event_id"] != "after" for r in rows(folder, "charges"))
    later = await place(data_dir / "kept").export(space.database, OPERATOR, at=LATER + timedelta(days=7))
    assert any(r["event_id"] == "after" for r in rows(data_dir / "kept" / later.name, "charges"))


async def test_what_was_altered_is_named(space: Space, data_dir: Path) -> None:
    made = await place(data_dir / "kept").export(space.database, OPERATOR, at=LATER)
    folder = data_dir / "kept" / made.name
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    async def faults() -> list[str]:
        result = await meter("evidence", "verify", str(folder), "--json")
        assert result.exit_code == 1
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        found: list[str] = json.loads(result.stdout)["faults"]
        return found

    flipped = bytearray(whole["charges.parquet"])
    flipped[len(flipped) // 3] ^= 1
    (folder / "charges.parquet").write_bytes(flipped)
    assert "charges.parquet is not what was written: its checksum differs" in await faults()
    (folder / "events.parquet").unlink()
    assert await faults() == ["events.parquet is missing"]
    (folder / "draws.parquet").write_bytes(whole["draws.parquet"][:-5])
    assert "draws.parquet cannot be read as Parquet" in await faults()
    manifest = json.loads(whole[MANIFEST])
    manifest["files"][1]["rows"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    [fault] = await faults()
    assert "charges.parquet has " in fault
    (folder / "more.parquet").write_bytes(whole["draws.parquet"])
    assert await faults() == ["more.parquet is in no manifest"]
    (folder / "more.parquet").unlink()
    assert (await meter("evidence", "verify", str(folder))).exit_code == 0
    (folder / MANIFEST).unlink()
    with pytest.raises(BadInput, match="was never finished"):
        read_evidence(folder)


async def test_one_that_breaks_off_is_none(space: Space, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = data_dir / "kept"
    (kept / ".draft-evidence-killed").mkdir(parents=True)  # as SIGKILL leaves it
    (kept / "evidence-20260601T000000000000Z").mkdir()  # as an upload that broke off leaves it
    assert await place(kept).newest() is None

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(writing, "write_private", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            await place(kept).export(space.database, OPERATOR, at=LATER)
    assert await place(kept).newest() is None
    assert [path.name for path in kept.glob(".draft*")] == []
    await place(kept).export(space.database, OPERATOR, at=LATER)
    assert await place(kept).newest() == LATER


async def test_a_store_has_it_with_its_manifest_last(space: Space, data_dir: Path) -> None:
    async with FakeS3() as store:
        key = StoreSettings(endpoint=store.url, access_key="AKIDFAKE", secret_key=SecretStr("a-secret-long-enough"))
        kept = Evidences("s3://lake/meter/evidence", key, staging=data_dir / ".evidence")
        made = await kept.export(space.database, OPERATOR, at=LATER)
        assert await kept.newest() == LATER
        names = [name for name in store.objects if f"meter/evidence/{made.name}/" in name]
        assert len(names) == len(TABLES) + 1
        assert names[-1].endswith(MANIFEST)
    assert list((data_dir / ".evidence").glob(".draft*")) == []


def shown(telemetry: Telemetry) -> tuple[float | None, float | None]:
    value = telemetry.registry.get_sample_value
    return value("meter_evidence_interval_seconds"), value("meter_evidence_timestamp_seconds")


async def test_who_holds_the_lease_makes_one_a_week(space: Space, data_dir: Path) -> None:
    leases, at, telemetry = LeaseKeeper(space.database), [LATER], Telemetry()

    def keeper(held: LeaseKeeper) -> EvidenceKeeper:
        return EvidenceKeeper(
            space.database,
            operator=OPERATOR,
            leases=held,
            evidences=lambda: place(data_dir / "kept"),
            every=timedelta(days=7),
            telemetry=telemetry,
            clock=lambda: at[0],
        )

    first, second = keeper(leases), keeper(LeaseKeeper(space.database))
    await leases.maintain([first.lease_name])
    assert not await second.step()
    assert shown(telemetry) == (7 * 86_400, 0)
    assert [await first.step(), await first.step()] == [True, False]
    assert shown(telemetry) == (7 * 86_400, LATER.timestamp())
    # Another process, which made none, knows of it by its first look; and a look that fails leaves it as it was.
    telemetry = Telemetry()
    again = keeper(leases)
    assert not await again.step()
    assert shown(telemetry) == (7 * 86_400, LATER.timestamp())
    (data_dir / "kept").rename(data_dir / "away")
    (data_dir / "kept").write_text("no directory")
    at[0] += timedelta(days=8)
    with pytest.raises(Unavailable):
        await again.step()
    assert shown(telemetry) == (7 * 86_400, LATER.timestamp())
    (data_dir / "kept").unlink()
    (data_dir / "away").rename(data_dir / "kept")
    at[0] -= timedelta(days=8)
    at[0] += timedelta(days=6, hours=23)
    assert not await first.step()
    at[0] += timedelta(hours=2)
    assert await first.step()
    assert await place(data_dir / "kept").newest() == datetime(2026, 6, 8, 1, tzinfo=UTC)
    await leases.close()


async def test_the_command_exports_and_the_check_tells_how_old_it_is(
    space: Space, database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    nowhere = await meter("evidence", "export")
    assert isinstance(nowhere.exception, BadInput)
    monkeypatch.setenv("METER_EVIDENCE__TO", str(data_dir / "kept"))

    async def told() -> dict[str, Any]:
        found = json.loads((await meter("check", "--deep", "--json")).stdout)
        [line] = [one for one in found if one["part"] == "evidence"]
        return dict(line)

    assert "holds no whole export" in (await told())["detail"]
    made = json.loads((await meter("evidence", "export", "--json")).stdout)
    assert {file["name"] for file in made["files"]} == {f"{table}.parquet" for table in TABLES}
    assert (await told())["state"] == "ok"
    (data_dir / "kept" / made["name"]).rename(data_dir / "kept" / "evidence-20260601T000000000000Z")
    assert "days old" in (await told())["detail"]


@pytest.mark.slow
async def test_a_gateway_makes_the_first_by_itself(data_dir: Path) -> None:
    home, catalog, kept = data_dir / "home", data_dir / "catalog.yaml", data_dir / "kept"
    home.mkdir(mode=0o711)
    catalog.write_text(PACKED)
    async with RunningGateway(home, env={"METER_CATALOG": str(catalog), "METER_EVIDENCE__TO": str(kept)}):
        async with asyncio.timeout(60):
            while await place(kept).newest() is None:  # noqa: ASYNC110 -- another process makes it
                await asyncio.sleep(0.1)
    [folder] = kept.glob("evidence-*")
    assert list(evidence_faults(folder, read_evidence(folder))) == []
