"""A small coworking space to rate in: account acme, members ada and bob, site berlin, and words for what happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from meter.model.catalog import (
    Catalog,
    CatalogTimeline,
    Condition,
    Graduated,
    Meter,
    Model,
    PassThrough,
    PerUnit,
    Plan,
    PlanGrant,
    Price,
    Site,
    Tax,
    Tier,
)
from meter.model.charge import Charge, Line, LineKey
from meter.model.directory import Account, Claim, Directory, GivenGrant, Link, Member, Span, Subscription
from meter.model.event import REFUND, SALE, THING_FIELDS, Revision, UsageEvent
from meter.model.instant import parse_instant
from meter.rating.book import GroupTotals, book
from meter.rating.corrections import differences
from meter.rating.effective import effective
from meter.rating.fold import AccountFacts, Folded, PlacedEvent, fold
from meter.rating.resolve import Placed, place, place_refund
from meter.rating.state import AccountState
from meter.rating.till import sale_of

PAGES = Meter(
    id="pages",
    event="print.job",
    aggregate="sum",
    unit="page",
    value=("impressions",),
    group_by=(("color",),),
    where=(Condition(path=("status",), operator="=", value="completed"),),
)
DAYS = Meter(
    id="days",
    event="door.access",
    aggregate="unique_days",
    unit="day",
    where=(Condition(path=("granted",), operator="=", value=True),),
)
CAFE = Meter(id="cafe", event="pos.sale", aggregate="sum", unit="EUR", value=("lines", "amount"))
USE = Meter(id="use", event="usage.reported", aggregate="sum", unit="unit")
METERS = (PAGES, DAYS, CAFE, USE)


def d(text: str | int) -> Decimal:
    return Decimal(text)


def t(text: str) -> datetime:
    """`11-03` or `11-03 09:30` of 2026, in UTC; or a whole RFC 3339 instant."""
    if "T" in text:
        return parse_instant(text)
    day, _, clock = text.partition(" ")
    return parse_instant(f"2026-{day}T{clock or '12:00'}:00Z")


def span(start: str | None = None, end: str | None = None) -> Span:
    return Span(start=t(start) if start else None, end=t(end) if end else None)


def per_unit(price: str, *, id: str = "each", **more: Any) -> Price:
    return Price(id=id, model=PerUnit(unit_price=d(price)), **more)


def graduated(*tiers: tuple[str | None, str] | tuple[str | None, str, str]) -> Graduated:
    return Graduated(
        tiers=tuple(
            Tier(up_to=d(up_to) if up_to else None, unit_price=d(price), flat=d(flat[0]) if flat else d(0))
            for up_to, price, *flat in tiers
        )
    )


def passed(markup: str = "0", **more: Any) -> Price:
    return Price(id="passed", model=PassThrough(markup=d(markup)), **more)


def priced(model: Model, **more: Any) -> Price:
    return Price(id="price", model=model, **more)


def plan(id: str = "flex", *, grants: Sequence[PlanGrant] = (), **prices: Price | Sequence[Price]) -> Plan:
    listed = {meter: (found,) if isinstance(found, Price) else tuple(found) for meter, found in prices.items()}
    return Plan(id=id, name=id, grants=tuple(grants), prices=listed)


def plan_grant(id: str, meter: Meter, amount: str, **more: Any) -> PlanGrant:
    return PlanGrant(id=id, unit=meter.unit, amount=d(amount), meters=(meter.id,), **more)


def given(id: str, meter: Meter, amount: str, *, account: str = "acme", **more: Any) -> GivenGrant:
    return GivenGrant(id=id, account=account, unit=meter.unit, amount=d(amount), **more)


def catalog(*plans: Plan, version: int = 1, effective: str | None = None, **more: Any) -> Catalog:
    given_terms: dict[str, Any] = {
        "operator": "northside",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "sites": {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", walk_in="walk-in")},
        "meters": {meter.id: meter for meter in METERS},
        "plans": {plan.id: plan for plan in plans},
        **more,
    }
    return Catalog(version=version, effective=t(effective) if effective else None, **given_terms)


def taxed(rate: str, *, inclusive: bool = False, name: str = "vat") -> dict[str, Tax]:
    return {name: Tax(name=name, rate=d(rate), inclusive=inclusive)}


def subscription(plan: str = "flex", *, id: str = "sub", account: str | None = "acme", **more: Any) -> Subscription:
    return Subscription(id=id, plan=plan, account=None if "member" in more else account, **more)


def directory(
    *,
    accounts: Iterable[Account] = (),
    links: Iterable[Link] = (),
    claims: Iterable[Claim] = (),
    subscriptions: Iterable[Subscription] = (),
    grants: Iterable[GivenGrant] = (),
    first_events: Mapping[str, datetime] | None = None,
) -> Directory:
    standard = [Account(id=a, name=a, currency="EUR", timezone="Europe/Berlin") for a in ("acme", "beta", "walk-in")]
    links = list(links) or [Link(member="ada", account="acme"), Link(member="bob", account="acme")]
    claims, grants = list(claims), list(grants)
    held: dict[tuple[str, str], list[Subscription]] = {}
    for each in subscriptions:
        holder = ("account", each.account) if each.account else ("member", each.member or "")
        held.setdefault(holder, []).append(each)
    return Directory(
        version=1,
        accounts={a.id: a for a in [*standard, *accounts]},
        members={name: Member(id=name, name=name) for name in {link.member for link in links}},
        links={name: tuple(k for k in links if k.member == name) for name in {link.member for link in links}},
        claims={c.identity: tuple(k for k in claims if k.identity == c.identity) for c in claims},
        subscriptions={holder: tuple(found) for holder, found in held.items()},
        grants={g.account: tuple(k for k in grants if k.account == g.account) for g in grants},
        first_events=first_events or {},
    )


def event(
    id: str, kind: str, at: str | datetime, data: Mapping[str, Any], *, by: str | None = "ada", site: str = "berlin"
) -> UsageEvent:
    thing = THING_FIELDS.get(kind)
    return UsageEvent(
        source=f"{site}/device",
        id=id,
        type=kind,
        site=site,
        time=t(at) if isinstance(at, str) else at,
        subject=by and (by if ":" in by else f"member:{by}"),
        thing=data.get(thing) if thing else None,
        data=data,
    )


def use(at: str, quantity: str | int, *, id: str | None = None, by: str = "ada", **more: Any) -> UsageEvent:
    data = {"meter": "use", "quantity": d(quantity), **more}
    return event(id or f"use-{at}-{by}", "usage.reported", at, data, by=by)


def printed(at: str, pages: int, *, by: str = "ada", color: bool = False, **more: Any) -> UsageEvent:
    job = f"job-{at}-{by}"
    data = {"job": job, "impressions": pages, "color": color, "status": "completed", **more}
    return event(job, "print.job", at, data, by=by)


def entered(at: str, *, by: str = "ada", site: str = "berlin") -> UsageEvent:
    return event(f"door-{at}-{by}-{site}", "door.access", at, {"door": "main", "granted": True}, by=by, site=site)


def void(target: UsageEvent | Revision, *, id: str = "void", at: str = "11-30") -> Revision:
    return Revision(target=target.key, source="berlin/office", id=id, time=t(at), data=None)


def amend(target: UsageEvent | Revision, data: Mapping[str, Any], *, id: str = "amend", at: str = "11-30") -> Revision:
    return Revision(target=target.key, source="berlin/office", id=id, time=t(at), data=data)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The facts, and how to fold and book with them."""

    directory: Directory
    catalogs: CatalogTimeline
    account: str = "acme"
    closed: frozenset[datetime] = frozenset()

    @cached_property
    def facts(self) -> AccountFacts:
        account = self.directory.accounts[self.account]
        return AccountFacts(account=account, directory=self.directory, catalogs=self.catalogs, closed=self.closed)

    def placed(self, events: Iterable[UsageEvent], revisions: Iterable[Revision] = ()) -> list[PlacedEvent]:
        """The events that count for the account, in order."""
        found = []
        counting = effective(events, revisions)
        sales = {sale_of(each): each for each in counting if each.type == SALE}
        for each in counting:
            sale = sales.get(sale_of(each)) if each.type == REFUND else None
            placement = (
                place_refund(sale, directory=self.directory, catalogs=self.catalogs)
                if each.type == REFUND
                else place(each, directory=self.directory, catalogs=self.catalogs)
            )
            if isinstance(placement, Placed) and placement.account == self.account:
                at = None if sale is None else sale.position
                found.append(PlacedEvent(event=each, member=placement.member, sale=at))
        return found

    def fold(
        self,
        *events: UsageEvent,
        revisions: Iterable[Revision] = (),
        until: str | datetime | None = None,
        trace: bool = False,
    ) -> Folded:
        clock = t(until) if isinstance(until, str) else until
        return fold(self.facts, AccountState(), self.placed(events, revisions), until=clock, trace=trace)

    def lines(
        self, *events: UsageEvent, revisions: Iterable[Revision] = (), until: str | datetime | None = None
    ) -> tuple[Line, ...]:
        return self.fold(*events, revisions=revisions, until=until).lines

    def amounts(self, *events: UsageEvent) -> list[Decimal]:
        return [line.amount for line in self.lines(*events)]


def space(
    *plans: Plan,
    subscriptions: Iterable[Subscription] | None = None,
    catalogs: Sequence[Catalog] = (),
    account: str = "acme",
    terms: Mapping[str, Any] | None = None,
    closed: Iterable[str] = (),
    **people: Any,
) -> Space:
    """A space in which acme has the first plan, unless told otherwise. `terms` go to the catalog."""
    held = [subscription(plans[0].id)] if subscriptions is None and plans else list(subscriptions or ())
    versions = tuple(catalogs) or (catalog(*plans, **(terms or {})),)
    return Space(
        directory=directory(subscriptions=held, **people),
        catalogs=CatalogTimeline(versions=versions),
        account=account,
        closed=frozenset(t(start) for start in closed),
    )


@dataclass(kw_only=True)
class Ledger:
    """What is booked for one account, kept as the store would: charges in order, nothing changed or removed."""

    charges: list[Charge]
    totals: GroupTotals

    @staticmethod
    def empty() -> Ledger:
        return Ledger(charges=[], totals=GroupTotals())

    def standing(self) -> dict[LineKey, Charge]:
        last = {charge.line.key: charge for charge in self.charges}
        return {key: charge for key, charge in last.items() if charge.role != "reversal"}

    def make_good(
        self, lines: Iterable[Line], *, standing: Mapping[LineKey, Charge] | None = None, reason: str = "late"
    ) -> list[Charge]:
        """Book what differs between `lines` and what stands (or as much of it as was folded again)."""
        new = book(
            differences(standing=self.standing() if standing is None else standing, lines=lines),
            operator="northside",
            totals=self.totals,
            revisions={charge.line.key: charge.revision for charge in self.charges},
            booked_at=datetime(2026, 12, 1, tzinfo=UTC) + timedelta(seconds=len(self.charges)),
            invoice_period=lambda line: line.period,
            reason=reason,
        )
        self.charges += new
        return new


def sums(charges: Iterable[Charge]) -> dict[tuple[LineKey, str], Decimal]:
    """The exact amounts and quantities that stand by line, from all charges; lines that sum to nothing are left out."""
    found: dict[tuple[LineKey, str], Decimal] = {}
    for charge in charges:
        line = charge.line
        figures = {"amount": line.amount, "quantity": line.quantity, "covered": line.covered}
        figures |= {f"draw {draw.grant}": draw.amount for draw in line.draws}
        for name, figure in figures.items():
            found[line.key, name] = found.get((line.key, name), Decimal(0)) + figure
    return {name: figure for name, figure in found.items() if figure}
