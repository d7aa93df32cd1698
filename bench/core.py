"""The pure core alone, on one core of the processor: how many events a second it folds, in order, late, and again.

Accounts of ten members with a month of doors, printers, Wi-Fi and café under `core.yaml`. "In order" and "late" go
through the warm accounts of `meter.booking` in batches, as rating does, without a database; "again" folds each month
afresh.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any, Final

from meter import collector
from meter.booking.step import Change
from meter.booking.warm import Taken, WarmAccount
from meter.catalog.load import read_catalog_text
from meter.model.catalog import CatalogTimeline
from meter.model.charge import Charge, LineKey
from meter.model.directory import Account, Directory, Link, Member, Span, Subscription
from meter.model.event import Position, UsageEvent
from meter.model.period import Period
from meter.rating.book import book
from meter.rating.fold import AccountFacts, PlacedEvent, TooLate, fold
from meter.rating.state import AccountState
from meter.store.usage import ORIGIN

START: Final = datetime(2026, 10, 31, 23, tzinfo=UTC)
MONTH: Final = timedelta(days=30)
MEMBERS: Final = 10
LATE_SHARE: Final = 0.05
# Late by minutes to a day: an agent without a network.
LATE_MAX_S: Final = 86_400
# Of one account in one step of the rating worker, when it is busy.
BATCH_EVENTS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRun:
    """Events a second of CPU time, and the lines that came of them."""

    events: int
    lines: int
    events_per_s: float


def measure(*, members: int, events_each: int) -> dict[str, CoreRun]:
    """Return the speed in order, with late events, and of a month folded afresh, for so many members."""
    collector.relax()
    accounts = max(members // MEMBERS, 1)
    months = [_month(number, events_each * MEMBERS) for number in range(accounts)]
    some = months[: max(accounts // 5, 1)]
    return {
        "in order": _timed(some, lambda facts, events: _batches(facts, _chunks(events))),
        "5 % late": _timed(some, lambda facts, events: _batches(facts, _chunks(_delayed(events)))),
        "a month again": _timed(months, _afresh),
    }


def _timed(months: Sequence[tuple[AccountFacts, list[PlacedEvent]]], way: Any) -> CoreRun:
    began_s = process_time()
    lines = sum(way(facts, events) for facts, events in months)
    took_s = process_time() - began_s
    events = sum(len(month) for _, month in months)
    return CoreRun(events=events, lines=lines, events_per_s=events / took_s)


def _afresh(facts: AccountFacts, events: Sequence[PlacedEvent]) -> int:
    return len(fold(facts, AccountState(), events, until=START + MONTH).lines)


class _Account:
    """An account as rating keeps it: warm, with checkpoints for what lies further back; the log is a list."""

    def __init__(self, facts: AccountFacts) -> None:
        self.facts = facts
        self.log: list[PlacedEvent] = []
        self.checkpoints = [AccountState()]
        self.charges: dict[LineKey, Charge] = {}
        self.warm = WarmAccount(account=facts.account.id, ladder=[AccountState()])

    def take(self, batch: Sequence[PlacedEvent], until: datetime) -> int:
        """Fold a batch in and book what differs; return how many charges that made."""
        late = bool(self.log) and min(map(_place, batch)) < _place(self.log[-1])
        self.log.extend(sorted(batch, key=_place))
        if late:
            self.log.sort(key=_place)
        change = Change(added={placed.event.key: placed for placed in batch})
        back = change.start
        taken = None
        try:
            if self.warm.reaches(back):
                taken = self.warm.take(self.facts, change, until=until)
        except TooLate as error:
            back = error.position
        while taken is None:
            taken, back = self._again(back, until)
        charges = book(
            taken.differences,
            operator="northside",
            totals=self.warm.totals,
            revisions={d.key: self.charges[d.key].revision for d in taken.differences if d.key in self.charges},
            booked_at=START + MONTH,
            invoice_period=Period(START, START + MONTH),
        )
        self.warm.booked(charges)
        self.charges.update((charge.line.key, charge) for charge in charges)
        state = self.warm.due_checkpoint()
        if state is not None:
            self.checkpoints.append(state)
        return len(charges)

    def _again(self, back: Position, until: datetime) -> tuple[Taken | None, Position]:
        """Fold again from the newest checkpoint before `back`; where that is not early enough, say from where."""
        self.checkpoints = [state for state in self.checkpoints if state.position is None or state.position < back]
        base = self.checkpoints[-1]
        place = base.position or ORIGIN
        after = {k: c for k, c in self.charges.items() if k[:3] > place}
        self.warm = WarmAccount(
            account=self.facts.account.id, ladder=[base], last=after, totals=self.warm.totals, checkpoint=place
        )
        try:
            return self.warm.rebuild(
                self.facts, self.log[bisect_right(self.log, place, key=_place) :], until=until
            ), back
        except TooLate as error:
            return None, error.position


def _place(placed: PlacedEvent) -> Position:
    return placed.event.position


def _batches(facts: AccountFacts, batches: Iterator[list[PlacedEvent]]) -> int:
    """Fold batch by batch and book what differs, up to the newest event so far."""
    account, until, booked = _Account(facts), START, 0
    for batch in batches:
        until = max(until, *(placed.event.time for placed in batch))
        booked += account.take(batch, until)
    return booked


def _chunks(events: Sequence[PlacedEvent]) -> Iterator[list[PlacedEvent]]:
    for first in range(0, len(events), BATCH_EVENTS):
        yield list(events[first : first + BATCH_EVENTS])


def _delayed(events: Sequence[PlacedEvent]) -> list[PlacedEvent]:
    """Return the events in an order of arrival in which some come late."""
    chance = random.Random(2)  # noqa: S311 -- the same for each run
    delayed = [
        (
            placed.event.time + timedelta(seconds=chance.randrange(LATE_MAX_S) if chance.random() < LATE_SHARE else 0),
            number,
        )
        for number, placed in enumerate(events)
    ]
    return [events[number] for _, number in sorted(delayed)]


def _month(number: int, events: int) -> tuple[AccountFacts, list[PlacedEvent]]:
    """Return an account and a month of its events, in order."""
    chance, ids = random.Random(number), count()  # noqa: S311 -- the same for each run
    name = f"account-{number}"
    account = Account(id=name, name=name, currency="EUR", timezone="Europe/Berlin")
    members = [f"{name}-{n}" for n in range(MEMBERS)]
    subscription = Subscription(id=f"{name}-flex", plan="flex-10", account=name, span=Span(start=START))
    directory = Directory(
        version=1,
        accounts={name: account},
        members={member: Member(id=member, name=member) for member in members},
        links={member: (Link(member=member, account=name),) for member in members},
        subscriptions={("account", name): (subscription,)},
    )
    catalog = read_catalog_text([("core.yaml", Path(__file__).with_name("core.yaml").read_text(encoding="utf-8"))])
    facts = AccountFacts(account=account, directory=directory, catalogs=CatalogTimeline(versions=(catalog.catalog,)))
    placed = [_event(chance, next(ids), chance.choice(members)) for _ in range(events)]
    return facts, sorted(placed, key=lambda one: one.event.position)


def _event(chance: random.Random, number: int, member: str) -> PlacedEvent:
    time = START + timedelta(seconds=chance.randrange(int(MONTH.total_seconds())))
    kind, device, thing, data = _usage(chance, number, member)
    return PlacedEvent(
        event=UsageEvent(
            source=f"berlin/{device}",
            id=f"{member}-{number}",
            type=kind,
            site="berlin",
            time=time,
            subject=f"member:{member}",
            thing=thing,
            data=data,
        ),
        member=member,
    )


def _usage(chance: random.Random, number: int, member: str) -> tuple[str, str, str | None, dict[str, Any]]:
    """Return type, device, thing and data: a third doors, the rest printers, Wi-Fi and the café."""
    kind = chance.random()
    if kind < 0.35:
        direction = "in" if number % 2 else "out"
        return "door.access", "door/main", None, {"door": "main", "direction": direction, "granted": True}
    if kind < 0.65:
        data = {"printer": "p", "job": f"j{number}", "impressions": chance.randrange(1, 30), "status": "completed"}
        return "print.job", "printer/p", f"j{number}", data | {"color": chance.random() < 0.3}
    if kind < 0.85:
        session = f"{member}-{number // 100}"
        return (
            "wifi.session",
            "wifi/a",
            None,
            {"session": session, "status": "stop", "bytes_in": Decimal(number) * 10**6},
        )
    sale = {"sku": "coffee", "quantity": 1, "amount": "3.20", "tax": "0.61", "tax_name": "vat19"}
    order = f"o{number}"
    return "pos.sale", "pos/bar", order, {"order": order, "currency": "EUR", "settlement": "account", "lines": [sale]}
