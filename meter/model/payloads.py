"""What the data of known types must hold. Types not listed here pass unread.

Data is checked and kept as sent; nothing is converted. Amounts and quantities may be numbers or decimal strings.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import parse_instant
from meter.model.money import parse_decimal

# Vendors' ids are keys of index rows, which end at 2,700 bytes.
NAME_CHARS_MAX: Final = 256
# A till's receipt of more lines than this is a mistake; the bound keeps one event from stalling its batch.
LINES_MAX: Final = 2_000
# Of what a device sent and nobody could read; with base64 and the envelope well below what one event may have.
REFUSED_BYTES_MAX: Final = 64 * 1024
# A site has a few devices, not thousands; the row of an agent is written with each of its batches.
COLLECTORS_MAX: Final = 64
FAULTS_MAX: Final = 32
# A spool is numbered anew when it turns out to be an older copy, and when it was damaged.
BOOTS_MAX: Final = 16
_BRIEF_CHARS_MAX: Final = 256
_TOLD_CHARS_MAX: Final = 2_000
_ORIGIN_CHARS_MAX: Final = 512
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)

Check = Callable[[Json, str], None]


class Field(NamedTuple):
    """A field below `data`: how its value is checked, and whether it must be there."""

    name: str
    check: Check
    required: bool = False


def bad_data(what: str, value: Json, wanted: str) -> BadInput:
    """Return the refusal of `value` at the path `what`, which should have been `wanted`."""
    return BadInput(f"{what} is {_shown(value)}; send {wanted}", code="bad_data")


def _shown(value: Json) -> str:
    return "missing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)[:60]


def check_data(event_type: str, data: Mapping[str, Json]) -> None:
    """Raise BadInput (`bad_data`, `bad_time`, `bad_number`) unless `data` is what its type asks for."""
    fields = KNOWN_TYPES.get(event_type)
    if fields is None:
        return
    _check_fields(fields, data, "data")
    whole = _WHOLE.get(event_type)
    if whole is not None:
        whole(data)


def _check_fields(fields: tuple[Field, ...], data: Mapping[str, Json], path: str) -> None:
    for name, check, required in fields:
        value = data.get(name)
        if value is not None:
            check(value, f"{path}.{name}")
        elif required:
            raise BadInput(f"{path}.{name} is missing; this type of event needs it", code="bad_data")


def _text(value: Json, what: str) -> None:
    if type(value) is not str:
        raise bad_data(what, value, "a string")


def _name(value: Json, what: str) -> None:
    """Ids and names: some vendors number their jobs and orders."""
    if not (type(value) is str and value and len(value) <= NAME_CHARS_MAX) and type(value) is not int:
        raise bad_data(what, value, f"a string of 1 to {NAME_CHARS_MAX} characters")


def _flag(value: Json, what: str) -> None:
    if type(value) is not bool:
        raise bad_data(what, value, "true or false")


def _whole_number(value: Json, what: str) -> None:
    if type(value) is int:
        good = value >= 0
    else:
        good = type(value) is Decimal and value >= 0 and value == value.to_integral_value()
    if not good:
        raise bad_data(what, value, "a whole number of 0 or more")


def _integer(value: Json, what: str) -> None:
    if type(value) is not int:
        raise bad_data(what, value, "an integer")


def _up_to(chars_max: int) -> Check:
    def check(value: Json, what: str) -> None:
        if type(value) is not str or len(value) > chars_max:
            raise bad_data(what, value, f"a string of at most {chars_max} characters")

    return check


_brief: Final = _up_to(_BRIEF_CHARS_MAX)
_told: Final = _up_to(_TOLD_CHARS_MAX)


def _code(value: Json, what: str) -> None:
    if type(value) is not str or not _CODE.fullmatch(value):
        raise bad_data(what, value, "a word of at most 64 of a-z 0-9 _, like bad_payload")


def _base64(value: Json, what: str) -> None:
    wanted = f"at most {REFUSED_BYTES_MAX} bytes in base64"
    try:
        body = b64decode(value, validate=True) if type(value) is str else None
    except (NotBase64, ValueError) as error:
        raise bad_data(what, value, wanted) from error
    if body is None or len(body) > REFUSED_BYTES_MAX:
        raise bad_data(what, value, wanted)


def _faults(value: Json, what: str) -> None:
    if type(value) is not list or len(value) > FAULTS_MAX:
        raise bad_data(what, value, f"an array of at most {FAULTS_MAX} strings")
    for index, fault in enumerate(value):
        _told(fault, f"{what}[{index}]")


def _boots(value: Json, what: str) -> None:
    good = type(value) is list and len(value) <= BOOTS_MAX
    if not good or any(type(boot) is not int or not 0 <= boot < 2**63 for boot in value):
        raise bad_data(what, value, f"an array of at most {BOOTS_MAX} boots")


def _collectors(value: Json, what: str) -> None:
    if type(value) is not dict or len(value) > COLLECTORS_MAX:
        raise bad_data(what, value, f"an object of at most {COLLECTORS_MAX} collectors, by name")
    for name, collector in value.items():
        _brief(name, f"a name in {what}")
        _collector(collector, f"{what}.{name}")


def _number(value: Json, what: str) -> None:
    if type(value) not in (int, Decimal) or value < 0:
        raise bad_data(what, value, "a number of 0 or more")


def _decimal(value: Json, what: str) -> None:
    if type(value) not in (str, int, Decimal):
        raise bad_data(what, value, 'a decimal string, like "3.20", or a number')
    parse_decimal(value, what=what)


def _currency(value: Json, what: str) -> None:
    if type(value) is not str or not _CURRENCY.fullmatch(value):
        raise bad_data(what, value, "a currency code of ISO 4217, like EUR")


def _instant(value: Json, what: str) -> None:
    if type(value) is not str:
        raise bad_data(what, value, "a time of RFC 3339 with an offset")
    parse_instant(value, what=what)


def _object(value: Json, what: str) -> None:
    if type(value) is not dict:
        raise bad_data(what, value, "an object")


def _one_of(*words: str) -> Check:
    def check(value: Json, what: str) -> None:
        if value not in words:
            raise bad_data(what, value, " or ".join(words))

    return check


def _record(*fields: Field) -> Check:
    def check(value: Json, what: str) -> None:
        if type(value) is not dict:
            raise bad_data(what, value, "an object")
        _check_fields(fields, value, what)

    return check


def _lines(value: Json, what: str) -> None:
    if type(value) is not list or len(value) > LINES_MAX:
        raise bad_data(what, value, f"an array of at most {LINES_MAX} lines")
    for index, line in enumerate(value):
        _line(line, f"{what}[{index}]")


_line: Final = _record(
    Field("quantity", _decimal, required=True),
    Field("amount", _decimal, required=True),
    Field("sku", _name),
    Field("name", _text),
    Field("category", _text),
    Field("tax", _decimal),
    Field("tax_name", _text),
)

_collector: Final = _record(
    Field("state", _brief, required=True),
    Field("detail", _brief),
    Field("last", _instant),
)

_BOOKING: Final = (
    Field("booking", _name, required=True),
    Field("resource", _name, required=True),
    Field("start", _instant, required=True),
    Field("end", _instant, required=True),
    Field("hours", _decimal),
    Field("status", _one_of("booked", "cancelled", "used")),
)

KNOWN_TYPES: Final[Mapping[str, tuple[Field, ...]]] = {
    "door.access": (
        Field("door", _name, required=True),
        Field("granted", _flag, required=True),
        Field("direction", _one_of("in", "out")),
        Field("reason", _text),
        Field("credential", _name),
    ),
    "print.job": (
        Field("printer", _name, required=True),
        Field("job", _name, required=True),
        Field("impressions", _whole_number, required=True),
        Field("sheets", _whole_number),
        Field("color", _flag),
        Field("color_impressions", _whole_number),
        Field("duplex", _flag),
        Field("paper", _text),
        Field("copies", _whole_number),
        Field("status", _one_of("completed", "cancelled")),
    ),
    "wifi.session": (
        Field("session", _name, required=True),
        Field("status", _one_of("start", "interim", "stop"), required=True),
        Field("seconds", _number),
        Field("bytes_in", _number),
        Field("bytes_out", _number),
        Field("ap", _name),
        Field("nas", _name),
    ),
    "pos.sale": (
        Field("order", _name, required=True),
        Field("currency", _currency, required=True),
        Field("lines", _lines, required=True),
        Field("total", _decimal, required=True),
        Field("settlement", _one_of("paid", "account"), required=True),
        Field("tip", _decimal),
    ),
    "pos.refund": (
        Field("refund", _name, required=True),
        Field(
            "sale",
            _record(Field("source", _name, required=True), Field("order", _name, required=True)),
            required=True,
        ),
        Field("currency", _currency, required=True),
        Field("status", _one_of("pending", "completed", "failed"), required=True),
        Field("amount", _decimal),
        Field("lines", _lines),
    ),
    "room.booking": _BOOKING,
    "locker.rental": _BOOKING,
    "phonebooth.session": _BOOKING,
    "usage.reported": (Field("meter", _name, required=True), Field("quantity", _decimal, required=True)),
    "event.voided": (
        Field("source", _name, required=True),
        Field("id", _name, required=True),
        Field("reason", _text),
    ),
    "event.amended": (
        Field("source", _name, required=True),
        Field("id", _name, required=True),
        Field("data", _object, required=True),
        Field("reason", _text),
    ),
    "source.changed": (
        Field("vendor", _name, required=True),
        Field("name", _name, required=True),
        Field("kind", _name, required=True),
        Field("object", _name, required=True),
    ),
    "directory.draft": (
        Field("vendor", _name, required=True),
        Field("name", _name, required=True),
        Field("kind", _one_of("member", "account", "subscription"), required=True),
        Field("id", _name, required=True),
        Field("body", _object, required=True),
        Field("note", _text),
    ),
    "nas.restarted": (Field("nas", _name, required=True),),
    "edge.heartbeat": (
        Field("complete_until", _instant, required=True),
        Field("asked", _name),  # whatever its clock says; echoed
        Field("boots", _boots),
        Field("spooled", _whole_number),
        Field("spooled_bytes", _whole_number),
        Field("oldest", _instant),
        Field("refused", _whole_number),
        Field("clock_offset_ms", _integer),
        Field("ntp", _flag),
        Field("version", _brief),
        Field("collectors", _collectors),
        Field("faults", _faults),
        Field(
            "authorizations",
            _record(Field("untold", _whole_number), Field("refused", _whole_number), Field("risk_used", _decimal)),
        ),
    ),
    "edge.refusal": (
        Field("code", _code, required=True),
        Field("detail", _told, required=True),
        Field("origin", _up_to(_ORIGIN_CHARS_MAX)),
        Field("content_type", _brief),
        Field("body_base64", _base64),
    ),
}


def _check_booking(data: Mapping[str, Json]) -> None:
    if parse_instant(data["end"], what="data.end") < parse_instant(data["start"], what="data.start"):
        raise bad_data("data.end", data["end"], "an end that is not before the start")


def _check_refund(data: Mapping[str, Json]) -> None:
    if data.get("amount") is None and data.get("lines") is None:
        raise BadInput("data has neither amount nor lines; a refund needs one of them", code="bad_data")


_WHOLE: Final[Mapping[str, Callable[[Mapping[str, Json]], None]]] = {
    "room.booking": _check_booking,
    "locker.rental": _check_booking,
    "phonebooth.session": _check_booking,
    "pos.refund": _check_refund,
}
