"""Words for the worked examples of docs/rating.md: a catalog as an operator writes it, local times, figures as told.

An example is a function that returns its sentence, every figure in it computed; the page has the same sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from textwrap import dedent
from typing import Any, Final, TypeAlias

from meter.catalog.load import read_catalog_text
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.charge import Charge, Line
from meter.model.directory import Span, Subscription
from meter.model.event import UsageEvent
from meter.model.instant import zone
from meter.model.money import plain
from meter.model.period import Period
from meter.rating.book import GroupTotals, book
from meter.rating.corrections import differences
from meter.rating.grants import GrantBalance, balances
from tests.rating.world import Space, directory, event

Example: TypeAlias = Callable[[], str]
EXAMPLES: Final[list[Example]] = []
ZONE: Final = "Europe/Berlin"
_BASE: Final = """
    operator: northside
    currency: EUR
    timezone: Europe/Berlin
    taxes: {vat19: {rate: "0.19"}, gross19: {rate: "0.19", inclusive: true}, vat20: {rate: "0.20"}}
"""
_SITES: Final = 'sites: {berlin: {closes: "22:00", walk_in: walk-in}}'


def example(function: Example) -> Example:
    """Register an example of the page."""
    EXAMPLES.append(function)
    return function


def on(text: str) -> datetime:
    """`11-02 09:00` of 2026 (noon unless it says so) in Berlin."""
    day, _, clock = text.partition(" ")
    return datetime.fromisoformat(f"2026-{day}T{clock or '12:00'}").replace(tzinfo=zone(ZONE))


def terms(text: str, *, sites: str = _SITES, version: int = 1, effective: str | None = None) -> Catalog:
    """A catalog of these sections; the sections that no example is about are there already."""
    loaded = read_catalog_text([("base", dedent(_BASE)), ("sites", sites), ("terms", dedent(text))])
    return replace(loaded.catalog, version=version, effective=None if effective is None else on(effective))


def held(plan: str = "flex", since: str = "01-01 00:00", to: str | None = None, **more: Any) -> Subscription:
    """Acme's subscription, or a `member`'s."""
    span = Span(start=on(since), end=None if to is None else on(to))
    return Subscription(id=f"{plan}-sub", plan=plan, account=None if "member" in more else "acme", span=span, **more)


def house(
    *versions: str | Catalog,
    subscriptions: Sequence[Subscription] | None = None,
    closed: Iterable[str] = (),
    **people: Any,
) -> Space:
    """Acme with the plan `flex`, unless told otherwise, and its members ada and bob."""
    catalogs = [terms(version) if isinstance(version, str) else version for version in versions]
    return Space(
        directory=directory(subscriptions=[held()] if subscriptions is None else subscriptions, **people),
        catalogs=CatalogTimeline(versions=tuple(catalogs)),
        closed=frozenset(on(start) for start in closed),
    )


def used(at: str, quantity: str | int, *, meter: str = "use", by: str = "ada", **more: Any) -> UsageEvent:
    data = {"meter": meter, "quantity": Decimal(quantity), **more}
    return event(f"{meter}-{at}-{by}", "usage.reported", on(at), data, by=by)


def door(at: str, direction: str = "in", *, by: str = "ada", granted: bool = True, site: str = "berlin") -> UsageEvent:
    data = {"door": "main", "direction": direction, "granted": granted}
    return event(f"door-{at}-{direction}-{by}", "door.access", on(at), data, by=by, site=site)


def print_job(at: str, pages: int, *, color: bool = False, by: str = "ada") -> UsageEvent:
    data = {"job": f"job-{at}", "impressions": pages, "color": color, "status": "completed"}
    return event(f"job-{at}", "print.job", on(at), data, by=by)


def bill(
    where: Space,
    lines: Iterable[Line],
    *,
    booked: Sequence[Charge] = (),
    invoice_period: Callable[[Line], Period] = lambda line: line.period,
    reason: str = "late",
) -> list[Charge]:
    """The charges that make `lines` stand where `booked` ones do."""
    totals = GroupTotals()
    for charge in booked:
        totals.add(charge)
    last = {charge.line.key: charge for charge in booked}
    return book(
        differences(
            standing={key: charge for key, charge in last.items() if charge.role != "reversal"}, lines=tuple(lines)
        ),
        operator="northside",
        totals=totals,
        revisions={charge.line.key: charge.revision for charge in booked},
        booked_at=on("12-31"),
        invoice_period=invoice_period,
        reason=reason,
    )


def left(where: Space, at: str, *events: UsageEvent) -> dict[str, GrantBalance]:
    """Each grant in force, with what the events left of it."""
    drawn: dict[str, Decimal] = {}
    for line in where.lines(*events):
        for draw in line.draws:
            drawn[draw.grant] = drawn.get(draw.grant, Decimal(0)) + draw.amount
    return {balance.id: balance for balance in balances(where.facts, on(at), drawn)}


def money(amount: Decimal) -> str:
    """At least two places, and as many as there are."""
    text = plain(amount)
    return f"{amount:.2f}" if len(text.partition(".")[2]) <= 2 else text


def figures(amounts: Iterable[Decimal], told: Callable[[Decimal], str] = money) -> str:
    """`1, 2 and 3`."""
    *first, last = [told(amount) for amount in amounts]
    return f"{', '.join(first)} and {last}" if first else last


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def quantities(lines: Iterable[Line]) -> str:
    return figures((line.quantity for line in lines), plain)


def amounts(lines: Iterable[Line]) -> str:
    return figures(line.amount for line in lines)


def hours(line: Line) -> str:
    return f"{plain(line.quantity)} h{' (estimated)' if line.estimated else ''}"


def by_meter(lines: Iterable[Line], meter: str) -> list[Line]:
    return [line for line in lines if line.meter == meter]
