"""Who is who, and since when: accounts, members, claims of identities, subscriptions and given grants.

Facts with half-open spans `[start, end)` in UTC; `start` None is since always, `end` None is for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Final

from meter.model.catalog import Overage
from meter.model.period import Periods, Replaced, Terms, periods_of

SINCE_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open span in which a fact holds."""

    start: datetime | None = None
    end: datetime | None = None

    def covers(self, instant: datetime) -> bool:
        """Tell whether the fact holds at `instant`."""
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)

    def overlaps(self, other: Span) -> bool:
        """Tell whether both hold at some instant."""
        return (self.start or SINCE_ALWAYS) < (other.end or FOR_EVER) and (other.start or SINCE_ALWAYS) < (
            self.end or FOR_EVER
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays, in which currency (ISO 4217), and what its periods hang on: zone (IANA) and anchor day.

    These are the newest terms, which may begin with a period to come; `replaced` are those before, oldest first. The
    terms of a time are for `periods` to say.
    """

    id: str
    name: str
    currency: str
    timezone: str
    anchor_day: int = 1
    # The customer's id at each export target, like {"stripe": "cus_1"}.
    external: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[Replaced, ...] = ()

    @property
    def terms(self) -> Terms:
        """Return the newest terms."""
        return Terms(self.currency, self.timezone, self.anchor_day)

    @property
    def periods(self) -> Periods:
        """Return the account's billing periods."""
        return periods_of(self.terms, self.replaced)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person or a device that uses the space. `merged_into`: the member that this one turned out to be."""

    id: str
    name: str
    email: str | None = None
    merged_into: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A member belongs to an account."""

    member: str
    account: str
    span: Span = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An identity belongs to a member. A claim without a start begins at the identity's earliest event.

    One that was withdrawn ends where it begins: it never holds, and its identity's events are still looked for.
    """

    identity: str
    member: str
    span: Span = Span()

    @property
    def is_withdrawn(self) -> bool:
        """Tell whether the claim never holds."""
        return self.span.end is not None and self.span.end <= (self.span.start or SINCE_ALWAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """Less to pay under a subscription: a `rate` (fraction) or an `amount` a billing period. One of the two is set.

    `on` names what it lowers: "fees", or meters; empty: both fees and all usage.
    """

    id: str
    rate: Decimal | None = None
    amount: Decimal | None = None
    on: tuple[str, ...] = ()
    span: Span = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An account (with seats) or a member has a plan. Exactly one of `account` and `member` is set.

    `deposit` is taken when it begins and given back when it ends; it is never revenue.
    """

    id: str
    plan: str
    account: str | None = None
    member: str | None = None
    span: Span = Span()
    seats: int | None = None
    discounts: tuple[Discount, ...] = ()
    deposit: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What was paid for a grant, before tax (or with it, where the tax is inclusive), in the account's currency."""

    price: Decimal
    tax: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenGrant:
    """Credit given outside a plan: `amount` in `unit`, in force in `span`, for `meters` (None: any of the unit).

    `overage`: what becomes of usage beyond it while it is in force.

    `bought`: it has a price, due when it takes effect; such a span has a start.
    """

    id: str
    account: str
    unit: str
    amount: Decimal
    member: str | None = None
    meters: tuple[str, ...] | None = None
    span: Span = Span()
    priority: int = 100
    bought: Purchase | None = None
    overage: Overage = "bill"


@dataclass(frozen=True, kw_only=True)
class Directory:
    """Everything that is known of people at one version of the facts. Indexed for look-ups; never mutated.

    `first_events` gives the time of the earliest event of each identity that has a claim without a start: such a
    claim's rank among several depends on it. FOR_EVER: there is none yet.
    """

    version: int
    accounts: Mapping[str, Account] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    links: Mapping[str, tuple[Link, ...]] = field(default_factory=dict)  # by member
    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)  # by identity
    subscriptions: Mapping[tuple[str, str], tuple[Subscription, ...]] = field(default_factory=dict)  # (holder kind, id)
    grants: Mapping[str, tuple[GivenGrant, ...]] = field(default_factory=dict)  # by account
    first_events: Mapping[str, datetime] = field(default_factory=dict)  # by identity

    @cached_property
    def _members_of(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for links in self.links.values():
            for link in links:
                found.setdefault(link.account, set()).add(link.member)
        return {account: frozenset(members) for account, members in found.items()}

    def member_called(self, name: str) -> str | None:
        """Return the member that `name` means: itself, or whom it was merged into. None: nobody is called so."""
        member = self.members.get(name)
        while member is not None and member.merged_into is not None:
            member = self.members.get(member.merged_into)
        return None if member is None else member.id

    @cached_property
    def _names_of(self) -> Mapping[str, frozenset[str]]:
        """The names of members that were merged, by the member that each means."""
        found: dict[str, set[str]] = {}
        for name, member in self.members.items():
            if member.merged_into is not None and (meant := self.member_called(name)) is not None:
                found.setdefault(meant, set()).add(name)
        return {member: frozenset(names) for member, names in found.items()}

    @cached_property
    def _identities_of(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for identity, claims in self.claims.items():
            for claim in claims:
                found.setdefault(claim.member, set()).add(identity)
        return {member: frozenset(identities) for member, identities in found.items()}

    def subjects_of(self, account: str) -> frozenset[str]:
        """Return every identity that was ever claimed by a member ever linked to `account`.

        Events of these, and of no others, can belong to the account; which do is settled event by event.
        """
        subjects: set[str] = set()
        for member in self._members_of.get(account, ()):
            subjects |= {f"member:{name}" for name in (member, *self._names_of.get(member, ()))}
            subjects |= self._identities_of.get(member, frozenset())
        return frozenset(subjects)

    @cached_property
    def _members_by_account(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for member, links in self.links.items():
            for link in links:
                found.setdefault(link.account, set()).add(member)
        return {account: tuple(sorted(members)) for account, members in found.items()}

    def members_of(self, account: str) -> tuple[str, ...]:
        """Return every member that was, is or will be linked to `account`, by id."""
        return self._members_by_account.get(account, ())
