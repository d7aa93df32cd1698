"""The embedded PostgreSQL keeps what was committed, is alone on its files, and leaves nothing behind."""

import asyncio
import os
import shutil
import signal
import socket
from pathlib import Path

import asyncpg
import pytest

from meter.embedded import child
from meter.embedded.child import leftovers
from meter.embedded.partdir import LOOPBACK, is_free
from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import Broken, Unavailable
from tests.embedded.running import is_alive, listening


async def _run(url: str, *statements: str) -> object:
    """The first value of the last statement."""
    connection = await asyncpg.connect(url)
    try:
        for sql in statements[:-1]:
            await connection.execute(sql)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def test_it_serves_its_owner_on_loopback_only(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        assert server.pid is not None
        assert listening(server.pid) == {LOOPBACK}
        assert await _run(server.url, "SELECT current_database() || ' ' || current_user") == "meter meter"
        assert await _run(server.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert await _run(server.admin_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        for setting in ("synchronous_commit", "fsync", "full_page_writes"):
            assert await _run(server.url, f"SHOW {setting}") == "on"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url, password="wrong")
        port = server.port
    assert is_free(LOOPBACK, port)
    assert server.pid is None


async def test_secrets_are_readable_by_their_owner_only(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        pass
    state = data_dir / "postgres" / "state.json"
    assert state.stat().st_mode & 0o777 == 0o600
    assert (data_dir / "postgres" / "home").stat().st_mode & 0o777 == 0o700
    assert server.url.split(":")[2].split("@")[0] not in (data_dir / "postgres" / "postgres.log").read_text()


async def test_a_second_start_finds_the_data_and_the_port_again(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        await _run(server.url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (7) RETURNING n")
    async with EmbeddedPostgres(data_dir) as again:
        assert again.url == server.url
        assert await _run(again.url, "SELECT n FROM t") == 7


async def test_it_stops_in_order(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        held = await asyncpg.connect(server.url)  # a fast shutdown does not wait for clients
        await held.execute("BEGIN")
    assert "database system is shut down" in (data_dir / "postgres" / "postgres.log").read_text()
    await held.close(timeout=1)


async def test_two_gateways_do_not_share_a_data_directory(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        with pytest.raises(Unavailable, match=f"in use by process {os.getpid()}"):
            await EmbeddedPostgres(data_dir).start()
        assert await _run(server.url, "SELECT 1") == 1


async def test_a_given_port_that_is_taken_is_an_error(data_dir: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} of {LOOPBACK} is taken"):
            await EmbeddedPostgres(data_dir, port=port).start()
    async with EmbeddedPostgres(data_dir, port=port) as server:
        assert server.port == port


async def test_a_remembered_port_that_is_taken_is_replaced(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        port = server.port
    with socket.create_server((LOOPBACK, port)):
        async with EmbeddedPostgres(data_dir) as again:
            assert again.port != port
            assert await _run(again.url, "SELECT 1") == 1


async def test_committed_rows_survive_the_kill_of_the_server(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        await _run(server.url, "CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 1000) RETURNING n")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match=r"postgres ended by SIGKILL"):
            await server.watch()
    async with EmbeddedPostgres(data_dir) as again:
        assert await _run(again.url, "SELECT count(*) FROM t") == 1000


async def test_a_server_left_by_a_killed_gateway_is_ended_first(data_dir: Path) -> None:
    link = data_dir / "link"
    link.symlink_to(data_dir / "real")
    killed = EmbeddedPostgres(link)
    await killed.start()
    await _run(killed.url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (7) RETURNING n")
    left = killed.pid
    assert left is not None
    killed._dir.unlock()  # as the kernel does for a killed gateway
    async with EmbeddedPostgres(link) as server:
        assert not is_alive(left)
        assert await _run(server.url, "SELECT n FROM t") == 7
    await killed.stop()
    assert leftovers(data_dir, "postgres") == []


async def test_the_mark_of_a_killed_server_whose_process_id_is_a_strangers_does_not_hinder(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        mark = data_dir / "postgres" / "home" / "cluster" / "postmaster.pid"
        lines = mark.read_text().splitlines()
        owner = mark.stat()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        mark.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        os.chown(mark, owner.st_uid, owner.st_gid)
        async with EmbeddedPostgres(data_dir) as again:
            assert await _run(again.url, "SELECT 1") == 1
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()
    assert server.pid is None


async def test_a_first_start_that_was_killed_is_begun_anew(data_dir: Path) -> None:
    (data_dir / "postgres" / "home" / "draft-1" / "base").mkdir(parents=True)
    for path in (data_dir / "postgres", data_dir / "postgres" / "home"):
        path.chmod(0o711)
    shutil.chown(data_dir / "postgres" / "home", os.geteuid())
    async with EmbeddedPostgres(data_dir) as server:
        assert await _run(server.url, "SELECT 1") == 1
    assert list((data_dir / "postgres" / "home").glob("draft-*")) == []


async def test_passwords_of_another_cluster_are_named_as_the_fault(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as server:
        state = server._dir.state()
    server._dir.keep({**state, "passwords": {"postgres": "wrong", "meter": "wrong"}})
    with pytest.raises(Broken, match=r"does not know the passwords in .*state\.json"):
        await EmbeddedPostgres(data_dir).start()
    assert leftovers(data_dir, "postgres") == []


async def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    with pytest.raises(
        Unavailable, match=r'(?s)postgres ended with code 1.*unrecognized configuration parameter "nonsense"'
    ):
        await EmbeddedPostgres(data_dir, settings={"nonsense": "1"}).start()


def test_a_log_over_its_bound_moves_aside_under_its_writer(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_LOG_BYTES_MAX", 5)
    log = data_dir / "log"
    with log.open("a", buffering=1) as writer:
        writer.write("12345\n")
        child.rotate(log)
        writer.write("6\n")
        child.rotate(log)
    assert (log.with_name("log.1").read_text(), log.read_text()) == ("12345\n", "6\n")
