"""Events and spools for tests."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.clock import Clock, Reading
from edge.spool.file import Spool
from edge.spool.records import Bounds, Item, Stored
from tests.edge.clocks import VirtualClock

# Small enough for a test to reach, and large enough for each part to have its share.
SMALL = Bounds(bytes_max=5 * 1024 * 1024, events_max=5_000, log_bytes_max=1024 * 1024, ballast_bytes=1024 * 1024)
HEARD = VirtualClock().read()


def item(id: str | None = "e-1", *, size: int = 0, heard: Reading = HEARD, stamped: bool = False) -> Item:
    """An event with an id, or without one; with so many bytes more."""
    body: dict[str, Any] = {
        "source": "berlin/door/main",
        "type": "door.access",
        "data": {"door": "main", "x": "x" * size},
    }
    if id is not None:
        body = {"id": id, **body}
    return Item(
        body=json.dumps(body, separators=(",", ":")).encode(), heard=heard, named=id is not None, stamped=stamped
    )


def items(*ids: str, size: int = 0) -> list[Item]:
    return [item(id, size=size) for id in ids]


def ids(stored: list[Stored]) -> list[str]:
    return [str(json.loads(event.body)["id"]) for event in stored]


def open_spool(directory: Path, *, bounds: Bounds = SMALL, clock: Clock | None = None) -> Spool:
    return Spool.open(directory, bounds=bounds, clock=clock or VirtualClock())


def unsent(spool: Spool, boot: int | None = None, after: int = 0) -> list[Stored]:
    """All that may be sent of a boot, as the way to the gateway would ask for it."""
    boot = spool.boot if boot is None else boot
    found: list[Stored] = []
    while part := spool.unsent(boot, found[-1].place.sequence if found else after, events_max=1000, bytes_max=1 << 30):
        found += part
    return found


def all_ids(spool: Spool) -> list[str]:
    """The ids of all that waits under the boot in use, also of what is held back until the gateway's first word."""
    spool._writer.state = replace(spool._writer.state, proven=True)
    return ids(unsent(spool))


def release(spool: Spool) -> None:
    """Let the gateway know the spool: from here on nothing is held back. Takes the first event that waits."""
    if spool.is_held_back:
        spool.allow_first()
    (first, *_) = spool.unsent(spool.boot, 0, events_max=1, bytes_max=1)
    spool.acknowledge(*first.place)


def rows(directory: Path) -> list[tuple[int, bytes]]:
    """Place and body of all rows in the file, waiting or kept. The spool is closed or its process dead."""
    with closing(sqlite3.connect(directory / "spool" / "events.sqlite")) as connection:
        return connection.execute("SELECT place, body FROM events ORDER BY place").fetchall()


def bytes_on_disk(directory: Path) -> int:
    """What the spool takes on the disk."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
