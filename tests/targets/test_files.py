"""Files hold what was booked, once, to the cent, for every reader; and what cannot be written is not lost."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.export import durable
from meter.export.charge_columns import CHARGE_COLUMNS
from meter.export.charge_json import charge_json
from meter.export.contract import Absent, Barred, Delivered, Held, Outcome, Refused, Retry, Uncertain
from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.gatherer import items_from
from meter.export.gather.shape import Booked
from meter.export.targets.files import FILES
from meter.export.targets.files.target import FilesTarget
from meter.export.targets.spec import Means, Setup
from meter.model.charge import Charge
from meter.model.errors import Unavailable
from meter.store.engine import Database
from meter.store.outbox import OutboxItem
from meter.telemetry import Telemetry
from tests.booked import OPERATOR, a_charge, a_line
from tests.export.books import entry
from tests.export.gathering import known
from tests.targets.cases.files import CASE
from tests.targets.driving import driven
from tests.targets.fakes.s3 import FakeS3
from tests.targets.proxy import Fault, FaultProxy, Odds
from tests.targets.random_charges import items_of, random_charges, sums_of

Suffix = Literal["csv", "parquet"]
both = pytest.mark.parametrize("suffix", ["csv", "parquet"])
DAYS = (date(2026, 3, 1), date(2026, 3, 5))


def setup_of(place: str | None, suffix: str = "csv", *, data_dir: Path = Path("unused"), **changes: Any) -> Setup:
    options = {name: option.default for name, option in FILES.options.items()}
    options |= {"format": suffix, **{name: changes.pop(name) for name in list(changes) if name in options}}
    given: dict[str, Any] = {"grain": "hour", "options": options, **changes}
    return Setup(operator=OPERATOR, name="lake", kind="files", data_dir=data_dir, base_url=place, **given)


def items(booked: list[Charge]) -> list[OutboxItem]:
    return items_of(Charges(apart="day", charges_max=100), booked, "lake")


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def csv_rows(files: dict[str, bytes]) -> list[dict[str, str]]:
    return [
        row for _, content in sorted(files.items()) for row in csv.DictReader(io.StringIO(content.decode(), newline=""))
    ]


def parquet_rows(files: dict[str, bytes]) -> list[dict[str, Any]]:
    tables = [pq.read_table(io.BytesIO(content)) for _, content in sorted(files.items())]
    return [row for table in tables for row in table.to_pylist()]


def sums_in(files: dict[str, bytes], suffix: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Net and tax by currency, as a reader of the files would sum them."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in csv_rows(files) if suffix == "csv" else parquet_rows(files):
        tax = Decimal(row["tax_amount"] or 0)
        net = Decimal(row["rounded"]) - (tax if row["tax_inclusive"] in {"true", True} else 0)
        before = sums.get(row["currency"], (Decimal(0), Decimal(0)))
        sums[row["currency"]] = (before[0] + net, before[1] + tax)
    return sums


async def held(target: FilesTarget) -> list[Held]:
    return [one async for one in target.holdings(*DAYS)]


# --- what is in the files ---------------------------------------------------------------------------------------------


@both
async def test_every_charge_is_in_one_file_of_its_day_and_the_sums_are_the_charges(
    suffix: Suffix, data_dir: Path
) -> None:
    booked = random_charges(300, seed=3)
    target = FilesTarget(setup_of(None, suffix, data_dir=data_dir))
    made = items(booked)
    assert await target.send(made[:64]) == [Delivered(target._name(item)) for item in made]
    files = contents(data_dir / "files" / "lake")
    rows = csv_rows(files) if suffix == "csv" else parquet_rows(files)
    assert sorted(row["id"] for row in rows) == sorted(charge.id for charge in booked)
    assert sums_in(files, suffix) == sums_of(booked)
    assert {name.rpartition("/")[0] for name in files} == {
        "charges/date=2026-03-02",
        "charges/date=2026-03-03",
    }


async def test_csv_and_parquet_say_the_same_as_the_api(data_dir: Path) -> None:
    [one, *_] = booked = random_charges(40, seed=4)
    for suffix in ("csv", "parquet"):
        await FilesTarget(setup_of(str(data_dir / suffix), suffix)).send(items(booked))
    text = {row["id"]: row for row in csv_rows(contents(data_dir / "csv"))}
    typed = {row["id"]: row for row in parquet_rows(contents(data_dir / "parquet"))}
    for one in booked:
        told = json.loads(msgspec.json.encode(charge_json(one)), parse_float=Decimal)
        row, cells = typed[one.id], text[one.id]
        for name in ("quantity", "covered", "billable", "amount", "rounded"):
            assert row[name] == Decimal(told[name]) == Decimal(cells[name])
        for name in ("time", "booked_at"):
            assert row[name] == datetime.fromisoformat(told[name]) == datetime.fromisoformat(cells[name])
            assert row[name].utcoffset() == timedelta(0)
        for name in ("dimensions", "draws", "shares"):
            assert json.loads(row[name], parse_float=Decimal) == told[name]
            assert cells[name] == row[name]
        assert (row["account"], row["member"], row["estimated"]) == (told["account"], told["member"], told["estimated"])
        assert cells["tax_inclusive"] == {None: "", True: "true", False: "false"}[row["tax_inclusive"]]


def test_a_texts_formula_does_not_run_and_a_negative_number_stays_one() -> None:
    hostile = a_charge(a_line(member="=1+1", amount=Decimal("-0.5"), dimensions={"note": "=2"}), reason="@SUM(A1)")
    [row] = csv_rows({"": FilesTarget(setup_of("x"))._object(items([hostile])[0])[1]})
    assert (row["member"], row["reason"], row["amount"], row["rounded"]) == ("'=1+1", "'@SUM(A1)", "-0.5", "-0.5")
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in row.values())


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    number=st.decimals(min_value=-(10**20), max_value=10**20, places=12),
)
def test_any_text_and_any_amount_come_back(text: str, number: Decimal) -> None:
    [item] = items([a_charge(a_line(amount=number, dimensions={"x": number}), reason=text, rounded=number)])
    [cells] = csv_rows({"": FilesTarget(setup_of("x"))._object(item)[1]})
    [row] = parquet_rows({"": FilesTarget(setup_of("x", "parquet"))._object(item)[1]})
    assert cells["reason"] in {text, "'" + text}
    assert row["reason"] == text
    assert Decimal(cells["rounded"]) == row["rounded"] == number
    for told in (cells["dimensions"], row["dimensions"]):
        assert json.loads(told, parse_float=Decimal)["x"] == number


def test_parquet_has_decimals_and_what_fits_into_none_is_kept_beside_them() -> None:
    huge, fine = Decimal("123456789012345678901234567.5"), Decimal("0.1234567890123")
    odd = a_charge(a_line(amount=huge, quantity=fine), rounded=Decimal("1E+3"))
    [item] = items([odd])
    content = FilesTarget(setup_of("x", "parquet"))._object(item)[1]
    table = pq.read_table(io.BytesIO(content))
    assert table.schema.field("amount").type == pa.decimal128(38, 12)
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    [row] = table.to_pylist()
    assert (row["amount"], row["quantity"], row["rounded"]) == (None, None, Decimal(1000))
    assert json.loads(row["exact"]) == {"quantity": str(fine), "amount": str(huge)}
    assert [name for name in table.schema.names if name != "exact"] == [column.name for column in CHARGE_COLUMNS]


@both
async def test_postings_are_rows_that_sum_to_zero(suffix: Suffix, data_dir: Path) -> None:
    entries = [entry(f"ch_{n}", amount=f"0.{n}5", narration="=x") for n in range(1, 9)]
    drafts = Entries().at_once(Booked(entries=entries), known())
    target = FilesTarget(setup_of(str(data_dir), suffix, dataset="journal"))
    made = items_from(drafts, operator=OPERATOR, target="lake")
    await target.send(made)
    files = contents(data_dir)
    rows = csv_rows(files) if suffix == "csv" else parquet_rows(files)
    assert [name.rpartition("/")[0] for name in files] == ["journal/date=2026-03-02"]
    assert len(rows) == 16
    assert sum(Decimal(row["amount"]) for row in rows) == 0
    assert {(row["entry"], int(row["posting"])) for row in rows} == {(one.id, n) for one in entries for n in (1, 2)}
    assert [one.figures for one in await held(target)] == [target.figures(item) for item in made]
    assert target.figures(made[0]).net == sum(one.postings[0].amount for one in entries)


async def test_a_reader_of_hives_folders_sees_the_days_as_a_column(data_dir: Path) -> None:
    booked = random_charges(250, seed=6)
    await FilesTarget(setup_of(str(data_dir), "parquet")).send(items(booked))
    table = pads.dataset(data_dir / "charges", format="parquet", partitioning="hive").to_table()
    assert table.num_rows == 250
    assert set(table.column("date").to_pylist()) == {"2026-03-02", "2026-03-03"}
    assert table.schema.field("rounded").type == pa.decimal128(38, 12)


# --- once -------------------------------------------------------------------------------------------------------------


@both
async def test_writing_again_is_writing_once(suffix: Suffix, data_dir: Path) -> None:
    made = items(random_charges(120, seed=7))
    target = FilesTarget(setup_of(str(data_dir), suffix))
    assert await target.look_up(made) == [Absent()] * len(made)
    await target.send(made)
    before = contents(data_dir)
    again = [replace(item, revision=1, key="another") for item in made]
    there = [Delivered(target._name(item)) for item in made]
    assert await target.send(again) == await target.look_up(made) == there
    assert contents(data_dir) == before


@both
async def test_who_dies_between_writing_and_recording_doubles_nothing(
    suffix: Suffix, database: Database, data_dir: Path
) -> None:
    class Killed(BaseException):
        """The process dies."""

    class Dying(FilesTarget):
        async def send(self, items: Any) -> list[Outcome]:
            await super().send(items[: len(items) // 2])
            raise Killed

    booked = random_charges(200, seed=8)
    made = items(booked)
    async with driven(database, Dying(setup_of(str(data_dir), suffix)), "lake") as lane:
        await lane.add(made)
        with pytest.raises(Killed):
            await lane.drain()
        assert {one.state for one in await lane.deliveries()} == {"sending"}
    target = FilesTarget(setup_of(str(data_dir), suffix))
    async with driven(database, target, "lake") as lane:
        await lane.drain()
        assert {one.state for one in await lane.deliveries()} == {"delivered"}
    assert sums_in(contents(data_dir), suffix) == sums_of(booked)
    assert sorted(one.batch for one in await held(target)) == sorted(item.batch for item in made)


async def test_a_write_that_was_cut_off_leaves_no_half_file(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [item] = items([a_charge(a_line())])
    target = FilesTarget(setup_of(str(data_dir)))

    def full(_descriptor: int, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "_write", full)
        [outcome] = await target.send([item])
    assert isinstance(outcome, Retry)
    assert "No space left on device" in outcome.reason
    assert await target.look_up([item]) == [Absent()]
    assert await held(target) == []
    # Another process goes on, and takes away what the first one left.
    await FilesTarget(setup_of(str(data_dir))).send([item])
    assert list(contents(data_dir)) == [target._name(item)]


async def test_a_file_is_on_the_disk_before_it_counts(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("sync")
        fsync(descriptor)

    def renamed(path: Path, to: Path) -> Path:
        done.append("rename")
        return rename(path, to)

    target = FilesTarget(setup_of(str(data_dir)))
    first, second = items([a_charge(a_line())]), items([a_charge(a_line(1))])
    await target.send(first)  # makes the folders
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    await target.send(second)
    assert done == ["sync", "rename", "sync"]


async def test_a_directory_that_cannot_be_written_loses_nothing(database: Database, data_dir: Path) -> None:
    blocked = data_dir / "drop"
    blocked.write_text("a file where the directory should be")
    booked = random_charges(50, seed=9)
    target = FilesTarget(setup_of(str(blocked)))
    with pytest.raises(Unavailable, match=r"nothing can be written: .*drop"):
        await target.check()
    async with driven(database, target, "lake") as lane:
        await lane.add(items(booked))
        for _ in range(3):
            await lane.step()
        waiting, *_ = await lane.deliveries()
        assert waiting.state == "pending"
        assert "drop" in (waiting.fault or "")
        blocked.unlink()
        await target.check()
        await lane.drain()
    assert sums_in(contents(blocked), "csv") == sums_of(booked)


async def test_what_is_no_table_is_refused(data_dir: Path) -> None:
    [item] = items([a_charge(a_line())])
    target = FilesTarget(setup_of(str(data_dir)))
    for bad in (
        replace(item, payload=b"{"),
        replace(item, operation="line"),
        replace(item, payload=b'{"charges":[{}]}'),
    ):
        [outcome] = await target.send([bad])
        assert isinstance(outcome, Refused)
        assert "cannot be written as csv" in outcome.reason
        assert await target.look_up([bad]) == [Absent()]


# --- reconciliation ---------------------------------------------------------------------------------------------------


@both
async def test_what_is_held_is_what_was_sent_until_somebody_changes_it(suffix: Suffix, data_dir: Path) -> None:
    booked = [one for one in random_charges(150, seed=10) if one.line.currency == "EUR"]
    made = items(booked)
    target = FilesTarget(setup_of(str(data_dir), suffix))
    await target.send(made)
    found = {one.batch: one.figures for one in await held(target)}
    assert found == {item.batch: target.figures(item) for item in made}
    [(net, tax)] = sums_of(booked).values()
    assert (sum(one.net for one in found.values()), sum(one.tax for one in found.values())) == (net, tax)
    assert {one.currency for one in found.values()} == {"EUR"}
    assert [one async for one in target.holdings(date(2026, 3, 2), date(2026, 3, 2))] == []
    changed = data_dir / target._name(made[0])
    changed.write_bytes(changed.read_bytes()[:-40])
    (changed.parent / "notes.txt").write_text("by hand")
    found = {one.batch: one.figures for one in await held(target)}
    assert found.pop(made[0].batch) != target.figures(made[0])
    assert found == {item.batch: target.figures(item) for item in made[1:]}


# --- S3 ---------------------------------------------------------------------------------------------------------------


def s3_setup(url: str, suffix: str = "csv", key: str = "AKIDFAKE", prefix: str = "/raw/meter") -> Setup:
    return setup_of(
        f"s3://lake{prefix}", suffix, endpoint=url, region="eu-central-1", client_id=key, client_secret="secret"
    )


@asynccontextmanager
async def store() -> AsyncIterator[tuple[FakeS3, FilesTarget]]:
    async with FakeS3() as fake:
        yield fake, FilesTarget(s3_setup(fake.url))


@both
async def test_a_bucket_holds_the_same_files_as_a_directory(suffix: Suffix, data_dir: Path) -> None:
    booked = random_charges(120, seed=11)
    made = items(booked)
    local = FilesTarget(setup_of(str(data_dir), suffix))
    await local.send(made)
    async with FakeS3() as fake:
        target = FilesTarget(s3_setup(fake.url, suffix))
        await target.check()
        assert fake.objects == {}
        assert await target.look_up(made) == [Absent()] * len(made)
        assert await target.send(made) == await target.look_up(made) == await local.look_up(made)
        stored = {key.removeprefix("raw/meter/"): one.content for key, one in fake.objects.items()}
        assert stored == contents(data_dir)
        assert await held(target) == await held(local)


@pytest.mark.parametrize(
    ("status", "expected"), [(429, "throttled"), (503, "throttled"), (500, "uncertain"), (403, "barred")]
)
async def test_what_a_store_answers_is_never_the_items_fault(status: int, expected: str) -> None:
    async with store() as (fake, target):
        fake.fail_next(status, committed=False)
        [found] = await target.send(items([a_charge(a_line())]))
        assert isinstance(found, Barred | Retry | Uncertain)
        word = "throttled" if isinstance(found, Retry) and found.throttled else type(found).__name__.lower()
        assert word == expected
        assert found.reason.startswith(f"answered {status}")
        assert "secret" not in found.reason
        assert fake.puts == {}


async def test_a_store_that_is_not_there_or_knows_no_such_key_is_told_by_check() -> None:
    async with store() as (fake, _):
        with pytest.raises(Unavailable, match="403"):
            await FilesTarget(s3_setup(fake.url, key="AKIDOTHER")).check()
    with pytest.raises(Unavailable, match="nothing can be written"):
        await FilesTarget(s3_setup(fake.url)).check()
    [outcome] = await FilesTarget(s3_setup(fake.url)).send(items([a_charge(a_line())]))
    assert isinstance(outcome, Retry)


async def test_the_lake_is_right_to_the_cent_whatever_the_network_does(database: Database) -> None:
    made = CASE.items(250, 12)
    often = dict.fromkeys(("too_many", "error_before", "error_after", "reset_before", "reset_after"), 0.05)
    async with FakeS3() as fake, FaultProxy(fake, Odds(**often), seed=12) as proxy:
        proxy.plan(Fault.HANG_AFTER, Fault.RESET_AFTER)
        means = Means(database=database, telemetry=Telemetry())
        async with driven(database, CASE.open(CASE.setup(proxy.url), means), "lake") as lane:
            await lane.add(made)
            await lane.drain()
            assert {one.state for one in await lane.deliveries()} == {"delivered"}
        assert proxy.counts.total() > 20
        assert max(fake.puts.values()) > 1
        assert len(made) == 250
        assert CASE.books(fake) == CASE.wanted(made)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "sound"),
    [
        (None, True),
        ("drop/here", True),
        ("file:///srv/drop", True),
        ("file://host/drop", False),
        ("s3://lake/raw", True),
        ("s3:///raw", False),
        ("https://lake.example", False),
    ],
)
def test_a_place_is_a_path_or_a_bucket(place: str | None, sound: bool) -> None:  # noqa: FBT001
    assert FILES.faults(setup_of(place)) == (
        [] if sound else ["base_url is no place; write a path, file:///path or s3://bucket/prefix"]
    )


def test_half_a_key_is_a_fault() -> None:
    [fault] = FILES.faults(setup_of("s3://lake", client_id="AKID"))
    assert "client_secret" in fault


@pytest.mark.parametrize(("dataset", "grain"), [("charges", "hour"), ("charges", "charge"), ("journal", "day")])
def test_the_grain_says_when_what_was_booked_is_read(dataset: str, grain: Literal["charge", "hour", "day"]) -> None:
    shape = FILES.shape(setup_of(None, dataset=dataset, grain=grain))
    assert shape.collects == (None if grain == "charge" else grain)
    assert shape.reads == ("charges" if dataset == "charges" else "entries")
