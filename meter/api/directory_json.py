"""Entries of the directory as bodies and answers: the models that the OpenAPI document describes.

Bodies are read by `meter.catalog.people`, not by these; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from meter.api.catalog import IssueJson
from meter.api.routing import DecimalText, InstantText, Model
from meter.model.directory import Account, Claim, Discount, GivenGrant, Link, Member, Span, Subscription
from meter.model.instant import instant_text
from meter.model.money import plain

Whenever: TypeAlias = Annotated[
    str | None, msgspec.Meta(description="A date, at midnight in the account's zone, or RFC 3339 with an offset.")
]


class SpanBody(Model, kw_only=True, omit_defaults=True):
    """A half-open span; an end that is missing is open."""

    from_: Whenever = msgspec.field(default=None, name="from")
    to: Whenever = None


class DiscountBody(SpanBody, kw_only=True):
    """Less to pay: a `rate` (a fraction) or an `amount` each billing period; on everything unless `on` says less."""

    id: str
    rate: DecimalText | None = None
    amount: DecimalText | None = None
    on: Annotated[
        str | list[str] | None, msgspec.Meta(description="`fees`, or a list of meters, in which `fees` may stand too.")
    ] = None


class SubscriptionBody(SpanBody, kw_only=True):
    """A subscription within its holder's entry."""

    id: str
    plan: str
    seats: int | None = None
    discounts: list[DiscountBody] | None = msgspec.field(default_factory=list)
    deposit: DecimalText | None = None


class HeldSubscriptionBody(SpanBody, kw_only=True):
    """A subscription that names its holder: an account (with seats) or a member."""

    plan: str
    id: str | None = None
    account: str | None = None
    member: str | None = None
    seats: int | None = None
    discounts: list[DiscountBody] | None = msgspec.field(default_factory=list)
    deposit: DecimalText | None = None


class AccountBody(Model, kw_only=True, omit_defaults=True):
    """An account. Currency and zone are the operator's unless given; the others are ids at export targets."""

    name: str | None = None
    currency: str | None = None
    timezone: str | None = None
    anchor_day: Annotated[int, msgspec.Meta(ge=1, le=31)] = 1
    stripe: str | None = None
    square: str | None = None
    quickbooks: str | None = None
    xero: str | None = None
    cobot: str | None = None
    officernd: str | None = None
    nexudus: str | None = None
    subscriptions: list[SubscriptionBody] | None = msgspec.field(default_factory=list)


class LinkBody(SpanBody, kw_only=True):
    """A link to an account."""

    id: str


class ClaimBody(SpanBody, kw_only=True):
    """A claim of an identity, `kind:value`."""

    id: str


class MemberBody(Model, kw_only=True, omit_defaults=True):
    """A member; `account` is short for one link without dates, a bare identity for a claim without."""

    name: str | None = None
    email: str | None = None
    account: str | None = None
    accounts: list[LinkBody] | None = msgspec.field(default_factory=list)
    identities: list[str | ClaimBody] | None = msgspec.field(default_factory=list)
    subscriptions: list[SubscriptionBody] | None = msgspec.field(default_factory=list)


class IdentityBody(SpanBody, kw_only=True):
    """Whose the identity is."""

    member: str


class BoughtBody(Model, kw_only=True, omit_defaults=True):
    """What was paid for a grant, due when it takes effect: `effective` is needed then."""

    price: DecimalText
    tax: str | None = None


class GrantBody(Model, kw_only=True, omit_defaults=True):
    """Credit given outside a plan; `meters` is its scope, any that counts in its unit unless given."""

    id: str
    unit: str
    amount: DecimalText
    account: str | None = None
    member: str | None = None
    meters: list[str] | None = None
    effective: Whenever = None
    expires: Whenever = None
    priority: int = 100
    bought: BoughtBody | None = None
    overage: Literal["bill", "deny"] = "bill"


class SpanJson(Model, kw_only=True):
    """A half-open span; null is open."""

    from_: InstantText | None = msgspec.field(name="from")
    to: InstantText | None


class DatedJson(SpanJson, kw_only=True):
    """The id of an account or an identity, and when it is the member's."""

    id: str


class ClaimJson(SpanJson, kw_only=True):
    """A member's claim of an identity."""

    member: str


class DiscountJson(SpanJson, kw_only=True):
    """A discount as stored; `on` empty is everything."""

    id: str
    rate: DecimalText | None
    amount: DecimalText | None
    on: list[str]


class SubscriptionJson(SpanJson, kw_only=True):
    """A subscription as stored; its holder is one of `account` and `member`."""

    id: str
    plan: str
    account: str | None
    member: str | None
    seats: int | None
    discounts: list[DiscountJson]
    deposit: DecimalText | None


class BoughtJson(Model, kw_only=True):
    """What was paid for a grant."""

    price: DecimalText
    tax: str | None


class Stored(Model, kw_only=True):
    """An entry as stored. `warnings` says what of the body is accepted but does less than it says."""

    warnings: list[IssueJson]


class StoredSubscription(SubscriptionJson, kw_only=True):
    """A subscription as stored."""

    warnings: list[IssueJson]


class TermsJson(Model, kw_only=True):
    """What an account pays in, and what its periods hang on, from the first such period on (null: always)."""

    from_: str | None = msgspec.field(name="from")
    currency: str
    timezone: str
    anchor_day: int


class StoredAccount(Stored, kw_only=True):
    """An account as stored; `external` holds its ids at export targets.

    `terms` says which hold when, by the name of the first period (2026-12); the last are the account's newest.
    """

    id: str
    name: str
    currency: str
    timezone: str
    anchor_day: int
    terms: list[TermsJson]
    external: dict[str, str]
    subscriptions: list[SubscriptionJson]


class StoredMember(Stored, kw_only=True):
    """A member as stored, with all links, claims and subscriptions."""

    id: str
    name: str
    email: str | None
    accounts: list[DatedJson]
    identities: list[DatedJson]
    subscriptions: list[SubscriptionJson]


class StoredIdentity(Stored, kw_only=True):
    """An identity with every claim of it: of several that cover an instant the latest start counts."""

    identity: str
    claims: list[ClaimJson]


class StoredGrant(Stored, kw_only=True):
    """A given grant as stored."""

    id: str
    account: str
    member: str | None
    unit: str
    amount: DecimalText
    meters: list[str] | None
    effective: InstantText | None
    expires: InstantText | None
    priority: int
    bought: BoughtJson | None
    overage: Literal["bill", "deny"]


def _ends(span: Span) -> dict[str, Any]:
    return {
        "from_": None if span.start is None else instant_text(span.start),
        "to": None if span.end is None else instant_text(span.end),
    }


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def subscription_json(held: Subscription) -> SubscriptionJson:
    """Return a subscription as it leaves."""
    return SubscriptionJson(
        id=held.id,
        plan=held.plan,
        account=held.account,
        member=held.member,
        seats=held.seats,
        discounts=[_discount_json(discount) for discount in held.discounts],
        deposit=_plain(held.deposit),
        **_ends(held.span),
    )


def _discount_json(discount: Discount) -> DiscountJson:
    return DiscountJson(
        id=discount.id,
        rate=_plain(discount.rate),
        amount=_plain(discount.amount),
        on=list(discount.on),
        **_ends(discount.span),
    )


def account_json(account: Account, held: Iterable[Subscription], warnings: list[IssueJson]) -> StoredAccount:
    """Return an account with its subscriptions as it leaves."""
    return StoredAccount(
        id=account.id,
        name=account.name,
        currency=account.currency,
        timezone=account.timezone,
        anchor_day=account.anchor_day,
        terms=_terms(account),
        external=dict(account.external),
        subscriptions=[subscription_json(subscription) for subscription in held],
        warnings=warnings,
    )


def _terms(account: Account) -> list[TermsJson]:
    since = [None, *(one.until for one in account.replaced)]
    every = [*(one.terms for one in account.replaced), account.terms]
    return [TermsJson(from_=name, **terms._asdict()) for name, terms in zip(since, every, strict=True)]


def member_json(
    member: Member,
    *,
    links: Iterable[Link],
    claims: Iterable[Claim],
    held: Iterable[Subscription],
    warnings: list[IssueJson],
) -> StoredMember:
    """Return a member with all that belongs to it as it leaves."""
    return StoredMember(
        id=member.id,
        name=member.name,
        email=member.email,
        accounts=[DatedJson(id=link.account, **_ends(link.span)) for link in links],
        identities=[DatedJson(id=claim.identity, **_ends(claim.span)) for claim in claims],
        subscriptions=[subscription_json(subscription) for subscription in held],
        warnings=warnings,
    )


def identity_json(identity: str, claims: Iterable[Claim], warnings: list[IssueJson]) -> StoredIdentity:
    """Return an identity with its claims as it leaves."""
    return StoredIdentity(identity=identity, claims=[claim_json(claim) for claim in claims], warnings=warnings)


def claim_json(claim: Claim) -> ClaimJson:
    """Return a claim as it leaves."""
    return ClaimJson(member=claim.member, **_ends(claim.span))


def grant_json(grant: GivenGrant, warnings: list[IssueJson]) -> StoredGrant:
    """Return a given grant as it leaves."""
    start, end = grant.span.start, grant.span.end
    return StoredGrant(
        id=grant.id,
        account=grant.account,
        member=grant.member,
        unit=grant.unit,
        amount=plain(grant.amount),
        meters=None if grant.meters is None else list(grant.meters),
        effective=None if start is None else instant_text(start),
        expires=None if end is None else instant_text(end),
        priority=grant.priority,
        bought=None if grant.bought is None else BoughtJson(price=plain(grant.bought.price), tax=grant.bought.tax),
        overage=grant.overage,
        warnings=warnings,
    )
