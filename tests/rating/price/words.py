"""Words for prices at hand."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from meter.model.catalog import Graduated, Model, PerUnit, Price, Tier, Volume
from meter.rating.price import Step, Tally, price_quantity, steps_between
from meter.rating.price.steps import Label

HOUR = Decimal(3600)
MINUTE = Decimal(60)


def d(text: str | int) -> Decimal:
    return Decimal(text)


def tiers(*given: tuple[str | None, str] | tuple[str | None, str, str]) -> tuple[Tier, ...]:
    """Tiers of (up to, unit price, flat)."""
    return tuple(
        Tier(up_to=d(up_to) if up_to else None, unit_price=d(price), flat=d(flat[0]) if flat else d(0))
        for up_to, price, *flat in given
    )


def graduated(*given: tuple[str | None, str] | tuple[str | None, str, str], flat_at_zero: bool = False) -> Graduated:
    return Graduated(tiers=tiers(*given), flat_at_zero=flat_at_zero)


def volume(*given: tuple[str | None, str] | tuple[str | None, str, str]) -> Volume:
    return Volume(tiers=tiers(*given))


def price(model: Model | None = None, **more: Any) -> Price:
    return Price(id="price", model=model or PerUnit(unit_price=d(1)), **more)


def booked(model: Model, quantities: Iterable[str | int | Decimal], *, per: Decimal = Decimal(1)) -> list[Decimal]:
    """The amounts of lines of these quantities, one after the other."""
    tally, amounts = Tally(), []
    for quantity in quantities:
        amount, tally = price_quantity(model, tally, Decimal(quantity), per=per)
        amounts.append(amount)
    return amounts


def events(model: Model, bases: Iterable[str | int]) -> list[Decimal]:
    """The amounts of events of quantity 1 with these amounts of their own."""
    tally, amounts = Tally(), []
    for base in bases:
        amount, tally = price_quantity(model, tally, d(1), base=d(base))
        amounts.append(amount)
    return amounts


def step(
    label: Label,
    units: str | int,
    unit_price: str | int,
    amount: str | int,
    *,
    flat: str | int = 0,
    above: int = 0,
    up_to: int | None = None,
    size: int | None = None,
) -> Step:
    end, of = (None if figure is None else d(figure) for figure in (up_to, size))
    return Step(label, d(units), d(unit_price), d(flat), d(amount), d(above), end, of)


def steps(model: Model, before: str | int | None, quantity: str | int, **more: Any) -> list[Step]:
    """The steps of `quantity` behind Q = `before` (None: nothing has begun)."""
    tally = Tally() if before is None else Tally(quantity=d(before), begun=True)
    return steps_between(model, tally, d(quantity), **more)
