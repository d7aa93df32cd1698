"""Which income account a line's revenue belongs to: rules, then the meter's, then suspense or one by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meter.export.journal.chart import in_chart, named_account, role_account, suspense_account
from meter.model.catalog import Catalog
from meter.model.charge import Line
from meter.model.event import Json
from meter.model.ledger import IncomeRule
from meter.rating.calendar import CREDIT_SALE, DEPOSIT
from meter.rating.values import MISSING, same

# What is owed to the member after it was paid for is no income: meters of fees, by the role that gets them.
_OWED = {DEPOSIT: "deposits", CREDIT_SALE: "deferred"}


class Earning(NamedTuple):
    """What rules look at of a line."""

    meter: str
    site: str
    plan: str | None
    kind: str
    dimensions: Mapping[str, Json]


def earning_of(line: Line) -> Earning:
    """Return what rules look at of `line`."""
    return Earning(line.meter, line.site, line.plan, line.kind, line.dimensions)


def income_account(catalog: Catalog, earning: Earning) -> str:
    """Return the income account. A refund has a rule of its own, else `refunds`, else the account of its sale."""
    if earning.kind == "refund":
        rule = next((r for r in catalog.ledger.rules if r.kind == "refund" and _fits(r, earning)), None)
        if rule is not None:
            return in_chart(catalog, rule.income)
        return named_account(catalog, "refunds") or income_account(catalog, earning._replace(kind="usage"))
    for rule in catalog.ledger.rules:
        if _fits(rule, earning):
            return in_chart(catalog, rule.income)
    named = named_account(catalog, f"revenue.{earning.meter}")
    if named is not None:
        return named
    if catalog.ledger.unmapped == "suspense":
        return suspense_account(catalog)
    return in_chart(catalog, f"income:{earning.meter}")


def credited_account(catalog: Catalog, line: Line) -> str:
    """Return what a line is credited to: tips, deposits and credit sold ahead are owed, the rest is income."""
    if line.key.of_tip:
        return role_account(catalog, "tips")
    if line.meter in _OWED:
        return role_account(catalog, _OWED[line.meter])
    return income_account(catalog, earning_of(line))


def _fits(rule: IncomeRule, earning: Earning) -> bool:
    wanted = (rule.meter, rule.site, rule.plan, rule.kind)
    return all(one is None or one == own for one, own in zip(wanted, earning, strict=False)) and all(
        same(earning.dimensions.get(name, MISSING), value) for name, value in rule.dimensions.items()
    )
