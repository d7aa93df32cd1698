"""A spool stays within its bounds, refuses what does not fit, and removes nothing that waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.spool import schema
from edge.spool.errors import Full
from edge.spool.file import Spool
from edge.spool.records import BODY_BYTES_MAX, Bounds
from meter.model.errors import Unavailable
from tests.edge.clocks import START, VirtualClock
from tests.edge.spool.making import SMALL, all_ids, bytes_on_disk, ids, item, items, open_spool, release, unsent


def fill(spool: Spool, directory: Path, *, size: int, name: str = "e") -> tuple[list[str], Full]:
    """Append one by one until it is refused: what was taken, and the refusal. The directory never exceeds its bound."""
    taken: list[str] = []
    while True:
        try:
            spool.append([item(f"{name}-{len(taken)}", size=size)])
        except Full as full:
            return taken, full
        taken.append(f"{name}-{len(taken)}")
        assert bytes_on_disk(directory) <= SMALL.bytes_max
        assert len(taken) < 50_000


@pytest.mark.parametrize("size", [0, 700, 2_000, 5_000, 60_000, BODY_BYTES_MAX - 200])
def test_the_directory_stays_within_its_bytes_and_is_well_used(tmp_path: Path, size: int) -> None:
    bounds = replace(SMALL, events_max=100_000)
    spool = open_spool(tmp_path, bounds=bounds)
    taken, full = fill(spool, tmp_path, size=size)
    assert full.bound == "bytes"
    assert "restore the way to the gateway, or raise the bound" in full.detail
    room = bounds.bytes_max - bounds.log_bytes_max - bounds.ballast_bytes
    # Events of two kilobytes fill a page with one of them, the smallest ones half of it with what stands beside them.
    assert spool.depth.bytes > room * 0.4
    # All of it is there, and the file is as good as it says.
    assert all_ids(spool) == taken
    spool.close()
    with closing(sqlite3.connect(tmp_path / "spool" / "events.sqlite")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)


@pytest.mark.parametrize("size", [700, 5_000, 60_000])
def test_a_full_spool_takes_again_what_is_acknowledged_for_as_long_as_one_likes(tmp_path: Path, size: int) -> None:
    spool = open_spool(tmp_path, bounds=replace(SMALL, events_max=100_000))
    taken, _ = fill(spool, tmp_path, size=size)
    release(spool)
    taken = taken[1:]
    for round_ in range(6):
        sent = spool.unsent(spool.boot, 0, events_max=len(taken) // 2, bytes_max=1 << 30)
        assert ids(sent) == taken[: len(sent)]
        spool.acknowledge(*sent[-1].place)
        more, full = fill(spool, tmp_path, size=size, name=f"r{round_}")
        assert full.bound == "bytes"
        # About as many fit as were let go: nothing leaks away.
        assert len(more) > len(sent) * 0.7
        taken = taken[len(sent) :] + more
        assert bytes_on_disk(tmp_path) <= SMALL.bytes_max
    assert ids(unsent(spool)) == taken
    assert spool.depth.kept_events < len(taken) * 0.2, "what is acknowledged went first"
    spool.close()


def test_what_is_acknowledged_goes_oldest_first(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bounds=replace(SMALL, events_max=6))
    spool.append(items(*"abcdef"))
    release(spool)
    sent = unsent(spool)
    spool.acknowledge(spool.boot, 1, [sent[2].place.sequence, sent[4].place.sequence])
    assert spool.depth.kept_events == 3
    spool.append(items("g", "h"))
    spool.replay(since=START)
    # Of a, d and f the first two went.
    assert ids(unsent(spool)) == [*"bcefgh"]
    with pytest.raises(Full):
        spool.append(items("i"))
    spool.close()


def test_a_foreign_reader_cannot_make_the_log_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    spool = open_spool(tmp_path)
    spool.append(items("first"))
    with closing(sqlite3.connect(tmp_path / "spool" / "events.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM events").fetchone()
        taken, full = fill(spool, tmp_path, size=3_000)
        assert full.bound == "log"
        assert "end it" in full.detail
        assert (tmp_path / "spool" / "events.sqlite-wal").stat().st_size <= SMALL.log_bytes_max
        # Acknowledgements still go through.
        spool.allow_first()
        assert spool.acknowledge(*unsent(spool)[3].place) == 4
    spool.append(items("last"))
    assert ids(unsent(spool)) == ["first", *taken, "last"][4:]
    spool.close()


def test_somebody_who_locks_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    spool = open_spool(tmp_path)
    with closing(sqlite3.connect(tmp_path / "spool" / "events.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"holds .*events\.sqlite") as busy:
            spool.append(items("a"))
        assert busy.value.code == "spool_held"
    assert spool.append(items("b"))[0].sequence == 1
    spool.close()


def test_the_checkpoint_is_made_before_the_log_is_long(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bounds=replace(SMALL, events_max=100_000))
    release_at = 200
    for n in range(1_500):
        spool.append([item(f"e-{n}", size=800)])
        if n == release_at:
            release(spool)
    assert (tmp_path / "spool" / "events.sqlite-wal").stat().st_size <= SMALL.log_bytes_max
    spool.close()


def test_acknowledged_events_are_kept_for_their_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    spool = open_spool(tmp_path, bounds=replace(SMALL, retention=timedelta(days=35)), clock=clock)
    spool.append(items("a", "b", "waits"))
    spool.allow_first()
    unsent(spool)
    spool.acknowledge(spool.boot, 1)
    clock.advance(timedelta(days=1))
    spool.acknowledge(spool.boot, 2)
    clock.advance(timedelta(days=33, hours=23))
    assert (spool.expire(), spool.depth.kept_events) == (False, 2)
    clock.advance(timedelta(hours=2))
    assert (spool.expire(), spool.depth.kept_events) == (False, 1)
    clock.advance(timedelta(days=365))
    assert (spool.expire(), spool.depth.kept_events, spool.depth.events) == (False, 0, 1)
    spool.close()


def test_a_clock_that_nothing_holds_removes_nothing(tmp_path: Path) -> None:
    clock = VirtualClock()
    spool = open_spool(tmp_path, clock=clock)
    spool.append(items("a", "b"))
    release(spool)
    clock.synchronised = False
    clock.set_wall(START + timedelta(days=3650))
    spool.expire()
    assert spool.depth.kept_events == 1
    # Nor does what it acknowledges in 1970 go as soon as it is right again.
    clock.set_wall(START.replace(year=1970))
    spool.acknowledge(spool.boot, 2)
    clock.synchronised = True
    clock.set_wall(START + timedelta(days=1))
    spool.expire()
    assert spool.depth.kept_events == 2
    spool.close()


def test_removing_goes_in_slices(tmp_path: Path) -> None:
    clock = VirtualClock()
    spool = open_spool(tmp_path, clock=clock)
    spool.append([item(f"e-{n}") for n in range(2_500)])
    spool.allow_first()
    unsent(spool)
    spool.acknowledge(spool.boot, 100)
    unsent(spool)
    spool.acknowledge(spool.boot, 2_500)
    clock.advance(timedelta(days=40))
    assert [spool.expire() for _ in range(4)] == [True, True, False, False]
    assert spool.depth.kept_events == 0
    # The numbers go on although no row tells them any more.
    boot = spool.boot
    spool.close()
    spool = open_spool(tmp_path, clock=clock)
    assert spool.append(items("next"))[0] == (boot, 2_501)
    spool.close()


def test_reading_is_bounded(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append([item(f"e-{n}", size=1_000) for n in range(20)])
    spool.allow_first()
    assert len(spool.unsent(spool.boot, 0, events_max=7, bytes_max=1 << 20)) == 7
    assert len(spool.unsent(spool.boot, 0, events_max=20, bytes_max=5_000)) == 4
    assert len(spool.unsent(spool.boot, 18, events_max=20, bytes_max=1)) == 1
    assert spool.unsent(spool.boot, 20, events_max=20, bytes_max=1) == []
    assert spool.unsent(spool.boot - 1, 0, events_max=20, bytes_max=1) == []
    spool.close()


def test_usual_bounds_hold_a_million_events() -> None:
    bounds = Bounds()
    assert bounds.bytes_max - bounds.log_bytes_max - bounds.ballast_bytes > 1_000_000 * 900
