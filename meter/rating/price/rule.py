"""What a model is made into: functions of a tally and a quantity."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple, Protocol

from meter.rating.price.steps import Step
from meter.rating.price.tally import Priced, Tally


class Charge(Protocol):
    """Price a quantity on top of a tally; `base` is a percentage's amount, scaled to what credit left of it."""

    def __call__(self, tally: Tally, quantity: Decimal, base: Decimal | None = None, /) -> Priced: ...


class Steps(Protocol):
    """Name the terms of what `Charge` asks for the same arguments."""

    def __call__(self, tally: Tally, quantity: Decimal, base: Decimal | None = None, /) -> list[Step]: ...


class Rule(NamedTuple):
    """A model made ready. `at` is P, None for models that price each event by itself."""

    charge: Charge
    steps: Steps
    at: Callable[[Decimal], Decimal] | None
