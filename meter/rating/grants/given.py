"""Credit given outside plans, and the instance of an id: what a refund gives back has the scope of its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from meter.model.directory import FOR_EVER, GivenGrant, Subscription
from meter.model.errors import BadInput
from meter.model.money import ZERO, unit_scale
from meter.rating.facts import AccountFacts
from meter.rating.grants.instance import Instance
from meter.rating.grants.plan import plan_instances
from meter.rating.grants.rollover import ROLLED
from meter.rating.grants.rollover import rolled as rolled_over
from meter.rating.state import Returned
from meter.rating.values import segment

_RETURNED: Final = "returned"
_RETURNED_PARTS: Final = 3  # the word, the source and the id of the refund


def given_instances(facts: AccountFacts, member: str | None) -> list[Instance]:
    """Return the credit given outside plans that `member` (None: nobody in particular) may draw."""
    given = facts.directory.grants.get(facts.account.id, ())
    return [_given(grant) for grant in given if grant.member in {None, member}]


def given_id(grant: GivenGrant) -> str:
    """Return the id of the instance that a given grant is."""
    return segment(grant.id)


def _given(grant: GivenGrant) -> Instance:
    return Instance(
        id=given_id(grant),
        origin="given" if grant.bought is None else "bought",
        subscription=None,
        member=grant.member,
        unit=grant.unit,
        amount=grant.amount * unit_scale(grant.unit),
        meters=grant.meters,
        effective=grant.span.start,
        expires=grant.span.end,
        priority=grant.priority,
        lasts=grant.span.end or FOR_EVER,
    )


def find(facts: AccountFacts, identifier: str) -> Instance | None:
    """Return the instance of that id as the facts give it today; None where they give none.

    One that a refund gave back has the scope of its origin, no amount, and its origin's span.
    """
    names = identifier.split("/")
    if len(names) == 1:
        grants = facts.directory.grants.get(facts.account.id, ())
        return next((_given(grant) for grant in grants if segment(grant.id) == identifier), None)
    found = _find_planned(facts, names)
    if found is None and len(names) > _RETURNED_PARTS and names[-_RETURNED_PARTS] == _RETURNED:
        origin = find(facts, "/".join(names[:-_RETURNED_PARTS]))
        found = origin and replace(origin, id=identifier, origin="refund", amount=ZERO, rolls=None)
    return found


def _find_planned(facts: AccountFacts, names: Sequence[str]) -> Instance | None:
    rolled = names[-1] == ROLLED
    base = "/".join(names[:-1]) if rolled else "/".join(names)
    try:
        period = facts.account.periods.named(names[2])
    except (BadInput, IndexError):
        return None
    members = facts.directory.members_of(facts.account.id)
    for subscription in _subscriptions(facts, names[0]):
        for member in [None, *members] if subscription.member is None else [subscription.member]:
            for instance in plan_instances(facts, subscription, period, member):
                if instance.id == base:
                    return rolled_over(instance, instance, 1, subscription) if rolled else instance
    return None


def _subscriptions(facts: AccountFacts, name: str) -> list[Subscription]:
    directory = facts.directory
    holders = [("account", facts.account.id), *(("member", m) for m in directory.members_of(facts.account.id))]
    return [s for holder in holders for s in directory.subscriptions.get(holder, ()) if segment(s.id) == name]


def returned_id(origin: str, source: str, refund: str) -> str:
    """Return the id of the credit that a refund gives back to `origin` after its expiry."""
    return f"{origin}/{_RETURNED}/{segment(source)}/{segment(refund)}"


def returned_of(facts: AccountFacts, identifier: str, at: datetime, amount: Decimal) -> Returned | None:
    """Return what a refund at `at` gave back to `identifier`, `amount` in its unit; None: it had not expired."""
    names = identifier.split("/")
    found = find(facts, identifier)
    if found is None or found.origin != "refund":
        return None
    expires = facts.account.periods.at(at).end
    return Returned("/".join(names[:-_RETURNED_PARTS]), at, expires, amount * unit_scale(found.unit))


def returned_instance(facts: AccountFacts, identifier: str, returned: Returned) -> Instance | None:
    """Return the instance that a refund's credit has become; None where its origin is no more."""
    origin = find(facts, returned.origin)
    if origin is None:
        return None
    return replace(
        origin,
        id=identifier,
        origin="refund",
        amount=returned.amount,
        rolls=None,
        rolled_from=None,
        effective=returned.effective,
        expires=returned.expires,
        lasts=returned.expires,
        rank_as=None,
        age=0,
    )
