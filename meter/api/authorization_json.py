"""Authorisations as they leave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from meter.api.routing import DecimalText, InstantText, Model
from meter.booking.authorizing import OfflineReason
from meter.model.event import Json
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.rating.quote import Reason
from meter.store.authorizations import Authorization, State


class AskedTaxJson(Model, kw_only=True):
    """The tax of the line alone; an invoice rounds it together with others'."""

    name: str
    rate: DecimalText | None
    inclusive: bool
    amount: DecimalText


class AskedDrawJson(Model, kw_only=True):
    """Credit that it would draw."""

    grant: str
    unit: str
    amount: DecimalText


class CostJson(Model, kw_only=True):
    """What its event would be charged now: `amount` before tax, after credit, caps and discounts."""

    covered: DecimalText
    billable: DecimalText
    amount: DecimalText
    currency: str
    tax: AskedTaxJson | None
    price: str | None
    plan: str | None
    draws: list[AskedDrawJson]


class LimitJson(Model, kw_only=True):
    """A limit of the plan: what it had seen before the ask, reservations included, and what the ask adds."""

    of: Literal["quantity", "money"]
    every: Literal["day", "period"]
    per: Literal["account", "member"]
    hard: DecimalText | None
    soft: DecimalText | None
    used: DecimalText
    asked: DecimalText


class AllowanceJson(Model, kw_only=True):
    """What an agent may go on with while it hears nothing, behind this ask.

    `covered`: what credit still covers, in the meter's unit. `price`: of one unit more beyond it, before tax and money
    credit; null: there is none. `left` and `left_amount`: what limits leave; null: none limits it. `sold_beyond` false:
    nothing is sold beyond credit.
    """

    covered: DecimalText
    price: DecimalText | None
    currency: str
    left: DecimalText | None
    left_amount: DecimalText | None
    sold_beyond: bool


class SettledJson(Model, kw_only=True):
    """The first event that named it. `late`: nothing was reserved any more when it was stored."""

    source: str
    id: str
    at: InstantText
    late: bool


class AuthorizationJson(Model, kw_only=True):
    """An ask, its answer, and what became of it.

    `cost` null: its event would book nothing. `left`: of what was refused, how much would go; null: not to be said.
    `expires_at`: up to when it reserves what was allowed. `account` and `member` null: nobody answers for the identity.
    `offline`: an agent answered by itself, and told of it later: there is no `cost` and no `allowance`.
    """

    id: str
    allowed: bool
    reasons: list[Reason | OfflineReason]
    warnings: list[Literal["soft_limit"]]
    state: State
    offline: bool
    account: str | None
    member: str | None
    site: str
    meter: str
    quantity: DecimalText
    unit: str | None
    dimensions: dict[str, Any]
    cost: CostJson | None
    left: DecimalText | None
    limits: list[LimitJson]
    allowance: AllowanceJson | None
    asked_at: InstantText
    expires_at: InstantText
    settled: SettledJson | None
    released_at: InstantText | None


class AuthorizationsPage(Model, kw_only=True):
    """Authorisations; `next` is null at the end."""

    authorizations: list[AuthorizationJson]
    next: str | None


def authorization_json(one: Authorization, *, at: datetime) -> AuthorizationJson:
    """Return an authorisation as it leaves at `at`."""
    said: Mapping[str, Json] = {"unit": None, "cost": None, "left": None, "limits": [], "allowance": None, **one.answer}
    settled = None
    if one.settled_by is not None and one.settled_at is not None:
        source, name = one.settled_by
        settled = SettledJson(source=source, id=name, at=instant_text(one.settled_at), late=one.late)
    return AuthorizationJson(
        id=one.id,
        allowed=one.allowed,
        reasons=said["reasons"],
        warnings=said["warnings"],
        state=one.state(at),
        offline=said.get("offline", False),
        account=one.account,
        member=one.member,
        site=one.site,
        meter=one.meter,
        quantity=plain(one.quantity),
        unit=said["unit"],
        dimensions=dict(one.dimensions),
        cost=msgspec.convert(said["cost"], CostJson | None),
        left=said["left"],
        limits=msgspec.convert(said["limits"], list[LimitJson]),
        allowance=msgspec.convert(said["allowance"], AllowanceJson | None),
        asked_at=instant_text(one.asked_at),
        expires_at=instant_text(one.expires_at),
        settled=settled,
        released_at=None if one.released_at is None else instant_text(one.released_at),
    )
