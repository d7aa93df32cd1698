"""Where calls may lead: every address, in every disguise; names that change their answer; redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from meter.config import Settings
from meter.export.contract import Limits
from meter.export.http import Channel, Unsent
from meter.export.targets.setups import targets_of
from meter.sources.spec import Request, Setup
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.snmp import SnmpTransport
from meter.transport.asking.transport import Declined
from meter.transport.outgoing import ANYWHERE, Forbidden, Guard, is_public, is_site, unwrapped
from tests.ingest.loopback import served

SETUP = Setup(vendor="doors", name="main", site="berlin")
LIMITS = Limits(items_max=1)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
# What of the machine, its network or its cloud a public name must never lead to.
INSIDE = (
    "127.0.0.1 127.8.8.8 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.100.100.200 "
    "169.254.169.254 169.254.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 "
    "239.255.255.250 240.0.0.1 255.255.255.255 ::1 :: fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 "
    "64:ff9b:1::a00:1 100::1"
).split()
# The same addresses as they are hidden in others (RFC 4291, 3056, 6052).
MAPPED, NAT64, SIX_TO_FOUR = "::ffff:0:0", "64:ff9b::", "2002::"


def disguises(address: IPv4Address) -> Sequence[str]:
    number = int(address)
    teredo = int(ip_address("2001::")) | (~number & 0xFFFFFFFF)
    numbers = [int(ip_address(prefix)) | number for prefix in (MAPPED, NAT64)]
    numbers += [int(ip_address(SIX_TO_FOUR)) | number << 80, teredo]
    return [str(ip_address(one)) for one in numbers]


@pytest.mark.parametrize("text", INSIDE)
def test_a_public_name_leads_to_no_address_inside(text: str) -> None:
    address = ip_address(text)
    shown = [text, *(disguises(address) if isinstance(address, IPv4Address) else [])]
    for one in shown:
        assert not is_public(ip_address(one)), one
        with pytest.raises(Forbidden, match="METER_OUTGOING__PRIVATE"):
            Guard().judge("vendor.example", ip_address(one), secure=True)


@given(st.ip_addresses(v=4))
def test_a_disguise_is_judged_as_what_it_hides(address: IPv4Address) -> None:
    for text in disguises(address):
        hidden = ip_address(text)
        assert unwrapped(hidden) == address
        assert (is_public(hidden), is_site(hidden)) == (is_public(address), is_site(address))


@given(st.ip_addresses())
def test_what_is_of_the_site_is_not_public(address: IPv4Address) -> None:
    assert not (is_public(address) and is_site(address))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_called_over_tls_only(text: str) -> None:
    Guard().judge("vendor.example", ip_address(text), secure=True)
    with pytest.raises(Forbidden, match="METER_OUTGOING__PLAINTEXT"):
        Guard().judge("vendor.example", ip_address(text), secure=False)
    Guard.of(plaintext=["Vendor.example"]).judge("vendor.EXAMPLE", ip_address(text), secure=False)


@pytest.mark.parametrize("host", ["localhost", "printer", "till.local", "erp.internal", "nas.home.arpa.", "10.0.0.5"])
def test_what_only_a_site_can_mean_is_called_there(host: str) -> None:
    Guard().judge(host, ip_address("10.0.0.5"), secure=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::"])  # noqa: S104
def test_metadata_and_no_address_at_all_are_not_the_sites(host: str) -> None:
    address = ip_address("169.254.169.254" if host == "metadata" else host)
    with pytest.raises(Forbidden):
        Guard().judge(host, address, secure=True)


def test_settings_permit_hosts_and_networks_and_nothing_else() -> None:
    guard = Guard.of(private=["erp.example", "10.1.0.0/16", "169.254.7.7"])
    for host, text in (("ERP.example", "192.168.0.9"), ("x.example", "10.1.2.3"), ("x.example", "::ffff:10.1.2.3"),
                       ("x.example", "169.254.7.7")):  # fmt: skip
        guard.judge(host, ip_address(text), secure=True)
    for text in ("10.2.0.1", "169.254.169.254"):
        with pytest.raises(Forbidden):
            guard.judge("x.example", ip_address(text), secure=True)


class Rebinding:
    """A resolver that tells each of its answers once, then the last for ever, and counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Inside:
    """A service that answers only who comes to this machine, and counts who did."""

    def __init__(self) -> None:
        self.visits = 0

    async def answer(self, _request: web.Request) -> web.StreamResponse:
        self.visits += 1
        return web.Response(text="inside")


@asynccontextmanager
async def inside() -> AsyncIterator[tuple[Inside, int]]:
    held = Inside()
    async with served(held.answer) as base:
        yield held, int(base.rpartition(":")[2])


async def test_a_name_that_changes_its_answer_gets_nowhere() -> None:
    # Allowed first, so that the first call passes; then it "moves" to this machine.
    lookup = Rebinding(["198.51.100.7"], ["127.0.0.1"])
    guard = Guard(networks=(ip_network("198.51.100.0/24"),), lookup=lookup)
    async with inside() as (service, port):
        channel = Channel(f"http://vendor.example:{port}", LIMITS, guard=guard, timeout_s=0.3)
        with pytest.raises(Unsent):  # nobody is there: the address was called, not the name
            await channel.request("GET", "/")
        with pytest.raises(Unsent, match=r"127\.0\.0\.1, which is no public address"):
            await channel.request("GET", "/")
        await channel.close()
    assert (service.visits, lookup.asked) == (0, 2)


async def test_the_address_that_was_judged_is_the_one_that_is_called() -> None:
    """A second question, as whoever judges first and connects by name afterwards would ask, leads elsewhere."""
    lookup = Rebinding(["127.0.0.1"], ["127.0.0.2"])
    guard = Guard(networks=(ip_network("127.0.0.1"),), lookup=lookup)
    async with inside() as (service, port):
        channel = Channel(f"http://vendor.example:{port}", LIMITS, guard=guard)
        assert (await channel.request("GET", "/")).body == b"inside"
        await channel.close()
    assert (service.visits, lookup.asked) == (1, 1)


async def test_of_several_addresses_only_those_that_pass_are_called() -> None:
    guard = Guard(networks=(ip_network("127.0.0.1"),), lookup=Rebinding(["127.0.0.2", "127.0.0.1", "169.254.169.254"]))
    assert await guard.addresses("vendor.example", 443, secure=True) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["vendor.example", "0x7f000001", "2130706433.example", "127.1.example"])
async def test_sources_and_targets_are_guarded_alike(host: str) -> None:
    guard = Guard(lookup=Rebinding(["169.254.169.254"]))
    http, snmp = HttpTransport(clock=lambda: NOW, guard=guard), SnmpTransport(clock=lambda: NOW, guard=guard)
    channel = Channel(f"https://{host}", LIMITS, guard=guard)
    with pytest.raises(Declined, match="METER_OUTGOING__PRIVATE"):
        await http.ask(SETUP, Request(url=f"https://{host}/latest/meta-data"))
    with pytest.raises(Declined, match="METER_OUTGOING__PRIVATE"):
        await snmp.ask(SETUP, Request(over="snmp", url=host, arguments={"oids": ["1.3.6.1.2.1.1.1.0"]}))
    with pytest.raises(Unsent, match="METER_OUTGOING__PRIVATE"):
        await channel.request("GET", "/")
    await http.close()
    await channel.close()


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"]
)
async def test_an_address_needs_no_name_to_be_refused(host: str) -> None:
    http, channel = HttpTransport(clock=lambda: NOW), Channel(f"https://{host}", LIMITS)
    with pytest.raises(Declined, match="no public address"):
        await http.ask(SETUP, Request(url=f"https://{host}/latest/meta-data"))
    with pytest.raises(Unsent, match="no public address"):
        await channel.request("GET", "/")
    await http.close()
    await channel.close()


async def test_an_unchecked_certificate_counts_as_plaintext_beyond_the_site() -> None:
    http = HttpTransport(clock=lambda: NOW, guard=Guard(lookup=Rebinding(["8.8.8.8"])))
    for request in (Request(url="https://vendor.example/", verify_tls=False), Request(url="http://vendor.example/")):
        with pytest.raises(Declined, match="METER_OUTGOING__PLAINTEXT"):
            await http.ask(SETUP, request)
    await http.close()


async def test_the_agent_calls_whatever_is_beside_it() -> None:
    for text in INSIDE:
        ANYWHERE.judge("printer.example", ip_address(text), secure=False)


async def test_every_kind_of_target_calls_through_the_guard_of_the_settings() -> None:
    settings = Settings.model_validate(
        {
            "outgoing": {"private": ["10.1.0.0/16"], "plaintext": ["old.example"]},
            "targets": {"hook": {"kind": "webhook", "base_url": "https://x.example/hook", "secrets": ["s"]}},
        }
    )
    for target in targets_of(settings, operator="northside"):
        assert target.setup.guard == Guard.of(private=["10.1.0.0/16"], plaintext=["old.example"])


async def test_a_name_without_addresses_is_nobody_there() -> None:
    http = HttpTransport(clock=lambda: NOW, guard=Guard(lookup=Rebinding([])))
    with pytest.raises(Exception, match="has no address"):
        await asyncio.wait_for(http.ask(SETUP, Request(url="https://vendor.example/")), 5)
    await http.close()
