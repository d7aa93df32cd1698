"""Credit: which instances of grants there are, in which order they are drawn, and what a draw leaves (rating.md, 4).

    plan grant x subscription x billing period [x member] ──▶ instance  acme-flex/pages/2026-11[/ada]
    what is left of one that rolls over                   ──▶ instance  acme-flex/pages/2026-11[/ada]/rolled
    given or bought grant                                 ──▶ instance  pack-1
    credit that a refund gives back too late              ──▶ instance  pack-1/returned/berlin%2Ftill/r-1

Instances are derived from the facts, never stored; what is kept is how much of each was used. The catalog in force when
the subscription's part of the period begins decides what the plan gives in it.
"""

from __future__ import annotations

from typing import NamedTuple

from meter.model.catalog import Meter
from meter.model.directory import Subscription
from meter.model.money import is_currency
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants.balance import GrantBalance, balances
from meter.rating.grants.draw import CREDIT, draw, rate_of
from meter.rating.grants.given import find, given_id, given_instances, returned_id, returned_instance, returned_of
from meter.rating.grants.instance import Instance, Origin, in_scope
from meter.rating.grants.plan import plan_instances
from meter.rating.grants.rollover import rolled_instances
from meter.rating.grants.spans import member_spans, overlap

__all__ = [
    "CREDIT",
    "GrantBalance",
    "Instance",
    "Orders",
    "Origin",
    "balances",
    "draw",
    "find",
    "given_id",
    "given_instances",
    "in_scope",
    "member_spans",
    "orders",
    "overlap",
    "plan_instances",
    "rate_of",
    "returned_id",
    "returned_instance",
    "returned_of",
    "rolled_instances",
]


class Orders(NamedTuple):
    """What usage may draw, the first to burn first: before pricing (units and credits), and after it (money)."""

    quantity: tuple[Instance, ...]
    money: tuple[Instance, ...]


def orders(
    facts: AccountFacts, *, meter: Meter, member: str | None, subscription: Subscription | None, period: Period
) -> Orders:
    """Return the instances that usage of `meter` by `member` under `subscription` may draw, the first to burn first.

    Whether one is in force at an instant and has something left is for the caller to see.
    """
    instances = [] if subscription is None else plan_instances(facts, subscription, period, member)
    if subscription is not None:
        instances += rolled_instances(facts, subscription, period, member)
    instances += given_instances(facts, member)
    eligible = sorted((i for i in instances if in_scope(i, meter)), key=lambda i: i.rank)
    currency = facts.currency_at(period.start)
    return Orders(
        tuple(i for i in eligible if not is_currency(i.unit)), tuple(i for i in eligible if i.unit == currency)
    )
