"""What a catalog says about the books: which accounts there are, and what is posted when (docs/ledger.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, TypeAlias

from meter.model.event import Json

Unmapped: TypeAlias = Literal["meter", "suspense"]
Recognition: TypeAlias = Literal["daily", "at_once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeRule:
    """Lines that fit all that is set are income of the account `income`. `kind` is a line's, dimensions a meter's."""

    income: str
    meter: str | None = None
    site: str | None = None
    plan: str | None = None
    kind: str | None = None
    dimensions: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The chart and its rules, of which the first that fits applies.

    `accounts` are by role; the income of a meter is `revenue.METER`. `unmapped`: where the income of a meter goes that
    nothing names. `recognition`: fees in advance are earned day by day, or at once. `locked`: the last day that does
    not change any more.
    """

    accounts: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[IncomeRule, ...] = ()
    unmapped: Unmapped = "meter"
    recognition: Recognition = "daily"
    locked: date | None = None
