"""The fold: an account's events in their order become the lines of its bill (decisions 0001 and 0009).

events ──measure──▶ contributions ─┐
                                   ├──▶ in the order of their places ──rate──▶ lines
facts, clock ──▶ beats ────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import localcontext

from meter.model.charge import Line, LineKey
from meter.model.errors import Broken
from meter.model.event import REFUND, SALE, EventKey, Position
from meter.model.money import EXACT
from meter.model.period import Period
from meter.rating import calendar
from meter.rating.evidence import Evidence, of_same_act
from meter.rating.facts import AccountFacts
from meter.rating.items import Items, Mark, Payload, Tip, TooLate
from meter.rating.measure import Contribution, Orphan, SameAct, Unread, open_sessions
from meter.rating.placed import PlacedEvent
from meter.rating.rate import Rater
from meter.rating.state import AccountState
from meter.rating.till import Till, billed

__all__ = ["AccountFacts", "Evidence", "Folded", "PlacedEvent", "TooLate", "fold", "rate_next"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What ought to be booked for the events, the state after them, and what no meter could read.

    `rungs`: states along the way, if they were asked for. `wakes`: when the clock alone changes something. `evidence`
    is there for each line if it was asked for. `same_acts`: events that counted nothing, as they tell of one act more
    than once.
    """

    lines: tuple[Line, ...]
    state: AccountState
    rungs: tuple[AccountState, ...] = ()
    unread: tuple[Unread, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    wakes: datetime | None = None
    evidence: Mapping[LineKey, Evidence] | None = None
    same_acts: tuple[SameAct, ...] = ()

    def evidence_of(self, key: LineKey) -> Evidence | None:
        """Return how the line came about, or why its event has none; None: not asked for, or nothing is known."""
        event, found = EventKey(key.source, key.id), (self.evidence or {}).get(key)
        of_meter = [act for act in self.same_acts if act.meter == key.meter]
        if found is not None:
            return replace(found, told_again=tuple(act.event for act in of_meter if act.first == event))
        return next((of_same_act(act) for act in of_meter if act.event == event), None)


def fold(
    facts: AccountFacts,
    state: AccountState,
    events: Sequence[PlacedEvent],
    *,
    until: datetime | None = None,
    stride: int | None = None,
    behind: Position | None = None,
    trace: bool = False,
) -> Folded:
    """Return the lines of what comes after `state.position`; `state` itself stays as it is.

    `events` are all that count after that place, in order. `until` is the clock: what is due by then without an event
    is billed, and sessions that have run out are estimated (None: only up to the last event, and none is). `stride`:
    keep a state after every so many events, and one behind the event at `behind`. The same events give the same lines
    however they are divided among calls. Raises Broken (`fold_order`) for events out of order, TooLate where `state`
    cannot be gone on from.
    """
    run = _Run(facts, state, until=until, trace=trace)
    with localcontext(EXACT):
        run.items.take(events, stride=stride, behind=behind, until=until)
        run.items.settle()
        run.rate()
    return Folded(
        lines=tuple(run.lines),
        state=run.state,
        rungs=tuple(run.rungs),
        unread=(*run.items.unread, *run.unread),
        orphans=tuple(run.items.orphans),
        wakes=run.wakes(),
        evidence=run.rater.evidence,
        same_acts=tuple(run.items.same_acts),
    )


def rate_next(facts: AccountFacts, state: AccountState, parts: Sequence[Contribution]) -> Folded:
    """Return what contributions would come to that no event has made yet, one after the other; `state` stays as it is.

    They are at one instant, not before `state.position`, and of events with different ids. What falls due until then
    without an event is billed before them, as a fold would. With evidence.
    """
    run = _Run(facts, state, until=None, trace=True)
    with localcontext(EXACT):
        for part in parts:
            at = part.event
            run.items.queue.append((LineKey(at.time, at.source, at.id, part.meter.id, part.element), part))
            run.items.first = at.time
            run.items.last = at.position
        run.rate()
    return Folded(lines=tuple(run.lines), state=run.state, evidence=run.rater.evidence)


class _Run:
    """One call of the fold."""

    def __init__(self, facts: AccountFacts, base: AccountState, *, until: datetime | None, trace: bool) -> None:
        self.facts = facts
        self.base = base
        self.until = until
        self.state = base.copy()
        self.rater = Rater(facts=facts, state=self.state, evidence={} if trace else None)
        self.till = Till(facts=facts, state=self.state, evidence=self.rater.evidence)
        self.items = Items(facts, base, self.state.memory, self.till)
        self.lines: list[Line] = []
        self.rungs: list[AccountState] = []
        self.unread: list[Unread] = []
        self._beats: Sequence[calendar.Beat] = ()

    def rate(self) -> None:
        """Go through items and beats in the order of their places."""
        self._begin()
        marks = iter(self.items.marks)
        mark = next(marks, None)
        for place, payload in self.items.queue:
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
            first, due = self.items.first, calendar.starts(self.facts)
            if due is not None and (first is not None or (self.until is not None and due <= self.until)):
                first = due if first is None else min(first, due)
            if first is None:
                return
            period = self.facts.account.periods.at(first)
            self._check_nothing_was_due(period)
            state.enter(period)
        if state.period is not None:
            self._beats = self._due(state.period)

    def _check_nothing_was_due(self, period: Period) -> None:
        """Raise TooLate where something is due before the base, which knew only refunds that wait and no period yet."""
        base = self.base.position
        early = [] if base is None else [beat for beat in calendar.beats(self.facts, period) if beat.time <= base.time]
        if early:
            raise TooLate(early[0].position)

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

    def _rate(self, payload: Payload, place: LineKey) -> None:
        state, rater = self.state, self.rater
        period = state.period
        if period is None:
            # Nothing was sold here yet: the sale was stored a moment ago and comes with the next events, as a late one.
            if isinstance(payload, PlacedEvent) and payload.event.type == REFUND:
                return
            raise Broken("the fold has entered no period", code="fold_order")
        if isinstance(payload, Contribution):
            catalog = self.facts.catalogs.at(payload.event.time)
            sale = self.till.wanted(payload.event) if payload.event.type == SALE else None
            line = rater.usage(payload, place, period, catalog, sale)
            if line is not None:
                self.lines.append(line)
                if sale is not None:
                    self.till.sell(payload.event, payload.member, billed(payload, line, rater.steps))
        elif isinstance(payload, Tip):
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

    def _keep(self, mark: Mark) -> None:
        """Keep a state at `mark`, with what is known now about the sessions that were open there."""
        self._advance(mark.position.time)
        kept = self.state.copy()
        kept.memory = mark.memory
        kept.position = _later(kept.position, mark.position)
        kept.settled = self.items.settled_of(mark.memory)
        self.till.keep(kept, mark.position)
        self.rungs.append(kept)

    def _finish(self) -> None:
        """Bring the state to the clock: what comes later folds on from here."""
        state = self.state
        if self.until is not None and state.period is not None and not calendar.is_empty(self.facts):
            self._advance(self.until)
        if self.items.last is not None:
            self._advance(self.items.last.time)
            state.position = _later(state.position, self.items.last)
        self.unread += self.till.unread
        self.items.forget_settled(state.position)
        state.settled = self.items.settled_of(self.items.memory)
        if state.position is not None:
            self.till.keep(state, state.position)

    def wakes(self) -> datetime | None:
        """Return the next instant at which the clock alone makes a difference; None where none does."""
        if self.until is None:
            return None
        instants = [beat.time for beat in self._beats[:1]]
        if not calendar.is_empty(self.facts):
            period, due = self.state.period, calendar.starts(self.facts)
            instants += [period.end] if period is not None else [due] if due is not None else []
        for session in open_sessions(self.items.memory):
            deadline = session.deadline()
            if deadline is not None and deadline > self.until:
                instants.append(deadline)
        return min(instants, default=None)


def _later(position: Position | None, other: Position) -> Position:
    return other if position is None or position < other else position
