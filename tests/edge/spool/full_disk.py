"""A spool on a disk of its own that is filled again and again: python -m tests.edge.spool.full_disk DIR TIMES.

Ends with a line of JSON: how many events were told safe, refused, acknowledged. Raises where a law does not hold.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

from edge.spool.errors import Full
from edge.spool.file import Spool
from edge.spool.records import Bounds
from tests.edge.spool.making import ids, item, open_spool, unsent

# More than the disk has: it is the disk that ends first.
BOUNDS = Bounds(bytes_max=64 << 20, events_max=100_000, log_bytes_max=1 << 20, ballast_bytes=1 << 20)
REFUSED_MORE = 5
# What the other program leaves, in turns: nothing, less than a commit, less than a log, several megabytes.
START_BYTES = 80_000
ROOM_BYTES = (0, 5_000, 300_000, 3 << 20)


def fill(filler: Path) -> None:
    """Take all the room that is left, as another program may."""
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def until_full(spool: Spool, name: str) -> list[str]:
    """Append until it was refused some times: what was told safe. In between room may come of what was kept."""
    told: list[str] = []
    refused = 0
    while refused < REFUSED_MORE:
        try:
            spool.append([item(f"{name}-{len(told)}", size=700)])
        except Full as full:
            if full.bound != "disk":
                raise
            refused += 1
        else:
            told.append(f"{name}-{len(told)}")
    return told


def leave(spool: Spool, *, killed: bool) -> None:
    """End its process. A killed one does not close the file; the kernel gives its lock back."""
    if killed:
        spool._files.unlock()
    else:
        spool.close()


def started_anew(directory: Path, filler: Path) -> Spool:
    """The spool opened on a disk with no room at all, or with next to none: that much a start needs."""
    try:
        return open_spool(directory / "spool", bounds=BOUNDS)
    except Full as full:
        if full.bound != "disk":
            raise
    os.truncate(filler, filler.stat().st_size - START_BYTES)
    return open_spool(directory / "spool", bounds=BOUNDS)


def once(directory: Path, turn: int, waiting: list[str]) -> dict[str, int]:
    """One full disk: refused, let go, refused, room again, taken. `waiting` is changed as the spool is."""
    spool = open_spool(directory / "spool", bounds=BOUNDS)
    filler = directory / "filler"
    told = [f"{turn}-first"]
    spool.append([item(told[0])])
    fill(filler)
    os.truncate(filler, max(0, filler.stat().st_size - ROOM_BYTES[turn % len(ROOM_BYTES)]))
    told += until_full(spool, f"{turn}")
    waiting += told
    assert not (directory / "spool" / "ballast").exists()
    if turn % 2:
        # Another program takes what the ballast left, and the agent starts anew.
        fill(filler)
        leave(spool, killed=False)
        fill(filler)
        spool = started_anew(directory, filler)
    if spool.is_held_back:
        spool.allow_first()
    sent = unsent(spool)
    assert ids(sent) == waiting[: len(sent)]
    gone = sent[: max(1, len(sent) * 2 // 3)]
    spool.acknowledge(*gone[-1].place)
    del waiting[: len(gone)]
    filler.unlink()
    spool.append([item(f"{turn}-again")])
    waiting.append(f"{turn}-again")
    assert (directory / "spool" / "ballast").stat().st_size == BOUNDS.ballast_bytes
    assert spool.depth.events == len(waiting)
    leave(spool, killed=turn % 3 != 0)
    return {"told": len(told) + 1, "acknowledged": len(gone)}


def main() -> None:
    directory, times = Path(sys.argv[1]), int(sys.argv[2])
    waiting: list[str] = []
    sums = {"told": 0, "acknowledged": 0}
    for turn in range(times):
        for name, count in once(directory, turn, waiting).items():
            sums[name] += count
    spool = open_spool(directory / "spool", bounds=BOUNDS)
    found: list[str] = []
    while spool.depth.events:
        if spool.is_held_back:
            spool.allow_first()
        sent = unsent(spool)
        found += ids(sent)
        spool.acknowledge(*sent[-1].place)
    assert found == waiting
    spool.close()
    print(json.dumps(sums | {"left": len(found)}))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
