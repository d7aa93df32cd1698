"""However the gateway ends, its servers end with it; and who it runs as does not matter."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg
import pytest

from meter.embedded.postgres import EmbeddedPostgres
from meter.model.errors import BadInput
from tests.embedded.running import ended, gateway, privileges

NOBODY = 65534
NAMELESS = 54321  # a user without an entry in /etc/passwd, as containers give


async def _count(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for sql in statements:
            await connection.execute(sql)
        return await connection.fetchval("SELECT count(*) FROM t")
    finally:
        await connection.close()


async def test_servers_end_with_a_killed_gateway_and_the_next_one_goes_on(data_dir: Path) -> None:
    async with gateway(data_dir) as first:
        await _count(first.database, "CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 1000)")
        first.process.kill()
        assert await ended(first.pids[1:])
    async with gateway(data_dir) as second:
        assert (second.database, second.mqtt) == (first.database, first.mqtt)
        assert await _count(second.database) == 1000


async def test_everything_killed_at_once_and_again_loses_nothing(data_dir: Path) -> None:
    expected = 0
    for turn in range(3):
        async with gateway(data_dir) as it:
            made = ("CREATE TABLE IF NOT EXISTS t (n int)", "INSERT INTO t SELECT generate_series(1, 100)")
            expected += 100
            assert await _count(it.database, *made) == expected, turn
            for pid in it.pids:
                os.kill(pid, signal.SIGKILL)
            assert await ended(it.pids)


async def test_ctrl_c_reaches_the_gateway_alone_which_stops_its_servers_in_order(data_dir: Path) -> None:
    async with gateway(data_dir) as it:
        os.killpg(it.process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
        assert await ended(it.pids)
        assert it.process.wait() == 0
    assert "database system is shut down" in (data_dir / "postgres" / "postgres.log").read_text()
    assert "Server Exiting" in (data_dir / "broker" / "broker.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
async def test_root_runs_its_servers_without_privileges(data_dir: Path) -> None:
    async with gateway(data_dir) as it:
        assert it.euid == 0
        for pid in it.pids[1:]:
            assert privileges(pid) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
async def test_root_uses_a_directory_that_no_other_user_reaches(data_dir: Path) -> None:
    _need_namespaces()
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    async with gateway(closed / "data") as it:
        await _count(it.database, "CREATE TABLE t (n int)")
        assert [privileges(pid) for pid in it.pids[1:]] == [0, 0]
    async with gateway(closed / "data") as again:
        assert await _count(again.database) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
async def test_root_is_told_when_the_owner_of_the_files_cannot_reach_them(data_dir: Path) -> None:
    closed = data_dir / "closed"
    async with EmbeddedPostgres(closed):
        pass
    os.chown(closed / "postgres" / "home", NAMELESS, NAMELESS)
    closed.chmod(0o700)
    with pytest.raises(BadInput, match=r"(?s)must not run as root.*Permission denied.*where every user may pass"):
        await EmbeddedPostgres(closed).start()


async def test_files_of_another_user_are_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(BadInput, match=r"belongs to user \d+ and this is user \d+"):
        await EmbeddedPostgres(data_dir).start()


@pytest.mark.parametrize("user", [NOBODY, NAMELESS])
async def test_an_ordinary_user_with_or_without_a_name(data_dir: Path, user: int) -> None:
    _need_namespaces()
    # Seen from inside, this is that user with no more rights than this process has without being root.
    wrapper = ["unshare", f"--map-user={user}", f"--map-group={user}", "--"]
    async with gateway(data_dir, wrapper=wrapper) as it:
        assert it.euid == user
        assert await _count(it.database, "CREATE TABLE t (n int)") == 0
        os.kill(it.pids[0], signal.SIGTERM)
        assert await ended(it.pids)


def _need_namespaces() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--map-user=1", "true"], check=False).returncode != 0:
        pytest.skip("this system gives no user namespaces")
