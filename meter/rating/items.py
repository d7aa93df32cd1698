"""Stage one of the fold: events become what is to be rated, each thing at its place (decision 0009).

events ──measure──▶ contributions ─┐
clock ──▶ sessions that are over ──┼──▶ items, sorted by place
sales, tips, refunds ──────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from meter.model.charge import LineKey
from meter.model.errors import Broken
from meter.model.event import REFUND, SALE, Position, UsageEvent
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.measure import Contribution, Memory, Orphan, SameAct, Scene, Session, Unread, measure, open_sessions
from meter.rating.placed import PlacedEvent
from meter.rating.sale import is_paid
from meter.rating.state import AccountState, SessionKey, Settled
from meter.rating.till import Till

# Behind every line of an event.
_LAST: Final = "\U0010ffff"


class TooLate(Exception):
    """The state took something for granted that is now known otherwise: fold again from one before `position`."""

    def __init__(self, position: Position) -> None:
        """Say what place must be folded again."""
        super().__init__(f"fold again from before {position}")
        self.position = position


class Tip(NamedTuple):
    """The tip of a sale on account, on the way to its line."""

    event: UsageEvent
    member: str | None


Payload: TypeAlias = Contribution | PlacedEvent | Tip


class Mark(NamedTuple):
    """Where a state is to be kept, with the memory as it was there."""

    position: Position
    memory: Memory


class Items:
    """What is to be rated behind `base`, and what the memory was along the way.

    `queue` is in the order of places once it is settled.
    """

    def __init__(self, facts: AccountFacts, base: AccountState, memory: Memory, till: Till) -> None:
        """Begin with nothing; `memory` is the fold's own, and changes."""
        self.facts = facts
        self.base = base
        self.memory = memory
        self.till = till
        self.queue: list[tuple[LineKey, Payload]] = []
        self.marks: list[Mark] = []
        self.unread: list[Unread] = []
        self.orphans: list[Orphan] = []
        self.same_acts: list[SameAct] = []
        self.first: datetime | None = None
        self.last: Position | None = base.position
        self._outcomes: dict[SessionKey, Contribution] = {}
        self._period: Period | None = None

    def take(
        self, events: Sequence[PlacedEvent], *, stride: int | None, behind: Position | None, until: datetime | None
    ) -> None:
        """Turn events into items at their places, and remember what the memory was along the way."""
        self.till.expect(events)
        last = self.base.position
        if events:
            # A refund stands behind its sale at the earliest: no account begins with one.
            self.first = next((placed.event.time for placed in events if placed.event.type != REFUND), None)
            self.last = events[-1].event.position
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
            wanted = position == behind or (stride is not None and number % stride == 0)
            if wanted and number < len(events):
                self.marks.append(Mark(position, self.memory.copy()))
        self._run_out(until)

    def _take(self, placed: PlacedEvent) -> None:
        event, items = placed.event, self.queue
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
            items.append((_key(event, _LAST), Tip(event, placed.member)))

    def _found(self, part: Contribution | Unread | Orphan | SameAct) -> None:
        if isinstance(part, Contribution):
            at, meter = part.event, part.meter
            self.queue.append((LineKey(at.time, at.source, at.id, meter.id, part.element), part))
            if meter.pairing is not None:
                self._outcomes[SessionKey(meter.id, at.source, at.id)] = part
        elif isinstance(part, Unread):
            self.unread.append(part)
        elif isinstance(part, SameAct):
            self.same_acts.append(part)
        else:
            self.orphans.append(part)

    def _stand_behind(self, refund: PlacedEvent) -> None:
        """Put a refund behind its sale, if that is among the events; else it waits on."""
        sale = refund.sale
        if sale is not None and self.last is not None and sale <= self.last:
            self.queue.append((LineKey(sale.time, sale.source, sale.id, _LAST, 0, _LAST), refund))

    def _run_out(self, until: datetime | None) -> None:
        """Estimate the sessions whose deadline the clock has passed, and those whose end is an estimate itself."""
        for session in open_sessions(self.memory):
            meter = self.facts.catalogs.at(session.event.time).meters.get(session.key.meter)
            if meter is None or meter.pairing is None:
                continue
            part = session.outcome(meter, until)
            if part is not None:
                self._found(part)

    def _period_of(self, time: datetime) -> Period:
        period = self._period
        if period is None or time not in period:
            period = self._period = self.facts.account.periods.at(time)
            self.memory.enter(period)
        return period

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
                self.queue = [item for item in self.queue if item[0][:3] > base]
        items = self.queue
        if any(items[n][0] > items[n + 1][0] for n in range(len(items) - 1)):
            items.sort(key=itemgetter(0))

    def _settled(self, session: Session) -> Settled | None:
        """Return what became of a session; None where that is nothing, or not known yet."""
        part = self._outcomes.get(_session_key(session))
        if part is None or not part.quantity:
            return None
        return Settled(part.quantity, part.estimated, part.events)

    def forget_settled(self, position: Position | None) -> None:
        """Forget open sessions that are settled and that nothing later in the order can end."""
        last = position if self.last is None else self.last
        for session in list(open_sessions(self.memory)):
            if last is not None and session.until < last.time and _session_key(session) in self._outcomes:
                del self.memory.sessions[session.key]

    def settled_of(self, memory: Memory) -> dict[SessionKey, Settled]:
        """Return what became of the sessions that are open in `memory`."""
        found = ((_session_key(session), self._settled(session)) for session in open_sessions(memory))
        return {key: settled for key, settled in found if settled is not None}


def _key(event: UsageEvent, meter: str) -> LineKey:
    return LineKey(event.time, event.source, event.id, meter)


def _session_key(session: Session) -> SessionKey:
    return SessionKey(session.key.meter, session.event.source, session.event.id)
