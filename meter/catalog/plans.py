"""Plans: what a subscription gives and charges (rating.md, sections 4, 5 and 7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from meter.catalog.entry import Entry
from meter.catalog.issues import Place
from meter.catalog.meters import MeterEntry
from meter.catalog.prices import read_price
from meter.model.catalog import Plan, PlanGrant, Price
from meter.model.money import ZERO, covers_quantity

# Wide enough for any count of seats, narrow enough for the database's integer.
COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan may name."""

    meters: Mapping[str, MeterEntry]
    taxes: Collection[str]
    currency: str


def read_plans(section: Entry | None, context: PlanContext) -> Mapping[str, Plan]:
    """Return the plans by id, with what this version rates of them."""
    return {} if section is None else {name: _read_plan(name, entry, context) for name, entry in section.names()}


def _read_plan(name: str, entry: Entry, context: PlanContext) -> Plan:
    title = entry.text("name")
    _read_fee(entry, context)
    for key in ("discounts", "deposit", "deposits"):
        if key in entry:
            entry.warn(key, "is not booked by this version")
    grants: list[PlanGrant] = []
    ids: dict[str, Place] = {}
    for given in entry.entries("grants"):
        grant = _read_grant(given, context)
        _unique(given, ids, "grant")
        if grant is not None:
            grants.append(grant)
    prices = _read_prices(entry, context)
    entry.done()
    return Plan(id=name, name=title or name, grants=tuple(grants), prices=prices)


def _unique(entry: Entry, ids: dict[str, Place], what: str) -> None:
    name = entry.text("id")
    if name is None:
        return
    if name in ids:
        entry.fault("id", f"{name!r} is the id of another {what} of this plan ({ids[name].path}); choose another")
    else:
        ids[name] = entry.place


def _read_fee(entry: Entry, context: PlanContext) -> None:
    fee = entry.entry("fee")
    if fee is None:
        return
    fee.need("amount", "the fee of each period")
    fee.number("amount")
    fee.word("every", ("month",))
    fee.word("in", ("advance", "arrears"))
    fee.reference("tax", context.taxes, "tax")
    fee.done()
    entry.warn("fee", "is not billed by this version: only usage is")


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
            _, price = read_price(given, meter, context.taxes)
            _unique(given, ids, "price")
            if price is not None:
                prices.append(price)
        if meter is not None and meter.rated and name in section:
            found[name] = tuple(prices)
    return found


def _read_grant(entry: Entry, context: PlanContext) -> PlanGrant | None:
    """Return what the plan gives each period; None where this version leaves it out, with a warning."""
    entry.need("id", "balances and draws name the grant by it")
    grant_id = entry.id("id") or ""
    unit, amount, scope = read_credit(entry, context)
    entry.word("every", ("month",))
    holder = entry.word("for", ("account", "member"))
    per_seat = entry.flag("per_seat") or False
    priority = entry.integer("priority", least=0, most=COUNT_MAX)
    rollover = entry.entry("rollover")
    if rollover is not None:
        rollover.need("max", "the most that goes into the next period")
        rollover.number("max")
        rollover.integer("periods", least=1, most=1200)
        rollover.done()
        entry.warn("rollover", "is not carried over by this version: what is left at the period's end is lost")
    entry.done()
    if per_seat and holder == "member":
        entry.fault("per_seat", "multiplies the account's pool; a grant for each member has no seats")
    rated = tuple(meter for meter in scope if context.meters[meter].rated)
    if not covers_quantity(unit) or not rated:
        return None
    return PlanGrant(
        id=grant_id,
        unit=unit,
        amount=amount,
        meters=rated,
        holder="member" if holder == "member" else "account",
        per_seat=per_seat,
        priority=100 if priority is None else priority,
    )


def read_credit(entry: Entry, context: PlanContext) -> tuple[str, Decimal, tuple[str, ...]]:
    """Return unit, amount and scope of a grant: the meters it names, else all that it could cover."""
    entry.need("unit", "what it is counted in: a meter's unit, credit or a currency")
    unit = entry.text("unit") or ""
    entry.need("amount", "how much is given")
    amount = entry.number("amount", above=ZERO) or ZERO
    scope: list[str] = []
    for meter, place in entry.texts("meters"):
        entry.check_reference(meter, context.meters, "meter", place)
        if meter not in context.meters:
            continue
        counted = context.meters[meter].meter.unit
        if unit and covers_quantity(unit) and counted != unit:
            entry.faults.add(place, f"{meter} counts in {counted}, which a grant in {unit} cannot cover")
        scope.append(meter)
    if "meters" not in entry:
        scope = [
            name for name, meter in context.meters.items() if meter.meter.unit == unit or not covers_quantity(unit)
        ]
        if unit and covers_quantity(unit) and not scope:
            units = sorted({meter.meter.unit for meter in context.meters.values()})
            entry.fault("unit", f"{unit[:40]!r} is no meter's unit{entry.faults.suggestion(unit, units)}")
    if unit and not covers_quantity(unit):
        entry.warn("unit", f"{unit} grants are not drawn by this version: usage is billed without them")
    return unit, amount, tuple(scope)
