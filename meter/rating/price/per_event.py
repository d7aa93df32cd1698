"""Models that price each event by itself. An event of which credit left nothing pays nothing and does not count."""

from __future__ import annotations

from decimal import Decimal

from meter.model.catalog import Flat, Percentage
from meter.model.errors import Broken
from meter.model.money import EXACT, ONE, ZERO, round_amount
from meter.rating.price.rule import Rule
from meter.rating.price.steps import Step, Term, steps_from
from meter.rating.price.tally import Priced, Tally


def flat(model: Flat) -> Rule:
    """The same amount for each event that has something to pay for."""
    amount = round_amount(model.amount)

    def charge(tally: Tally, quantity: Decimal, _base: Decimal | None = None, /) -> Priced:
        before, begun, events, base, day_capped = tally
        pays = quantity > ZERO
        after = Tally(before + quantity, begun or pays, events + pays, base, day_capped)
        return Priced(amount if pays else ZERO, after)

    def steps(_tally: Tally, quantity: Decimal, _base: Decimal | None = None, /) -> list[Step]:
        return steps_from([], [Term("event", ONE, model.amount)]) if quantity > ZERO else []

    return Rule(charge, steps, None)


def percentage(model: Percentage) -> Rule:
    """A share of each event's own amount, after the events and the amount that are free."""

    def charge(tally: Tally, quantity: Decimal, base: Decimal | None = None, /) -> Priced:
        after = tally.quantity + quantity
        if quantity <= ZERO:
            return Priced(ZERO, tally._replace(quantity=after))
        base = _given(base)
        share = _above_free(model, tally, base)
        counted = Tally(after, share is not None, tally.events + 1, tally.base + base, tally.day_capped)
        if share is None:
            return Priced(ZERO, counted)
        return Priced(round_amount(_within(model, EXACT.fma(share, model.rate, model.fixed))), counted)

    def steps(tally: Tally, quantity: Decimal, base: Decimal | None = None, /) -> list[Step]:
        if quantity <= ZERO:
            return []
        base = _given(base)
        share = _above_free(model, tally, base)
        if share is None:
            return steps_from([], [Term("free_amount", base)])
        amount = EXACT.fma(share, model.rate, model.fixed)
        limited = _within(model, amount) - amount
        found = [Term("rate", share, model.rate)]
        if share != base:
            found.insert(0, Term("free_amount", base - share))
        if model.fixed:
            found.append(Term("fixed", ZERO, flat=model.fixed))
        if limited:
            found.append(Term("maximum" if limited < ZERO else "minimum", ZERO, flat=limited))
        return steps_from([], found)

    return Rule(charge, steps, None)


def _above_free(model: Percentage, tally: Tally, base: Decimal) -> Decimal | None:
    """Return what of `base` the rate applies to; None for a free event. Once an event has paid, all pay in full."""
    events, amount = model.free_events, model.free_amount
    if tally.begun or (events is None and amount is None) or (events is not None and tally.events >= events):
        return base
    if amount is None:
        return None
    beyond = tally.base + base - amount
    return beyond if beyond > ZERO else None


def _within(model: Percentage, amount: Decimal) -> Decimal:
    if model.minimum is not None and amount < model.minimum:
        amount = model.minimum
    return model.maximum if model.maximum is not None and amount > model.maximum else amount


def _given(base: Decimal | None) -> Decimal:
    if base is None:
        raise Broken(
            "a percentage is charged without the amount of its event; read the price's field first", code="no_base"
        )
    return base
