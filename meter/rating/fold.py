"""The fold: an account's events in their order become the lines of its bill (decisions 0001 and 0009).

events ──measure──▶ contributions ─┐
                                   ├──▶ in the order of their places ──rate──▶ lines
facts, clock ──▶ beats ────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import localcontext
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from meter.model.charge import Line, LineKey
from meter.model.errors import Broken
from meter.model.event import REFUND, SALE, Position, UsageEvent
from meter.model.money import EXACT
from meter.model.period import Period
from meter.rating import calendar
from meter.rating.evidence import Evidence
from meter.rating.facts import AccountFacts
from meter.rating.measure import Contribution, Memory, Orphan, Scene, Session, Unread, measure, open_sessions
from meter.rating.placed import PlacedEvent
from meter.rating.rate import Rater
from meter.rating.sale import is_paid
from meter.rating.state import AccountState, SessionKey, Settled
from meter.rating.till import Till, billed

__all__ = ["AccountFacts", "Evidence", "Folded", "PlacedEvent", "TooLate", "fold"]

# Behind every line of an event.
_LAST: Final = "\U0010ffff"


class TooLate(Exception):
    """The state took something for granted that is now known otherwise: fold again from one before `position`."""

    def __init__(self, position: Position) -> None:
        """Say what place must be folded again."""
        super().__init__(f"fold again from before {position}")
        self.position = position


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What ought to be booked for the events, the state after them, and what no meter could read.

    `rungs`: states along the way, if they were asked for. `wakes`: when the clock alone changes something. `evidence`
    is there for each line if it was asked for.
    """

    lines: tuple[Line, ...]
    state: AccountState
    rungs: tuple[AccountState, ...] = ()
    unread: tuple[Unread, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    wakes: datetime | None = None
    evidence: Mapping[LineKey, Evidence] | None = None


def fold(
    facts: AccountFacts,
    state: AccountState,
    events: Sequence[PlacedEvent],
    *,
    until: datetime | None = None,
    stride: int | None = None,
    trace: bool = False,
) -> Folded:
    """Return the lines of what comes after `state.position`; `state` itself stays as it is.

    `events` are all that count after that place, in order. `until` is the clock: what is due by then without an event
    is billed, and sessions that have run out are estimated (None: only up to the last event, and none is). `stride`:
    keep a state after every so many events. The same events give the same lines however they are divided among calls.
    Raises Broken (`fold_order`) for events out of order, TooLate where `state` cannot be gone on from.
    """
    run = _Run(facts, state, until=until, trace=trace)
    with localcontext(EXACT):
        run.measure(events, stride)
        run.settle()
        run.rate()
    return Folded(
        lines=tuple(run.lines),
        state=run.state,
        rungs=tuple(run.rungs),
        unread=tuple(run.unread),
        orphans=tuple(run.orphans),
        wakes=run.wakes(),
        evidence=run.rater.evidence,
    )


class _Tip(NamedTuple):
    """The tip of a sale on account, on the way to its line."""

    event: UsageEvent
    member: str | None


_Payload: TypeAlias = Contribution | PlacedEvent | _Tip


class _Rung(NamedTuple):
    """Where a state is to be kept, with the memory as it was there."""

    position: Position
    memory: Memory


class _Run:
    """One call of the fold."""

    def __init__(self, facts: AccountFacts, base: AccountState, *, until: datetime | None, trace: bool) -> None:
        self.facts = facts
        self.base = base
        self.until = until
        self.state = base.copy()
        self.memory = self.state.memory
        self.rater = Rater(facts=facts, state=self.state, evidence={} if trace else None)
        self.till = Till(facts=facts, state=self.state, evidence=self.rater.evidence)
        self.lines: list[Line] = []
        self.rungs: list[AccountState] = []
        self.unread: list[Unread] = []
        self.orphans: list[Orphan] = []
        self._items: list[tuple[LineKey, _Payload]] = []
        self._marks: list[_Rung] = []
        self._outcomes: dict[SessionKey, Contribution] = {}
        self._period: Period | None = None
        self._beats: Sequence[calendar.Beat] = ()
        self._first: datetime | None = None
        self._last: Position | None = base.position

    # --- stage one ----------------------------------------------------------------------------------------------------

    def measure(self, events: Sequence[PlacedEvent], stride: int | None) -> None:
        """Turn events into items at their places, and remember what the memory was along the way."""
        self.till.expect(events)
        last = self.base.position
        if events:
            self._first, self._last = events[0].event.time, events[-1].event.position
        # Before everything else: two refunds behind one sale keep their own order.
        for waiting in self.till.waiting():
            self._stand_behind(waiting)
        for number, placed in enumerate(events, 1):
            event = placed.event
            position = event.position
            if last is not None and position <= last:
                raise Broken(
                    f"event {event.source} {event.id} of account {self.facts.account.id} is folded out of order; "
                    "fold again from a checkpoint before it",
                    code="fold_order",
                )
            last = position
            self._take(placed)
            if stride is not None and number % stride == 0 and number < len(events):
                self._marks.append(_Rung(position, self.memory.copy()))
        if self.until is not None:
            self._run_out()

    def _take(self, placed: PlacedEvent) -> None:
        event, items = placed.event, self._items
        if event.type == REFUND:
            if placed.sale is not None and placed.sale > event.position:
                self._stand_behind(placed)
            else:
                items.append((_key(event, ""), placed))
            return
        catalog = self.facts.catalogs.at(event.time)
        if event.type == SALE and is_paid(event.data):
            items.append((_key(event, ""), placed))
            return
        meters = catalog.meters_of(event.type, event.data)
        if meters:
            scene = Scene(placed.member, catalog.site(event.site), self._period_of(event.time))
            for meter in meters:
                for part in measure(meter, event, scene, self.memory):
                    self._found(part)
        if event.type == SALE:
            items.append((_key(event, _LAST), _Tip(event, placed.member)))

    def _found(self, part: Contribution | Unread | Orphan) -> None:
        if isinstance(part, Contribution):
            at, meter = part.event, part.meter
            self._items.append((LineKey(at.time, at.source, at.id, meter.id, part.element), part))
            if meter.pairing is not None:
                self._outcomes[SessionKey(meter.id, at.source, at.id)] = part
        elif isinstance(part, Unread):
            self.unread.append(part)
        else:
            self.orphans.append(part)

    def _stand_behind(self, refund: PlacedEvent) -> None:
        """Put a refund behind its sale, if that is among the events; else it waits on."""
        sale = refund.sale
        if sale is not None and self._last is not None and sale <= self._last:
            self._items.append((LineKey(sale.time, sale.source, sale.id, _LAST, 0, _LAST), refund))

    def _run_out(self) -> None:
        """Estimate the sessions whose deadline the clock has passed."""
        for session in open_sessions(self.memory):
            meter = self.facts.catalogs.at(session.event.time).meters.get(session.key.meter)
            if meter is None or meter.pairing is None:
                continue
            part = session.outcome(meter, self.until)
            if part is not None:
                self._found(part)

    def _period_of(self, time: datetime) -> Period:
        period = self._period
        if period is None or time not in period:
            period = self._period = self.facts.account.periods.at(time)
            self.memory.enter(period)
        return period

    # --- between the stages -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Hold what the base took for granted about its open sessions and refunds against what is known now."""
        base = self.base.position
        if base is not None:
            changed = [
                session.event.position
                for session in open_sessions(self.base.memory)
                if self._settled(session) != self.base.settled.get(_session_key(session))
            ]
            changed += self.till.unknown(base)
            if changed:
                raise TooLate(min(changed))
            if self._outcomes:
                # What the base settled is in its lines already.
                self._items = [item for item in self._items if item[0][:3] > base or not _is_session(item[1])]
        items = self._items
        if any(items[n][0] > items[n + 1][0] for n in range(len(items) - 1)):
            items.sort(key=itemgetter(0))

    def _settled(self, session: Session) -> Settled | None:
        """Return what became of a session; None where that is nothing, or not known yet."""
        part = self._outcomes.get(_session_key(session))
        if part is None or not part.quantity:
            return None
        return Settled(part.quantity, part.estimated, part.events)

    # --- stage two ----------------------------------------------------------------------------------------------------

    def rate(self) -> None:
        """Go through items and beats in the order of their places."""
        self._begin()
        marks = iter(self._marks)
        mark = next(marks, None)
        for place, payload in self._items:
            while mark is not None and place[:3] > mark.position:
                self._keep(mark)
                mark = next(marks, None)
            self._advance(place.time)
            self._rate(payload, place)
        while mark is not None:
            self._keep(mark)
            mark = next(marks, None)
        self._finish()

    def _begin(self) -> None:
        """Enter the first period: that of the first event, or of the first dated thing that is due."""
        state = self.state
        if state.period is None:
            first, due = self._first, calendar.starts(self.facts)
            if due is not None and (first is not None or (self.until is not None and due <= self.until)):
                first = due if first is None else min(first, due)
            if first is None:
                return
            state.enter(self.facts.account.periods.at(first))
        if state.period is not None:
            self._beats = self._due(state.period)

    def _due(self, period: Period) -> Sequence[calendar.Beat]:
        """Return the beats of `period` that come after the base."""
        found = calendar.beats(self.facts, period)
        base = self.base.position
        return found if base is None else [beat for beat in found if beat.time > base.time]

    def _advance(self, time: datetime) -> None:
        """Rate the beats up to `time`, and enter the period that holds it."""
        state = self.state
        while True:
            while self._beats and self._beats[0].time <= time:
                beat, self._beats = self._beats[0], self._beats[1:]
                self._add(self.rater.beat(beat))
                state.position = _later(state.position, calendar.end_of(beat.time))
            period = state.period
            if period is None or time < period.end:
                return
            # Without a calendar nothing happens in the periods between.
            begins = time if calendar.is_empty(self.facts) else period.end
            state.enter(self.facts.account.periods.at(begins))
            self._beats = self._due(state.period or period)
            state.position = _later(state.position, calendar.end_of((state.period or period).start))

    def _rate(self, payload: _Payload, place: LineKey) -> None:
        state, rater = self.state, self.rater
        period = state.period
        if period is None:
            raise Broken("the fold has entered no period", code="fold_order")
        if isinstance(payload, Contribution):
            catalog = self.facts.catalogs.at(payload.event.time)
            sale = self.till.wanted(payload.event) if payload.event.type == SALE else None
            line = rater.usage(payload, place, period, catalog, sale)
            if line is not None:
                self.lines.append(line)
                if sale is not None:
                    self.till.sell(payload.event, payload.member, billed(payload, line, rater.steps))
        elif isinstance(payload, _Tip):
            catalog = self.facts.catalogs.at(payload.event.time)
            plan = rater.plan(payload.event.time, payload.member, catalog)
            self._add(self.till.tip(payload.event, payload.member, period, plan=plan))
        elif payload.event.type == REFUND:
            self.lines += self.till.refund(payload, period, Position(*place[:3]))
        else:
            line, unread = self.till.paid(payload, period)
            self.lines.append(line)
            self.unread += unread

    def _add(self, line: Line | None) -> None:
        if line is not None:
            self.lines.append(line)

    def _keep(self, mark: _Rung) -> None:
        """Keep a state at `mark`, with what is known now about the sessions that were open there."""
        self._advance(mark.position.time)
        kept = self.state.copy()
        kept.memory = mark.memory
        kept.position = _later(kept.position, mark.position)
        kept.settled = self._settled_of(mark.memory)
        self.till.keep(kept, mark.position)
        self.rungs.append(kept)

    def _finish(self) -> None:
        """Bring the state to the clock: what comes later folds on from here."""
        state = self.state
        if self.until is not None and state.period is not None and not calendar.is_empty(self.facts):
            self._advance(self.until)
        if self._last is not None:
            self._advance(self._last.time)
            state.position = _later(state.position, self._last)
        self.unread += self.till.unread
        self._forget_settled()
        state.memory = self.memory
        state.settled = self._settled_of(self.memory)
        if state.position is not None:
            self.till.keep(state, state.position)

    def _forget_settled(self) -> None:
        """Forget open sessions that are settled and that nothing later in the order can end."""
        last = self.state.position if self._last is None else self._last
        for session in list(open_sessions(self.memory)):
            if last is not None and session.until < last.time and _session_key(session) in self._outcomes:
                del self.memory.sessions[session.key]

    def _settled_of(self, memory: Memory) -> dict[SessionKey, Settled]:
        found = ((_session_key(session), self._settled(session)) for session in open_sessions(memory))
        return {key: settled for key, settled in found if settled is not None}

    def wakes(self) -> datetime | None:
        """Return the next instant at which the clock alone makes a difference; None where none does."""
        if self.until is None:
            return None
        instants = [beat.time for beat in self._beats[:1]]
        if not calendar.is_empty(self.facts):
            period, due = self.state.period, calendar.starts(self.facts)
            instants += [period.end] if period is not None else [due] if due is not None else []
        for session in open_sessions(self.memory):
            deadline = session.deadline()
            if deadline is not None and deadline > self.until:
                instants.append(deadline)
        return min(instants, default=None)


def _key(event: UsageEvent, meter: str) -> LineKey:
    return LineKey(event.time, event.source, event.id, meter)


def _is_session(payload: _Payload) -> bool:
    return isinstance(payload, Contribution) and payload.meter.pairing is not None


def _session_key(session: Session) -> SessionKey:
    return SessionKey(session.key.meter, session.event.source, session.event.id)


def _later(position: Position | None, other: Position) -> Position:
    return other if position is None or position < other else position
