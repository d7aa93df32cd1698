"""What booking does with the fold: keeps states, goes back where one cannot be gone on from, books what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest

from meter.model.charge import Charge, LineKey
from meter.model.event import Position
from meter.rating.fold import AccountFacts, Folded, PlacedEvent, TooLate, fold
from meter.rating.state import AccountState
from tests.rating.world import Ledger


def position_of(key: LineKey) -> Position:
    return Position(key.time, key.source, key.id)


def is_after(key: LineKey, state: AccountState) -> bool:
    return state.position is None or position_of(key) > state.position


def again(state: AccountState) -> AccountState:
    """The state after a round trip through JSON text."""
    return AccountState.from_json(json.loads(json.dumps(state.to_json())))


@dataclass(kw_only=True)
class Booker:
    """One account's booking. `stride`: how often a state is kept."""

    stride: int = 3
    ledger: Ledger = field(default_factory=Ledger.empty)
    kept: list[AccountState] = field(default_factory=lambda: [AccountState()])
    told: list[PlacedEvent] = field(default_factory=list)

    def drop(self, position: Position) -> None:
        """Forget the states that have gone past `position`."""
        self.kept = [state for state in self.kept if state.position is None or state.position < position]

    def fold(self, facts: AccountFacts, placed: Sequence[PlacedEvent], *, until: datetime, back: int = 0) -> Folded:
        """Fold what differs from what was told before, from a state `back` before the last that would do."""
        for before, now in zip_longest(self.told, placed):
            if before != now:
                self.drop(min(one.event.position for one in (before, now) if one is not None))
                break
        del self.kept[max(1, len(self.kept) - back) :]
        while True:
            base = again(self.kept[-1])
            rest = [one for one in placed if base.position is None or one.event.position > base.position]
            try:
                folded = fold(facts, base, rest, until=until, stride=self.stride)
            except TooLate as late:
                kept = len(self.kept)
                self.drop(late.position)
                # Or going back would never end.
                assert len(self.kept) < kept
                continue
            assert all(is_after(line.key, base) for line in folded.lines)
            self.kept += [*folded.rungs, folded.state]
            self.told = list(placed)
            return folded

    def book(
        self,
        facts: AccountFacts,
        placed: Sequence[PlacedEvent],
        *,
        until: datetime,
        since: datetime | None = None,
        back: int = 0,
    ) -> list[Charge]:
        """Book what is new by `until`; `since`: the facts have changed from that instant on."""
        if since is not None:
            self.drop(Position(since, "", ""))
        folded = self.fold(facts, placed, until=until, back=back)
        base = self.kept[-len(folded.rungs) - 2]
        standing = {key: charge for key, charge in self.ledger.standing().items() if is_after(key, base)}
        return self.ledger.make_good(folded.lines, standing=standing)
