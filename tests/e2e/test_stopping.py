"""However and whenever a gateway ends: soon, without a traceback, leaving nothing behind (`session_dir` looks)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from meter import app
from meter.app import Gateway, Parts
from meter.config import Settings
from meter.embedded.child import leftovers
from meter.model.hashing import PLAIN
from tests.gateway import RunningGateway

_WITHIN_S = 60


async def _starting(data_dir: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meter", "up", "--data-dir", str(data_dir),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "METER_HTTP": "127.0.0.1:0"},
    )  # fmt: skip


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_asked_to_stop_while_it_starts_it_gives_up(data_dir: Path, signum: signal.Signals) -> None:
    process = await _starting(data_dir)
    async with asyncio.timeout(_WITHIN_S):
        while not (data_dir / "postgres" / "home").exists():  # noqa: ASYNC110 -- another process tells nobody
            await asyncio.sleep(0.01)
        process.send_signal(signum)
        said, complaints = await process.communicate()
    assert process.returncode == 0
    assert b"ready" not in said
    assert b"Traceback" not in complaints
    assert leftovers(data_dir, "postgres") == []


async def test_interrupted_while_it_is_loaded_it_says_nothing(data_dir: Path) -> None:
    loading = "import signal, sys; sys.argv = ['meter', 'up']; import meter.__main__ as m\n"
    loading += "signal.signal(2, signal.default_int_handler)\n"  # which a shell's background jobs do not have
    # Stands for Ctrl-C in the second that importing takes.
    loading += "sys.meta_path.insert(0, type('F', (), {'find_spec': lambda *_: signal.raise_signal(2)})())\nm.main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", loading, stderr=asyncio.subprocess.PIPE, cwd=data_dir
    )
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (130, b"")


@pytest.mark.parametrize(("part", "command"), [("postgres", "postgres"), ("broker", "nats-server")])
async def test_it_stops_with_a_word_when_a_part_dies(data_dir: Path, part: str, command: str) -> None:
    gateway = RunningGateway(data_dir)
    await gateway.start()
    (server,) = [pid for pid in leftovers(data_dir / part, command) if _parent(pid) == gateway.process.pid]
    os.kill(server, signal.SIGKILL)
    async with asyncio.timeout(_WITHIN_S):
        assert await gateway.process.wait() == 1
    log = gateway.log.read_text()
    assert f"{part} ended by SIGKILL" in log
    assert "Traceback" not in log
    assert leftovers(data_dir, "postgres") + leftovers(data_dir, "nats-server") == []


async def test_a_second_gateway_is_told_who_holds_the_directory(data_dir: Path) -> None:
    async with RunningGateway(data_dir) as gateway:
        process = await _starting(data_dir)
        _, complaints = await asyncio.wait_for(process.communicate(), _WITHIN_S)
        assert process.returncode == 1
        said = " ".join(complaints.decode().split())
        assert f"in use by process {gateway.process.pid}" in said


async def test_a_role_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setattr(app, "_ROLE_END_S", 0.01)
    cancelled: list[int] = []

    async def stubborn() -> None:
        while len(cancelled) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)

    parts = Parts(database_url=database_url, mqtt_url=None)
    gateway = Gateway(Settings(), parts, roles=(), admin_key="k" * 32, hasher=PLAIN)
    async with asyncio.timeout(_WITHIN_S), gateway._background("stubborn", stubborn(), finish=lambda: None):
        await asyncio.sleep(0)
    assert len(cancelled) == 3
