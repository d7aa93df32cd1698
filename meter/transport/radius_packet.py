"""RADIUS accounting packets: attributes out, whose they are, and the answer (RFC 2866, RFC 2869 section 5.14).

    0        1      2        4               20
    code(1)  id(1)  length(2) authenticator(16) attributes: type(1) length(1) value ...

The Request Authenticator is MD5 of the packet, with zeros in its place, and the shared secret: who has no secret can
neither make nor change a packet. It is read only after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyrad.packet import AccountingRequest, AcctPacket, PacketError  # type: ignore[import-untyped]

from meter.model.errors import BadInput

# RFC 2865, section 3.
_PACKET_BYTES_MIN: Final = 20
PACKET_BYTES_MAX: Final = 4_096
_MESSAGE_AUTHENTICATOR: Final = 80
_MESSAGE_AUTHENTICATOR_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Packet:
    """An Accounting-Request. `body` is the packet without padding, `attributes` are in their order."""

    body: bytes
    attributes: Sequence[tuple[int, bytes]]

    @property
    def mark(self) -> bytes:
        """Return what a repetition has in common with its first: identifier and authenticator."""
        return self.body[1:2] + self.body[4:20]

    def secret_of(self, secrets: Iterable[str]) -> str | None:
        """Return the secret with which the packet was made; None: with none. Takes as long whichever it is."""
        found = None
        for secret in secrets:
            if self._fits(secret):
                found = secret
        return found

    def _fits(self, secret: str) -> bool:
        packet = self._packet(secret)
        good = bool(packet.VerifyAcctRequest())
        if packet.message_authenticator:
            good &= bool(packet.verify_message_authenticator())
        return good

    def answer(self, secret: str) -> bytes:
        """Return the Accounting-Response, with the request's Proxy-States."""
        reply: bytes = self._packet(secret).CreateReply().ReplyPacket()
        return reply

    def _packet(self, secret: str) -> Any:
        return AcctPacket(packet=self.body, secret=secret.encode())


def decode(data: bytes) -> Packet:
    """Return the Accounting-Request in a datagram, of which nothing is proven yet. Raises BadInput (`bad_payload`)."""
    length = int.from_bytes(data[2:4]) if len(data) >= _PACKET_BYTES_MIN else 0
    if not _PACKET_BYTES_MIN <= length <= min(len(data), PACKET_BYTES_MAX):
        raise _malformed(f"{len(data)} bytes that say they are {length}")
    if data[0] != AccountingRequest:
        raise _malformed(f"code {data[0]}; only Accounting-Requests are answered here")
    body = data[:length]  # what is behind it is padding
    attributes = []
    place = _PACKET_BYTES_MIN
    while place < length:
        kind, size = data[place], data[place + 1] if place + 1 < length else 0
        if size < 2 or place + size > length:
            raise _malformed(f"an attribute of type {kind} that says it has {size} bytes")
        value = data[place + 2 : place + size]
        if kind == _MESSAGE_AUTHENTICATOR and len(value) != _MESSAGE_AUTHENTICATOR_BYTES:
            raise _malformed(f"a Message-Authenticator of {len(value)} bytes")
        attributes.append((kind, value))
        place += size
    if sum(kind == _MESSAGE_AUTHENTICATOR for kind, _ in attributes) > 1:
        raise _malformed("two Message-Authenticators")
    packet = Packet(body, attributes)
    try:
        packet._packet("")  # noqa: SLF001 -- what the library cannot take apart is found here, and not later
    except PacketError as error:
        raise _malformed(str(error)) from error
    return packet


def _malformed(found: str) -> BadInput:
    return BadInput(f"no RADIUS accounting: {found}; check what sends to this port", code="bad_payload")
