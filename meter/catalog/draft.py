"""What a catalog's files say of people: the directory's entries as written, dates not yet instants.

A date is midnight in the zone of the account concerned, which the store may know better than the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from meter.catalog.entry import When
from meter.catalog.issues import Place
from meter.model.catalog import Overage
from meter.model.directory import Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDraft:
    """An account; None stands for the operator's own currency and zone."""

    id: str
    name: str
    currency: str | None
    timezone: str | None
    anchor_day: int
    external: Mapping[str, str] = field(default_factory=dict)
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDraft:
    """A member."""

    id: str
    name: str
    email: str | None
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDraft:
    """A member's belonging to an account."""

    member: str
    account: str
    start: When
    end: When
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimDraft:
    """A member's claim of an identity (normalised)."""

    identity: str
    member: str
    start: When
    end: When
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountDraft:
    """A discount of a subscription; one of `rate` and `amount` is set, `on` empty is everything."""

    id: str
    rate: Decimal | None
    amount: Decimal | None
    on: tuple[str, ...]
    start: When
    end: When
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionDraft:
    """A subscription; exactly one of `account` and `member` is set."""

    id: str
    plan: str
    account: str | None
    member: str | None
    start: When
    end: When
    seats: int | None
    discounts: tuple[DiscountDraft, ...] = ()
    deposit: Decimal | None = None
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantDraft:
    """Credit given outside a plan; `meters` None: any that counts in its unit."""

    id: str
    account: str
    member: str | None
    unit: str
    amount: Decimal
    meters: tuple[str, ...] | None
    start: When
    end: When
    priority: int
    bought: Purchase | None = None
    overage: Overage = "bill"
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryDraft:
    """Entries to be put; what is not named stays as it is."""

    accounts: tuple[AccountDraft, ...] = ()
    members: tuple[MemberDraft, ...] = ()
    links: tuple[LinkDraft, ...] = ()
    claims: tuple[ClaimDraft, ...] = ()
    subscriptions: tuple[SubscriptionDraft, ...] = ()
    grants: tuple[GrantDraft, ...] = ()
