"""What one rating step takes in: which accounts fold on, which fold again and since when, who is parked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.booking.history import Tie, effective_of, entangled_sales
from meter.model.directory import FOR_EVER
from meter.model.event import AMENDED, REFUND, SALE, VOIDED, EventKey, Position, UsageEvent
from meter.rating.fold import PlacedEvent
from meter.rating.resolve import Placed, Placement, Unresolved, place
from meter.rating.sale import is_paid
from meter.store import booking as store
from meter.store import usage
from meter.store.directory_write import raise_facts_version

# Why an account is folded again whose turn it was not when its events came: nothing else has changed (turns.py).
TURN: Final = "its turn"


@dataclass(slots=True, kw_only=True)
class Change:
    """Events of an account that count otherwise than before: `withdrawn` no longer as they did, `added` from now on."""

    withdrawn: dict[EventKey, Position] = field(default_factory=dict)
    added: dict[EventKey, PlacedEvent] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether anything changes."""
        return bool(self.withdrawn or self.added)

    @property
    def start(self) -> Position:
        """Return the first place in the order that differs."""
        return min(self._places())

    @property
    def end(self) -> Position:
        """Return the last place that differs by itself."""
        return max(self._places())

    def _places(self) -> list[Position]:
        return [*self.withdrawn.values(), *(placed.event.position for placed in self.added.values())]


@dataclass(slots=True, kw_only=True)
class Intake:
    """The work of one step: `fold_on` holds new events that stand for themselves, `changed` those that do not.

    `fold_again`, with the instant since when, wins over both. `woken`: the clock alone may make a difference.
    """

    fold_on: dict[str, list[PlacedEvent]] = field(default_factory=dict)
    changed: dict[str, Change] = field(default_factory=dict)
    fold_again: dict[str, datetime] = field(default_factory=dict)
    woken: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    park: list[tuple[UsageEvent, str | None]] = field(default_factory=list)
    unpark: set[EventKey] = field(default_factory=set)

    def again(self, account: str, since: datetime, reason: str) -> None:
        """Ask to fold the account again from `since` on; the earliest instant asked for counts, and a real reason."""
        earliest = account not in self.fold_again or since < self.fold_again[account]
        if earliest:
            self.fold_again[account] = since
        known = self.reasons.get(account, TURN)
        if known == TURN or (earliest and reason != TURN):
            self.reasons[account] = reason

    def leave(self, accounts: Iterable[str]) -> set[EventKey]:
        """Leave the work on accounts to a later step, which the caller asks for; return their new events."""
        left: set[EventKey] = set()
        for account in accounts:
            left |= {placed.event.key for placed in self.fold_on.pop(account, ())}
            self.changed.pop(account, None)
            self.woken.discard(account)
        return left

    def since(self, account: str, *, otherwise: datetime = FOR_EVER) -> datetime:
        """Return the earliest instant at which the account's books may differ; `otherwise` if only the clock asks."""
        instants = [otherwise, *(placed.event.time for placed in self.fold_on.get(account, ()))]
        if account in self.changed:
            instants.append(self.changed[account].start.time)
        if account in self.fold_again:
            instants.append(self.fold_again[account])
        return min(instants)


async def sort_in(
    connection: AsyncConnection,
    operator: str,
    events: Sequence[UsageEvent],
    facts: Facts,
    intake: Intake,
    *,
    mine: Callable[[str], bool],
) -> None:
    """Sort new events into `intake`: `mine` tells whether an account, or an unclaimed identity, is this worker's.

    An event stands for itself, and folds on, unless it is revised, revises another, or is one of several on one thing:
    what that comes to is read from the log.
    """
    plain = [event for event in events if event.type not in {VOIDED, AMENDED}]
    targets = await _targets(connection, operator, events)
    entangled = {event.key: event for event in targets}
    # Where one of several on a thing is revised, another of them may count now.
    entangled |= {event.key: event for event in await usage.events_of_things(connection, operator, targets)}
    entangled |= {event.key: event for event in await usage.events_of_shared_things(connection, operator, plain)}
    revised = {r.target for r in await usage.revisions_of(connection, operator, [event.key for event in plain])}
    entangled |= {event.key: event for event in plain if event.key in revised}
    if entangled:
        counted = await effective_of(connection, operator, list(entangled.values()))
        _untangle(entangled, counted, facts, intake, mine=mine)
    for tie in await entangled_sales(connection, operator, [*plain, *entangled.values()]):
        _tie(tie, facts, intake, mine=mine)
    for event in plain:
        if event.key in entangled or event.type == REFUND:
            continue
        placement = place(event, directory=facts.directory, catalogs=facts.catalogs)
        if isinstance(placement, Placed) and mine(placement.account):
            intake.fold_on.setdefault(placement.account, []).append(PlacedEvent(event=event, member=placement.member))
        elif isinstance(placement, Unresolved) and mine(placement.identity or event.source):
            intake.park.append((event, placement.identity))


def _untangle(
    entangled: Mapping[EventKey, UsageEvent],
    counted: Iterable[UsageEvent],
    facts: Facts,
    intake: Intake,
    *,
    mine: Callable[[str], bool],
) -> None:
    """Withdraw entangled events from wherever they may have counted, and add what counts of them now.

    Every worker settles whether they are unresolved: the one that parked them may not be the one that knows better.
    """
    for event in entangled.values():
        if event.type == REFUND:
            continue  # whose it is says its sale
        # Whoever would answer for it now: it may have been parked by other facts.
        intake.unpark.add(event.key)
        for placement in _placements(event, facts):
            if isinstance(placement, Placed) and mine(placement.account):
                intake.changed.setdefault(placement.account, Change()).withdrawn[event.key] = event.position
    for event in counted:
        if event.key not in entangled or event.type == REFUND:
            continue
        placement = place(event, directory=facts.directory, catalogs=facts.catalogs)
        if isinstance(placement, Placed) and mine(placement.account):
            change = intake.changed.setdefault(placement.account, Change())
            change.added[event.key] = PlacedEvent(event=event, member=placement.member)
        elif isinstance(placement, Unresolved):
            intake.park.append((event, placement.identity))


def _tie(tie: Tie, facts: Facts, intake: Intake, *, mine: Callable[[str], bool]) -> None:
    """Withdraw a refund from wherever its sale may have counted, and add it where the sale counts now."""
    refund = tie.refund
    for account in _accounts_of(tie, facts):
        if mine(account):
            intake.changed.setdefault(account, Change()).withdrawn[refund.key] = refund.position
    placed = tie.placed(facts)
    if placed is not None and mine(placed.account):
        intake.changed.setdefault(placed.account, Change()).added[refund.key] = placed.event


def _accounts_of(tie: Tie, facts: Facts) -> set[str]:
    """Return every account with which the refund may have counted."""
    placements = (placement for sale in tie.sales for placement in _placements(sale, facts))
    return {placement.account for placement in placements if isinstance(placement, Placed)}


def _placements(event: UsageEvent, facts: Facts) -> Iterator[Placement]:
    """Give every place where the event may have counted: amendments settle a sale at the till or on account."""
    yield place(event, directory=facts.directory, catalogs=facts.catalogs)
    if event.type == SALE:
        settlement = "account" if is_paid(event.data) else "paid"
        other = replace(event, data={**event.data, "settlement": settlement})
        yield place(other, directory=facts.directory, catalogs=facts.catalogs)


async def _targets(connection: AsyncConnection, operator: str, events: Iterable[UsageEvent]) -> list[UsageEvent]:
    """Return the usage events that revisions among `events` reach; a void of an amendment reaches its target."""
    wanted = {target for event in events if (target := usage.revision_target(event)) is not None}
    found = await usage.events_by_key(connection, operator, wanted)
    amended = {target for event in found.values() if (target := usage.revision_target(event)) is not None}
    indirect = await usage.events_by_key(connection, operator, amended)
    return [event for event in (found | indirect).values() if event.type not in {VOIDED, AMENDED}]


async def release_due(
    connection: AsyncConnection, operator: str, facts: Facts, intake: Intake, *, now: datetime, events_max: int
) -> None:
    """Let in held events whose time has come: the accounts that they touch, whoever rates them, fold again."""
    keys = await store.release_held(connection, operator, now, events_max=events_max)
    events = list((await usage.events_by_key(connection, operator, keys)).values())
    touched = [event for event in events if event.type not in {VOIDED, AMENDED}]
    touched += await _targets(connection, operator, events)
    concerned = {event.key: event for event in await usage.events_of_things(connection, operator, touched) + touched}
    for tie in await entangled_sales(connection, operator, concerned.values()):
        for account in _accounts_of(tie, facts):
            await store.request_refold(
                connection, operator, account=account, since=tie.refund.time, reason="its time has come"
            )
    for event in concerned.values():
        if event.type == REFUND:
            continue
        intake.unpark.add(event.key)
        for placement in _placements(event, facts):
            if isinstance(placement, Placed):
                await store.request_refold(
                    connection, operator, account=placement.account, since=event.time, reason="its time has come"
                )
    for event in await effective_of(connection, operator, list(concerned.values())):
        if event.type == REFUND:
            continue
        placement = place(event, directory=facts.directory, catalogs=facts.catalogs)
        if isinstance(placement, Unresolved):
            intake.park.append((event, placement.identity))


async def notice_earlier(
    connection: AsyncConnection, operator: str, events: Iterable[UsageEvent], facts: Facts
) -> None:
    """Ask for what follows when an identity's earliest event turns out to be earlier.

    Among several claims one without a start begins there, so its rank may change from that event on. The directory may
    have been read after the event was stored, and know it already: it is news to the bill all the same.
    """
    first: dict[str, datetime] = {}
    for event in events:
        known = facts.directory.first_events.get(event.subject or "")
        if known is not None and event.subject is not None and event.time <= first.get(event.subject, known):
            first[event.subject] = event.time
    if not first:
        return
    if any(time < facts.directory.first_events[identity] for identity, time in first.items()):
        await raise_facts_version(connection, operator)  # every worker's directory is out of date
    for identity, since in first.items():
        claimants = {claim.member for claim in facts.directory.claims[identity]}
        linked = {link.account for member in claimants for link in facts.directory.links.get(member, ())}
        for account in sorted(linked):
            await store.request_refold(
                connection, operator, account=account, since=since, reason="a claim begins earlier"
            )
