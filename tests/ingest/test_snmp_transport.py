"""SNMP over UDP, against a real agent (Net-SNMP) and against none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meter.embedded.partdir import LOOPBACK
from meter.ingest.fetching import snmp
from meter.ingest.fetching.snmp import SnmpTransport
from meter.ingest.fetching.transport import Declined, TryLater
from meter.sources.registry import VENDORS
from meter.sources.spec import Request, Setup
from tests.sources.case import RECEIVED, events, setup
from tests.tools import need_tool

COUNT = "1.3.6.1.2.1.43.10.2.1.4.1.1"
_TRIES = 100
# snmpd(8), snmpd.conf(5): single values of the Printer-MIB, as a printer's agent has them.
_CONF = """agentaddress udp:{host}:{port}
rocommunity lounge
override 1.3.6.1.2.1.43.10.2.1.3.1.1 integer 7
override 1.3.6.1.2.1.43.10.2.1.4.1.1 counter 4294967290
override 1.3.6.1.2.1.43.5.1.1.17.1 octet_str JPBHK12345
"""


@pytest.fixture
def udp_port() -> int:
    """A port on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def agent(directory: Path, port: int) -> AsyncIterator[None]:
    """A running snmpd that says it is a printer."""
    snmpd = need_tool("snmpd")
    conf = directory / "snmpd.conf"
    conf.write_text(_CONF.format(host=LOOPBACK, port=port), encoding="ascii")
    log = directory / "snmpd.log"
    process = await asyncio.create_subprocess_exec(
        *(snmpd, "-f", "-C", "-c", str(conf), "-Lf", str(log), "-p", str(directory / "pid")),
        env={"SNMP_PERSISTENT_DIR": str(directory), "MIBS": ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        for _ in range(_TRIES):
            assert process.returncode is None, log.read_text(encoding="utf-8")
            if log.exists() and "NET-SNMP version" in log.read_text(encoding="utf-8"):
                break
            await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def source(port: int, *, key: str | None = "lounge") -> Setup:
    return setup("snmp", "lounge", api_base=f"snmp://{LOOPBACK}:{port}", api_key=key)


async def test_a_real_agent_tells_a_printers_counter(data_dir: Path, udp_port: int) -> None:
    configured, feed = source(udp_port), VENDORS["snmp"].feeds["counters"]
    async with agent(data_dir, udp_port):
        answer = await SnmpTransport(clock=lambda: RECEIVED).ask(configured, feed.request(configured, None, RECEIVED))
    assert json.loads(answer.body)[COUNT] == 4_294_967_290
    [event] = events(feed.read(configured, None, answer).items)
    assert (event.data["count"], event.data["unit"], event.data["serial"]) == (
        4_294_967_290,
        "impressions",
        "JPBHK12345",
    )


async def test_what_the_device_does_not_have_is_null(data_dir: Path, udp_port: int) -> None:
    missing = "1.3.6.1.2.1.43.10.2.1.4.9.9"
    async with agent(data_dir, udp_port):
        request = Request(over="snmp", url=f"{LOOPBACK}:{udp_port}", arguments={"oids": [missing]})
        answer = await SnmpTransport().ask(source(udp_port), request)
    assert json.loads(answer.body) == {missing: None}


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_an_agent_does_not_answer_a_wrong_community(
    data_dir: Path, udp_port: int, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snmp, "_TIMEOUT_S", 0.2)
    configured = source(udp_port, key=key)
    async with agent(data_dir, udp_port):
        with pytest.raises(TryLater, match="api_key"):
            await SnmpTransport().ask(configured, VENDORS["snmp"].feeds["counters"].request(configured, None, RECEIVED))


@pytest.mark.parametrize("host", ["", "snmp://", "snmp://x:99999", "no-such-host.invalid"])
async def test_an_address_that_leads_nowhere_is_told(host: str) -> None:
    with pytest.raises((Declined, TryLater), match="api_base"):
        await SnmpTransport().ask(source(1), Request(over="snmp", url=host, arguments={"oids": [COUNT]}))


async def test_only_a_few_objects_go_into_one_question() -> None:
    with pytest.raises(Declined, match="0 objects"):
        await SnmpTransport().ask(source(1), Request(over="snmp", url=LOOPBACK))
