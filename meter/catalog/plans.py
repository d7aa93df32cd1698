"""Plans: what a subscription gives and charges (rating.md, sections 4, 5 and 7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from meter.catalog.entry import Entry
from meter.catalog.issues import Place
from meter.catalog.limits import read_limits, read_overage
from meter.catalog.prices import read_price
from meter.model.catalog import Fee, Meter, Plan, PlanGrant, Price, Rollover
from meter.model.money import ZERO, covers_quantity, is_currency

# Wide enough for any count of seats, narrow enough for the database's integer.
COUNT_MAX = 1_000_000
# A hundred years of months.
_PERIODS_MAX = 1200


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan may name. `credited`: the meters that have a rate in credits."""

    meters: Mapping[str, Meter]
    taxes: Collection[str]
    currency: str
    credited: Collection[str]


def read_plans(section: Entry | None, context: PlanContext) -> Mapping[str, Plan]:
    """Return the plans by id."""
    return {} if section is None else {name: _read_plan(name, entry, context) for name, entry in section.names()}


def warn_of_misplaced(entry: Entry) -> None:
    """Warn of discounts and deposits that stand where only a subscription has them."""
    for key in ("discounts", "deposit", "deposits"):
        if key in entry:
            right = "deposit" if key == "deposits" else key
            entry.warn(key, f"does nothing here; write `{right}` into the subscription that it is for")


def _read_plan(name: str, entry: Entry, context: PlanContext) -> Plan:
    title = entry.text("name")
    fee = _read_fee(entry, context)
    warn_of_misplaced(entry)
    prices = _read_prices(entry, context)
    grants: list[PlanGrant] = []
    ids: dict[str, Place] = {}
    for given in entry.entries("grants"):
        grants.append(_read_grant(given, context, prices))
        _unique(given, ids, "grant")
    booked = {*prices, *(meter for grant in grants for meter in grant.meters)}
    limits = read_limits(entry, meters=context.meters, booked=booked)
    entry.done()
    return Plan(id=name, name=title or name, fee=fee, grants=tuple(grants), prices=prices, limits=limits)


def _unique(entry: Entry, ids: dict[str, Place], what: str) -> None:
    name = entry.text("id")
    if name is None:
        return
    if name in ids:
        entry.fault("id", f"{name!r} is the id of another {what} of this plan ({ids[name].path}); choose another")
    else:
        ids[name] = entry.place


def _read_fee(entry: Entry, context: PlanContext) -> Fee | None:
    fee = entry.entry("fee")
    if fee is None:
        return None
    fee.need("amount", "the fee of each period")
    amount = fee.number("amount") or ZERO
    fee.word("every", ("month",))
    timing = fee.word("in", ("advance", "arrears"))
    tax = fee.reference("tax", context.taxes, "tax")
    fee.done()
    return Fee(amount=amount, timing="arrears" if timing == "arrears" else "advance", tax=tax)


def _read_prices(entry: Entry, context: PlanContext) -> Mapping[str, tuple[Price, ...]]:
    found: dict[str, tuple[Price, ...]] = {}
    section = entry.entry("prices")
    if section is None:
        return found
    ids: dict[str, Place] = {}
    for name in section.keys():  # noqa: SIM118 -- an Entry is no dict
        section.check_reference(name, context.meters, "meter", section.at(name))
        meter = context.meters.get(name)
        prices: list[Price] = []
        for given in section.entries(name):
            if meter is None:
                continue
            price = read_price(given, meter, context.taxes)
            _unique(given, ids, "price")
            if price is not None:
                prices.append(price)
        if meter is not None and name in section:
            found[name] = tuple(prices)
    return found


def _read_grant(entry: Entry, context: PlanContext, priced: Collection[str]) -> PlanGrant:
    """Return what the plan gives each period. Money without a scope is for what the plan prices, and nothing else."""
    entry.need("id", "balances and draws name the grant by it")
    grant_id = entry.id("id") or ""
    unit, amount, scope = read_credit(entry, context)
    if is_currency(unit):
        scope = scope if "meters" in entry else tuple(priced)
        if unit != context.currency:
            entry.warn("unit", f"is {unit}, but prices are in {context.currency} and nothing is converted: never drawn")
    entry.word("every", ("month",))
    holder = entry.word("for", ("account", "member"))
    per_seat = entry.flag("per_seat") or False
    priority = entry.integer("priority", least=0, most=COUNT_MAX)
    rollover = _read_rollover(entry)
    overage = read_overage(entry)
    entry.done()
    if per_seat and holder == "member":
        entry.fault("per_seat", "multiplies the account's pool; a grant for each member has no seats")
    return PlanGrant(
        id=grant_id,
        unit=unit,
        amount=amount,
        meters=scope,
        holder="member" if holder == "member" else "account",
        per_seat=per_seat,
        priority=100 if priority is None else priority,
        rollover=rollover,
        overage=overage,
    )


def _read_rollover(entry: Entry) -> Rollover | None:
    rollover = entry.entry("rollover")
    if rollover is None:
        return None
    rollover.need("max", "the most that goes into the next period")
    most = rollover.number("max") or ZERO
    periods = rollover.integer("periods", least=1, most=_PERIODS_MAX)
    rollover.done()
    return Rollover(most=most, periods=1 if periods is None else periods)


def read_credit(entry: Entry, context: PlanContext) -> tuple[str, Decimal, tuple[str, ...]]:
    """Return unit, amount and scope of a grant: the meters it names, else all that it could be for."""
    entry.need("unit", "what it is counted in: a meter's unit, credit or a currency")
    unit = entry.text("unit") or ""
    entry.need("amount", "how much is given")
    amount = entry.number("amount", above=ZERO) or ZERO
    if "meters" in entry:
        return unit, amount, _named_scope(entry, unit, context)
    if unit == "credit":
        if not context.credited:
            entry.warn("unit", "is credit, but no meter has a rate in `credits.rates`: it covers nothing")
        return unit, amount, tuple(name for name in context.meters if name in context.credited)
    if is_currency(unit):
        return unit, amount, tuple(context.meters)
    scope = tuple(name for name, meter in context.meters.items() if meter.unit == unit)
    if unit and not scope:
        units = sorted({meter.unit for meter in context.meters.values()})
        entry.fault("unit", f"{unit[:40]!r} is no meter's unit{entry.faults.suggestion(unit, units)}")
    return unit, amount, scope


def _named_scope(entry: Entry, unit: str, context: PlanContext) -> tuple[str, ...]:
    scope: list[str] = []
    for name, place in entry.texts("meters"):
        entry.check_reference(name, context.meters, "meter", place)
        if name not in context.meters:
            continue
        counted = context.meters[name].unit
        if unit and covers_quantity(unit) and counted != unit:
            entry.faults.add(place, f"{name} counts in {counted}, which a grant in {unit} cannot cover")
        elif unit == "credit" and name not in context.credited:
            entry.faults.warn(place, f"{name} has no rate in `credits.rates`, so credit does not cover it")
        scope.append(name)
    return tuple(scope)
