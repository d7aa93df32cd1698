"""The spool's file: its tables, how a connection to it is set, and how an older file becomes a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.spool.errors import SpoolFailed

PAGE_BYTES: Final = 4096
# A foreign reader (somebody looks with sqlite3) may hold a lock for a moment; longer is a refusal.
BUSY_TIMEOUT_S: Final = 5.0
# One SD card's worth of random reads is saved by more; 1 MiB holds the right edge of every tree.
_CACHE_KIB: Final = 1024

# One list of statements for each version of the file; PRAGMA user_version counts those that were done.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        # `place` counts all events of the file (state.py), so new rows go to the right edge of one tree. `total` is the
        # bytes of all bodies up to and with this one: two rows tell the bytes of any run of places. `crc` is over the
        # whole row: SQLite does not notice a flipped bit.
        """CREATE TABLE events (
             place INTEGER PRIMARY KEY, total INTEGER NOT NULL, crc INTEGER NOT NULL,
             wall_us INTEGER NOT NULL, machine_boot INTEGER NOT NULL, boottime_ns INTEGER NOT NULL,
             flags INTEGER NOT NULL, body BLOB NOT NULL) STRICT""",
        "CREATE TABLE segments (first INTEGER PRIMARY KEY, boot INTEGER NOT NULL, base INTEGER NOT NULL) STRICT",
        "CREATE TABLE acknowledged (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, hour INTEGER NOT NULL) STRICT",
        """CREATE TABLE machine_boots (
             number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
             boottime_ns INTEGER, true_us INTEGER, error_ms INTEGER, ntp INTEGER) STRICT""",
        "CREATE TABLE positions (collector TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID",
        # next_place and total: as they were when events were last removed, for the rows that said more may be gone.
        # mark and proven: see State.
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "INSERT INTO meta VALUES ('next_place', 1), ('total', 0), ('mark', 0), ('proven', 0)",
    ),
    (
        # What devices asked before they acted, and were answered (edge/authorizing). `body` never changes, and `crc` is
        # of it; the rest is what became of the answer. `known`: from which word of the gateway's on that counts it.
        # `owes`: what the gateway is still to be told. `event_place`: of the first event that names it.
        """CREATE TABLE authorizations (
             number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, account TEXT, meter TEXT NOT NULL,
             allowed INTEGER NOT NULL, offline INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL,
             known INTEGER, owes INTEGER NOT NULL, refusal TEXT, released_us INTEGER,
             event_place INTEGER, settled TEXT, closed INTEGER NOT NULL) STRICT""",
        "CREATE INDEX authorizations_account ON authorizations (account, meter) WHERE allowed",
        "CREATE INDEX authorizations_risk ON authorizations (number) WHERE allowed AND offline AND NOT closed",
        "CREATE INDEX authorizations_owed ON authorizations (number) WHERE owes > 0",
        "CREATE INDEX authorizations_refused ON authorizations (number) WHERE refusal IS NOT NULL",
        # The gateway's last word on who may have what; `heard` orders words and tellings.
        """CREATE TABLE words (
             about TEXT PRIMARY KEY, account TEXT NOT NULL, meter TEXT NOT NULL, heard INTEGER NOT NULL,
             crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID""",
        "CREATE INDEX words_heard ON words (heard)",
        "INSERT INTO meta VALUES ('heard', 0)",
    ),
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection that begins its transactions itself and may be handed from thread to thread."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        for pragma in (
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            *(("query_only = ON",) if read_only else ()),
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, *, pages_max: int, log_bytes_kept: int) -> None:
    """Make the file what this version writes: pragmas first, then migrations. Raises SpoolFailed for a newer file."""
    for pragma in (
        # The first three count only while the file is empty.
        f"page_size = {PAGE_BYTES}",
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        # NORMAL loses committed rows with the power (tests/edge/spool/test_power.py).
        "synchronous = FULL",
        # An fsync of macOS does not reach the disk without these.
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        # By itself SQLite copies the log within COMMIT and ignores its errors: a failed fsync would pass unseen.
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {log_bytes_kept}",
        # Removed events are overwritten where that costs no further page.
        "secure_delete = FAST",
        f"max_page_count = {pages_max}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise SpoolFailed(
            f"the spool has version {version} and this agent knows {len(MIGRATIONS)}: "
            "install the agent that wrote it, or a newer one"
        )
    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
