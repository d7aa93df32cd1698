"""How a spool is found at start: by nobody else, closed, killed, damaged, older, newer."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge.spool import opening, schema
from edge.spool.errors import SpoolFailed, SpoolInUse
from edge.spool.file import Spool
from edge.spool.files import DAMAGED_MAX
from edge.spool.keeper import Keeper
from edge.spool.records import Bounds
from meter.model.errors import BadInput
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import all_ids, item, items, open_spool, rows, unsent

PAGE = schema.PAGE_BYTES


def database(directory: Path) -> Path:
    return directory / "spool" / "events.sqlite"


def filled(directory: Path, count: int = 60, *, size: int = 500) -> Spool:
    spool = open_spool(directory)
    spool.append([item(f"e-{n}", size=size) for n in range(count)], {"cups": "17"})
    return spool


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def leaves(path: Path) -> list[int]:
    """The pages with events, by number."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path"
        return [row[0] for row in connection.execute(query)]


# --- who has it -----------------------------------------------------------------------------------------------------


def test_only_one_process_has_it(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolInUse, match=f"in use by process {os.getpid()}: stop that agent first"):
        open_spool(tmp_path)
    program = f"from pathlib import Path; from edge.spool.file import Spool; Spool.open(Path({str(tmp_path)!r}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"in use by process {os.getpid()}" in other.stderr
    spool.close()
    open_spool(tmp_path).close()


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    spool = filled(tmp_path / "data")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*")}
    assert {modes.pop("spool"), (tmp_path / "data").stat().st_mode & 0o777} == {0o700}
    assert set(modes) == {"lock", "ballast", "events.sqlite", "events.sqlite-wal", "events.sqlite-shm"}
    assert set(modes.values()) == {0o600}
    spool.close()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="choose a directory"):
        open_spool(tmp_path / "file" / "spool")


def test_bounds_that_hold_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="give it 33554432 or more"):
        Bounds(bytes_max=1_000_000)
    with pytest.raises(BadInput, match="as large as the log"):
        Bounds(ballast_bytes=1_000_000)
    with pytest.raises(BadInput, match="at least one event"):
        Bounds(events_max=0)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_numbers_go_on_where_they_were_and_a_fresh_spool_has_another_boot(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "a")
    boot = spool.boot
    spool.append(items("a", "b"))
    spool.close()
    spool = open_spool(tmp_path / "a")
    assert spool.append(items("c"))[0] == (boot, 3)
    spool.close()
    # The clock stands still: it is not what tells two spools apart.
    others = set()
    for n in range(5):
        spool = open_spool(tmp_path / f"b-{n}")
        others.add(spool.boot)
        spool.close()
    assert len(others) == 5
    assert boot not in others
    assert {other >> 20 for other in others} == {int(VirtualClock().wall.timestamp())}


def test_what_was_heard_comes_back_as_it_was(tmp_path: Path) -> None:
    clock = VirtualClock(synchronised=None)
    stamped = item("a", heard=clock.read(), stamped=True)
    clock.reboot()
    clock.synchronised = False
    late = item("b", heard=clock.read())
    spool = open_spool(tmp_path)
    spool.append([stamped, late])
    spool.allow_first()
    first, second = unsent(spool)
    assert (first.body, first.heard, first.stamped) == (stamped.body, stamped.heard, True)
    assert (second.body, second.heard, second.stamped) == (late.body, late.heard, False)
    spool.close()


# --- closed, killed, suspected --------------------------------------------------------------------------------------


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the whole file was looked at."""
    real, calls = opening.examine, []

    def examine(connection: sqlite3.Connection) -> None:
        calls.append(1)
        real(connection)

    monkeypatch.setattr(opening, "examine", examine)
    return calls


def killed(directory: Path, target: Path) -> Path:
    """A copy of an open spool: what a killed process leaves."""
    target.mkdir()
    for source in sorted(directory.rglob("*")):
        copy = target / source.relative_to(directory)
        if source.is_dir():
            copy.mkdir()
        elif not source.name.endswith("-shm"):
            copy.write_bytes(source.read_bytes())
    return target


def test_a_closed_spool_is_not_examined_and_a_killed_one_is(tmp_path: Path, examined: list[int]) -> None:
    spool = filled(tmp_path / "a")
    left = killed(tmp_path / "a", tmp_path / "b")
    spool.close()
    spool = open_spool(tmp_path / "a")
    assert (spool.opening.unclean, len(examined)) == (False, 0)
    spool.close()
    spool = open_spool(left)
    assert (spool.opening.unclean, spool.opening.unchecked, len(examined)) == (True, False, 1)
    assert len(all_ids(spool)) == 60
    spool.close()


async def test_a_large_one_is_examined_in_the_background(
    tmp_path: Path, examined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKED_AT_ONCE_BYTES_MAX", 0)
    spool = filled(tmp_path / "a", 1500, size=0)
    left = killed(tmp_path / "a", tmp_path / "b")
    spool.close()
    spool = open_spool(left)
    assert (spool.opening.unchecked, len(examined)) == (True, 0)
    slices = []
    check = spool.check

    def noted(after: int) -> int | None:
        slices.append(after)
        return check(after)

    monkeypatch.setattr(spool, "check", noted)
    async with Keeper(spool) as keeper:
        await keeper.upkeep()
        assert not keeper.unchecked
    assert sorted(set(slices)) == [0, 512, 1024, 1500]


async def test_a_flipped_bit_is_found_in_the_background_and_salvaged_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = filled(tmp_path / "a")
    spool.tend()
    spool.close()
    path = database(tmp_path / "a")
    at = path.read_bytes().index(b'"e-17"')
    overwrite(path, at, b'"e-99"')
    spool = open_spool(tmp_path / "a")
    assert not spool.opening.unclean
    keeper = Keeper(spool)
    keeper.unchecked = True
    with pytest.raises(SpoolFailed, match="event 18 of the spool is not as it was written"):
        async with keeper:
            await keeper.upkeep()
    assert (tmp_path / "a" / "suspect").exists()
    end(spool)
    spool = open_spool(tmp_path / "a")
    salvage = spool.opening.salvage
    assert salvage is not None
    assert (salvage.kept, salvage.lost, salvage.aside) == (59, 1, "spool.damaged-1")
    assert "event 18" in salvage.fault
    assert all_ids(spool) == [f"e-{n}" for n in range(60) if n != 17]
    assert spool.positions() == {"cups": "17"}
    assert not (tmp_path / "a" / "suspect").exists()
    spool.close()


def end(spool: Spool) -> None:
    """What the end of the process does to a spool that has failed."""
    spool._reader.close()
    spool._writer._connection.close()
    spool._files.unlock()


def test_a_suspicion_that_is_not_confirmed_is_forgotten(tmp_path: Path, examined: list[int]) -> None:
    filled(tmp_path).close()
    (tmp_path / "suspect").touch()
    spool = open_spool(tmp_path)
    assert spool.opening.salvage is None
    spool.close()
    open_spool(tmp_path).close()
    assert len(examined) == 1


# --- damaged --------------------------------------------------------------------------------------------------------


def test_a_damaged_spool_is_set_aside_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    spool = filled(tmp_path, 200)
    boot = spool.boot
    spool.allow_first()
    unsent(spool)
    spool.acknowledge(boot, 20)
    spool.close()
    damaged = leaves(database(tmp_path))[len(leaves(database(tmp_path))) // 2]
    overwrite(database(tmp_path), (damaged - 1) * PAGE, os.urandom(PAGE))
    (tmp_path / "suspect").touch()
    spool = open_spool(tmp_path)
    salvage = spool.opening.salvage
    assert salvage is not None
    found = all_ids(spool)
    assert found == [id for id in (f"e-{n}" for n in range(20, 200)) if id in found]
    assert 160 < len(found) < 180
    assert (salvage.kept, salvage.lost) == (len(found), 180 - len(found))
    assert spool.boot > boot
    assert spool.append(items("goes on"))[0].sequence == len(found) + 1
    assert (tmp_path / salvage.aside / "events.sqlite").exists()
    spool.close()


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    spool = filled(tmp_path)
    boot = spool.boot
    spool.close()
    database(tmp_path).write_bytes(content)
    if not content:
        # An empty file beside a log: a log without its file is what SQLite throws away.
        (tmp_path / "spool" / "events.sqlite-wal").write_bytes(b"x" * 5000)
        database(tmp_path).unlink()
    spool = open_spool(tmp_path)
    assert spool.opening.salvage is not None
    assert (spool.opening.salvage.kept, spool.boot) == (0, spool.boot)
    assert spool.boot != boot
    spool.close()


def test_only_so_many_damaged_spools_are_kept(tmp_path: Path) -> None:
    for n in range(DAMAGED_MAX + 2):
        filled(tmp_path, 3).close()
        overwrite(database(tmp_path), 0, b"\xff" * 100)
        spool = open_spool(tmp_path)
        assert spool.opening.salvage is not None
        assert spool.opening.salvage.aside == f"spool.damaged-{n + 1}"
        spool.close()
    assert sorted(path.name for path in tmp_path.glob("spool.*")) == [
        f"spool.damaged-{n}" for n in range(3, DAMAGED_MAX + 3)
    ]


@pytest.mark.parametrize("offset", range(0, 24 * PAGE, PAGE // 2))
def test_whatever_page_is_damaged_it_starts_and_makes_nothing_up(tmp_path: Path, offset: int) -> None:
    filled(tmp_path, 120).close()
    overwrite(database(tmp_path), offset, os.urandom(200))
    (tmp_path / "suspect").touch()
    spool = open_spool(tmp_path)
    found = all_ids(spool)
    assert found == [id for id in (f"e-{n}" for n in range(120)) if id in found]
    assert spool.opening.salvage is None or spool.opening.salvage.kept == len(found)
    assert (spool.opening.salvage is not None) or len(found) == 120
    spool.append(items("goes on"))
    spool.close()


# --- older and newer files ------------------------------------------------------------------------------------------


def test_an_older_file_becomes_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 5).close()
    more = (
        *schema.MIGRATIONS,
        ("ALTER TABLE machine_boots ADD COLUMN note TEXT", "UPDATE machine_boots SET note = 'x'"),
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", more)
        spool = open_spool(tmp_path)
        assert spool.append(items("f"))[0].sequence == 6
        spool.close()
    with closing(sqlite3.connect(database(tmp_path))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(more),)
    told = f"has version {len(more)} and this agent knows {len(more) - 1}: install the agent that wrote it"
    with pytest.raises(SpoolFailed, match=told):
        open_spool(tmp_path)
    assert len(rows(tmp_path)) == 6


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 5).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("DROP TABLE positions", "SELECT nonsense")))
        with pytest.raises(SpoolFailed):
            open_spool(tmp_path)
    spool = open_spool(tmp_path)
    assert spool.positions() == {"cups": "17"}
    spool.close()
