"""What an account's fold needs from the log: its events that count, in order, and the charges that stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.model.event import REFUND, SALE, EventKey, Position, UsageEvent
from meter.rating.effective import effective
from meter.rating.fold import PlacedEvent
from meter.rating.resolve import Placed, Unresolved, place, place_refund
from meter.rating.state import AccountState, SaleKey
from meter.rating.till import sale_of
from meter.store import usage


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Of some accounts after a position: their events that count, in order; and those that nobody answers for.

    `early`: refunds up to that position whose sales come after it, which wait in a state there.
    """

    placed: Mapping[str, list[PlacedEvent]]
    early: Mapping[str, list[PlacedEvent]]
    unresolved: Sequence[tuple[UsageEvent, str | None]]

    def state_of(self, account: str, checkpoint: dict[str, Any] | None) -> AccountState:
        """Return the state to fold the account's events on from: that of a checkpoint there, or the first.

        Whose an early refund is may have changed since the checkpoint was kept, long after its own place.
        """
        state = AccountState() if checkpoint is None else AccountState.from_json(checkpoint)
        state.waiting = {placed.event.key: placed for placed in self.early.get(account, ())}
        return state

    def keys_of(self, accounts: Collection[str]) -> set[EventKey]:
        """Return the keys of the events placed with any of `accounts`."""
        return {placed.event.key for account in accounts for placed in self.placed.get(account, ())}


async def load_history(
    connection: AsyncConnection, operator: str, accounts: Collection[str], facts: Facts, *, after: Position
) -> History:
    """Return what the log holds for `accounts` after a position, with voids, amendments and things applied."""
    subjects: set[str] = set()
    for account in accounts:
        subjects |= facts.directory.subjects_of(account)
    found = await usage.events_of_subjects(connection, operator, subjects, after=after) if subjects else []
    sites = walk_in_sites(accounts, facts)
    if sites:
        found += await usage.sales_at(connection, operator, sites, after=after)
    # Whose a refund is says its sale, and no subject of its own.
    counted = await effective_of(connection, operator, [event for event in found if event.type != REFUND])
    placed: dict[str, list[PlacedEvent]] = {account: [] for account in accounts}
    unresolved = []
    for event in counted:
        if event.position <= after:
            continue
        placement = place(event, directory=facts.directory, catalogs=facts.catalogs)
        if isinstance(placement, Placed) and placement.account in placed:
            placed[placement.account].append(PlacedEvent(event=event, member=placement.member))
        elif isinstance(placement, Unresolved):
            unresolved.append((event, placement.identity))
    refunds = await usage.refunds_after(connection, operator, subjects=subjects, sites=sites, after=after)
    sold = [placed_sale.event for events in placed.values() for placed_sale in events if placed_sale.event.type == SALE]
    early = await _place_refunds(connection, operator, refunds, sales=sold, facts=facts, placed=placed, after=after)
    return History(placed=placed, early=early, unresolved=unresolved)


async def _place_refunds(
    connection: AsyncConnection,
    operator: str,
    refunds: Sequence[UsageEvent],
    *,
    sales: Sequence[UsageEvent],
    facts: Facts,
    placed: dict[str, list[PlacedEvent]],
    after: Position,
) -> dict[str, list[PlacedEvent]]:
    """Place `refunds` and those of `sales` among the events of their sales' accounts; return the early ones."""
    early: dict[str, list[PlacedEvent]] = {account: [] for account in placed}
    known = {event.key: event for event in refunds}
    known |= {event.key: event for event in await usage.refunds_of(connection, operator, _sale_keys(sales))}
    for tie in await _tied(connection, operator, known.values()):
        refund = tie.placed(facts)
        if refund is None or refund.account not in placed:
            continue
        if tie.refund.position > after:
            placed[refund.account].append(refund.event)
        elif refund.event.sale is not None and refund.event.sale > after:
            early[refund.account].append(refund.event)
    for events in (*placed.values(), *early.values()):
        events.sort(key=_position_of)
    return early


def _position_of(placed: PlacedEvent) -> Position:
    return placed.event.position


def _sale_keys(events: Iterable[UsageEvent]) -> set[SaleKey]:
    return {key for event in events if event.type in {SALE, REFUND} and (key := sale_of(event)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRefund:
    """A refund that counts, and with which account it is folded."""

    account: str
    event: PlacedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """A refund as it was stored, and every event on its sale: wherever one of these may have counted, it may have, too.

    `counts` is the refund and `sale` the sale with the data that counts; None: none of its events counts.
    """

    refund: UsageEvent
    sales: Sequence[UsageEvent]
    counts: UsageEvent | None
    sale: UsageEvent | None

    def placed(self, facts: Facts) -> PlacedRefund | None:
        """Return the refund with its sale's account; None while it waits or where it does not count."""
        if self.counts is None or self.sale is None:
            return None
        placement = place_refund(self.sale, directory=facts.directory, catalogs=facts.catalogs)
        if not isinstance(placement, Placed):
            return None
        event = PlacedEvent(event=self.counts, member=placement.member, sale=self.sale.position)
        return PlacedRefund(account=placement.account, event=event)


async def entangled_sales(connection: AsyncConnection, operator: str, events: Iterable[UsageEvent]) -> list[Tie]:
    """Return the refunds whose counting may change with `events`: those among them, and those of the sales among them.

    `events` are new, or reached by new revisions; the other events on the same refunds are found here.
    """
    concerned = [event for event in events if event.type in {SALE, REFUND}]
    refunds = {event.key: event for event in concerned if event.type == REFUND}
    sales = _sale_keys(event for event in concerned if event.type == SALE)
    refunds |= {event.key: event for event in await usage.refunds_of(connection, operator, sales)}
    return await _tied(connection, operator, refunds.values())


async def _tied(connection: AsyncConnection, operator: str, refunds: Collection[UsageEvent]) -> list[Tie]:
    """Return what ties each of `refunds`, and of the other events on the same refunds, to its sale."""
    if not refunds:
        return []
    known = {event.key: event for event in refunds}
    known |= {event.key: event for event in await usage.events_of_things(connection, operator, refunds)}
    on_sales = await usage.sale_events(connection, operator, _sale_keys(known.values()))
    both = {event.key: event for event in (*known.values(), *on_sales)}
    revisions = await usage.revisions_of(connection, operator, both.keys())
    counts = {event.key: event for event in effective(both.values(), revisions)}
    sold = {sale_of(event): event for event in counts.values() if event.type == SALE}
    by_sale: dict[SaleKey | None, list[UsageEvent]] = {}
    for event in on_sales:
        by_sale.setdefault(sale_of(event), []).append(event)
    return [
        Tie(
            refund=event,
            sales=by_sale.get(sale_of(event), ()),
            counts=counts.get(event.key),
            sale=sold.get(sale_of(event)),
        )
        for event in known.values()
    ]


async def effective_of(connection: AsyncConnection, operator: str, events: Sequence[UsageEvent]) -> list[UsageEvent]:
    """Return what counts of `events` and of the events on the same things, in order."""
    known = {event.key: event for event in events}
    for other in await usage.events_of_things(connection, operator, events):
        known.setdefault(other.key, other)
    revisions = await usage.revisions_of(connection, operator, known.keys())
    return effective(known.values(), revisions)


def walk_in_sites(accounts: Collection[str], facts: Facts) -> set[str]:
    """Return the sites whose paid sales to unknown guests any catalog version gives to one of `accounts`."""
    return {
        site.id for version in facts.catalogs.versions for site in version.sites.values() if site.walk_in in accounts
    }
