"""Starting that gateway, and looking at processes from outside."""

import asyncio
import ipaddress
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ENDS_WITHIN_S = 60.0  # generous: a busy machine, a real disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    process: subprocess.Popen[bytes]
    database: str
    mqtt: str
    pids: list[int]  # gateway, postmaster, broker
    euid: int


@asynccontextmanager
async def gateway(data_dir: Path, *, wrapper: Sequence[str] = ()) -> AsyncIterator[Gateway]:
    """A gateway process that serves; killed at the end if the test has not stopped it."""
    argv = [*wrapper, sys.executable, str(Path(__file__).with_name("gateway.py")), str(data_dir)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)  # noqa: ASYNC220 -- of no loop
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, "the gateway said nothing"
        facts = json.loads(line)
        yield Gateway(process=process, **facts)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def ended(pids: Sequence[int]) -> bool:
    """Whether all of them end within the bound."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 -- processes tell nobody
            await asyncio.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie that its new parent has not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def listening(pid: int) -> set[str]:
    """The addresses on which the process accepts TCP connections."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the process may close it meanwhile
            sockets.add(link.readlink().name)
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                raw = bytes.fromhex(local.split(":")[0])
                words = [raw[start : start + 4][::-1] for start in range(0, len(raw), 4)]  # each in host order
                found.add(str(ipaddress.ip_address(b"".join(words))))
    return found


def privileges(pid: int) -> int:
    """The effective capabilities of a process, as a bit set."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("CapEff:")[1].split()[0], 16)
