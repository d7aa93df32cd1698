"""Sales at the bar: coffee at arrival and after lunch, a sandwich between, strangers who only drop in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

from meter.simulate.dice import Dice, digest
from meter.simulate.event import HOUR_MS, MINUTE_MS, SECOND_MS, Happening
from meter.simulate.population import Space
from meter.simulate.visits import Visit

DEVICE: Final = "pos/bar"
# sku, name, category, gross price in cents, tax name, tax in percent. Drinks and food are taxed differently.
_MenuItem = tuple[str, str, str, int, str, int]
_COFFEE: Final[tuple[_MenuItem, ...]] = (
    ("espresso", "Espresso", "drinks", 230, "vat19", 19),
    ("flat-white", "Flat white", "drinks", 380, "vat19", 19),
    ("filter", "Filter coffee", "drinks", 290, "vat19", 19),
    ("tea", "Pot of tea", "drinks", 350, "vat19", 19),
)
_FOOD: Final[tuple[_MenuItem, ...]] = (
    ("sandwich", "Sandwich", "food", 690, "vat7", 7),
    ("soup", "Soup of the day", "food", 750, "vat7", 7),
    ("cake", "Slice of cake", "food", 420, "vat7", 7),
)
_CLOSED: Final = (0, 0)
_SATURDAY: Final = 5
_TIP_PERCENT: Final = {"paid": 20, "account": 5}
_TIPS_CENTS: Final = (20, 50, 50, 100)


def bar_hours(day: date) -> tuple[int, int]:
    """Return when the bar sells on `day`, in milliseconds of the local day: not at all on Sundays."""
    if day.weekday() > _SATURDAY:
        return _CLOSED
    return (10 * HOUR_MS, 15 * HOUR_MS) if day.weekday() == _SATURDAY else (8 * HOUR_MS, 17 * HOUR_MS + 30 * MINUTE_MS)


def member_sales(visit: Visit, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield what a member buys on one visit. Some pay on account, some at once, and some at once without a name."""
    if visit.member is None:
        return
    dice = Dice(seed, day, visit.badge, "bar")
    opens, closes = bar_hours(day)
    wishes = [(visit.arrival, 55, _COFFEE, 0)]
    if visit.lunch_return is not None:
        wishes.append((visit.lunch_return, 55, _COFFEE, 15))
    else:
        wishes.append((12 * HOUR_MS + dice.between(0, 60) * MINUTE_MS, 45, _FOOD, 50))
    wishes.append((15 * HOUR_MS + dice.between(0, 90) * MINUTE_MS, 20, _COFFEE, 40))
    for moment, likely, menu, cake in wishes:
        at = moment + dice.between(60, 480) * SECOND_MS + dice.between(0, 999)
        if not dice.chance(likely) or not opens <= at < closes or not visit.present(at, at):
            continue
        items = [dice.pick(menu), *([_FOOD[2]] if dice.chance(cake) else [])]
        way = dice.between(0, 99)
        known = visit.member.square if way < 85 else None
        yield _sale(dice, at, known, items, "account" if way < 45 else "paid")


def walk_in_sales(space: Space, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield what guests without a name buy: always paid at the till."""
    dice = Dice(seed, day, space.site.id, "guests")
    opens, closes = bar_hours(day)
    for _ in range(dice.between(4, 14) if closes > opens else 0):
        items = [dice.pick(_COFFEE), *([dice.pick(_FOOD)] if dice.chance(35) else [])]
        yield _sale(dice, dice.between(opens, closes), None, items, "paid")


def _sale(dice: Dice, at_ms: int, subject: str | None, items: list[_MenuItem], settlement: str) -> Happening:
    lines = []
    total = 0
    for sku, name, category, price, tax_name, percent in items:
        quantity = 2 if dice.chance(8) else 1
        gross = price * quantity
        # net = gross / (1 + tax), to the cent, half up: the till works from prices that include tax.
        net = (2 * 100 * gross + 100 + percent) // (2 * (100 + percent))
        total += gross
        lines.append(
            {
                "sku": sku,
                "name": name,
                "category": category,
                "quantity": quantity,
                "amount": _euros(net),
                "tax": _euros(gross - net),
                "tax_name": tax_name,
            }
        )
    order = digest(at_ms, subject, dice.between(0, 1 << 60))
    data: dict[str, object] = {"order": order, "currency": "EUR", "lines": lines}
    if dice.chance(_TIP_PERCENT[settlement]):
        tip = dice.pick(_TIPS_CENTS)
        total += tip
        data["tip"] = _euros(tip)
    data |= {"total": _euros(total), "settlement": settlement}
    return Happening(at_ms=at_ms, device=DEVICE, type="pos.sale", subject=subject, data=data)


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
