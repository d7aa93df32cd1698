"""The law of touching: whatever is placed or subscribed differently after a change was asked to be folded again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.catalog.changes import Change, DirectoryChanges, Stored, directory_changes
from meter.catalog.draft import AccountDraft, ClaimDraft, DirectoryDraft, LinkDraft, MemberDraft, SubscriptionDraft
from meter.catalog.issues import CatalogError, Place
from meter.catalog.touch import Surroundings, joined, touches
from meter.model.catalog import Catalog, CatalogTimeline, Site
from meter.model.directory import Account, Claim, Directory, Link, Member, Span, Subscription
from meter.model.event import SALE, UsageEvent
from meter.rating.resolve import Placed, place, subscription_at
from meter.store.directory import holder_of

T = TypeVar("T")
PLACE = Place("t", None, "")
START = datetime(2026, 3, 1, tzinfo=UTC)
# Few names and few instants, so that what is drawn meets. One identity, for they never meet.
ACCOUNTS, MEMBERS, IDENTITIES = ("walk-in", "x", "y"), ("a", "b", "c"), ("badge:1",)
CATALOGS = CatalogTimeline(
    versions=(
        Catalog(
            operator="o",
            version=1,
            effective=None,
            currency="EUR",
            timezone="UTC",
            sites={"s": Site(id="s", name="S", timezone="UTC", walk_in="walk-in")},
        ),
    )
)

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


subjects = st.sampled_from([*IDENTITIES, "member:a", "member:c"])
usage = st.lists(st.tuples(subjects, st.sampled_from([SALE, "door.access"]), instants), min_size=1, max_size=8).map(
    lambda many: [event(n, *one) for n, one in enumerate(many)]
)


@st.composite
def drafts(draw: st.DrawFn) -> DirectoryDraft:
    def account(name: str, anchor_day: int) -> AccountDraft:
        return AccountDraft(id=name, name=name, currency="EUR", timezone="UTC", anchor_day=anchor_day, place=PLACE)

    def link(member: str, name: str, span: tuple[Any, Any]) -> LinkDraft:
        return LinkDraft(member=member, account=name, start=span[0], end=span[1], place=PLACE)

    def claim(identity: str, member: str, span: tuple[Any, Any]) -> ClaimDraft:
        return ClaimDraft(identity=identity, member=member, start=span[0], end=span[1], place=PLACE)

    def subscription(name: str, plan: str, holder: str, span: tuple[Any, Any]) -> SubscriptionDraft:
        return SubscriptionDraft(
            id=name,
            plan=plan,
            account=holder if holder in ACCOUNTS else None,
            member=holder if holder in MEMBERS else None,
            start=span[0],
            end=span[1],
            seats=None,
            place=PLACE,
        )

    def some(made: st.SearchStrategy[T], key: Callable[[T], object], most: int = 3) -> tuple[T, ...]:
        return tuple(draw(st.lists(made, max_size=most, unique_by=key)))

    account_ids, member_ids = st.sampled_from(ACCOUNTS), st.sampled_from(MEMBERS)
    plans, holders = st.sampled_from(["p", "q"]), st.sampled_from([*ACCOUNTS, *MEMBERS])
    return DirectoryDraft(
        accounts=some(st.builds(account, account_ids, st.sampled_from([1, 15])), lambda put: put.id),
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
            st.builds(subscription, st.sampled_from(["s1", "s2", "s3"]), plans, holders, spans), lambda put: put.id
        ),
    )


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
        first_events=first,
    )


def facts_of(one: UsageEvent, known: Directory) -> tuple[object, Subscription | None]:
    """Return where the event belongs and under which subscription it falls."""
    placed = place(one, directory=known, catalogs=CATALOGS)
    if not isinstance(placed, Placed) or placed.account not in known.accounts:
        return None, None
    subscription = subscription_at(account=placed.account, member=placed.member, instant=one.time, directory=known)
    return placed, subscription


@given(drafts(), drafts(), usage)
@settings(max_examples=300)
def test_what_comes_out_differently_was_touched(first: DirectoryDraft, second: DirectoryDraft, events: Any) -> None:
    try:
        first = referring(first, BASE)
        stored = after(BASE, directory_changes(first, BASE, currency="EUR", timezone="UTC"))
        changes = directory_changes(referring(second, stored), stored, currency="EUR", timezone="UTC")
    except CatalogError:
        return  # subscriptions that overlap
    sold = {one.subject: {"s"} for one in events if one.type == SALE}
    around = Surroundings(stored=stored, sale_sites=sold, walk_ins={"s": {"walk-in"}})
    asked = {
        touch.account: touch.since for touch in joined(touches(changes, around), until=max(one.time for one in events))
    }
    before, now = directory(stored, events), directory(after(stored, changes), events)
    for one in events:
        was, becomes = facts_of(one, before), facts_of(one, now)
        if was != becomes:
            for placed, _ in (was, becomes):
                if isinstance(placed, Placed):
                    assert placed.account in asked, (one, was, becomes)
                    assert asked[placed.account] <= one.time, (one, was, becomes)


def test_the_law_has_something_to_say() -> None:
    link = Link(member="a", account="x", span=Span())
    claimed = DirectoryDraft(claims=(ClaimDraft(identity="badge:1", member="a", start=None, end=None, place=PLACE),))
    stored = Stored(
        accounts={name: Account(id=name, name=name, currency="EUR", timezone="UTC") for name in ("x", "walk-in")},
        members={"a": Member(id="a", name="a")},
        links=[link],
    )
    changes = directory_changes(claimed, stored, currency="EUR", timezone="UTC")
    sale = event(0, "badge:1", SALE, START)
    before, now = directory(stored, [sale]), directory(after(stored, changes), [sale])
    assert facts_of(sale, before)[0] == Placed(account="walk-in", member=None)
    assert facts_of(sale, now)[0] == Placed(account="x", member="a")
