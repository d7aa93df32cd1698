"""The terms of usage: what a meter's usage by somebody under some plan may draw, and what it costs.

Looked up for every line, and the same for most of a period: kept in the facts' memo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from meter.model.catalog import Catalog, CreditRate, Meter, PassThrough, Percentage, Plan, Price
from meter.model.charge import LineTax
from meter.model.directory import Discount, Subscription
from meter.model.event import Json
from meter.model.money import is_currency, unit_scale
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants import Orders, orders
from meter.rating.measure import CAN_FALL
from meter.rating.price import Tariff, compile_price, falls
from meter.rating.sale import line_tax
from meter.rating.state import TotalKey

# Lanes of one account that are kept: members x meters of two periods for a large account, then begun anew.
_LANES_MAX: Final = 16_384
FEES: Final = "fees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The terms, and the currency that the account pays in.

    `billed` False: the plan neither prices nor grants the meter, so nothing is booked. `note` says why nothing can be
    priced, whatever the dimensions. `per` is how many base units a unit has. `falls`: quantities or amounts can be
    negative, and then give credit back.
    """

    catalog: Catalog
    meter: Meter
    plan: Plan | None
    subscription: Subscription | None
    billed: bool
    currency: str
    note: str | None
    per: Decimal
    prices: tuple[Price, ...]
    tariffs: Mapping[str, Tariff]
    orders: Orders
    rates: tuple[CreditRate, ...]
    discounts: tuple[Discount, ...]
    falls: bool
    # Prices that have a minimum in some version: whatever counts towards it may be priced by another one.
    minimums: frozenset[str]
    # The only price, if it fits whatever the usage is; prices whose amount comes from another, which has a currency;
    # prices whose amount nothing lowers, but money that refunds gave back.
    sole: Price | None
    in_money: frozenset[str]
    plain: frozenset[str]
    # By price, so that they are made once: whose quantities add up, and the tax by site where no sale line has its own.
    keys: dict[str, TotalKey] = field(default_factory=dict, repr=False)
    taxes: dict[tuple[str, str], LineTax | None] = field(default_factory=dict, repr=False)

    def total_key(self, price: Price | None, member: str | None) -> TotalKey:
        """Return whose quantities a line of `member` adds to; the lane is that member's alone."""
        name = "" if price is None else price.id
        found = self.keys.get(name)
        if found is None:
            plan = "" if self.plan is None else self.plan.id
            if price is None:
                found = TotalKey(plan, "", "", self.meter.id, "")
            else:
                found = TotalKey(plan, price.id, price.content, "", (member or "") if price.per == "member" else "")
            self.keys[name] = found
        return found

    def tax(self, site: str, price: Price | None, item: Mapping[str, Json] | None) -> LineTax | None:
        """Return the tax of a line."""
        if item is not None:
            return line_tax(self.catalog, site, price, item)
        key = (site, "" if price is None else price.id)
        if key not in self.taxes:
            self.taxes[key] = line_tax(self.catalog, site, price, None)
        return self.taxes[key]


def lane_of(
    facts: AccountFacts,
    *,
    catalog: Catalog,
    meter: Meter,
    member: str | None,
    subscription: Subscription | None,
    period: Period,
) -> Lane:
    """Return the terms of usage of `meter` by `member` under `subscription` (None: the default plan) in `period`."""
    key = (catalog.version, meter.id, member, None if subscription is None else subscription.id, period.start)
    found: Lane | None = facts.memo.get(key)
    if found is None:
        if len(facts.memo) >= _LANES_MAX:
            facts.memo.clear()
        found = facts.memo[key] = _lane(
            facts, catalog=catalog, meter=meter, member=member, subscription=subscription, period=period
        )
    return found


def _lane(
    facts: AccountFacts,
    *,
    catalog: Catalog,
    meter: Meter,
    member: str | None,
    subscription: Subscription | None,
    period: Period,
) -> Lane:
    name = catalog.default_plan if subscription is None else subscription.plan
    plan = None if name is None else catalog.plans.get(name)
    currency = facts.currency_at(period.start)
    prices = () if plan is None else plan.prices.get(meter.id, ())
    note = None
    if plan is None:
        note = "the account has no plan at this time"
    elif catalog.currency != currency and prices:
        note = f"the prices are in {catalog.currency}, the account pays in {currency}"
    per = unit_scale(meter.unit)
    minimums = frozenset() if plan is None else _minimums(facts, plan.id, meter.id)
    discounts = tuple(discounts_on(subscription, meter.id))
    drawn = orders(facts, meter=meter, member=member, subscription=subscription, period=period)
    tariffs = {price.id: compile_price(price, per) for price in prices}
    return Lane(
        catalog=catalog,
        meter=meter,
        plan=plan,
        subscription=subscription,
        billed=plan is None or meter.id in plan.meters,
        currency=currency,
        note=note,
        per=per,
        prices=prices,
        tariffs=tariffs,
        orders=drawn,
        rates=catalog.credit_rates.get(meter.id, ()),
        discounts=discounts,
        falls=meter.id in _falling(facts),
        minimums=minimums,
        sole=prices[0] if len(prices) == 1 and prices[0].when is None and not prices[0].match else None,
        in_money=frozenset(
            price.id for price in prices if isinstance(price.model, PassThrough | Percentage) or is_currency(meter.unit)
        ),
        plain=frozenset(
            price.id
            for price in prices
            if not discounts
            and not drawn.money
            and price.id not in minimums
            and price.day_cap is None
            and price.period_cap is None
        ),
    )


def _falling(facts: AccountFacts) -> frozenset[str]:
    """Return the meters of which some quantity or some price's amount can be negative in any version of the catalog.

    A negative one gives back what was paid or drawn for the meter under any plan, so all of that is remembered.
    """
    found: frozenset[str] | None = facts.memo.get("falling")
    if found is None:
        meters = set()
        for version in facts.catalogs.versions:
            meters |= {meter.id for meter in version.meters.values() if meter.aggregate in CAN_FALL}
            for plan in version.plans.values():
                meters |= {meter for meter, prices in plan.prices.items() if any(falls(p.model) for p in prices)}
        found = facts.memo["falling"] = frozenset(meters)
    return found


def _minimums(facts: AccountFacts, plan: str, meter: str) -> frozenset[str]:
    """Return the prices of a plan's meter that have a minimum in any version of the catalog."""
    plans = (version.plans.get(plan) for version in facts.catalogs.versions)
    prices = (price for found in plans if found is not None for price in found.prices.get(meter, ()))
    return frozenset(price.id for price in prices if price.period_minimum is not None)


def discounts_on(subscription: Subscription | None, what: str) -> list[Discount]:
    """Return the discounts of a subscription that lower usage of a meter, or `FEES`."""
    if subscription is None:
        return []
    return [discount for discount in subscription.discounts if not discount.on or what in discount.on]
