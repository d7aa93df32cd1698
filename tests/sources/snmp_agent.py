"""A real SNMP agent for tests: Net-SNMP's, which says it is a printer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meter.embedded.partdir import LOOPBACK
from tests.tools import need_tool

COMMUNITY = "lounge"
_TRIES = 100
# snmpd(8), snmpd.conf(5): single values of the Printer-MIB, as a printer's agent has them.
_CONF = """agentaddress udp:{host}:{port}
rocommunity {community}
override 1.3.6.1.2.1.43.10.2.1.3.1.1 integer 7
override 1.3.6.1.2.1.43.10.2.1.4.1.1 counter {count}
override 1.3.6.1.2.1.43.5.1.1.17.1 octet_str JPBHK12345
"""


def free_udp_port() -> int:
    """A port on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def printer_agent(directory: Path, port: int, *, count: int) -> AsyncIterator[None]:
    """A running snmpd whose printer has counted so far. Skipped where there is none."""
    snmpd = need_tool("snmpd")
    conf, log = directory / "snmpd.conf", directory / "snmpd.log"
    conf.write_text(_CONF.format(host=LOOPBACK, port=port, community=COMMUNITY, count=count), encoding="ascii")
    log.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(snmpd, "-f", "-C", "-c", str(conf), "-Lf", str(log), "-p", str(directory / "snmpd.pid")),
        env={"SNMP_PERSISTENT_DIR": str(directory), "MIBS": ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        for _ in range(_TRIES):
            assert process.returncode is None, log.read_text(encoding="utf-8")
            if log.exists() and "NET-SNMP version" in log.read_text(encoding="utf-8"):
                break
            await asyncio.sleep(0.05)  # it tells nobody but its log
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
