"""Where calls that leave this machine may lead: judged at the address that is connected to (decision 0019).

    host ─▶ looked up once ─▶ each address judged ─▶ the connection goes to an address that passed
                                    │
              public ───────────────┼─▶ yes, over TLS; in plaintext only where it is permitted
              the site's own ───────┼─▶ only where whoever runs the gateway named it: by address, or by a name that no
                                    │   public server can have (`localhost`, `printer`, `till.local`)
              all else, metadata ───┴─▶ only where it is permitted

A name that anybody could have registered leads to public addresses or nowhere, whatever its answer changes to.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Self, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# Private use (RFC 1918, 4193), shared with a provider or an overlay (RFC 6598), and this machine.
_SITE: Final = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1", "fc00::/7")
)
# Where clouds tell a machine's own credentials, within what a site may use; 169.254.169.254 is of no site anyway.
_METADATA: Final = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200")))
# Beside what Python's tables say (IANA's special-purpose registries): NAT64 of a network of one's own, whose embedded
# address stands in a place that only that network knows; relays of 6to4; site-local; protocol assignments.
_NOT_PUBLIC: Final = tuple(
    ip_network(text) for text in ("64:ff9b:1::/48", "192.88.99.0/24", "fec0::/10", "192.0.0.0/24", "2001::/23")
)
_NAT64: Final = ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ip_network("::/96")
# Never delegated in the public DNS (RFC 6761, 6762, 8375; ICANN board, 29 July 2024: internal).
_PRIVATE_ENDINGS: Final = ("localhost", "local", "home.arpa", "internal")
PRIVATE_SETTING: Final = "METER_OUTGOING__PRIVATE"
PLAINTEXT_SETTING: Final = "METER_OUTGOING__PLAINTEXT"


class Forbidden(OSError):
    """Nothing was sent: the address is none that may be called. `remedy` names the setting that would permit it."""

    def __init__(self, fact: str, remedy: str) -> None:
        """Keep both, in one sentence."""
        super().__init__(errno.EACCES, f"{fact}; {remedy}")
        self.remedy = remedy


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for: mapped, compatible, 6to4, Teredo, NAT64 (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address.teredo is not None:
        return address.teredo[1]
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1)):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def is_public(address: Address) -> bool:
    """Tell whether an address, unwrapped, is one of the open net."""
    bare = unwrapped(address)
    if bare.is_multicast or bare.is_reserved or bare.is_unspecified or bare.is_link_local:
        return False
    return bare.is_global and not any(bare in network for network in _NOT_PUBLIC if network.version == bare.version)


def is_site(address: Address) -> bool:
    """Tell whether an address, unwrapped, is this machine's or one of its own network's."""
    bare = unwrapped(address)
    return bare not in _METADATA and any(bare in network for network in _SITE if network.version == bare.version)


def literal(host: str) -> Address | None:
    """Return the address that `host` is; None where it is a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_private_name(host: str) -> bool:
    """Tell whether no public server can have the name: of one word, or of an ending that is kept for private use."""
    name = host.rstrip(".").lower()
    return "." not in name or name.endswith(tuple(f".{ending}" for ending in _PRIVATE_ENDINGS))


async def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as this machine finds them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is permitted beyond the rule above: `hosts` and `networks` that are not public, `plaintext` hosts.

    `lookup` is how names become addresses.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    plaintext: frozenset[str] = frozenset()
    lookup: Lookup = look_up

    @classmethod
    def of(cls, *, private: Iterable[str] = (), plaintext: Iterable[str] = ()) -> Self:
        """Return the guard that settings describe; what is no network in `private` is a host."""
        hosts, networks = set[str](), list[Network]()
        for text in private:
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError:
                hosts.add(text.lower())
        return cls(hosts=frozenset(hosts), networks=tuple(networks), plaintext=frozenset(map(str.lower, plaintext)))

    def judge(self, host: str, address: Address, *, secure: bool) -> None:
        """Return where a connection to `host` may go to `address`; `secure`: over TLS. Raises Forbidden."""
        bare, name = unwrapped(address), host.lower()
        listed = any(bare in network for network in self.networks if network.version == bare.version)
        if listed or name in self.hosts:
            return
        if is_public(bare):
            if not secure and name not in self.plaintext:
                fact = f"{host} is beyond the site's network, and over http everyone on the way reads what is sent"
                raise Forbidden(fact, f"use https, or permit it with {PLAINTEXT_SETTING}")
            return
        if is_site(bare) and (literal(host) is not None or is_private_name(host)):
            return
        raise Forbidden(f"{host} is at {address}, which is no public address", f"permit it with {PRIVATE_SETTING}")

    async def addresses(self, host: str, port: int, *, secure: bool) -> list[str]:
        """Return the addresses of `host` that may be called. Raises Forbidden where there is none, OSError."""
        given = literal(host)
        if given is not None:
            self.judge(host, given, secure=secure)
            return [str(given)]
        found, refused = list[str](), None
        for text in await self.lookup(host, port):
            try:
                self.judge(host, ip_address(text), secure=secure)
            except Forbidden as error:
                refused = error
            else:
                found.append(text)
        if not found:
            raise refused or OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
        return found

    def connector(self, *, secure: bool, **options: Any) -> aiohttp.TCPConnector:
        """Return what makes connections, each to an address that was looked up and judged for it.

        aiohttp has names looked up, not addresses: for those ask `check_literal`.
        """
        return aiohttp.TCPConnector(resolver=_Resolver(self, secure=secure), use_dns_cache=False, **options)

    def check_literal(self, host: str | None, *, secure: bool) -> None:
        """Return where `host` is a name, or an address that may be called. Raises Forbidden."""
        given = literal(host or "")
        if host is not None and given is not None:
            self.judge(host, given, secure=secure)


ANYWHERE: Final = Guard(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
"""For what only ever calls devices beside it, as the agent on site does."""


class _Resolver(AbstractResolver):
    """Gives aiohttp addresses that were judged; a connection goes to what stands in its answer, and asks no more."""

    def __init__(self, guard: Guard, *, secure: bool) -> None:
        self._guard = guard
        self._secure = secure

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=text, port=port, family=of, proto=socket.IPPROTO_TCP, flags=numeric)
            for text in await self._guard.addresses(host, port, secure=self._secure)
            for of in (socket.AF_INET6 if ":" in text else socket.AF_INET,)
            if family in {socket.AF_UNSPEC, of}
        ]

    async def close(self) -> None:
        """Close nothing: there is nothing open."""


def forbidden_in(error: BaseException | None) -> Forbidden | None:
    """Return the refusal that made a request fail, if one did."""
    while error is not None and not isinstance(error, Forbidden):
        error = getattr(error, "os_error", None) or error.__cause__
    return error
