"""What is left of every instance of an account at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from types import MappingProxyType

from meter.model.directory import GivenGrant, Subscription
from meter.model.money import EXACT, ONE, ZERO, round_amount, round_quantity, unit_scale
from meter.rating.facts import AccountFacts
from meter.rating.grants.given import given_instances, returned_instance
from meter.rating.grants.instance import Instance, Origin
from meter.rating.grants.plan import plan_instances
from meter.rating.grants.rollover import rolled_instances
from meter.rating.grants.spans import belongs
from meter.rating.state import Returned
from meter.rating.values import segment


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBalance:
    """An instance and what is left of it, in its unit. `scope` lists its meters; None: any that it can cover.

    `price` is what was paid for bought credit, `drawn_cost` how much of that the use so far is worth: deferred revenue
    is what is between them, and what is left of it at the expiry is breakage.
    """

    id: str
    origin: Origin
    scope: tuple[str, ...] | None
    member: str | None
    unit: str
    amount: Decimal
    used: Decimal
    remaining: Decimal
    effective: datetime | None
    expires: datetime | None
    priority: int
    price: Decimal | None = None
    drawn_cost: Decimal | None = None


def balances(
    facts: AccountFacts,
    at: datetime,
    used: Mapping[str, Decimal],
    returned: Mapping[str, Returned] = MappingProxyType({}),
) -> list[GrantBalance]:
    """Return every instance in force at `at` in burn order, with what `used` leaves of it.

    `used` is by instance id, in the instance's unit, credit given back taken off. `returned` is what refunds gave back
    to instances that had expired.
    """
    directory, account = facts.directory, facts.account
    period = account.periods.at(at)
    members = [m for m in directory.members_of(account.id) if belongs(facts, m, at)]
    found: dict[str, Instance] = {}

    def add(subscription: Subscription, member: str | None) -> None:
        found.update((i.id, i) for i in plan_instances(facts, subscription, period, member))
        found.update((i.id, i) for i in rolled_instances(facts, subscription, period, member))

    with localcontext(EXACT):
        found.update((i.id, i) for member in [None, *members] for i in given_instances(facts, member))
        for subscription in directory.subscriptions.get(("account", account.id), ()):
            for member in [None, *members]:
                add(subscription, member)
        for member in members:
            for subscription in directory.subscriptions.get(("member", member), ()):
                add(subscription, member)
        for name, one in returned.items():
            instance = returned_instance(facts, name, one)
            if instance is not None:
                found[name] = instance
        in_force = sorted((i for i in found.values() if i.in_force(at)), key=lambda i: i.rank)
        prices = {segment(grant.id): grant for grant in directory.grants.get(account.id, ())}
        return [_balance(instance, used, prices.get(instance.id)) for instance in in_force]


def _balance(instance: Instance, used: Mapping[str, Decimal], given: GivenGrant | None) -> GrantBalance:
    scale = unit_scale(instance.unit)
    before = instance.rolled_from
    spent = {}
    if before is not None and before in used:
        # To 6 places: a figure in hours, rounded to 12, then gives its seconds again.
        spent[before] = used[before] if scale == ONE else round_quantity(used[before] * scale)
    amount = round_amount(instance.granted(spent) / scale)
    drawn = used.get(instance.id, ZERO)
    price = None if given is None or given.bought is None else given.bought.price
    return GrantBalance(
        id=instance.id,
        origin=instance.origin,
        scope=instance.meters,
        member=instance.member,
        unit=instance.unit,
        amount=amount,
        used=drawn,
        remaining=amount - drawn,
        effective=instance.effective,
        expires=instance.expires,
        priority=instance.priority,
        price=price,
        # A running difference of this sums to the price exactly once all is drawn.
        drawn_cost=None if price is None else round_amount(price * drawn / amount),
    )
