"""Makes a backup: a base backup beside the running gateway, checked before it counts.

    .draft-NAME/ ─ pg_basebackup ─ pg_verifybackup ─ keys ─ manifest.json ──rename or upload──▶ NAME/

What is killed on the way leaves a draft, which is no backup and is removed by the next one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import asyncpg
from sqlalchemy import text

from meter import __version__, lockfile
from meter.backup.manifest import FORMAT, MANIFEST, Manifest, encoded, file_of
from meter.backup.places import Shelf
from meter.backup.programs import run_program
from meter.backup.source import Source
from meter.clock import monotonic_s
from meter.embedded.partdir import write_private
from meter.embedded.restored import SERVER_MANIFEST
from meter.model.errors import BadInput, Unavailable
from meter.store import migrate
from meter.store.engine import CONNECT_TIMEOUT_S, Database, reason_of
from meter.store.safekeeping import Totals, add_backup, database_now, read_totals

_DRAFT: Final = ".draft-"
_SERVER: Final = text(
    "SELECT current_setting('server_version_num')::int / 10000 AS major,"
    " pg_snapshot_xmax(pg_current_snapshot())::text AS next_xid"
)
# Temporary: it is gone with its connection.
_SLOT: Final = "SELECT pg_create_physical_replication_slot($1, true, true)"
_REMEDY: Final = "nothing was kept; check the disk and that the user may replicate (docs/backups.md)"


async def make_backup(source: Source, shelf: Shelf, *, keep: int | None) -> Manifest:
    """Make a backup on the shelf and return its manifest; of those there `keep` stay (None: all).

    Raises BadInput, Unavailable; nothing counts as a backup then.
    """
    begun_s = monotonic_s()
    database = Database(source.url, as_owner=True)
    try:
        if (schema := await migrate.revision(database)) is None:
            raise BadInput("the database holds nothing of ours yet; run `meter migrate`", code="schema_mismatch")
        async with database.begin() as connection:
            started_at = await database_now(connection)
            server = (await connection.execute(_SERVER)).one()
        totals = await _totals(database)
        name = f"meter-{started_at:%Y%m%dT%H%M%S%f}Z"
        with draft_in(shelf.staging, name, what="backup") as draft:
            await _copy(source, draft)
            _add_secrets(source, draft)
            manifest = Manifest(
                format=FORMAT,
                name=name,
                version=__version__,
                schema=schema,
                postgres=server.major,
                started_at=started_at,
                seconds=round(monotonic_s() - begun_s, 3),
                next_xid=int(server.next_xid),
                embedded=source.embedded,
                totals=totals,
                files=[
                    file_of(draft, one, secret=one in source.secrets)
                    for one in sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
                ],
            )
            write_private(draft / MANIFEST, encoded(manifest))
            await shelf.put(draft, manifest)
        await _kept(database, manifest, started_at)
    finally:
        await database.dispose()
    if keep is not None:
        await shelf.prune(keep)
    return manifest


async def _totals(database: Database) -> Totals:
    """Return what stands before the copy begins."""
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        return await read_totals(connection)


async def _kept(database: Database, manifest: Manifest, started_at: datetime) -> None:
    async with database.begin() as connection:
        await add_backup(
            connection, name=manifest.name, started_at=started_at, seconds=manifest.seconds, size=manifest.size
        )


async def _copy(source: Source, draft: Path) -> None:
    # Elsewhere: what a full disk has to say must not need that disk, and a password nothing to do with the backups.
    with TemporaryDirectory(prefix="meter-backup-") as beside:
        log, passes = Path(beside) / "log", Path(beside) / "pass"
        password, url = _without_password(source.copy_url)
        write_private(passes, b"*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:").encode() + b"\n")
        arguments = [
            f"--dbname={url}{'&' if '?' in url else '?'}passfile={quote(str(passes), safe='')}",
            f"--pgdata={draft}",
            "--format=tar",
            "--gzip",
            "--compress=1",  # most of what can be had, for a third of the time
            "--wal-method=fetch",  # `stream` forks a process that outlives a killed one and keeps the server waiting
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            "--no-password",
        ]
        async with _log_kept(source):
            await run_program("pg_basebackup", arguments, cwd=draft, log=log, remedy=_REMEDY)
        # Of the tar files; the log is read where it is unpacked.
        checking = ["--quiet", "--format=tar", "--no-parse-wal", str(draft)]
        await run_program("pg_verifybackup", checking, cwd=draft, log=log, remedy=_REMEDY)
    if not (draft / SERVER_MANIFEST).exists():
        raise Unavailable(f"pg_basebackup wrote no manifest; {_REMEDY}", code="backup_failed")


@asynccontextmanager
async def _log_kept(source: Source) -> AsyncIterator[None]:
    """Have the server keep its log while it is copied, however much is written; killed, this lets go of it."""
    try:
        connection = await asyncpg.connect(_plain(source.copy_url), timeout=CONNECT_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable(
            f"the server cannot be copied: {reason_of(error)}; {_REMEDY}", code="backup_failed"
        ) from error
    try:
        await connection.execute(_SLOT, f"meter_backup_{uuid4().hex[:12]}")
        yield
    except asyncpg.PostgresError as error:
        raise Unavailable(
            f"the server cannot be copied: {reason_of(error)}; {_REMEDY}", code="backup_failed"
        ) from error
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


def _without_password(url: str) -> tuple[str, str]:
    """Return a URL's password and the rest: a command line can be read by everybody on the machine."""
    parts = urlsplit(_plain(url))
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return unquote(password), parts._replace(netloc=f"{name}{at}{host}").geturl()


def _plain(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def _add_secrets(source: Source, draft: Path) -> None:
    for name, path in source.secrets.items():
        (draft / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_private(draft / name, path.read_bytes())


@contextmanager
def draft_in(staging: Path, name: str, *, what: str) -> Iterator[Path]:
    """Yield a new directory of one's own; whoever died over one has left it, and it is removed first."""
    try:
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = lockfile.take(staging / ".lock")
    except lockfile.Locked as error:
        message = f"another {what} to {staging} is under way (process {error.holder}); wait for it"
        raise Unavailable(message, code=f"{what}_under_way") from None
    except OSError as error:
        raise BadInput(f"{staging} cannot be written: {error.strerror or error}", code=f"bad_{what}_place") from error
    draft = staging / f"{_DRAFT}{name}"
    try:
        _swept(staging)
        draft.mkdir(mode=0o700)
        yield draft
    except OSError as error:
        message = f"the {what} could not be written to {staging}: {error.strerror or error}; nothing was kept"
        raise Unavailable(message, code=f"{what}_failed") from error
    finally:
        _swept(staging)
        os.close(held)


def _swept(staging: Path) -> None:
    for left in staging.glob(f"{_DRAFT}*"):
        shutil.rmtree(left, ignore_errors=True)
