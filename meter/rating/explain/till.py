"""What a till settled by itself: a paid sale with its own figures, and tips."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meter.model.charge import Line
from meter.model.money import ZERO, plain


def till_json(line: Line) -> dict[str, Any]:
    """Return the till's figures as JSON values; `gap` is what they leave to its total, which goes to rounding."""
    tax = None if line.tax is None else line.tax.amount
    return {
        "net": plain(line.amount),
        "tax": _plain(tax),
        "tip": _plain(line.tip),
        "total": _plain(line.total),
        "gap": _plain(_gap(line)),
    }


def till_text(line: Line) -> list[str]:
    """Return the till's figures as a line of text."""
    if line.settlement != "paid":
        return [f"Tip: {plain(line.amount)} {line.currency}, passed on without tax"]
    tax = "" if line.tax is None or line.tax.amount is None else f" + {plain(line.tax.amount)} tax"
    tip = "" if not line.tip else f" + {plain(line.tip)} tip"
    gap = _gap(line)
    rest = f", {plain(gap)} of it rounding" if gap else ""
    total = "" if line.total is None else f"; {plain(line.total)} in all{rest}"
    return [f"Till: {plain(line.amount)} net{tax}{tip} {line.currency}{total}"]


def _gap(line: Line) -> Decimal | None:
    if line.total is None:
        return None
    tax = ZERO if line.tax is None else line.tax.amount or ZERO
    return line.total - line.amount - tax - (line.tip or ZERO)


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
