"""IPP messages in bytes (RFC 8010 section 3): requests out, answers in.

    version(2) operation or status(2) request id(4) { group tag(1) { value tag(1) name(2+n) value(2+n) }* }* end(1)

A value without a name is one more of the attribute before it. Written here because pyipp's reader loses a whole answer
to one value that it does not know, reads past cut values, follows nesting without a bound, and brings an HTTP client
into what must be pure; the tests hold both to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, NamedTuple, TypeAlias

from meter.model.instant import EARLIEST, LATEST
from meter.sources.fields import bad_payload

Value: TypeAlias = str | int | bool | datetime | None
Attributes: TypeAlias = Mapping[str, Sequence[Value]]

VERSION: Final = b"\x02\x00"
GET_JOBS: Final = 0x000A
_END: Final = 0x03
JOB_GROUP: Final = 0x02
_OPERATION_GROUP: Final = 0x01
_GROUPS_MAX: Final = 0x0F
_INTEGER, _BOOLEAN, _ENUM, _DATE = 0x21, 0x22, 0x23, 0x31
_BEGIN, _END_COLLECTION = 0x34, 0x37
_TEXT_WITH_LANGUAGE, _NAME_WITH_LANGUAGE = 0x35, 0x36
_STRINGS: Final = frozenset((0x30, *range(0x41, 0x50)))
NAME, KEYWORD, URI, CHARSET, LANGUAGE = 0x42, 0x44, 0x45, 0x47, 0x48
INTEGER: Final = _INTEGER
_HEADER_BYTES: Final = 8


class Message(NamedTuple):
    """An answer: its status (RFC 8011 appendix B; below 0x0100 is success), and its groups, each with its tag."""

    status: int
    groups: Sequence[tuple[int, Attributes]]


def request(operation: int, attributes: Sequence[tuple[int, str, Sequence[str | int]]]) -> bytes:
    """Return a request of one operation group: (value tag, name, values) in the order that RFC 8011 asks for."""
    parts = [VERSION, operation.to_bytes(2), (1).to_bytes(4), bytes([_OPERATION_GROUP])]
    for tag, name, values in attributes:
        for index, value in enumerate(values):
            named = b"" if index else name.encode()
            held = value.to_bytes(4, signed=True) if isinstance(value, int) else value.encode()
            parts += [bytes([tag]), len(named).to_bytes(2), named, len(held).to_bytes(2), held]
    return b"".join([*parts, bytes([_END])])


def read_message(body: bytes) -> Message:
    """Return an answer. Values in collections, resolutions and ranges are left out.

    Raises BadInput (`bad_payload`): it is cut off, or no IPP.
    """
    if len(body) < _HEADER_BYTES or body[0] not in {1, 2}:
        raise bad_payload(f"{body[:8].hex()!r} is no IPP; check the address of the print server")
    groups: list[tuple[int, dict[str, list[Value]]]] = []
    name, depth = "", 0
    for tag, named, held in _values(body):
        if tag <= _GROUPS_MAX:
            groups.append((tag, {}))
            name, depth = "", 0
        elif tag in {_BEGIN, _END_COLLECTION}:
            depth = max(0, depth + (1 if tag == _BEGIN else -1))
        elif depth == 0:
            if not groups:
                raise bad_payload("an IPP attribute stands before any group")
            name = _text(named) if named else name
            groups[-1][1].setdefault(name, []).append(_value(tag, held, name))
    return Message(int.from_bytes(body[2:4]), groups)


def _values(body: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    place = _HEADER_BYTES
    while True:
        if place >= len(body):
            raise bad_payload("the IPP answer is cut off before its end")
        tag = body[place]
        place += 1
        if tag == _END:
            return
        if tag <= _GROUPS_MAX:
            yield tag, b"", b""
            continue
        name, place = _sized(body, place)
        held, place = _sized(body, place)
        yield tag, name, held


def _sized(body: bytes, place: int) -> tuple[bytes, int]:
    start = place + 2
    end = start + int.from_bytes(body[place:start])
    if end > len(body):
        raise bad_payload("the IPP answer is cut off within a value")
    return body[start:end], end


def _value(tag: int, held: bytes, name: str) -> Value:
    """Return a value; None for what has none (unknown, no-value) and for kinds that nobody here reads."""
    if tag in {_INTEGER, _ENUM} and len(held) == 4:
        return int.from_bytes(held, signed=True)
    if tag == _BOOLEAN and len(held) == 1:
        return held != b"\x00"
    if tag == _DATE and len(held) == 11:
        return _date(held, name)
    if tag in {_TEXT_WITH_LANGUAGE, _NAME_WITH_LANGUAGE}:
        _language, place = _sized(held, 0)
        return _text(_sized(held, place)[0])
    if tag in {_INTEGER, _ENUM, _BOOLEAN, _DATE}:
        raise bad_payload(f"{name} has {len(held)} bytes, which none of its kind has")
    return _text(held) if tag in _STRINGS else None


def _text(held: bytes) -> str:
    return held.decode("utf-8", "replace")


def _date(held: bytes, name: str) -> datetime:
    """Return the instant of RFC 2579's DateAndTime."""
    month, day, hour, minute, second, tenths, direction, off_h, off_min = held[2:]
    try:
        offset = timedelta(hours=off_h, minutes=off_min) * {43: 1, 45: -1}[direction]
        moment = datetime(
            int.from_bytes(held[:2]), month, day, hour, minute, min(second, 59), tenths * 100_000, timezone(offset)
        ).astimezone(UTC) + timedelta(seconds=second // 60)
    except (ValueError, OverflowError, KeyError) as error:
        raise bad_payload(f"{name} is {held.hex()}, which is no date: {error}") from error
    if not EARLIEST <= moment <= LATEST:
        raise bad_payload(f"{name} is in the year {moment.year}")
    return moment
