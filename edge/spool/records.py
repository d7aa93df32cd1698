"""What goes into the spool and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from edge.clock import Reading
from meter.model.errors import BadInput
from meter.model.wire import EVENT_BYTES_MAX

# `edge`, `boot`, `sequence` and `edgeoffsetms` are written at sending and must still pass the gateway's door.
MARKS_BYTES: Final = 512
BODY_BYTES_MAX: Final = EVENT_BYTES_MAX - MARKS_BYTES
# Checkpoints begin at a megabyte; at half of this nothing is taken before one has ended, and a batch comes on top.
LOG_BYTES_MAX: Final = 8 * 1024 * 1024
# A put is stored or refused as one. Several times what a collector takes in one request or reads of a log at once.
PUT_EVENTS_MAX: Final = 5_000
PUT_BYTES_MAX: Final = 2 * 1024 * 1024
# The most that a row takes besides its body as it came: its numbers, and the id where it has none yet.
ROW_BYTES: Final = 128


class Place(NamedTuple):
    """Where an event stands among its agent's. Boots grow, so places sort as they were stored."""

    boot: int
    sequence: int


class Stretch(NamedTuple):
    """Sequences `first` to `last` of a boot, both included, as far as there are such."""

    boot: int
    first: int
    last: int


class Settles(NamedTuple):
    """Which authorization an event names, and which event it is."""

    authorization: str
    source: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An event to keep: one JSON object without marks.

    `named`: it has its `id`; otherwise the spool gives one. `stamped`: its `time` is the agent's, so that the clock's
    error is to be told. `heard`: what the clocks said when it came. `settles`: what it names.
    """

    body: bytes
    heard: Reading
    named: bool = True
    stamped: bool = False
    settles: Settles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An event as kept, with its id."""

    place: Place
    body: bytes
    heard: Reading
    stamped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Events and how far their collectors have read, stored as one. Positions are the collectors' own JSON texts."""

    items: tuple[Item, ...]
    positions: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return about how many bytes storing it takes."""
        return sum(len(item.body) + ROW_BYTES for item in self.items) + sum(map(len, self.positions.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The gateway's word that everything up to `up_to`, and what `also` names, is committed there."""

    boot: int
    up_to: int
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one instant of a machine's boot truly was: by the gateway's clock, or by its own while NTP held it (`ntp`).

    `error_ms`: at most so far off, half of the round trip.
    """

    machine_boot: str
    boottime_ns: int
    true: datetime
    error_ms: int
    ntp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much waits for the gateway (`events`, `bytes` of bodies), and how much is kept for replay."""

    events: int
    bytes: int
    kept_events: int
    kept_bytes: int


def least_bytes(*, ballast_bytes: int, log_bytes: int = LOG_BYTES_MAX) -> int:
    """Return how many bytes a spool needs: as many for events as its log and ballast take."""
    return 2 * (log_bytes + ballast_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a spool may become, and how long it keeps what is acknowledged.

    `bytes_max` holds for everything in the spool's directory but a damaged spool that was set aside: the file, its log
    and the ballast. Raises BadInput where they leave no room for events.
    """

    bytes_max: int = 1024 * 1024 * 1024
    events_max: int = 2_000_000
    log_bytes_max: int = LOG_BYTES_MAX
    # When nothing else is left the whole log must still go into the file, or it could never be written from its
    # beginning again, and no acknowledgement either.
    ballast_bytes: int = 8 * 1024 * 1024
    retention: timedelta = timedelta(days=35)

    def __post_init__(self) -> None:
        """Refuse bounds that hold nothing, or nothing back."""
        least = least_bytes(ballast_bytes=self.ballast_bytes, log_bytes=self.log_bytes_max)
        if self.bytes_max < least:
            raise BadInput(
                f"the spool may have {self.bytes_max} bytes, and its log and ballast take half of {least}; "
                f"give it {least} or more",
                code="bad_settings",
            )
        if self.ballast_bytes < self.log_bytes_max:
            raise BadInput("the ballast is to be as large as the log, which must go somewhere", code="bad_settings")
        if self.events_max < 1 or self.retention < timedelta(0):
            raise BadInput("the spool holds at least one event and keeps none for a negative time", code="bad_settings")


def unusable(item: Item) -> BadInput | None:
    """Return why the item cannot be kept at all."""
    if len(item.body) > BODY_BYTES_MAX:
        return BadInput(
            f"the event has {len(item.body)} bytes; at most {BODY_BYTES_MAX} can be sent on", code="event_too_large"
        )
    if not (item.body.startswith(b"{") and item.body.endswith(b"}") and len(item.body) > 2):
        return BadInput("the event is not the text of a JSON object with members", code="not_an_event")
    return None


def with_id(body: bytes, id: str) -> bytes:
    """Return the body with its id in front."""
    return b'{"id":"' + id.encode() + b'",' + body[1:]
