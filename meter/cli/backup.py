"""`meter backup`, `meter restore`, `meter recovered`: copies of the database, and what is made of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import text

from meter.backup.make import make_backup
from meter.backup.manifest import Manifest, total_faults
from meter.backup.places import find, shelf_at
from meter.backup.restore import restore as restore_backup
from meter.backup.restore import unpack_cluster
from meter.backup.source import backup_source
from meter.cli.common import AsJson, database_url, err, out, print_json
from meter.config import Settings, load_settings
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.engine import Database
from meter.store.safekeeping import mark_restored, read_totals

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The gateway's data directory. METER_DATA_DIR")]
From = Annotated[str, typer.Argument(metavar="FROM", help="A backup, or where several are: the newest is taken.")]


def backup(
    *,
    to: Annotated[str, typer.Argument(metavar="TO", help="A directory, or s3://bucket/prefix (METER_STORE).")],
    data_dir: DataDir = None,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="How many backups stay there; else all.")] = None,
    keys: Annotated[bool, typer.Option("--keys/--no-keys", help="Whether the data directory's keys go along.")] = True,
    as_json: AsJson = False,
) -> None:
    """Copy the whole database, beside the running gateway, and check the copy."""
    made = asyncio.run(_backup(load_settings(data_dir=data_dir), to, keep=keep, keys=keys))
    if as_json:
        print_json(_shown(made))
    else:
        out.print(f"{made.name}: {made.size} bytes in {made.seconds:.1f} s, to {to}", soft_wrap=True, markup=False)


async def _backup(settings: Settings, to: str, *, keep: int | None, keys: bool) -> Manifest:
    shelf = shelf_at(to, settings.store, staging=settings.data_dir / ".backup")
    given = None if settings.database_url is None else settings.database_url.get_secret_value()
    async with backup_source(settings.data_dir, database_url=given, keys=keys) as source:
        return await make_backup(source, shelf, keep=keep)


def restore(
    *,
    backup: From,
    data_dir: DataDir = None,
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", help="Only unpack and check it here, for a PostgreSQL of one's own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a data directory without a database that of a backup; of a damaged one, say what is damaged."""
    settings = load_settings(data_dir=data_dir)
    if cluster is not None:
        manifest, epoch = asyncio.run(_unpack(settings, backup, cluster))
        _say_unpacked(manifest, cluster, epoch)
        return
    manifest, asked = asyncio.run(_restore(settings, backup))
    if as_json:
        print_json({**_shown(manifest), "asked": asked})
        return
    out.print(f"{settings.data_dir} is as of {instant_text(manifest.started_at)} ({manifest.name})", soft_wrap=True)
    _say_next(asked)


def recovered(*, backup: Annotated[str | None, typer.Argument(metavar="FROM", help="The backup.")] = None) -> None:
    """Say that a database of one's own was restored, before a gateway starts on it."""
    settings = load_settings()
    _say_next(asyncio.run(_recovered(settings, backup)))


async def _restore(settings: Settings, url: str) -> tuple[Manifest, int]:
    shelf, _, manifest = await find(url, settings.store, staging=settings.data_dir)
    done = await restore_backup(shelf, manifest, settings.data_dir, anew=_written_here(settings))
    return done.manifest, done.asked


async def _unpack(settings: Settings, url: str, cluster: Path) -> tuple[Manifest, int]:
    shelf, _, manifest = await find(url, settings.store, staging=settings.data_dir)
    return manifest, await unpack_cluster(shelf, manifest, cluster)


async def _recovered(settings: Settings, url: str | None) -> int:
    manifest = None if url is None else (await find(url, settings.store, staging=settings.data_dir))[2]
    database = Database(database_url(settings), as_owner=True)
    try:
        async with database.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            if manifest is not None:
                found = await read_totals(connection, below_xid=manifest.totals.below_xid)
                if differing := list(total_faults(manifest.totals, found)):
                    message = f"this is not what was backed up: {'; '.join(differing)}"
                    raise BadInput(message, code="bad_backup")
            return await mark_restored(connection, backup=None if manifest is None else manifest.name)
    finally:
        await database.dispose()


def _written_here(settings: Settings) -> list[str]:
    """Return the targets whose files stand in the data directory, which a backup does not hold."""
    return [
        name
        for name, target in settings.targets.items()
        if target.base_url is None and target.kind in {"ledger", "files"}
    ]


def _shown(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "started_at": instant_text(manifest.started_at),
        "seconds": manifest.seconds,
        "bytes": manifest.size,
        "schema": manifest.schema,
        "totals": {
            "rows": dict(manifest.totals.rows),
            "amounts": dict(manifest.totals.amounts),
            "rounded": dict(manifest.totals.rounded),
        },
        "files": [file.name for file in manifest.files],
    }


def _say_next(asked: int) -> None:
    err.print(
        f"{asked} deliveries wait until their targets were asked for them. Start the gateway, wait until "
        "`meter edges list` shows the agents and nothing waits to be rated, then run `meter check --deep`, and "
        "`meter reconcile TARGET` for each target. Keys, agents and members that were withdrawn or erased after the "
        "backup are there again: withdraw and erase them again.",
        soft_wrap=True,
        markup=False,
    )


def _say_unpacked(manifest: Manifest, cluster: Path, epoch: int) -> None:
    err.print(
        f"{cluster} holds {manifest.name} for PostgreSQL {manifest.postgres}, as of "
        f"{instant_text(manifest.started_at)}.\n"
        "As its user: start the server on it and stop it once, in order; then\n"
        f"  pg_resetwal --epoch={epoch} --pgdata={cluster}\n"
        "so that no transaction id is used twice; start it, and before any gateway\n"
        "  meter recovered FROM",
        soft_wrap=True,
        markup=False,
    )
