"""The law of touching: what is placed, subscribed or billed differently after a change was asked to be folded again.

The fold is the judge: before and after a change it gives every account's lines, and says when the clock wakes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.catalog.changes import Change, DirectoryChanges, Stored, directory_changes
from meter.catalog.draft import (
    AccountDraft,
    ClaimDraft,
    DirectoryDraft,
    DiscountDraft,
    GrantDraft,
    LinkDraft,
    MemberDraft,
    SubscriptionDraft,
)
from meter.catalog.issues import CatalogError, Place
from meter.catalog.touch import Surroundings, joined, touches
from meter.model.catalog import (
    Catalog,
    CatalogTimeline,
    CreditRate,
    Fee,
    Graduated,
    Meter,
    PerUnit,
    Plan,
    PlanGrant,
    Price,
    Rollover,
    Site,
    Tier,
)
from meter.model.charge import Line, LineKey
from meter.model.directory import Account, Claim, Directory, GivenGrant, Link, Member, Purchase, Span, Subscription
from meter.model.event import SALE, UsageEvent
from meter.model.period import Terms
from meter.rating.facts import AccountFacts
from meter.rating.fold import fold
from meter.rating.placed import PlacedEvent
from meter.rating.resolve import Placed, place, subscription_at
from meter.rating.state import AccountState
from meter.store.directory import holder_of

T = TypeVar("T")
PLACE = Place("t", None, "")
START = datetime(2026, 3, 1, tzinfo=UTC)
# When the lines are looked at: after everything that is drawn.
CLOCK = START + timedelta(days=75)
# Few names and few instants, so that what is drawn meets. One identity, for they never meet.
ACCOUNTS, MEMBERS, IDENTITIES = ("walk-in", "x", "y"), ("a", "b", "c"), ("badge:1",)
TIERS = (Tier(up_to=Decimal(2), unit_price=Decimal(1), flat=Decimal(3)), Tier(up_to=None, unit_price=Decimal(2)))
PLANS = {
    "p": Plan(
        id="p",
        name="P",
        fee=Fee(amount=Decimal(30)),
        grants=(
            PlanGrant(
                id="g",
                unit="pass",
                amount=Decimal(1),
                meters=("passes",),
                holder="member",
                rollover=Rollover(most=Decimal(1)),
            ),
        ),
        prices={"passes": (Price(id="pass", model=Graduated(tiers=TIERS, flat_at_zero=True), per="member"),)},
    ),
    "q": Plan(
        id="q",
        name="Q",
        fee=Fee(amount=Decimal(60), timing="arrears"),
        grants=(PlanGrant(id="c", unit="credit", amount=Decimal(4), meters=("passes",)),),
        prices={
            "passes": (Price(id="pass", model=PerUnit(unit_price=Decimal(5)), period_minimum=Decimal(40)),),
        },
    ),
}
CATALOGS = CatalogTimeline(
    versions=(
        Catalog(
            operator="o",
            version=1,
            effective=None,
            currency="EUR",
            timezone="UTC",
            sites={"s": Site(id="s", name="S", timezone="UTC", walk_in="walk-in")},
            meters={"passes": Meter(id="passes", event="door.access", aggregate="count", unit="pass")},
            plans=PLANS,
            credit_rates={"passes": (CreditRate(rate=Decimal(2)),)},
        ),
    )
)

TERMS = (Terms("EUR", "UTC"), Terms("EUR", "UTC", 15), Terms("EUR", "America/New_York"), Terms("USD", "UTC"))

instants = st.integers(0, 4).map(lambda n: START + timedelta(days=10 * n))
spans = st.tuples(st.none() | instants, st.none() | instants).filter(
    lambda span: span[0] is None or span[1] is None or span[0] < span[1]
)


BASE = Stored(
    accounts={name: Account(id=name, name=name, currency="EUR", timezone="UTC") for name in ("x", "y")},
    members={name: Member(id=name, name=name) for name in ("a", "b")},
    links=[Link(member="a", account="x"), Link(member="b", account="y")],
)


def event(n: int, subject: str | None, kind: str, time: datetime) -> UsageEvent:
    data: dict[str, Any] = {"settlement": "paid"} if kind == SALE else {}
    return UsageEvent(source="s/d", id=str(n), type=kind, site="s", time=time, subject=subject, data=data)


subjects = st.sampled_from([*IDENTITIES, "member:a", "member:a", "member:b", "member:c"])
usage = st.lists(st.tuples(subjects, st.sampled_from([SALE, "door.access"]), instants), min_size=1, max_size=8).map(
    lambda many: [event(n, *one) for n, one in enumerate(many)]
)


@st.composite
def drafts(draw: st.DrawFn) -> DirectoryDraft:
    def account(name: str, terms: Terms) -> AccountDraft:
        return AccountDraft(id=name, name=name, **terms._asdict(), place=PLACE)

    def link(member: str, name: str, span: tuple[Any, Any]) -> LinkDraft:
        return LinkDraft(member=member, account=name, start=span[0], end=span[1], place=PLACE)

    def claim(identity: str, member: str, span: tuple[Any, Any]) -> ClaimDraft:
        return ClaimDraft(identity=identity, member=member, start=span[0], end=span[1], place=PLACE)

    def discount(name: str, on: tuple[str, ...], span: tuple[Any, Any]) -> DiscountDraft:
        rate, amount = (Decimal("0.1"), None) if name == "rate" else (None, Decimal(7))
        return DiscountDraft(id=name, rate=rate, amount=amount, on=on, start=span[0], end=span[1], place=PLACE)

    def grant(
        name: str, unit: str, holder: tuple[str, str | None], span: tuple[Any, Any], bought: Purchase | None
    ) -> GrantDraft:
        return GrantDraft(
            id=f"{name}-{holder[0]}",
            account=holder[0],
            member=holder[1],
            unit=unit,
            amount=Decimal(2),
            meters=None,
            start=span[0],
            end=span[1],
            priority=100,
            bought=None if span[0] is None else bought,
            place=PLACE,
        )

    def subscription(
        name: str, plan: str, holder: str, span: tuple[Any, Any], more: dict[str, Any]
    ) -> SubscriptionDraft:
        return SubscriptionDraft(
            id=name,
            plan=plan,
            account=holder if holder in ACCOUNTS else None,
            member=holder if holder in MEMBERS else None,
            start=span[0],
            end=span[1],
            seats=more["seats"] if holder in ACCOUNTS else None,
            discounts=tuple(more["discounts"]),
            deposit=more["deposit"],
            place=PLACE,
        )

    def some(made: st.SearchStrategy[T], key: Callable[[T], object], most: int = 3) -> tuple[T, ...]:
        return tuple(draw(st.lists(made, max_size=most, unique_by=key)))

    account_ids, member_ids = st.sampled_from(ACCOUNTS), st.sampled_from(MEMBERS)
    discounts = st.builds(
        discount, st.sampled_from(["rate", "amount"]), st.sampled_from([(), ("fees",), ("passes",)]), spans
    )
    plans, holders = st.sampled_from(["p", "q"]), st.sampled_from([*ACCOUNTS, *MEMBERS])
    return DirectoryDraft(
        accounts=some(st.builds(account, account_ids, st.sampled_from(TERMS)), lambda put: put.id),
        members=some(
            st.builds(lambda name: MemberDraft(id=name, name=name, email=None, place=PLACE), member_ids),
            lambda put: put.id,
        ),
        links=some(st.builds(link, member_ids, account_ids, spans), lambda put: (put.member, put.account, put.start)),
        claims=some(
            st.builds(claim, st.sampled_from(IDENTITIES), member_ids, spans),
            lambda put: (put.identity, put.member, put.start),
        ),
        subscriptions=some(
            st.builds(
                subscription,
                st.sampled_from(["s1", "s2", "s3"]),
                plans,
                holders,
                spans,
                st.fixed_dictionaries(
                    {
                        "seats": st.none() | st.integers(1, 2),
                        "discounts": st.lists(discounts, max_size=2, unique_by=lambda put: put.id),
                        "deposit": st.none() | st.just(Decimal(100)),
                    }
                ),
            ),
            lambda put: put.id,
        ),
        grants=some(
            st.builds(
                grant,
                st.sampled_from(["g1", "g2"]),
                st.sampled_from(["pass", "credit", "EUR"]),
                st.tuples(account_ids, st.none() | member_ids),
                spans,
                st.none() | st.just(Purchase(price=Decimal(9))),
            ),
            lambda put: put.id,
            most=2,
        ),
    )


DISCOUNT = DiscountDraft(id="d", rate=Decimal("0.2"), amount=None, on=(), start=None, end=None, place=PLACE)
# A house in use: whatever is edited here matters to somebody.
IN_USE = DirectoryDraft(
    claims=(ClaimDraft(identity="badge:1", member="a", start=None, end=None, place=PLACE),),
    links=(LinkDraft(member="b", account="x", start=START + timedelta(days=20), end=None, place=PLACE),),
    subscriptions=(
        SubscriptionDraft(
            id="s1", plan="p", account="x", member=None, start=START, end=None, seats=2, deposit=Decimal(9), place=PLACE
        ),
        SubscriptionDraft(id="s2", plan="q", account="y", member=None, start=None, end=None, seats=None, place=PLACE),
        SubscriptionDraft(
            id="s3",
            plan="p",
            account=None,
            member="b",
            start=START + timedelta(days=10),
            end=None,
            seats=None,
            discounts=(DISCOUNT,),
            place=PLACE,
        ),
    ),
    grants=tuple(
        GrantDraft(
            id=f"{unit}-x",
            account="x",
            member=None,
            unit=unit,
            amount=Decimal(2),
            meters=None,
            start=START + timedelta(days=10),
            end=None,
            priority=100,
            bought=Purchase(price=Decimal(9)),
            place=PLACE,
        )
        for unit in ("pass", "EUR")
    ),
)


@st.composite
def edits(draw: st.DrawFn) -> DirectoryDraft:
    """Draw a draft that puts an entry of the house again, but for one thing."""
    kinds: dict[str, list[dict[str, Any]]] = {
        "accounts": [],
        "links": [{}],
        "claims": [{}],
        "subscriptions": [
            *({"deposit": Decimal(5)}, {"deposit": None}, {"discounts": ()}, {"discounts": (DISCOUNT,)}),
            *({"plan": "p"}, {"plan": "q"}, {"seats": None}),
        ],
        "grants": [
            *({"amount": Decimal(1)}, {"bought": None}, {"unit": "credit"}, {"priority": 1}, {"member": "b"}),
            *({"overage": "deny"}, {"overage": "deny", "amount": Decimal(1)}),
        ],
    }
    kind = draw(st.sampled_from([*sorted(kinds), "subscriptions", "subscriptions"]))
    dates = st.sampled_from(["start", "end"]).flatmap(lambda end: instants.map(lambda instant: {end: instant}))
    if kind == "accounts":
        name, terms = draw(st.sampled_from(["x", "y"])), draw(st.sampled_from(TERMS))
        return DirectoryDraft(accounts=(AccountDraft(id=name, name=name, **terms._asdict(), place=PLACE),))
    edit = draw(st.sampled_from(kinds[kind]) | dates)
    return replace(DirectoryDraft(), **{kind: (replace(draw(st.sampled_from(getattr(IN_USE, kind))), **edit),)})


def referring(draft: DirectoryDraft, stored: Stored) -> DirectoryDraft:
    """Return the draft without entries that name nobody: those are refused before."""
    accounts = {*stored.accounts, *(put.id for put in draft.accounts)}
    members = {*stored.members, *(put.id for put in draft.members)}
    known = {*accounts, *members}
    return replace(
        draft,
        links=tuple(put for put in draft.links if put.member in members and put.account in accounts),
        claims=tuple(put for put in draft.claims if put.member in members),
        subscriptions=tuple(put for put in draft.subscriptions if (put.account or put.member) in known),
        grants=tuple(
            put for put in draft.grants if put.account in accounts and (put.member is None or put.member in members)
        ),
    )


def merged(before: Iterable[T], changes: Iterable[Change[T]], key: Callable[[T], object]) -> list[T]:
    return list(({key(one): one for one in before} | {key(c.after): c.after for c in changes}).values())


def after(stored: Stored, changes: DirectoryChanges) -> Stored:
    """Return what is stored once the changes are written."""
    accounts: list[Account] = merged(stored.accounts.values(), changes.accounts, lambda one: one.id)
    members: list[Member] = merged(stored.members.values(), changes.members, lambda one: one.id)
    links: list[Link] = merged(stored.links, changes.links, lambda one: (one.member, one.account, one.span.start))
    claims: list[Claim] = merged(stored.claims, changes.claims, lambda one: (one.identity, one.member, one.span.start))
    return Stored(
        accounts={account.id: account for account in accounts},
        members={member.id: member for member in members},
        links=links,
        claims=claims,
        subscriptions=merged(stored.subscriptions, changes.subscriptions, lambda one: one.id),
        grants={grant.id: grant for grant in merged(stored.grants.values(), changes.grants, lambda one: one.id)},
    )


def directory(stored: Stored, events: Iterable[UsageEvent]) -> Directory:
    links: dict[str, tuple[Link, ...]] = {}
    for link in stored.links:
        links[link.member] = (*links.get(link.member, ()), link)
    claims: dict[str, tuple[Claim, ...]] = {}
    for claim in stored.claims:
        claims[claim.identity] = (*claims.get(claim.identity, ()), claim)
    held: dict[tuple[str, str], tuple[Subscription, ...]] = {}
    for subscription in stored.subscriptions:
        held[holder_of(subscription)] = (*held.get(holder_of(subscription), ()), subscription)
    given: dict[str, tuple[GivenGrant, ...]] = {}
    for grant in stored.grants.values():
        given[grant.account] = (*given.get(grant.account, ()), grant)
    first: dict[str, datetime] = {}
    for one in events:
        if one.subject is not None:
            first[one.subject] = min(one.time, first.get(one.subject, one.time))
    return Directory(
        version=1,
        accounts=stored.accounts,
        members=stored.members,
        links=links,
        claims=claims,
        subscriptions=held,
        grants=given,
        first_events=first,
    )


def bill_of(account: str, known: Directory, events: Iterable[UsageEvent]) -> tuple[dict[LineKey, Line], object]:
    """Return an account's lines by their keys, each period of March and April closed, and when the fold wakes."""
    if account not in known.accounts:
        return {}, None
    terms = known.accounts[account]
    closed = {terms.periods.at(START + timedelta(days=days)).start for days in range(45)}
    facts = AccountFacts(account=terms, directory=known, catalogs=CATALOGS, closed=frozenset(closed))
    placed = []
    for one in sorted(events, key=lambda event: event.position):
        found = place(one, directory=known, catalogs=CATALOGS)
        if isinstance(found, Placed) and found.account == account:
            placed.append(PlacedEvent(event=one, member=found.member))
    folded = fold(facts, AccountState(), placed, until=CLOCK)
    return {line.key: line for line in folded.lines if line.quantity or line.amount}, folded.wakes


def facts_of(one: UsageEvent, known: Directory) -> tuple[object, Subscription | None]:
    """Return where the event belongs and under which subscription it falls."""
    placed = place(one, directory=known, catalogs=CATALOGS)
    if not isinstance(placed, Placed) or placed.account not in known.accounts:
        return None, None
    subscription = subscription_at(account=placed.account, member=placed.member, instant=one.time, directory=known)
    return placed, subscription


def put(draft: DirectoryDraft, stored: Stored, at: datetime = START) -> DirectoryChanges:
    return directory_changes(draft, stored, operator=lambda _: Terms("EUR", "UTC"), at=at)


def changed(
    first: DirectoryDraft, second: DirectoryDraft, events: list[UsageEvent], charged_at: datetime | None = None
) -> Any:
    """Return the directory before and after the second draft, and what it touches; None where it is refused.

    `charged_at`: when the second one is put, if something was charged before; other terms begin later then.
    """
    try:
        stored = after(BASE, put(referring(first, BASE), BASE))
        stored = replace(stored, charged=() if charged_at is None else ACCOUNTS)
        changes = put(referring(second, stored), stored, charged_at or START)
    except CatalogError:
        return None  # subscriptions that overlap
    sold = {one.subject: {"s"} for one in events if one.type == SALE and one.subject is not None}
    around = Surroundings(stored=stored, sale_sites=sold, walk_ins={"s": {"walk-in"}})
    until = max((one.time for one in events), default=None)
    asked = {touch.account: touch.since for touch in joined(touches(changes, around), until=until)}
    return directory(stored, events), directory(after(stored, changes), events), asked


@given(drafts(), drafts(), usage)
@settings(max_examples=300)
def test_what_comes_out_differently_was_touched(first: DirectoryDraft, second: DirectoryDraft, events: Any) -> None:
    found = changed(first, second, events)
    if found is None:
        return
    before, now, asked = found
    for one in events:
        was, becomes = facts_of(one, before), facts_of(one, now)
        if was != becomes:
            for placed, _ in (was, becomes):
                if isinstance(placed, Placed):
                    assert placed.account in asked, (one, was, becomes)
                    assert asked[placed.account] <= one.time, (one, was, becomes)


@given(st.tuples(drafts(), drafts()) | st.tuples(st.just(IN_USE), edits()), usage | st.just([]), st.none() | instants)
@settings(max_examples=400)
def test_what_is_billed_differently_was_touched(
    drawn: tuple[DirectoryDraft, DirectoryDraft], events: Any, charged_at: datetime | None
) -> None:
    found = changed(*drawn, events, charged_at)
    if found is None:
        return
    before, now, asked = found
    for account in ACCOUNTS:
        (was, wakes), (becomes, wakes_now) = bill_of(account, before, events), bill_of(account, now, events)
        if account not in asked:
            assert (was, wakes) == (becomes, wakes_now), account
        differing = [key for key in {*was, *becomes} if was.get(key) != becomes.get(key)]
        if differing:
            assert asked[account] <= min(differing).time, (account, asked[account], sorted(differing))


def test_the_law_has_something_to_say() -> None:
    link = Link(member="a", account="x", span=Span())
    claimed = DirectoryDraft(claims=(ClaimDraft(identity="badge:1", member="a", start=None, end=None, place=PLACE),))
    stored = Stored(
        accounts={name: Account(id=name, name=name, currency="EUR", timezone="UTC") for name in ("x", "walk-in")},
        members={"a": Member(id="a", name="a")},
        links=[link],
    )
    changes = put(claimed, stored)
    sale = event(0, "badge:1", SALE, START)
    before, now = directory(stored, [sale]), directory(after(stored, changes), [sale])
    assert facts_of(sale, before)[0] == Placed(account="walk-in", member=None)
    assert facts_of(sale, now)[0] == Placed(account="x", member="a")
