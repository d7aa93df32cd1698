"""What a bill of the second rater sums to: rounding groups, taxes, shares, and the balance of each grant."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.reference.account import Account
from tests.reference.credit import Instance
from tests.reference.facts import Facts
from tests.reference.lines import Line
from tests.reference.values import PLACES, ZERO, exact, rounded


def group_of(line: Line) -> tuple[Any, ...]:
    """What is rounded together."""
    return (line.account, line.period.start, line.meter, line.site, line.settlement, line.currency,
            line.tax or (None, None, None))  # fmt: skip


def groups(lines: list[Line]) -> dict[Any, Fraction]:
    """The rounded sum of each group."""
    found: dict[Any, Fraction] = defaultdict(Fraction)
    for line in lines:
        found[group_of(line)] += line.amount
    return {group: rounded(amount, PLACES[group[5]]) for group, amount in found.items()}


def taxes(lines: list[Line]) -> dict[Any, Fraction]:
    """The tax on account, by account, service period, rate, inclusiveness and currency."""
    base: dict[Any, Fraction] = defaultdict(Fraction)
    for group, amount in groups([line for line in lines if line.settlement == "account" and line.tax]).items():
        base[group[0], group[1], group[6][1], group[6][2], group[5]] += amount
    found = {}
    for group, amount in base.items():
        rate, inclusive = group[2], group[3]
        found[group] = rounded(amount * rate / (1 + rate) if inclusive else amount * rate, PLACES[group[4]])
    return found


def shared(lines: list[Line]) -> dict[Any, Fraction]:
    """What of each group belongs to whom: net of the tax in it, before money grants."""
    found: dict[Any, Fraction] = defaultdict(Fraction)
    for line in lines:
        revenue = line.amount + line.granted
        if line.tax and line.tax[2]:
            revenue /= 1 + (line.tax[1] or 0)
        for share in line.shares:
            found[*group_of(line), share] += revenue * share[1]
    return {group: rounded(amount, PLACES[group[5]]) for group, amount in found.items()}


@dataclass(frozen=True)
class Balance:
    """An instance at an instant; granted = used + remaining + rolled + expired."""

    amount: Fraction
    used: Fraction
    remaining: Fraction
    rolled: Fraction
    expired: Fraction


def instances(facts: Facts, account: Account, at: datetime) -> dict[str, Instance]:
    """Every instance that the account has had up to `at`, whoever draws it."""
    members = [None, *facts.linked()]
    found: dict[str, Instance] = {}
    starts = [p for p in facts.periods(account.name) if p.start <= at]
    for period in starts[-6:]:
        for member in members:
            for sub in [None, *facts.paying(account.name)]:
                if sub is None or sub["account"] or sub["member"] == member:
                    for one in account.credit.instances(member, sub, period):
                        if one.effective <= at:
                            found[one.id] = one
    return found


def balances(facts: Facts, account: Account, at: datetime) -> dict[str, Balance]:
    """The balances at `at` of the instances that the account has had, by today's knowledge of all lines."""
    used: dict[str, Fraction] = defaultdict(Fraction)
    for line in account.lines:
        if line.key[0] <= at:
            for name, amount in line.draws.items():
                used[name] += amount
    found = {}
    for name, one in instances(facts, account, at).items():
        amount = rounded(one.amount / one.factor, 12)
        used[name] += account.credit.begun[name] / one.factor
        left, rolled = amount - used[name], ZERO
        if at >= one.expires:
            if one.rollover is not None and _goes_on(facts, one):
                rolled = min(exact(one.rollover["max"]), left)
            found[name] = Balance(amount, used[name], ZERO, rolled, left - rolled)
        else:
            found[name] = Balance(amount, used[name], left, ZERO, ZERO)
    return found


def _goes_on(facts: Facts, one: Instance) -> bool:
    """Whether the instance's subscription lasts past its end."""
    sub = facts.subscriptions[one.id.split("/")[0]]
    return facts.sub_span(sub)[1] > one.expires
