"""Real parts for every test: one PostgreSQL and one broker a session, a fresh migrated database a test."""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.child import Child, Program
from meter.embedded.partdir import LOOPBACK, choose_port, is_free
from meter.embedded.postgres import EmbeddedPostgres
from meter.embedded.runas import RunAs
from meter.store.engine import Database
from tests.tools import need_tool

# No test says how fast this machine is; a failing example can be repeated from what is printed.
settings.register_profile("meter", deadline=None, print_blob=True)
settings.load_profile("meter")

# Workers inherit both sides of a terminal from the process that starts them, and a console that knows both never asks
# for the width that a test wants.
for _side in ("COLUMNS", "LINES"):
    os.environ.pop(_side, None)

# The contract servers of tests/contract, for the tests of the export targets.
pytest_plugins = ["tests.contract.servers"]

_TEMPLATE = "migrated"
# A test's database is some 400 files, and its gateway flushes each commit: both cost nothing in memory.
_MEMORY = Path("/dev/shm")  # noqa: S108  mkdtemp makes the directory
_MEMORY_BYTES_MIN = 4 << 30  # far more than a session holds at once
# It syncs nothing, for no test of the session crashes the machine; a password that is tried once for each connection
# needs no 4,096 rounds; and a database is copied as files, which takes a seventh of writing it into the log.
_SERVER = {"fsync": "off", "max_connections": "200", "scram_iterations": "1"}


@pytest.fixture(scope="session", autouse=True)
def session_dir() -> Iterator[Path]:
    """A directory that children under another user may pass; what still works in it at the end was left behind."""
    path = Path(tempfile.mkdtemp(prefix="meter-test-", dir=_in_memory()))
    path.chmod(0o711)
    try:
        yield path
        left = _processes_of(path)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == {}, f"left running by this session, ended now: {left}"
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _in_memory() -> Path | None:
    """Where memory serves as a disk, unless TMPDIR names a place; None: where the system has temporary files."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN
    return _MEMORY if roomy and "TMPDIR" not in os.environ else None


def _processes_of(directory: Path) -> dict[int, str]:
    """Processes that work below `directory` or are children of this one, by id with command line. Linux only."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() or (entry / "cwd").readlink().is_relative_to(directory):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(bytes(1), b" ").decode()
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


@pytest.fixture
def data_dir(session_dir: Path) -> Iterator[Path]:
    """An empty data directory for one test."""
    path = Path(tempfile.mkdtemp(dir=session_dir))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pg_server(session_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    """One PostgreSQL for the session."""
    async with EmbeddedPostgres(session_dir, settings=_SERVER) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(pg_server: EmbeddedPostgres) -> str:
    """The name of a database with this version's schema and nothing in it."""
    from meter.store.migrate import upgrade

    await _execute(pg_server.url, f"CREATE DATABASE {_TEMPLATE}")
    await upgrade(pg_server.url.rpartition("/")[0] + f"/{_TEMPLATE}")
    return _TEMPLATE


@pytest_asyncio.fixture
async def database_url(pg_server: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[str]:
    """A fresh migrated database for one test (some 30 ms)."""
    async with _database(pg_server, template=migrated_template) as url:
        yield url


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The gateway's way into that database, as that of the operator whom the tests tell of."""
    made = Database(database_url, operator="northside")
    yield made
    await made.dispose()


@pytest_asyncio.fixture
async def empty_database_url(pg_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database without any schema, for tests of migrations."""
    async with _database(pg_server, template="template1") as url:
        yield url


@asynccontextmanager
async def _database(server: EmbeddedPostgres, *, template: str) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    await _execute(server.url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield server.url.rpartition("/")[0] + f"/{name}"
    await _drop(server.url, name)


async def _drop(url: str, name: str) -> None:
    """Drop a database, whoever is in it. A worker of autovacuum, which only a superuser may end, goes by itself."""
    async with asyncio.timeout(30):
        while True:
            try:
                await _execute(url, f"DROP DATABASE {name} WITH (FORCE)")
            except asyncpg.InsufficientPrivilegeError:
                await asyncio.sleep(0.2)
            else:
                return


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker_url(session_dir: Path) -> AsyncIterator[str]:
    """One nats-server for the session (MQTT 3.1.1): take topics, sites and client ids that no other test has."""
    async with EmbeddedBroker(session_dir) as broker:
        yield broker.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mosquitto_url(session_dir: Path) -> AsyncIterator[str]:
    """One Mosquitto for the session (MQTT 5 and 3.1.1, anonymous): topics, sites and client ids as for `broker_url`."""
    program = need_tool("mosquitto")
    home = session_dir / "mosquitto"
    home.mkdir()
    port = choose_port(LOOPBACK, given=None, remembered=None)
    config = home / "mosquitto.conf"
    config.write_text(
        f"listener {port} {LOOPBACK}\nallow_anonymous true\npersistence true\npersistence_location {home}/\n"
        "max_inflight_messages 0\nmax_queued_messages 0\n" + ("user root\n" if os.geteuid() == 0 else "")
    )
    child = Child(
        Program(
            name="mosquitto",
            argv=[program, "-c", str(config)],
            cwd=home,
            log=home / "log",
            run_as=RunAs(),
            stop=EmbeddedBroker.stop_signals,
        )
    )
    child.start()
    try:
        while is_free(LOOPBACK, port):
            assert await child.ended(within_s=0.02) is None, child.obituary()
        yield f"mqtt://{LOOPBACK}:{port}"
    finally:
        await child.stop()
