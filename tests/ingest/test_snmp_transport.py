"""SNMP over UDP, against a real agent (Net-SNMP) and against none."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from meter.embedded.partdir import LOOPBACK
from meter.sources.registry import VENDORS
from meter.sources.spec import Request, Setup
from meter.transport.asking import snmp
from meter.transport.asking.snmp import SnmpTransport
from meter.transport.asking.transport import Declined, TryLater
from tests.sources.case import RECEIVED, events, setup
from tests.sources.snmp_agent import COMMUNITY, free_udp_port, printer_agent

COUNT = "1.3.6.1.2.1.43.10.2.1.4.1.1"


@pytest.fixture
def udp_port() -> int:
    return free_udp_port()


def source(port: int, *, key: str | None = COMMUNITY) -> Setup:
    return setup("snmp", "lounge", api_base=f"snmp://{LOOPBACK}:{port}", api_key=key)


async def test_a_real_agent_tells_a_printers_counter(data_dir: Path, udp_port: int) -> None:
    configured, feed = source(udp_port), VENDORS["snmp"].feeds["counters"]
    async with printer_agent(data_dir, udp_port, count=4_294_967_290):
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
    async with printer_agent(data_dir, udp_port, count=4_294_967_290):
        request = Request(over="snmp", url=f"{LOOPBACK}:{udp_port}", arguments={"oids": [missing]})
        answer = await SnmpTransport().ask(source(udp_port), request)
    assert json.loads(answer.body) == {missing: None}


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_an_agent_does_not_answer_a_wrong_community(
    data_dir: Path, udp_port: int, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snmp, "_TIMEOUT_S", 0.2)
    configured = source(udp_port, key=key)
    async with printer_agent(data_dir, udp_port, count=4_294_967_290):
        with pytest.raises(TryLater, match="api_key"):
            await SnmpTransport().ask(configured, VENDORS["snmp"].feeds["counters"].request(configured, None, RECEIVED))


@pytest.mark.parametrize("host", ["", "snmp://", "snmp://x:99999", "no-such-host.invalid"])
async def test_an_address_that_leads_nowhere_is_told(host: str) -> None:
    with pytest.raises((Declined, TryLater), match="api_base"):
        await SnmpTransport().ask(source(1), Request(over="snmp", url=host, arguments={"oids": [COUNT]}))


async def test_only_a_few_objects_go_into_one_question() -> None:
    with pytest.raises(Declined, match="0 objects"):
        await SnmpTransport().ask(source(1), Request(over="snmp", url=LOOPBACK))


async def test_asking_is_given_up_while_the_printer_is_silent(udp_port: int) -> None:
    """A program that stops does not wait for it: what cancels a question must not come out as its failure."""
    configured = source(udp_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as printer:
        printer.setblocking(False)
        printer.bind((LOOPBACK, udp_port))
        request = VENDORS["snmp"].feeds["counters"].request(configured, None, RECEIVED)
        asking = asyncio.create_task(SnmpTransport().ask(configured, request))
        assert await asyncio.get_running_loop().sock_recv(printer, 4_096)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
