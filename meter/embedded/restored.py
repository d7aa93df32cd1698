"""An embedded PostgreSQL whose files come from a base backup."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from meter.embedded.postgres import EmbeddedPostgres
from meter.embedded.runas import RunAs
from meter.model.errors import BadInput

BASE: Final = "base.tar.gz"
SERVER_MANIFEST: Final = "backup_manifest"

# Runs a program (name, arguments, working directory, log) as the user of the server.
Run = Callable[[str, list[str], Path, Path, RunAs], Awaitable[None]]


class RestoredPostgres(EmbeddedPostgres):
    """The server of a new data directory, with the cluster that `folder` holds as a base backup in tar format."""

    def __init__(self, data_dir: Path, *, folder: Path, state: dict[str, Any], run: Run) -> None:
        super().__init__(data_dir)
        self._folder = folder
        self._kept = {"passwords": state["passwords"]}
        self._run = run
        self._user: RunAs | None = None

    async def _prepare(self, run_as: RunAs) -> None:
        """Unpack the cluster at its first start."""
        self._user = run_as
        if self._cluster.exists():
            await super()._prepare(run_as)
            return
        self._dir.keep(self._kept)
        unpack(self._folder, self._cluster)
        await self._run(
            "pg_verifybackup", ["--quiet", str(self._cluster)], self._dir.home, self._dir.path / "verify.log", RunAs()
        )
        for path in (self._cluster, *self._cluster.rglob("*")):
            run_as.own(path)

    async def skip_transaction_ids(self, next_xid: int) -> None:
        """Have the stopped server go on with ids that nobody has ever seen: those of the next epoch.

        Readers' cursors are such ids (decision 0005), and some are of after the backup. An epoch is 2^32 transactions;
        it is kept for such readers alone, so that nothing of the cluster wears out by this (pg_resetwal's manual, -e).
        """
        epoch = (next_xid >> 32) + 1
        await self._run(
            "pg_resetwal",
            [f"--epoch={epoch}", f"--pgdata={self._cluster}"],
            self._dir.home,
            self._dir.path / "resetwal.log",
            self._user or RunAs(),
        )


def unpack(folder: Path, cluster: Path) -> None:
    """Make the files of a cluster from a base backup in tar format. Raises BadInput (`bad_backup`), OSError."""
    cluster.mkdir(mode=0o700)
    try:
        # Of several members, as pg_basebackup may write it: tarfile's own streams read but the first.
        with gzip.open(folder / BASE) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            tar.extractall(cluster, filter="data")
        shutil.copyfile(folder / SERVER_MANIFEST, cluster / SERVER_MANIFEST)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadInput(f"{folder} holds no base backup that can be unpacked: {error}", code="bad_backup") from error
