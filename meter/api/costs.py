"""What a change of facts would book, as JSON."""

from __future__ import annotations

from collections.abc import Iterable

from meter.api.routing import DecimalText, InstantText, Model
from meter.booking.preview import AccountPreview
from meter.model.charge import Line
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.rating.corrections import Difference


class FiguresJson(Model, kw_only=True):
    """A line's quantity and exact amount."""

    quantity: DecimalText
    amount: DecimalText


class LineCostJson(Model, kw_only=True):
    """A line that would change. `source` null: it falls due without an event; `before` null: nothing stands for it.

    `after` null: nothing would. `corrects` is the charge that stands.
    """

    time: InstantText
    source: str | None
    id: str
    meter: str
    corrects: str | None
    before: FiguresJson | None
    after: FiguresJson | None


class AccountCostJson(Model, kw_only=True):
    """By how much an account's rounded lines would change, and the tax on top of them; `fault`: it cannot be folded."""

    account: str
    currency: str
    difference: DecimalText
    tax: DecimalText
    fault: str | None
    lines: list[LineCostJson]


def costs_json(found: Iterable[AccountPreview]) -> list[AccountCostJson]:
    """Return every account for which anything would be booked, with every line."""
    return [
        AccountCostJson(
            account=one.account,
            currency=one.currency,
            difference=plain(one.net),
            tax=plain(one.tax),
            fault=one.fault,
            lines=[_line(difference) for difference in one.differences],
        )
        for one in found
    ]


def _line(difference: Difference) -> LineCostJson:
    key, stands = difference.key, difference.standing
    return LineCostJson(
        time=instant_text(key.time),
        source=key.source or None,
        id=key.id,
        meter=key.meter,
        corrects=None if stands is None else stands.id,
        before=None if stands is None else _figures(stands.line),
        after=None if difference.line is None else _figures(difference.line),
    )


def _figures(line: Line) -> FiguresJson:
    return FiguresJson(quantity=plain(line.quantity), amount=plain(line.amount))
