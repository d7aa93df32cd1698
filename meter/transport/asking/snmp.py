"""Asking printers by SNMP version 2c (RFC 3416): one GET of a few objects."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

import msgspec
from pysnmp.error import PySnmpError
from pysnmp.hlapi.v1arch.asyncio import CommunityData, SnmpDispatcher, UdpTransportTarget, get_cmd
from pysnmp.proto.rfc1902 import Null, ObjectIdentifier, OctetString

from meter.clock import Clock, now
from meter.sources.spec import Answer, Request, Setup
from meter.transport.asking.transport import Declined, TryLater
from meter.transport.outgoing import Forbidden, Guard

# A printer that sleeps wakes up for the first question and answers the second.
_TIMEOUT_S: Final = 2.0
_RETRIES: Final = 2
# All tries together, with time to find the address.
_ALL_S: Final = 15.0
_PORT: Final = 161
# What fits into one datagram of any agent; nobody here asks for a tenth of it.
OIDS_MAX: Final = 32
_VERSION_2C: Final = 1


class SnmpTransport:
    """Asks the host in a request's URL for the objects in `arguments["oids"]`; `api_key` is the community (`public`).

    The answer is a JSON object {oid: integer, string, or null where the device has no such object}.
    """

    def __init__(self, *, clock: Clock = now, guard: Guard = Guard()) -> None:  # noqa: B008 -- it never changes
        """Open nothing yet. `guard` says whom may be asked: version 2c encrypts nothing."""
        self._clock = clock
        self._guard = guard

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the objects. Raises TryLater (a wrong community is not answered either) and Declined."""
        oids = [str(oid) for oid in request.arguments.get("oids", ())]
        host, port = _address(request.url)
        if not 0 < len(oids) <= OIDS_MAX:
            message = f"{len(oids)} objects to ask for; 1 to {OIDS_MAX} go into one question"
            raise Declined(message)
        try:
            async with asyncio.timeout(_ALL_S):
                (address, *_) = await self._guard.addresses(host, port, secure=False)
                found = await _get(address, port, setup.api_key or "public", oids)
        except Forbidden as error:
            raise Declined(str(error.strerror)) from error
        except (PySnmpError, OSError, TimeoutError) as error:
            message = f"{host} gives no answer by SNMP ({error or 'too slow'}); check api_base, and api_key (community)"
            raise TryLater(message) from error
        return Answer(status=200, body=msgspec.json.encode(found), received_at=self._clock())


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host, port = None, _PORT
    if not host:
        message = f"{url[:200]!r} names no host; set api_base, like snmp://10.0.0.5"
        raise Declined(message)
    return host, port


async def _get(host: str, port: int, community: str, oids: list[str]) -> dict[str, int | str | None]:
    asked = [(ObjectIdentifier(oid), Null("")) for oid in oids]
    dispatcher = SnmpDispatcher()
    try:
        target = await UdpTransportTarget.create((host, port), timeout=_TIMEOUT_S, retries=_RETRIES)
        silent, status, _index, found = await get_cmd(
            dispatcher, CommunityData(community, mpModel=_VERSION_2C), target, *asked, lookupMib=False
        )
    finally:
        # Not its own close(): with a question open that fails (TypeError, pysnmp 7.1) in place of the cancellation.
        dispatcher.transport_dispatcher.close_dispatcher()
    if silent:
        raise TryLater(f"{host} gives no answer by SNMP ({silent}); check api_base, and api_key (the community)")
    if status:
        message = f"{host} refuses by SNMP ({status.prettyPrint()}); check api_key (the community)"
        raise Declined(message)
    return {str(oid): _plain(value) for oid, value in found}


def _plain(value: object) -> int | str | None:
    """Return a number or text; None for noSuchObject and noSuchInstance, and for what nobody here reads."""
    if isinstance(value, OctetString):
        return bytes(value).decode("utf-8", "replace")
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # every integer type of SMIv2
    except (TypeError, ValueError, AttributeError, PySnmpError):
        return None
