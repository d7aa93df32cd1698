"""What a source is: the words in which every vendor's module is written (decision 0011).

    Setup + Delivery ─▶ Hook.check, Hook.read ──┐
    Setup + Message ──▶ Decoder.read ───────────┤
    Setup + Lines ────▶ LineReader.read ────────┼─▶ Reading: events, refusals, and what to answer
    Setup + Answer ───▶ Fetch.read, Feed.read ──┘

Everything is pure. Functions raise BadInput where what came in cannot be read as a whole; a part of it that cannot be
read is a refusal among the items, and its neighbours count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from meter.model.event import Json
from meter.model.wire import Parsed

State: TypeAlias = Literal["done", "partly", "not"]
Area: TypeAlias = Literal["pos", "doors", "printers", "wifi", "spaces", "billing"]
Transport: TypeAlias = Literal["http", "square", "file", "snmp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One configured source of a vendor's. `options` holds every option of the vendor's, defaults filled in.

    `secrets`: signing keys, two while one is replaced. `url`: as registered with the vendor. `timezone`: IANA, of
    clocks that name none. `api_base` and `api_key`: where and with what the source is fetched; None: it is not.
    """

    vendor: str
    name: str
    site: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    url: str | None = None
    timezone: str = "UTC"
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    options: Mapping[str, Json] = field(default_factory=dict)

    def source(self, kind: str) -> str:
        """Return the CloudEvents source of this source's events: `{site}/{kind}/{vendor}-{name}`."""
        return f"{self.site}/{kind}/{self.vendor}-{self.name}"

    @property
    def fetched(self) -> bool:
        """Tell whether the vendor's API may be asked."""
        return self.api_key is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A webhook as it came in: header names in lower case, the first value of each query name, the body's raw bytes."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An MQTT message as it came in; `properties` are MQTT 5's user properties, the content type under its own name."""

    topic: str
    payload: bytes
    content_type: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Whole lines of a log or an exported table, without their ends; `name` is the file's, without folders."""

    name: str
    lines: Sequence[bytes]
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a vendor must be answered, where it asks for more than a 200 with results."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came out: events and refusals in order, and the answer that the vendor asks for (None: the usual one)."""

    items: Sequence[Parsed] = ()
    reply: Reply | None = None


NOTHING: Final = Reading()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """How a vendor's webhooks are checked and read.

    `check` raises BadInput (`bad_signature`; `stale` where a signed time is too far off) and looks at the raw bytes
    before anything is parsed. `greet` answers a handshake that comes before any secret is agreed; None: none. `redact`
    takes a secret that stands in the body out of what is kept of a forgery. `reads_query` names what `read` looks at in
    the query: kept with a rejection, so that its body can be read again; never a token.
    """

    check: Callable[[Setup, Delivery], None]
    read: Callable[[Setup, Delivery], Reading]
    greet: Callable[[Setup, Delivery], Reply | None] = lambda _setup, _delivery: None
    redact: Callable[[Setup, Delivery], bytes] = lambda _setup, delivery: delivery.body
    reads_query: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token to be had first (OAuth 2.0 client credentials, RFC 6749 section 4.4), by form at `url`."""

    url: str
    form: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask a vendor. `http`: method, URL, headers and body; `square`: `call` of the SDK with `arguments`;
    `file`: the files that the glob `url` names; `snmp`: the objects in `arguments["oids"]` of the host in `url`.

    `verify_tls` False: a controller on site with a certificate of its own.
    """

    over: Transport = "http"
    method: str = "GET"
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    call: str = ""
    arguments: Mapping[str, Json] = field(default_factory=dict)
    token: Token | None = None
    verify_tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the vendor answered: 2xx, 404 or 410. Others are the shell's: it waits as told and asks again."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How an object that a thin notice named is fetched: `wanted` is the data of its `source.changed` event."""

    request: Callable[[Setup, Mapping[str, Json]], Request]
    read: Callable[[Setup, Mapping[str, Json], Answer], Reading]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one poll brought: the events, where to go on, and whether there is more right now."""

    items: Sequence[Parsed] = ()
    cursor: Json
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How a vendor is polled, every `every_s` seconds unless the source is set otherwise.

    `request` gets the cursor of the page before (None at first) and the time; `read` the same cursor and the answer.
    `polled` tells whether the source is set to be polled at all; `billed` whether a bill can depend on what it brings.
    """

    every_s: int
    request: Callable[[Setup, Json, datetime], Request]
    read: Callable[[Setup, Json, Answer], Page]
    polled: Callable[[Setup], bool] = lambda _setup: True
    billed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of one vendor's: its default decides its type (a string, an integer, a boolean, an array, an object).

    `about` is one sentence for the documentation; `choices` where only some words are meant.
    """

    default: Json
    about: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Covers:
    """What becomes of one kind of message: `becomes` the event's type, `note` what is missing or special."""

    what: str
    state: State
    becomes: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One vendor: how it reaches us, what it is configured with, and what of it is read.

    `needs` names the fields of Setup without which nothing could arrive. `decoders` are named as in a catalog's `mqtt:`
    section. `lines` reads what is posted as text or imported from files. `facts`: where they are from, with the date.
    """

    title: str
    area: Area
    covers: tuple[Covers, ...]
    facts: str
    needs: frozenset[str] = frozenset({"site"})
    options: Mapping[str, Option] = field(default_factory=dict)
    hook: Hook | None = None
    decoders: Mapping[str, Callable[[Setup, Message], Reading]] = field(default_factory=dict)
    lines: Callable[[Setup, Lines], Reading] | None = None
    fetches: Mapping[str, Fetch] = field(default_factory=dict)
    feeds: Mapping[str, Feed] = field(default_factory=dict)
    # Whether polls need no api_key: a printer's counter, a file.
    polls_without_key: bool = False
