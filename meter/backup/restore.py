"""Makes a data directory of a backup: checked whole, recovered, marked as restored, and only then put in place.

    .restoring/ ─ checksums ─ unpack ─ pg_verifybackup ─ recovery ─ totals ─ marks ─ new ids ──rename──▶ postgres/

Whatever fails or is killed on the way leaves the data directory without a database, never with half of one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from meter.backup.manifest import Manifest, faults, total_faults
from meter.backup.places import Shelf
from meter.backup.programs import run_program
from meter.backup.source import KEYS, STATE
from meter.embedded.partdir import write_private
from meter.embedded.restored import RestoredPostgres, unpack
from meter.embedded.runas import RunAs
from meter.export.durable import flush
from meter.model.errors import BadInput
from meter.store import migrate
from meter.store.engine import Database
from meter.store.safekeeping import mark_restored, read_totals

_STAGING: Final = ".restoring"
_POSTGRES_MAJOR: Final = 18  # of the embedded server: another major version's files it does not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore came to: the backup, and how many deliveries are asked about before anything is sent."""

    manifest: Manifest
    asked: int


async def restore(shelf: Shelf, manifest: Manifest, data_dir: Path, *, anew: Collection[str]) -> Restored:
    """Restore a backup of an embedded database to `data_dir`, which has none.

    `anew` are the targets whose files are in the data directory: they are written again. Raises BadInput
    (`data_directory`, `bad_backup`), Unavailable.
    """
    _require_room(data_dir, manifest)
    staging = _staging(data_dir)
    try:
        folder = await _checked(shelf, manifest, staging)
        state = _state(folder)
        server = RestoredPostgres(staging, folder=folder, state=state, run=_run)
        async with server:
            next_xid, asked = await _judge(server.url, manifest, anew)
        await server.skip_transaction_ids(max(next_xid, manifest.next_xid))
        async with server:
            pass  # it starts with the new ids, or it is no restored database
        _put_in_place(staging, folder, data_dir, manifest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Restored(manifest=manifest, asked=asked)


async def unpack_cluster(shelf: Shelf, manifest: Manifest, cluster: Path) -> int:
    """Make a cluster for a PostgreSQL of one's own in a new directory; return the epoch that it has to get.

    Raises BadInput (`data_directory`, `bad_backup`), Unavailable.
    """
    staging = _staging_of(cluster)
    try:
        folder = await _checked(shelf, manifest, staging)
        unpack(folder, staging / "cluster")
        await _run("pg_verifybackup", ["--quiet", "cluster"], staging, staging / "verify.log", RunAs())
        _moved(staging / "cluster", cluster)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return (manifest.next_xid >> 32) + 1


def _require_room(data_dir: Path, manifest: Manifest) -> None:
    if (data_dir / "postgres").exists():
        message = f"{data_dir} holds a database; move it away, or name another --data-dir: nothing is overwritten"
        raise BadInput(message, code="data_directory")
    if not manifest.embedded:
        message = "the backup is of a PostgreSQL of its own; unpack it with --cluster DIR for that one"
        raise BadInput(message, code="bad_backup")
    if manifest.postgres != _POSTGRES_MAJOR:
        message = f"the backup is of PostgreSQL {manifest.postgres}; use the version of this program that made it"
        raise BadInput(message, code="bad_backup")
    if manifest.schema > migrate.head():
        message = f"the backup has schema {manifest.schema}, this version {migrate.head()}; use {manifest.version}"
        raise BadInput(message, code="schema_mismatch")


def _staging_of(cluster: Path) -> Path:
    if cluster.exists():
        raise BadInput(f"{cluster} is there already; name a new directory", code="data_directory")
    return _staging(cluster.absolute().parent)


def _moved(path: Path, to: Path) -> None:
    path.rename(to)
    flush(to.absolute().parent)


def _staging(above: Path) -> Path:
    """Return a new directory; what a restore has left that was killed is removed."""
    staging = above / _STAGING
    try:
        above.mkdir(mode=0o711, parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o711)
    except OSError as error:
        raise BadInput(f"{above} cannot be written: {error.strerror or error}", code="data_directory") from error
    return staging


async def _checked(shelf: Shelf, manifest: Manifest, staging: Path) -> Path:
    """Return the directory of the backup's files, each of which is what was written."""
    folder = await shelf.get(manifest.name, manifest, staging)
    if found := list(faults(folder, manifest)):
        message = f"{manifest.name} is damaged and nothing was restored: {'; '.join(found)}; take another backup"
        raise BadInput(message, code="bad_backup")
    return folder


def _state(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{folder} lacks {STATE} with the database's passwords", code="bad_backup") from None
    return found


async def _run(name: str, arguments: list[str], cwd: Path, log: Path, run_as: RunAs) -> None:
    remedy = "nothing was restored; take another backup"
    await run_program(name, arguments, cwd=cwd, log=log, remedy=remedy, run_as=run_as)


async def _judge(url: str, manifest: Manifest, anew: Collection[str]) -> tuple[int, int]:
    """Hold the recovered database against its manifest, bring it to this version, and mark it as restored.

    Returns the next transaction's id and how many deliveries are asked about.
    """
    database = Database(url, as_owner=True)
    try:
        async with database.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            found = await read_totals(connection, below_xid=manifest.totals.below_xid)
        if differing := list(total_faults(manifest.totals, found)):
            message = f"what was recovered is not what was backed up, so nothing was restored: {'; '.join(differing)}"
            raise BadInput(message, code="bad_backup")
        await migrate.upgrade(url)
        async with database.begin() as connection:
            asked = await mark_restored(connection, backup=manifest.name, anew=anew)
            xid = await connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))
            return int(xid.scalar_one()), asked
    finally:
        await database.dispose()


def _put_in_place(staging: Path, folder: Path, data_dir: Path, manifest: Manifest) -> None:
    """Put the keys, then the database where they belong; a key that is there already stays."""
    for file in manifest.files:
        above, _, name = file.name.rpartition("/")
        if above == KEYS and not (data_dir / name).exists():
            write_private(data_dir / name, (folder / file.name).read_bytes())
    _moved(staging / "postgres", data_dir / "postgres")
