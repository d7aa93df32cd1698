"""What putting a draft changes: dates become instants, entries are compared with what is stored. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Generic, TypeVar

from meter.catalog.draft import DirectoryDraft, DiscountDraft, GrantDraft, SubscriptionDraft
from meter.catalog.entry import When
from meter.catalog.issues import Faults, Issue, Place
from meter.catalog.terms import OperatorTerms, put_account, terms_warning
from meter.model.directory import (
    SINCE_ALWAYS,
    Account,
    Claim,
    Discount,
    GivenGrant,
    Link,
    Member,
    Span,
    Subscription,
)
from meter.model.money import is_currency
from meter.model.period import Periods, Terms

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T_co]):
    """An entry that is new (`before` None) or differs from what is stored. `place` is where it was written."""

    before: T_co | None
    after: T_co
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store holds of all that a draft concerns.

    `claims`: all of the identities claimed. `links`: all of the members named and of everyone who ever claimed one of
    those identities. `accounts`: all that are named or linked. `subscriptions`: those put and all of their holders'.
    `charged`: the accounts put for which something was booked. `merged`: the members named that were merged, with
    whom each means now.
    """

    accounts: Mapping[str, Account] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    links: Sequence[Link] = ()
    claims: Sequence[Claim] = ()
    subscriptions: Sequence[Subscription] = ()
    grants: Mapping[str, GivenGrant] = field(default_factory=dict)
    charged: Collection[str] = ()
    merged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChanges:
    """Everything that differs."""

    accounts: tuple[Change[Account], ...] = ()
    members: tuple[Change[Member], ...] = ()
    links: tuple[Change[Link], ...] = ()
    claims: tuple[Change[Claim], ...] = ()
    subscriptions: tuple[Change[Subscription], ...] = ()
    grants: tuple[Change[GivenGrant], ...] = ()

    def by_kind(self) -> dict[str, Sequence[Change[object]]]:
        """Return the changes by the kind of entry."""
        return {
            "accounts": self.accounts,
            "members": self.members,
            "links": self.links,
            "identities": self.claims,
            "subscriptions": self.subscriptions,
            "grants": self.grants,
        }

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return any(self.by_kind().values())


def directory_changes(
    draft: DirectoryDraft, stored: Stored, *, operator: OperatorTerms, at: datetime
) -> DirectoryChanges:
    """Return what putting `draft` at `at` changes.

    Raises CatalogError: a span that ends before it begins, two subscriptions at once for one holder, a grant that
    another account has, terms that leave a period no time, a member that was merged.
    """
    faults = Faults()
    _check_merged(draft, stored.merged, faults)
    accounts = {
        put.id: (
            put_account(
                put,
                stored.accounts.get(put.id),
                charged=put.id in stored.charged,
                operator=operator,
                at=at,
                faults=faults,
            ),
            put.place,
        )
        for put in draft.accounts
    }
    known = dict(stored.accounts) | {id: account for id, (account, _) in accounts.items()}
    zones = _Zones(draft, stored, known, operator(at), faults)
    subscriptions = [(zones.subscription(put), put.place) for put in draft.subscriptions]
    grants = [(zones.grant(put), put.place) for put in draft.grants]
    links = [
        (
            Link(
                member=p.member, account=p.account, span=zones.span(p.start, p.end, zones.of_member(p.member), p.place)
            ),
            p.place,
        )
        for p in draft.links
    ]
    claims = [
        (
            Claim(
                identity=p.identity,
                member=p.member,
                span=zones.span(p.start, p.end, zones.of_member(p.member), p.place),
            ),
            p.place,
        )
        for p in draft.claims
    ]
    _check_overlaps(subscriptions, stored.subscriptions, faults)
    for grant, place in grants:
        before = stored.grants.get(grant.id)
        if before is not None and before.account != grant.account:
            faults.add(place, f"the grant {grant.id} belongs to the account {before.account}; give this one another id")
    members = [(Member(id=put.id, name=put.name, email=put.email), put.place) for put in draft.members]
    changes = DirectoryChanges(
        accounts=_differing(accounts.values(), stored.accounts.values(), _id, faults),
        members=_differing(members, stored.members.values(), _id, faults),
        links=_differing(links, stored.links, lambda link: (link.member, link.account, link.span.start), faults),
        claims=_differing(
            claims, stored.claims, lambda claim: (claim.identity, claim.member, claim.span.start), faults
        ),
        subscriptions=_differing(subscriptions, stored.subscriptions, _id, faults),
        grants=_differing(grants, stored.grants.values(), _id, faults),
    )
    faults.settle()
    return changes


def _check_merged(draft: DirectoryDraft, merged: Mapping[str, str], faults: Faults) -> None:
    """Record a fault for each entry that names a member which was merged."""
    named = [(put.id, put.place) for put in draft.members]
    for puts in (draft.links, draft.claims, draft.subscriptions, draft.grants):
        named += [(put.member, put.place) for put in puts if put.member is not None]
    told: set[str] = set()
    for member, place in named:
        if member in merged and member not in told:
            told.add(member)
            faults.add(place, f"names {member}, who was merged into {merged[member]}; write {merged[member]} instead")


def later_terms(changes: DirectoryChanges) -> tuple[Issue, ...]:
    """Return a warning for each account whose new terms begin with a period to come."""
    found = ((change.place, terms_warning(change.before, change.after)) for change in changes.accounts)
    return tuple(Issue(place.file, place.line, place.path, said) for place, said in found if said is not None)


def foreign_grants(changes: DirectoryChanges, stored: Stored) -> tuple[Issue, ...]:
    """Return a warning for each grant put in a currency that its account does not pay in: it lowers no amount."""
    currencies = {account.id: account.currency for account in stored.accounts.values()}
    currencies |= {change.after.id: change.after.currency for change in changes.accounts}
    found = []
    for change in changes.grants:
        unit, pays = change.after.unit, currencies.get(change.after.account)
        if is_currency(unit) and pays is not None and unit != pays:
            place, message = change.place, f"is in {unit}, but {change.after.account} pays in {pays}"
            found.append(Issue(place.file, place.line, place.path, f"{message}; nothing is converted: never drawn"))
    return tuple(found)


def _id(entry: Account | Member | Subscription | GivenGrant) -> str:
    return entry.id


def _differing(
    puts: Iterable[tuple[T, Place]], stored: Iterable[T], key: Callable[[T], object], faults: Faults
) -> tuple[Change[T], ...]:
    """Return the entries that are not stored as they are put; one put twice is a fault."""
    before = {key(record): record for record in stored}
    found: dict[object, Change[T]] = {}
    for record, place in puts:
        if key(record) in found:
            faults.add(
                place, f"says the same as {found[key(record)].place.path}, where it begins at that instant; keep one"
            )
        elif before.get(key(record)) != record:
            found[key(record)] = Change(before=before.get(key(record)), after=record, place=place)
    return tuple(found.values())


class _Zones:
    """Turns dates into instants: an account's in its zone of the time, a member's in that of its first account."""

    def __init__(
        self, draft: DirectoryDraft, stored: Stored, accounts: Mapping[str, Account], operator: Terms, faults: Faults
    ) -> None:
        self._periods = {id: account.periods for id, account in accounts.items()}
        self._operator = Periods(operator)
        self._faults = faults
        first: dict[str, tuple[datetime, str]] = {}
        known = [(link.member, link.account, link.span.start) for link in stored.links]
        drafted = [
            (put.member, put.account, self._instant(put.start, self.of_account(put.account))) for put in draft.links
        ]
        for member, account, start in known + drafted:
            candidate = (start or SINCE_ALWAYS, account)
            if member not in first or candidate < first[member]:
                first[member] = candidate
        self._first = {member: account for member, (_, account) in first.items()}

    def of_account(self, account: str | None) -> Periods:
        return self._periods.get(account or "", self._operator)

    def of_member(self, member: str) -> Periods:
        return self.of_account(self._first.get(member))

    def _instant(self, when: When, periods: Periods) -> datetime | None:
        if isinstance(when, date) and not isinstance(when, datetime):
            return periods.midnight(when)
        return when

    def span(self, start: When, end: When, periods: Periods, place: Place) -> Span:
        span = Span(start=self._instant(start, periods), end=self._instant(end, periods))
        if span.start is not None and span.end is not None and span.end <= span.start:
            self._faults.add(place, "ends before it begins; spans are half-open and hold at least a moment")
        return span

    def subscription(self, put: SubscriptionDraft) -> Subscription:
        periods = self.of_account(put.account) if put.member is None else self.of_member(put.member)
        return Subscription(
            id=put.id,
            plan=put.plan,
            account=put.account,
            member=put.member,
            span=self.span(put.start, put.end, periods, put.place),
            seats=put.seats,
            discounts=tuple(self._discount(discount, periods) for discount in put.discounts),
            deposit=put.deposit,
        )

    def _discount(self, put: DiscountDraft, periods: Periods) -> Discount:
        span = self.span(put.start, put.end, periods, put.place)
        return Discount(id=put.id, rate=put.rate, amount=put.amount, on=put.on, span=span)

    def grant(self, put: GrantDraft) -> GivenGrant:
        return GivenGrant(
            id=put.id,
            account=put.account,
            member=put.member,
            unit=put.unit,
            amount=put.amount,
            meters=put.meters,
            span=self.span(put.start, put.end, self.of_account(put.account), put.place),
            priority=put.priority,
            bought=put.bought,
            overage=put.overage,
        )


def _check_overlaps(puts: Sequence[tuple[Subscription, Place]], stored: Sequence[Subscription], faults: Faults) -> None:
    """Record a fault for each subscription put that stands beside another of its holder."""
    replaced = {put.id for put, _ in puts}
    held: dict[tuple[str | None, str | None], list[tuple[Subscription, Place | None]]] = {}
    for subscription in stored:
        if subscription.id not in replaced:
            held.setdefault((subscription.account, subscription.member), []).append((subscription, None))
    for put, place in puts:
        held.setdefault((put.account, put.member), []).append((put, place))
    for several in held.values():
        ordered = sorted(several, key=lambda pair: pair[0].span.start or SINCE_ALWAYS)
        for (one, first), (other, second) in pairwise(ordered):
            put_at = second or first
            if put_at is not None and one.span.overlaps(other.span):
                holder = other.account or other.member
                message = f"{one.id} and {other.id} overlap; {holder} can have one subscription at a time"
                faults.add(put_at, f"the subscriptions {message}: end the first where the second begins")
