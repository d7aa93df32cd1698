"""Logs that are renamed, copied, emptied, compressed and cut in mid-line: each line once, none lost."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from edge.clock import monotonic_s
from edge.collect import tail as tail_module
from edge.collect.marks import LINE_BYTES_MAX, marks_of
from edge.collect.tail import Tail
from edge.spool.errors import Full
from meter.model.instant import EPOCH
from tests.edge.clocks import VirtualClock
from tests.edge.collect.kept import Kept
from tests.edge.collect.logs import line, numbers, tail


@pytest.fixture
def kept() -> Kept:
    return Kept()


def write(path: Path, *parts: bytes) -> None:
    with path.open("ab") as opened:
        opened.write(b"".join(parts))


def compress(path: Path) -> None:
    with gzip.open(f"{path}.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()


async def looked(reader: Tail) -> str:
    """How it is after another look."""
    await reader.look()
    return reader.state.state


async def test_lines_are_read_as_they_come(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    reader = tail(path, kept)
    assert await looked(reader) == "waiting"
    for number in range(3):
        write(path, line(number))
        assert await looked(reader) == "running"
        assert numbers(kept) == [*range(number + 1)]
    assert all(item.stamped for item in kept.items)


async def test_a_last_line_waits_for_its_end(tmp_path: Path, kept: Kept) -> None:
    path, clock = tmp_path / "page_log", VirtualClock()
    reader = tail(path, kept, clock=clock)
    write(path, line(0), line(1)[:20])
    clock.advance(timedelta(minutes=1))
    await reader.look()
    assert numbers(kept) == [0]
    assert reader.state.complete_until == EPOCH, "a job that was printed before this moment is not kept yet"
    write(path, line(1)[20:])
    await reader.look()
    assert numbers(kept) == [0, 1]
    assert reader.state.complete_until == clock.wall


async def test_it_goes_on_where_it_was(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    write(path, *map(line, range(1_200)))
    await tail(path, kept).look()
    write(path, *map(line, range(1_200, 1_300)))
    again = tail(path, kept)
    again._marks = marks_of(kept.stored[again.name])
    await again.look()
    assert numbers(kept) == [*range(1_300)]


async def test_what_was_rotated_before_it_was_read(tmp_path: Path, kept: Kept) -> None:
    """Neighbours of the first look: compressed, numbered, CUPS's own, dated; and none of another log."""
    path = tmp_path / "page_log"
    for number, name in enumerate(
        ["page_log-20261101", "page_log.2", "page_log.O", "page_log", "error_log", "page_lo"]
    ):
        write(tmp_path / name, line(number))
        os.utime(tmp_path / name, (1_000 + number, 1_000 + number))
    compress(tmp_path / "page_log-20261101")
    os.utime(tmp_path / "page_log-20261101.gz", (999, 999))
    await tail(path, kept).look()
    assert numbers(kept) == [0, 1, 2, 3]


async def test_a_log_that_is_renamed_and_made_anew(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    reader = tail(path, kept)
    write(path, line(0), line(1))
    await reader.look()
    writing = path.open("ab")
    path.rename(tmp_path / "page_log.1")
    writing.write(line(2))  # a server keeps the old file open for a while
    writing.close()
    write(path, line(3))
    await reader.look()
    compress(tmp_path / "page_log.1")
    write(path, line(4))
    await reader.look()
    assert sorted(numbers(kept)) == [*range(5)]


async def test_a_log_that_is_copied_and_emptied(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    reader = tail(path, kept)
    write(path, line(0))
    await reader.look()
    write(path, line(1))
    shutil.copy(path, tmp_path / "page_log.1")
    os.truncate(path, 0)
    write(path, line(2), line(3), line(4))  # longer than what was read of it
    await reader.look()
    assert sorted(numbers(kept)) == [*range(5)]


async def test_a_log_that_was_compressed_while_nobody_looked(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    write(path, *map(line, range(3_000)))
    await tail(path, kept).look()
    write(path, *map(line, range(3_000, 9_000)))
    path.rename(tmp_path / "page_log.1")
    compress(tmp_path / "page_log.1")
    write(path, line(9_000))
    again = tail(path, kept)
    again._marks = marks_of(kept.stored[again.name])
    await again.look()
    await again.look()
    assert sorted(numbers(kept)) == [*range(9_001)]


async def test_a_file_that_takes_another_s_inode_is_read_from_its_start(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    write(path, line(0), line(1))
    reader = tail(path, kept)
    await reader.look()
    path.write_bytes(line(7) + line(8) + line(9))
    await reader.look()
    assert numbers(kept) == [0, 1, 7, 8, 9]


async def test_a_compressed_file_that_is_being_written_is_waited_for(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log.1.gz"
    whole = gzip.compress(line(0) + line(1))
    path.write_bytes(whole[:-9])
    write(tmp_path / "page_log", line(2))
    reader = tail(tmp_path / "page_log", kept)
    with pytest.raises(EOFError):
        await reader.look()
    assert numbers(kept) == [2], "what can be read is read"
    path.write_bytes(whole)
    await reader.look()
    assert sorted(numbers(kept)) == [0, 1, 2]


async def test_lines_that_cannot_be_read_are_kept_for_people(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "page_log"
    reader = tail(path, kept)
    write(path, line(0), b"\xff\xfe\n", b"x" * (3 * LINE_BYTES_MAX), b"\n", line(1), b"no line\n", bytes(700), b"\n")
    await reader.look()
    write(path, b"y" * (LINE_BYTES_MAX + 70_000))
    await reader.look()
    write(path, b"y\n", line(2))
    await reader.look()
    assert numbers(kept) == [0, 1, 2]
    assert len(kept.refusals) == 5
    assert {refusal["code"] for refusal in kept.refusals} == {"bad_payload"}


async def test_a_full_spool_is_waited_for_in_its_place(tmp_path: Path, kept: Kept) -> None:
    path, clock = tmp_path / "page_log", VirtualClock()
    reader = tail(path, kept, clock=clock)
    write(path, line(0))
    kept.full = True
    clock.advance(timedelta(minutes=1))
    with pytest.raises(Full):
        await reader.look()
    assert reader.state.complete_until == EPOCH
    kept.full = False
    await reader.look()
    assert numbers(kept) == [0]
    assert reader.state.complete_until == clock.wall


async def test_a_folder_that_is_gone_is_told(tmp_path: Path, kept: Kept) -> None:
    reader = tail(tmp_path / "none" / "page_log", kept)
    with pytest.raises(FileNotFoundError):
        await reader.look()


async def test_the_half_line_of_a_server_that_died_is_read_once_the_log_was_rotated(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = 0.0
    monkeypatch.setattr(tail_module, "monotonic_s", lambda: monotonic_s() + passed_s)
    path = tmp_path / "page_log"
    reader = tail(path, kept)
    write(path, line(0)[:-1])
    await reader.look()
    path.rename(tmp_path / "page_log.1")
    os.utime(tmp_path / "page_log.1", (1_000, 1_000))
    write(path, line(1))
    await reader.look()
    assert numbers(kept) == [1]
    passed_s = 301.0
    await reader.look()
    assert sorted(numbers(kept)) == [0, 1]


ROW = "2026-11-02\t9:14:02 AM\tsrv\thp\tada\tacc\tpc\tdoc\t{pages}\t0\t1\t0.10\n"


async def test_equal_rows_of_papercut_are_as_many_prints(tmp_path: Path, kept: Kept) -> None:
    """However they are cut into looks, they are numbered as in the whole file."""
    pattern, path = tmp_path / "printlog_*.log", tmp_path / "printlog_2026_11_02.log"
    reader = tail(pattern, kept, vendor="papercut", read="log")
    write(path, ROW.format(pages=2).encode() * 2)
    await reader.look()
    write(path, ROW.format(pages=3).encode(), ROW.format(pages=2).encode())
    await reader.look()
    whole = Kept()
    await tail(pattern, whole, vendor="papercut", read="log").look()
    assert len({event["id"] for event in whole.events}) == 4
    assert [event["id"] for event in kept.events] == [event["id"] for event in whole.events]


async def test_days_without_prints_begin_alike(tmp_path: Path, kept: Kept) -> None:
    """A header is all that two days have in common: each is read on by itself."""
    header = b"date\ttime\n"
    reader = tail(tmp_path / "printlog_*.log", kept, vendor="papercut", read="log")
    for day in (1, 2, 3):
        path = tmp_path / f"printlog_2026_11_0{day}.log"
        write(path, header)
        await reader.look()
        write(path, ROW.format(pages=day).encode())
        write(tmp_path / "printlog_2026_11_01.log", ROW.format(pages=9 + day).encode())
        await reader.look()
    assert sorted(event["data"]["impressions"] for event in kept.events) == [1, 2, 3, 10, 11, 12]
