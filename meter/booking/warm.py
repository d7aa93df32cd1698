"""An account kept warm: the state at its tip, earlier states to fold again from, and what stands after the oldest.

    ladder:  base ──── s1 ──── s2 ──── s3 ──── tip          recent: every event after base
                            ▲
                   a late event here folds again from s1, in memory

Older than the base is for checkpoints and the log. All of it is cache: thrown away after any failure, and bounded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from meter.booking.step import Change
from meter.export.journal import BoughtCredit
from meter.model.charge import Charge, LineKey
from meter.model.event import EventKey, Position
from meter.rating.book import GroupTotals
from meter.rating.corrections import Difference, differences
from meter.rating.fold import AccountFacts, Folded, PlacedEvent, TooLate, fold
from meter.rating.measure import open_sessions
from meter.rating.state import AccountState
from meter.store.unread import UnreadChange, UnreadValue
from meter.store.usage import ORIGIN

# Late by fewer events than half of this is settled in memory: a day of a busy account, months of a quiet one.
RECENT_EVENTS_MAX: Final = 1024
# So many are kept where a session is open that began among them: a day of a large account.
OPEN_EVENTS_MAX: Final = 4096
# States differ by a few dictionaries; so many make a late event fold a sixteenth of the recent ones again at most.
LADDER_STATES_MAX: Final = 32
# The log is read again from half of the recent ones before here after a restart: about 20 ms of folding.
CHECKPOINT_EVERY_EVENTS: Final = 256


def _place_of(placed: PlacedEvent) -> Position:
    return placed.event.position


def _position(state: AccountState) -> Position:
    return state.position or ORIGIN


def _stride(events: int) -> int:
    """Return after how many events a state is worth keeping."""
    return max(RECENT_EVENTS_MAX, events) // LADDER_STATES_MAX


def _unread_of(folded: Folded) -> set[UnreadValue]:
    found = {UnreadValue(one.place, *one.event, one.meter, one.element, one.code, one.reason) for one in folded.unread}
    return found | {UnreadValue(one.place, *one.event, one.meter, 0, "orphan", one.reason) for one in folded.orphans}


class Taken(NamedTuple):
    """What folding a change in came to. `late`: the change begins there, before what was folded already.

    `earlier`: what was taken for granted there turned out otherwise. `unread`: how the account's list changes.
    """

    folded: Folded
    differences: list[Difference]
    unread: UnreadChange
    late: Position | None = None
    earlier: Position | None = None


@dataclass(slots=True, kw_only=True)
class WarmAccount:
    """The cache of one account.

    Every event of a transaction older than `includes_xid` that comes after `includes_after` is folded in already.
    """

    account: str
    ladder: list[AccountState]
    totals: GroupTotals = field(default_factory=GroupTotals)
    # The starts of the service periods whose sums `totals` holds.
    totals_of: set[datetime] = field(default_factory=set)
    # What is booked of the account's own grants, by the version of the facts that named the accounts; None: not read.
    credit: dict[str, BoughtCredit] | None = None
    credit_facts: int = -1
    recent: list[PlacedEvent] = field(default_factory=list)
    recent_keys: set[EventKey] = field(default_factory=set)
    last: dict[LineKey, Charge] = field(default_factory=dict)
    # What is listed after the base as unread.
    unread: set[UnreadValue] = field(default_factory=set)
    includes_xid: int = 0
    includes_after: Position = ORIGIN
    checkpoint: Position = ORIGIN
    since_checkpoint: int = 0

    @property
    def tip(self) -> AccountState:
        """Return the state after every event so far."""
        return self.ladder[-1]

    def reaches(self, position: Position) -> bool:
        """Tell whether an event at `position` can be folded in from memory."""
        return _position(self.ladder[0]) < position

    def take(self, facts: AccountFacts, work: Change, *, until: datetime) -> Taken:
        """Fold a change in, all of it within reach, up to the clock `until`; return what differs from what stands.

        An empty change lets the clock alone make a difference. Raises TooLate where the fold needs an earlier state
        than the ladder has; then nothing has changed.
        """
        recent = self._recent_with(work)
        # The first state that can be wrong; with no event to fold there is none.
        rung = bisect_left(self.ladder, work.start, key=_position) if work else len(self.ladder)
        late = work.start if rung < len(self.ladder) else None
        # What is late is often followed by more of it: a site's backlog, behind what happened there since.
        behind = None if late is None else work.end
        folded, rung, earlier = self._climb(facts, recent, rung - 1, until, behind)
        self.recent = recent
        self.recent_keys -= work.withdrawn.keys()
        self.recent_keys |= work.added.keys()
        self.since_checkpoint += len(work.added)
        base = self.ladder[rung]
        # Behind the tip nothing is booked yet: looking through what is kept would cost more than most folds.
        standing = {} if base is self.tip else self._standing_after(_position(base))
        del self.ladder[rung + 1 :]
        self.ladder += [*folded.rungs, folded.state]
        found = differences(standing=standing, lines=folded.lines)
        return Taken(folded, found, self._list(folded, _position(base)), late, earlier)

    def _recent_with(self, work: Change) -> list[PlacedEvent]:
        kept = self.recent
        if work.withdrawn:
            kept = [placed for placed in kept if placed.event.key not in work.withdrawn]
        added = sorted(work.added.values(), key=_place_of)
        if not kept or not added or _place_of(kept[-1]) < _place_of(added[0]):
            return [*kept, *added]
        place = bisect_left(kept, _place_of(added[0]), key=_place_of)
        return kept[:place] + sorted([*kept[place:], *added], key=_place_of)

    def rebuild(self, facts: AccountFacts, events: Sequence[PlacedEvent], *, until: datetime) -> Taken:
        """Fold everything after the base, just read from the log; return what differs from what stands.

        Raises TooLate where the base is not early enough.
        """
        self.recent = list(events)
        self.recent_keys = {placed.event.key for placed in events}
        base = self.ladder[0]
        folded = fold(facts, base, events, until=until, stride=_stride(len(events)))
        self.ladder = [base, *folded.rungs, folded.state]
        self.since_checkpoint = len(events)
        found = differences(standing=self._standing_after(_position(base)), lines=folded.lines)
        return Taken(folded, found, self._list(folded, _position(base)))

    def _climb(
        self, facts: AccountFacts, recent: Sequence[PlacedEvent], rung: int, until: datetime, behind: Position | None
    ) -> tuple[Folded, int, Position | None]:
        """Fold `recent` from a rung on, or from an earlier one where the fold asks for it: return with the rung why."""
        earlier: Position | None = None
        while True:
            base = self.ladder[rung]
            events = recent[bisect_right(recent, _position(base), key=_place_of) :]
            try:
                return fold(facts, base, events, until=until, stride=_stride(len(events)), behind=behind), rung, earlier
            except TooLate as error:
                earlier = error.position
                rung = bisect_left(self.ladder, error.position, key=_position) - 1
                if rung < 0:
                    raise

    def due_checkpoint(self) -> AccountState | None:
        """Return a state worth keeping, some way behind the tip so that a slightly late event leaves it right."""
        if self.since_checkpoint < CHECKPOINT_EVERY_EVENTS:
            return None
        state = self.ladder[len(self.ladder) // 2]
        if state.position is None or state.position <= self.checkpoint:
            return None
        self.checkpoint, self.since_checkpoint = state.position, 0
        return state

    def _standing_after(self, position: Position) -> dict[LineKey, Charge]:
        return {key: charge for key, charge in self.last.items() if charge.role != "reversal" and key[:3] > position}

    def _list(self, folded: Folded, base: Position) -> UnreadChange:
        """Take over what a fold from `base` on could not count; return what that changes."""
        known, found = {value for value in self.unread if value.place > base}, _unread_of(folded)
        self.unread = self.unread - known | found
        return UnreadChange(account=self.account, gone=known - found, fresh=found - known)

    def booked(self, charges: Sequence[Charge]) -> None:
        """Remember what was decided; then forget what lies too far back."""
        for charge in charges:
            self.last[charge.line.key] = charge
        self._trim()

    def revisions(self, keys: Sequence[LineKey]) -> dict[LineKey, int]:
        """Return the number of the newest charge of each line that has one."""
        return {key: self.last[key].revision for key in keys if key in self.last}

    def _trim(self) -> None:
        if len(self.ladder) > LADDER_STATES_MAX:
            # Thin out the older half: a late event is most likely a little late.
            half = len(self.ladder) // 2
            self.ladder = [self.ladder[0], *self.ladder[1:half:2], *self.ladder[half:]]
        if len(self.recent) > RECENT_EVENTS_MAX:
            self._forget(least=0)

    def forget_half(self) -> int:
        """Forget the older half of the recent events, or about that much; return how many those were.

        Not between a fold and its booking, which looks up what stands.
        """
        return self._forget(least=len(self.recent) // 4)

    def _forget(self, *, least: int) -> int:
        """Forget what comes before a state in the older half; before the next one where that were less than `least`."""
        if not self.recent:
            return 0
        known = len(self.recent)
        rung = bisect_left(self.ladder, _place_of(self.recent[known // 2]), key=_position) - 1
        if (
            least
            and _position(self.ladder[max(rung, 0)]) < _place_of(self.recent[least])
            and rung + 2 < len(self.ladder)
        ):
            rung += 1
        if known <= OPEN_EVENTS_MAX:
            # The end of a session folds again from before its start: soon, and more than once on a busy day.
            tip = self.tip
            still = (s.event.position for s in open_sessions(tip.memory) if s.until >= _position(tip).time)
            first = min(still, default=None)
            if first is not None:
                rung = min(rung, bisect_left(self.ladder, first, key=_position) - 1)
        if rung <= 0:
            return 0
        del self.ladder[:rung]
        base = _position(self.ladder[0])
        self.recent = self.recent[bisect_right(self.recent, base, key=_place_of) :]
        self.recent_keys = {placed.event.key for placed in self.recent}
        self.last = {key: charge for key, charge in self.last.items() if key[:3] > base}
        self.unread = {value for value in self.unread if value.place > base}
        return known - len(self.recent)
