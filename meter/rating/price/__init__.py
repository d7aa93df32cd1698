"""Quantities to money (rating.md, section 5). Pure. The caller computes in the context `EXACT`, as the fold does.

choose ──▶ Price ──compile_price──▶ Tariff.charge(Tally, quantity) ──▶ amount ──▶ capped ──▶ discounted
                                    Tariff.steps(Tally, quantity)  ──▶ the same amount, term by term

A new model is a function in `models` that gives a `Curve` (in `per_event` a `Rule`, if it prices each event by itself),
a case where models are told apart, a label in `steps` for each kind of term it has, and its tests.
"""

from meter.rating.price.choose import choose
from meter.rating.price.limits import Capped, capped, discounted, true_up
from meter.rating.price.models import first_flat
from meter.rating.price.steps import Step, step_text
from meter.rating.price.tally import Priced, Tally
from meter.rating.price.tariff import Tariff, compile_price, cumulative, falls, price_quantity, steps_between

__all__ = [
    "Capped",
    "Priced",
    "Step",
    "Tally",
    "Tariff",
    "capped",
    "choose",
    "compile_price",
    "cumulative",
    "discounted",
    "falls",
    "first_flat",
    "price_quantity",
    "step_text",
    "steps_between",
    "true_up",
]
