"""What becomes of a batch, decided without I/O; `accept` asks the store in between (decision 0002).

arrival ──sort_out──▶ refusal (wire, wrong site, shut out) ──────────────────────────────────┐
             └──────▶ event ──▶ first of its key ──claim──▶ new ──▶ accepted (or held)       │
                                      │              └────▶ taken ─┬─ same content ──▶ duplicate
                                      └─ too old ──▶ never claimed ┼─ other content ──▶ conflict ─┤
                          later of its key ────────────────────────┘─ not taken ──▶ too_old ──────┴──▶ rejections
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from meter.ingest.arrival import Arrival, Receipt
from meter.ingest.shut_out import ShutOut
from meter.model.doubt import FUTURE
from meter.model.errors import BadInput
from meter.model.event import AMENDED, DRAFT, EDGE_REFUSAL, REFUND, VOIDED, EventKey
from meter.model.instant import instant_text
from meter.model.wire import Refusal, WireEvent, stand_in
from meter.store.entry import Entry
from meter.store.rejections import ORIGIN_CHARS_MAX, Rejection
from meter.store.source_work import VENDOR_CHANNELS

# rating.md, section 2.
AHEAD_MAX: Final = timedelta(minutes=5)
_DETAIL_CHARS_MAX: Final = 2_000


@dataclass(slots=True, kw_only=True)
class Judgement:
    """One batch on its way: `sort_out`, claim `candidates`, `settle`, `close`; then every arrival has its receipt.

    `now` decides what is too old (by `max_age`) or ahead of the clock; `as_stored` hides identities (decision 0012);
    `shut_out` knows which agents are revoked.
    Nothing here changes `arrivals`.
    """

    arrivals: Sequence[Arrival]
    now: datetime
    max_age: timedelta
    as_stored: Callable[[WireEvent], WireEvent]
    shut_out: ShutOut
    refused: list[Rejection] = field(default_factory=list)
    _receipts: dict[int, Receipt] = field(default_factory=dict)
    _entries: dict[EventKey, tuple[int, Entry]] = field(default_factory=dict)
    _later: list[tuple[int, Entry]] = field(default_factory=list)
    _conflicts: list[tuple[int, Entry]] = field(default_factory=list)

    @property
    def receipts(self) -> list[Receipt]:
        """Return the receipts in the order of the arrivals."""
        return [self._receipts[index] for index in range(len(self.arrivals))]

    def sort_out(self) -> None:
        """Refuse what needs no look at the store, and find the first of each key."""
        for index, arrival in enumerate(self.arrivals):
            parsed = arrival.parsed
            if (shut := self.shut_out.refusal(index, arrival)) is not None:
                self._shut(index, arrival, shut)
            elif isinstance(parsed, Refusal):
                self._refuse(index, BadInput(parsed.detail, code=parsed.code))
            elif arrival.site is not None and parsed.site != arrival.site:
                self._refuse(index, _wrong_site(parsed.source, parsed.site, arrival))
            elif (target := _foreign(parsed, arrival.site)) is not None:
                self._refuse(index, _wrong_site(target, _site_of(target), arrival))
            elif arrival.site is not None and parsed.type == DRAFT and arrival.channel not in VENDOR_CHANNELS:
                self._refuse(index, _of_no_site(arrival))
            elif parsed.type == EDGE_REFUSAL:
                self._pass_on(index, arrival, parsed)
            else:
                self._queue(index, self._entry(arrival, parsed))

    def _entry(self, arrival: Arrival, event: WireEvent) -> Entry:
        time = _time(arrival, event)
        return Entry(
            event=self.as_stored(event),
            time=time,
            channel=arrival.channel,
            received_at=arrival.received_at,
            held=time > self.now + AHEAD_MAX,
        )

    def _queue(self, index: int, entry: Entry) -> None:
        first = self._entries.get(entry.key)
        if first is None:
            self._entries[entry.key] = (index, entry)
        elif self._too_old(first[1]) and not self._too_old(entry):
            # What cannot be stored does not stand in the way of what can.
            self._entries[entry.key] = (index, entry)
            self._later.append(first)
        else:
            self._later.append((index, entry))

    def _too_old(self, entry: Entry) -> bool:
        return entry.time < self.now - self.max_age

    @property
    def keys(self) -> AbstractSet[EventKey]:
        """Return the keys of every readable event."""
        return self._entries.keys()

    def candidates(self) -> list[Entry]:
        """Return the events to claim keys for: one a key, none too old."""
        return [entry for _, entry in self._entries.values() if not self._too_old(entry)]

    def settle(self, new: AbstractSet[EventKey], standing: Mapping[EventKey, bytes]) -> None:
        """Tell accepted, duplicate, too old and conflict apart.

        `new` are the keys claimed; `standing` the content hashes of the others that are taken.
        """
        for index, entry in [*self._entries.values(), *self._later]:
            event, key = entry.event, entry.key
            first_index, first = self._entries[key]
            if key in new and index == first_index:
                self._receipts[index] = _accepted(entry)
                continue
            stands = first.event.content_hash if key in new else standing.get(key)
            if stands is None:
                self._refuse(index, self._refused_as_old(entry))
            elif stands in {event.content_hash, self._sent_hash(index)}:
                self._receipts[index] = Receipt(id=event.id, source=event.source, status="duplicate")
            else:
                self._conflicts.append((index, entry))

    def _sent_hash(self, index: int) -> bytes | None:
        """Return the content hash of the event as sent: so it stands where its identity was stored unhashed before."""
        parsed = self.arrivals[index].parsed
        return parsed.content_hash if isinstance(parsed, WireEvent) else None

    @property
    def contested(self) -> set[EventKey]:
        """Return the keys whose standing events `close` needs to see."""
        return {entry.key for _, entry in self._conflicts}

    def close(self, bodies: Mapping[EventKey, bytes]) -> None:
        """Refuse the conflicts, each with the body that stands: from the store, or the first in this batch."""
        for index, entry in self._conflicts:
            stands = bodies.get(entry.key) or self._entries[entry.key][1].event.body
            self._refuse(index, _conflict(entry.key), stands=stands)

    def new_entries(self, new: AbstractSet[EventKey]) -> list[Entry]:
        """Return the events to write."""
        return [self._entries[key][1] for key in new]

    def _refused_as_old(self, entry: Entry) -> BadInput:
        message = (
            f"time {instant_text(entry.time)} is more than {self.max_age.days} days ago; "
            "raise METER_MAX_AGE_DAYS and retry the rejection if it shall be billed"
        )
        return BadInput(message, code="too_old")

    def _refuse(self, index: int, error: BadInput, stands: bytes | None = None) -> None:
        arrival = self.arrivals[index]
        self._receipts[index] = _rejected(arrival, error)
        self.refused.append(_rejection(arrival, error, stands=stands))

    def _shut(self, index: int, arrival: Arrival, error: BadInput) -> None:
        """Refuse what a revoked agent sends: it is told of nothing, and holds on to it."""
        self._receipts[index] = replace(_rejected(arrival, error), unmarked=True)
        rejection = _rejection(arrival, error)
        if self.shut_out.keeps(index, arrival, rejection.digest):
            self.refused.append(rejection)

    def _pass_on(self, index: int, arrival: Arrival, event: WireEvent) -> None:
        """Keep what an agent could not read of a device, as if it had been refused here when the agent heard it."""
        told = event.data
        self._receipts[index] = Receipt(
            id=event.id, source=event.source, status="rejected", code=told["code"], detail=told["detail"]
        )
        self.refused.append(
            Rejection(
                code=told["code"],
                detail=told["detail"],
                channel="edge",
                origin=told.get("origin") or arrival.origin[:ORIGIN_CHARS_MAX],
                content_type=told.get("content_type"),
                site=event.site,
                source=event.source,
                event_id=event.id,
                body=b64decode(told.get("body_base64") or ""),
                # A missing time of what it holds is that of its first receipt, which was the agent's.
                at=min(_time(arrival, event), arrival.received_at),
            )
        )


def _rejected(arrival: Arrival, error: BadInput) -> Receipt:
    parsed = arrival.parsed
    return Receipt(id=parsed.id, source=parsed.source, status="rejected", code=error.code, detail=error.detail)


def _rejection(arrival: Arrival, error: BadInput, *, stands: bytes | None = None) -> Rejection:
    parsed = arrival.parsed
    return Rejection(
        code=error.code,
        detail=error.detail[:_DETAIL_CHARS_MAX],
        channel=arrival.channel,
        origin=arrival.origin[:ORIGIN_CHARS_MAX],
        content_type=arrival.content_type,
        site=arrival.site or parsed.site,
        source=parsed.source,
        event_id=parsed.id,
        body=parsed.body,
        stands=stands,
        at=arrival.received_at,
    )


def _time(arrival: Arrival, event: WireEvent) -> datetime:
    return event.time if event.time is not None else stand_in(event, arrival.received_at)


def _accepted(entry: Entry) -> Receipt:
    code = detail = None
    if entry.held:
        code = FUTURE
        detail = f"time {instant_text(entry.time)} is ahead of the clock; the event counts when the clock reaches it"
    return Receipt(id=entry.event.id, source=entry.event.source, status="accepted", code=code, detail=detail)


def _foreign(event: WireEvent, site: str | None) -> str | None:
    """Return the source of what the event takes back, where it is of another site than `site`, which alone it may."""
    if site is None:
        return None
    return next((source for source in _targets(event) if _site_of(source) != site), None)


def _targets(event: WireEvent) -> list[str]:
    """Return the sources of the events that this one voids, amends or refunds."""
    data = event.data
    if event.type == REFUND:
        return [str(data["sale"]["source"])]
    if event.type == VOIDED:
        return [str(data["source"])]
    if event.type == AMENDED:
        sale = data["data"].get("sale")  # of a refund that becomes one of another sale
        more = [str(sale["source"])] if isinstance(sale, Mapping) and "source" in sale else []
        return [str(data["source"]), *more]
    return []


def _site_of(source: str) -> str:
    return source.partition("/")[0]


def _wrong_site(source: str, site: str, arrival: Arrival) -> BadInput:
    message = (
        f"source {source!r} belongs to site {site!r}, and {arrival.origin[:120]!r} speaks for "
        f"{arrival.site!r} only; send it where its site is"
    )
    return BadInput(message, code="wrong_site")


def _of_no_site(arrival: Arrival) -> BadInput:
    message = (
        f"the directory is every site's, and {arrival.origin[:120]!r} speaks for {arrival.site!r} only; send "
        "drafts with a key of no site"
    )
    return BadInput(message, code="wrong_site")


def _conflict(key: EventKey) -> BadInput:
    message = (
        f"another event of source {key.source!r} has the id {key.id!r} and other content; the first stands: "
        "send a new event under a new id, or event.amended"
    )
    return BadInput(message, code="conflict")


def unstorable(arrival: Arrival, reason: str) -> Arrival:
    """Return the arrival as refused because PostgreSQL would not store it; of its text nothing is written as it is."""
    message = f"the store refuses this event: {_plain(reason)[:200]}; its bytes are kept, report them as our fault"
    parsed = arrival.parsed
    refusal = Refusal(code="unstorable", detail=message, body=parsed.body, site=parsed.site, edge=parsed.edge)
    refusal = replace(refusal, boot=parsed.boot, sequence=parsed.sequence)
    return replace(arrival, parsed=refusal, origin=_plain(arrival.origin), content_type=None)


def _plain(text: str) -> str:
    return text.encode("unicode_escape").decode()
