"""The disk fails: nothing is told safe any more, the process ends with 74, and what was told before is there."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Final

import pytest

from edge.spool.errors import EXIT_CODE, Fault, Full, SpoolFailed, fault_of
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from tests.edge.spool.making import SMALL, all_ids, ids, item, items, open_spool, release, unsent
from tests.edge.spool.vfs import Spoiler, watched

ROOT: Final = Path(__file__).parents[3]
LOG: Final = "events.sqlite-wal"
FILE: Final = "events.sqlite"


def filled(spool: Spool, count: int, *, size: int = 4000) -> None:
    for n in range(count):
        spool.append([item(f"filled-{n}", size=size)])


@pytest.mark.parametrize(
    ("operation", "name", "code"),
    [
        ("sync", LOG, sqlite3.SQLITE_IOERR_FSYNC),
        ("write", LOG, sqlite3.SQLITE_IOERR_WRITE),
    ],
)
def test_nothing_is_stored_or_told_after_the_log_failed(tmp_path: Path, operation: str, name: str, code: int) -> None:
    spoiler = Spoiler()
    with watched(spoiler):
        spool = open_spool(tmp_path)
        spool.append(items("before"))
        spoiler.spoil(operation, name, code)
        with pytest.raises(SpoolFailed, match="look at the disk"):
            spool.append(items("during"))
        spoiler.heal()
        written = len(spoiler.done)
        # The next sync would succeed, and prove nothing about what the first one dropped.
        for again in (
            lambda: spool.append(items("after")),
            lambda: spool.acknowledge(spool.boot, 1),
            spool.expire,
            spool.replay,
        ):
            with pytest.raises(SpoolFailed):
                again()
        spool.close()
        assert len(spoiler.done) == written
        forget(spool)
    spool = open_spool(tmp_path)
    found = all_ids(spool)
    assert found[0] == "before"
    assert set(found) <= {"before", "during"}
    spool.close()


def forget(spool: Spool) -> None:
    """What the end of the process does to connections and locks, without SQLite."""
    spool._reader.close()
    spool._writer._connection.close()
    spool._files.unlock()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE])
def test_a_failed_checkpoint_is_not_overlooked(tmp_path: Path, code: int) -> None:
    """SQLite would: its own checkpoint, within COMMIT, ignores what it meets, and the next sync succeeds."""
    spoiler = Spoiler()
    with watched(spoiler):
        spool = open_spool(tmp_path)
        # What the opening left in the log is copied with the first event.
        spool.append(items("first"))
        # Once: the next one succeeds, without what the first one was to write.
        spoiler.spoil("sync" if code == sqlite3.SQLITE_IOERR_FSYNC else "write", FILE, code, times=1)
        with pytest.raises(SpoolFailed, match="copying the log"):
            filled(spool, 600)
        forget(spool)


def test_sqlite_itself_overlooks_it(tmp_path: Path) -> None:
    """The control of the test above: were this to change, the writer could leave checkpoints to SQLite."""
    spoiler = Spoiler()
    with watched(spoiler):
        connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA wal_autocheckpoint = 10").fetchall()
        connection.execute("CREATE TABLE t (x)")
        spoiler.spoil("sync", FILE, sqlite3.SQLITE_IOERR_FSYNC)
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 4000,)] * 40)
        assert ("sync", FILE) in spoiler.refused
        spoiler.heal()
        connection.close()


def until_refused(spool: Spool, safe: list[str]) -> None:
    for n in range(20):
        spool.append([item(f"n-{n}", size=3000)])
        safe.append(f"n-{n}")


@pytest.mark.parametrize("when", range(12))
def test_a_full_disk_refuses_events_and_lets_go_of_others(tmp_path: Path, when: int) -> None:
    """Each write in turn is the first that the disk has no room for."""
    spoiler = Spoiler()
    with watched(spoiler):
        spool = open_spool(tmp_path)
        filled(spool, 5)
        release(spool)
        room = {"left": when}

        def no_room(operation: str, name: str) -> int:
            room["left"] -= 1
            return sqlite3.SQLITE_FULL if room["left"] < 0 else 0

        spoiler.rule = no_room
        safe: list[str] = []
        with pytest.raises(Full) as full:
            until_refused(spool, safe)
        assert full.value.bound == "disk"
        assert not (tmp_path / "ballast").exists()
        # What the ballast left is enough for this.
        spoiler.heal()
        sent = unsent(spool)
        spool.acknowledge(spool.boot, sent[1].place.sequence)
        spool.append(items("room again"))
        assert (tmp_path / "ballast").stat().st_size == SMALL.ballast_bytes
        assert ids(unsent(spool)) == [*(f"filled-{n}" for n in range(3, 5)), *safe, "room again"]
        spool.close()


def test_what_a_full_disk_refused_got_no_number(tmp_path: Path) -> None:
    spoiler = Spoiler()
    with watched(spoiler):
        spool = open_spool(tmp_path)
        (first,) = spool.append(items("a"))
        spoiler.spoil("write", LOG, sqlite3.SQLITE_FULL)
        with pytest.raises(Full, match="free some room"):
            spool.append(items("b"))
        spoiler.heal()
        (second,) = spool.append(items("c"))
        assert (first.sequence, second.sequence) == (1, 2)
        spool.close()


async def test_a_keeper_tells_everybody_that_the_disk_failed(tmp_path: Path) -> None:
    spoiler = Spoiler()
    with watched(spoiler):
        spool = open_spool(tmp_path)
        async with Keeper(spool) as keeper:
            await keeper.put(items("a"))
            spoiler.spoil("sync", LOG, sqlite3.SQLITE_IOERR_FSYNC)
            told = await asyncio.gather(
                *(keeper.put(items(f"b-{n}")) for n in range(20)), keeper.acknowledge(keeper.boot, 0),
                return_exceptions=True,
            )  # fmt: skip
            assert all(isinstance(answer, SpoolFailed) for answer in told)
            assert keeper.failed.is_set()
            spoiler.heal()
            with pytest.raises(SpoolFailed):
                await keeper.put(items("c"))
            with pytest.raises(SpoolFailed):
                await keeper.unsent(keeper.boot, 0, events_max=1, bytes_max=1)
        forget(spool)


async def test_the_process_ends_with_the_code_of_an_io_error(tmp_path: Path) -> None:
    """A real process whose disk fails at some sync: what it said before is there, and it said nothing afterwards."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.spool.child", str(tmp_path), json.dumps({"fail_sync": 30, "devices": 3}),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    assert child.returncode == EXIT_CODE == os.EX_IOERR
    safe = [line.split()[2] for line in out.decode().splitlines() if line.startswith("safe")]
    spool = open_spool(tmp_path)
    found = all_ids(spool)
    assert safe
    assert set(safe) <= set(found)
    assert len(found) - len(safe) <= 3, "at most what each device had asked for when the disk failed"
    spool.close()


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (sqlite3.SQLITE_FULL, Fault.NO_ROOM),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Fault.NO_ROOM),
        (sqlite3.SQLITE_IOERR_FSYNC, Fault.FAILED),
        (sqlite3.SQLITE_READONLY, Fault.FAILED),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, Fault.FAILED),
        (sqlite3.SQLITE_NOMEM, Fault.FAILED),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Fault.BUSY),
        (sqlite3.SQLITE_CORRUPT_INDEX, Fault.DAMAGED),
        (sqlite3.SQLITE_NOTADB, Fault.DAMAGED),
        (sqlite3.SQLITE_TOOBIG, Fault.ITEM),
    ],
)
def test_what_sqlite_says_is_one_of_five(code: int, fault: Fault) -> None:
    error = sqlite3.OperationalError("no matter")
    error.sqlite_errorcode = code
    assert fault_of(error) is fault
