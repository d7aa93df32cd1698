"""CloudEvents off the wire: bytes to events or refusals, strictly (CloudEvents 1.0; decision 0002).

bytes ─▶ one JSON object each ─▶ strict JSON ─▶ attributes ─▶ data of known types ─▶ WireEvent
           (batch: sliced)          │               │                │
                                    └───────────────┴────────────────┴──▶ Refusal (code, detail, the bytes)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

from meter.model.errors import BadInput
from meter.model.event import THING_FIELDS, Json
from meter.model.identity import normalise_identity
from meter.model.instant import EARLIEST, LATEST, instant_text, parse_instant
from meter.model.money import DIGITS_MAX, EXACT
from meter.model.payloads import bad_data, check_data
from meter.model.strict_json import strict_json, too_deep

BODY_BYTES_MAX: Final = 1024 * 1024
# Four times what CloudEvents asks every receiver to take; a till's largest receipt is a tenth of it.
EVENT_BYTES_MAX: Final = 256 * 1024
# Source, id, type and subject stand in index rows, which end at 2,700 bytes.
ID_CHARS_MAX: Final = 256
ATTRIBUTES_MAX: Final = 32
_INT64_MAX: Final = 2**63 - 1
# A device's clock that was never set stands at 1970.
_OFFSET_MS_MAX: Final = 100 * 366 * 86_400_000

# RFC 3986 characters of a relative reference; the first segment is the site and a level of an MQTT topic.
_SOURCE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._~-]{0,63})(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/?#\[\]-]*)?", re.ASCII)
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}", re.ASCII)
EDGE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}", re.ASCII)
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_CORE: Final = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "data", "edge", "boot", "sequence", "edgeoffsetms")
)

# The extension of an event without `time` whose sender had been trying for so long: milliseconds. As the receipt time
# is, it is settled at the first receipt and no part of the content: a retransmission changes it.
DELAY: Final = "delayms"
# When an agent on site heard of an event without `time`, by its own clock, whose error `edgeoffsetms` tells: it stands
# in for the receipt time and, as that is, it is no part of the content (decision 0015).
EDGE_TIME: Final = "edgetime"

# What makes a body unreadable as a whole, rather than an event wrong.
UNREADABLE: Final = frozenset(("not_json", "not_an_event", "body_too_large"))


class WireEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as it was sent, checked. `time` is corrected by `offset_ms`; None: the receipt time shall stand in.

    `content_hash` is what tells a duplicate from a conflict. `body` is the event's own bytes.
    """

    source: str
    id: str
    type: str
    site: str
    time: datetime | None
    subject: str | None
    thing: str | None
    data: Mapping[str, Json]
    edge: str | None
    boot: int | None
    sequence: int | None
    offset_ms: int | None
    attributes: Mapping[str, Json] | None
    content_hash: bytes
    body: bytes


class Refusal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes that are no event of ours, and why. What could still be read of them names their sender."""

    code: str
    detail: str
    body: bytes
    source: str | None = None
    id: str | None = None
    site: str | None = None
    edge: str | None = None
    boot: int | None = None
    sequence: int | None = None


Parsed: TypeAlias = WireEvent | Refusal


# --- the three modes --------------------------------------------------------------------------------------------------


def read_event(body: bytes) -> Parsed:
    """Return the event of a structured body (one JSON object), or why there is none."""
    envelope: dict[str, Json] = {}
    try:
        envelope = _envelope(body)
        return _event(envelope, body)
    except BadInput as error:
        return _refusal(error, envelope or _sender(body), body)


def _envelope(body: bytes) -> dict[str, Json]:
    if len(body) > EVENT_BYTES_MAX:
        message = f"the event has {len(body)} bytes; at most {EVENT_BYTES_MAX} are taken"
        raise BadInput(message, code="event_too_large")
    value = strict_json(body)
    if type(value) is not dict:
        raise BadInput("the body is JSON, but no object; send one CloudEvent as an object", code="not_an_event")
    return value


def read_batch(body: bytes) -> list[Parsed]:
    """Return the events of a JSON array, in order, each judged by itself.

    Raises BadInput (`not_json`, `not_an_event`, `too_deep`) where there is no array to read.
    """
    try:
        slices = _SLICES.decode(body)
    except msgspec.ValidationError as error:
        message = "the body is JSON, but no array; send a batch as an array of CloudEvents"
        raise BadInput(message, code="not_an_event") from error
    except RecursionError as error:
        raise too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the batch is not JSON: {error}; send an array of CloudEvents in UTF-8"
        raise BadInput(message, code="not_json") from error
    return [read_event(bytes(item)) for item in slices]


_SLICES: Final = msgspec.json.Decoder(list[msgspec.Raw])


def read_message(body: bytes) -> list[Parsed]:
    """Return the events of a message that holds one event or an array; a body that cannot be read is one refusal."""
    if len(body) > BODY_BYTES_MAX:
        message = f"the message has {len(body)} bytes; at most {BODY_BYTES_MAX} are taken; only so many are kept"
        return [Refusal(code="body_too_large", detail=message, body=body[:BODY_BYTES_MAX])]
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return [read_event(body)]
    try:
        return read_batch(body)
    except BadInput as error:
        return [Refusal(code=error.code, detail=error.detail, body=body)]


def structured(attributes: Mapping[str, str], content_type: str, data: bytes) -> bytes:
    """Return the structured form of an event in binary mode, which is then read and kept like any other.

    `attributes` without their prefix; data that is not JSON becomes `data_base64`. Raises BadInput (`bad_string`).
    """
    envelope: dict[str, Json] = dict(attributes)
    if content_type:
        envelope["datacontenttype"] = content_type
    try:
        if data:
            # Decoded once, so that nothing in it can close its object and go on as an attribute.
            msgspec.json.decode(data)
            envelope["data"] = msgspec.Raw(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope["data_base64"] = data
    try:
        return msgspec.json.encode(envelope)
    except UnicodeEncodeError as error:
        raise BadInput("an attribute is not UTF-8; percent-encode it", code="bad_string") from error


# --- attributes -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def site_of(source: str) -> str:
    """Return the site of a source, its first segment. Raises BadInput (`bad_source`)."""
    match = _SOURCE.fullmatch(source)
    if match is None or len(source) > ID_CHARS_MAX:
        message = (
            f"source is {source[:60]!r}; send a URI reference of at most {ID_CHARS_MAX} characters that begins with "
            "the site, like berlin/door/main"
        )
        raise BadInput(message, code="bad_source")
    return match[1]


@lru_cache(maxsize=4096)
def _check_type(name: str) -> None:
    if not _TYPE.fullmatch(name):
        message = f"type is {name[:60]!r}; send a name of at most 128 characters, like door.access"
        raise BadInput(message, code="bad_type")


def _string(envelope: Mapping[str, Json], name: str, code: str) -> str:
    value = envelope.get(name)
    if type(value) is not str or not value:
        message = f"{name} is {'missing' if value is None else repr(value)[:60]}; CloudEvents asks for a string"
        raise BadInput(message, code=code)
    return value


def _check_id(value: str) -> None:
    if len(value) > ID_CHARS_MAX or not value.isprintable():
        message = f"id is {value[:60]!r}; send at most {ID_CHARS_MAX} printable characters"
        raise BadInput(message, code="bad_id")


def _event(envelope: dict[str, Json], body: bytes) -> WireEvent:
    if envelope.get("specversion") != "1.0":
        given = envelope.get("specversion")
        fault = "missing" if given is None else repr(str(given)[:20])
        message = f"specversion is {fault}; send CloudEvents 1.0"
        raise BadInput(message, code="bad_specversion")
    source = _string(envelope, "source", "bad_source")
    site = site_of(source)
    event_id = _string(envelope, "id", "bad_id")
    _check_id(event_id)
    event_type = _string(envelope, "type", "bad_type")
    _check_type(event_type)
    subject = envelope.get("subject")
    if subject is not None:
        if type(subject) is not str:
            raise BadInput(f"subject is {repr(subject)[:60]}; send a string, kind:value", code="bad_identity")
        subject = normalise_identity(subject)
    edge, boot, sequence = _marks(envelope)
    offset_ms = _offset(envelope)
    sent = None
    if envelope.get("time") is not None:
        sent = parse_instant(_string(envelope, "time", "bad_time"))
    data = _data(envelope)
    check_data(event_type, data)
    thing_field = THING_FIELDS.get(event_type)
    return WireEvent(
        source=source,
        id=event_id,
        type=event_type,
        site=site,
        time=_corrected(sent, offset_ms),
        subject=subject,
        thing=None if thing_field is None else str(data[thing_field]),
        data=data,
        edge=edge,
        boot=boot,
        sequence=sequence,
        offset_ms=offset_ms,
        attributes=_others(envelope),
        content_hash=content_hash(event_type, subject, sent, data),
        body=body,
    )


def _data(envelope: Mapping[str, Json]) -> Mapping[str, Json]:
    if envelope.get("data_base64") is not None:
        message = "data is not JSON; send an object as data, with datacontenttype application/json"
        raise BadInput(message, code="bad_data")
    data = envelope.get("data")
    if data is None:
        return {}
    if type(data) is not dict:
        raise bad_data("data", data, "an object")
    return data


def _marks(envelope: Mapping[str, Json]) -> tuple[str | None, int | None, int | None]:
    """Return the marks of the agent that carried the event; without `edge` they are somebody else's extensions."""
    edge = envelope.get("edge")
    if edge is None:
        return None, None, None
    if type(edge) is not str or not EDGE_ID.fullmatch(edge):
        message = f"edge is {repr(edge)[:60]}; send 1 to 128 of A-Z a-z 0-9 . _ ~ : -"
        raise BadInput(message, code="bad_sequence")
    return edge, _count(envelope, "boot", 0), _count(envelope, "sequence", 1)


def _count(envelope: Mapping[str, Json], name: str, least: int) -> int | None:
    value = envelope.get(name)
    if value is None:
        return None
    # In binary mode every attribute is text.
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX:
        value = int(value)
    if type(value) is not int or not least <= value <= _INT64_MAX:
        raise BadInput(f"{name} is {repr(value)[:60]}; send an integer from {least}", code="bad_sequence")
    return value


def _offset(envelope: Mapping[str, Json]) -> int | None:
    value = envelope.get("edgeoffsetms")
    if value is None:
        return None
    if type(value) is str and value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= DIGITS_MAX:
        value = int(value)
    if type(value) is not int or abs(value) > _OFFSET_MS_MAX:
        message = f"edgeoffsetms is {repr(value)[:60]}; send milliseconds, the device's clock minus the true time"
        raise BadInput(message, code="bad_time")
    return value


def _corrected(sent: datetime | None, offset_ms: int | None) -> datetime | None:
    if sent is None or not offset_ms:
        return sent
    try:
        time = sent - timedelta(milliseconds=offset_ms)
    except OverflowError:
        time = None
    if time is None or not EARLIEST <= time <= LATEST:
        message = f"time {instant_text(sent)} corrected by {offset_ms} ms is no date that is kept"
        raise BadInput(message, code="bad_time")
    return time


def stand_in(event: WireEvent, received_at: datetime) -> datetime:
    """Return the time of an event that has none: that of its receipt, here or by an agent, less its sender's delay."""
    attributes = event.attributes or {}
    heard_at = _heard_at(event, attributes.get(EDGE_TIME)) or received_at
    delay_ms = attributes.get(DELAY)
    if type(delay_ms) is not int or not 0 <= delay_ms <= _OFFSET_MS_MAX:
        return heard_at
    return heard_at - timedelta(milliseconds=delay_ms)


def _heard_at(event: WireEvent, told: Json) -> datetime | None:
    """Return when the agent that carried the event heard of it; None where none says so in a way that can be meant."""
    if event.edge is None or type(told) is not str:
        return None
    try:
        return _corrected(parse_instant(told), event.offset_ms)
    except BadInput:
        return None


def _others(envelope: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """Return the further attributes as sent: dataschema, and extensions that are not ours."""
    kept: dict[str, Json] | None = None
    for name in envelope.keys() - _CORE:
        value = envelope[name]
        if name == "datacontenttype":
            _check_content_type(value)
        if value is None or (name == "datacontenttype" and value == "application/json"):
            continue
        if not _ATTRIBUTE.fullmatch(name) or type(value) not in (str, int, bool):
            message = (
                f"the attribute {name[:60]!r} is no CloudEvents extension (a-z and 0-9; a string, an integer or a "
                "boolean); put it below data"
            )
            raise BadInput(message, code="bad_attribute")
        kept = kept or {}
        kept[name] = value
    if kept is not None and len(kept) > ATTRIBUTES_MAX:
        message = f"the event has {len(kept)} extensions; at most {ATTRIBUTES_MAX} are kept"
        raise BadInput(message, code="bad_attribute")
    return kept


def _check_content_type(value: Json) -> None:
    media = value.partition(";")[0].strip().lower() if type(value) is str else ""
    if value is not None and not (media.endswith(("/json", "+json"))):
        message = f"datacontenttype is {repr(value)[:60]}; send data as application/json"
        raise BadInput(message, code="bad_data")


class _Sender(msgspec.Struct):
    """The attributes that name the sender, whatever the rest of the body holds."""

    source: Json = None
    id: Json = None
    edge: Json = None
    boot: Json = None
    sequence: Json = None


_SENDER: Final = msgspec.json.Decoder(_Sender)


def _sender(body: bytes) -> Mapping[str, Json]:
    try:
        return msgspec.structs.asdict(_SENDER.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _refusal(error: BadInput, known: Mapping[str, Json], body: bytes) -> Refusal:
    """Return the refusal with whatever can be read of the sender: an edge keeps what it hears nothing of."""
    source, event_id, site = known.get("source"), known.get("id"), None
    try:
        site = site_of(source) if type(source) is str else None
    except BadInput:
        source = None
    try:
        edge, boot, sequence = _marks(known)
    except BadInput:
        edge = boot = sequence = None
    readable_id = type(event_id) is str and event_id.isprintable()
    return Refusal(
        code=error.code,
        detail=error.detail,
        body=body,
        source=source if type(source) is str else None,
        id=str(event_id)[:ID_CHARS_MAX] if readable_id else None,
        site=site,
        edge=edge,
        boot=boot,
        sequence=sequence,
    )


# --- content ----------------------------------------------------------------------------------------------------------

_CANONICAL: Final = msgspec.json.Encoder(order="sorted", decimal_format="number")


def content_hash(event_type: str, subject: str | None, sent: datetime | None, data: Mapping[str, Json]) -> bytes:
    """Return SHA-256 over what makes two events the same (decision 0002): numbers by value, keys in order.

    `sent` is the time that the sender wrote, before any correction.
    """
    instant = None if sent is None else instant_text(sent)
    return sha256(_CANONICAL.encode((event_type, subject, instant, _by_value(data)))).digest()


def _by_value(value: Json) -> Json:
    """Return `value` with each number in the one form of its value."""
    kind = type(value)
    if kind is dict:
        return {name: item if type(item) is str else _by_value(item) for name, item in value.items()}
    if kind is list:
        return [_by_value(item) for item in value]
    if kind is Decimal:
        return int(value) if value == value.to_integral_value() else value.normalize(EXACT)
    return value
