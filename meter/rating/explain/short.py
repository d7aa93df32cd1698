"""A charge in one line."""

from __future__ import annotations

from meter.model.charge import REFUND_PART, Charge, Line
from meter.model.money import is_currency, plain
from meter.rating.calendar import CREDIT_SALE, DEPOSIT, MEMBERSHIP
from meter.rating.corrections import reversed_line
from meter.rating.explain.booked import tax_text


def short_text(charge: Charge) -> str:
    """Return a charge's arithmetic in one line, from the charge alone."""
    line = charge.line
    unit, currency = line.unit, line.currency
    if charge.role == "reversal":
        taken_back = reversed_line(line)
        return (
            f"takes back {plain(taken_back.quantity)} {unit}, {plain(taken_back.amount)} {currency} ({charge.corrects})"
        )
    if REFUND_PART in line.key.part.split("/"):
        return _refund_text(line)
    if line.settlement == "paid":
        tip = "" if not line.tip else f", tip {plain(line.tip)}"
        return f"paid at the till: {plain(line.amount)} {currency} net{tax_text(charge)}{tip}"
    if line.kind == "minimum":
        return f"missing to the minimum of price {line.price}: {plain(line.amount)} {currency}"
    if line.meter == MEMBERSHIP:
        return f"{plain(line.quantity)} {unit} of plan {line.plan}: {plain(line.amount)} {currency}"
    if line.meter == DEPOSIT:
        return f"deposit: {plain(line.amount)} {currency}"
    if line.key.of_expiry:
        return f"{plain(line.quantity)} {unit} bought in advance expired unused"
    if line.meter == CREDIT_SALE:
        return f"{plain(line.quantity)} {unit} bought in advance: {plain(line.amount)} {currency}"
    if line.key.of_tip:
        return f"tip: {plain(line.amount)} {currency}"
    return _usage_text(line)


def _usage_text(line: Line) -> str:
    estimated = ", estimated" if line.estimated else ""
    said = f"{plain(line.quantity)} {line.unit}{estimated}"
    covers = [draw for draw in line.draws if not is_currency(draw.unit)]
    if covers:
        drawn = " and ".join(f"{plain(draw.amount)} from {draw.grant}" for draw in covers)
        said += f", {drawn}, leaves {plain(line.billable)}"
    if line.unpriced:
        return f"{said}; no price applies yet"
    if line.covered and not line.billable:
        return f"{said}; covered by credit"
    by = "" if line.price is None else f"price {line.price}: "
    money = "".join(f", after {plain(d.amount)} from {d.grant}" for d in line.draws if is_currency(d.unit))
    return f"{said}; {by}{plain(line.amount)} {line.currency}{money}"


def _refund_text(line: Line) -> str:
    credit = "".join(f" and {plain(-draw.amount)} {draw.unit} to {draw.grant}" for draw in line.draws)
    what = "tip " if line.key.of_tip else ""
    net = " net" if line.settlement == "paid" else ""
    return f"gives back {what}{plain(-line.amount)} {line.currency}{net}{credit}"
