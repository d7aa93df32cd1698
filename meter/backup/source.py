"""What is backed up: a server, and what a data directory holds beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meter.embedded.partdir import PartDir
from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import BadInput
from meter.rundir import key_files, read_addresses

STATE: Final = "postgres.json"
KEYS: Final = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A server that answers. `url` is the gateway's database, as its owner; `copy_url` may replicate.

    `secrets` are files by the names that they have in a backup.
    """

    url: str
    copy_url: str
    embedded: bool
    secrets: dict[str, Path]


@asynccontextmanager
async def backup_source(data_dir: Path, *, database_url: str | None, keys: bool) -> AsyncIterator[Source]:
    """Yield what there is to be backed up: the server that is set, else that of the data directory.

    One that does not run is started for as long as it takes. Raises BadInput (`no_database`), Unavailable.
    """
    secrets = {f"{KEYS}/{path.name}": path for path in key_files(data_dir)} if keys else {}
    if database_url is not None:
        yield Source(url=database_url, copy_url=database_url, embedded=False, secrets=secrets)
        return
    state = PartDir(data_dir, "postgres").path / "state.json"
    if not state.exists():
        message = f"no database: METER_DATABASE_URL is not set and {data_dir} holds none; set one, or METER_DATA_DIR"
        raise BadInput(message, code="no_database")
    server = EmbeddedPostgres(data_dir)
    if read_addresses(data_dir) is not None and server.attach():
        yield Source(url=server.url, copy_url=server.admin_url, embedded=True, secrets={STATE: state, **secrets})
        return
    async with server:
        yield Source(url=server.url, copy_url=server.admin_url, embedded=True, secrets={STATE: state, **secrets})
