"""What a refund gave back: of which sale, which share, in the till's figures and of the line."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from meter.model.charge import Line
from meter.model.money import EXACT, plain, round_quantity, unit_scale
from meter.rating.evidence import GivenBack
from meter.rating.explain.words import in_units, percent_text
from meter.rating.sold import Returned, Sold, SoldDraw, SoldLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """The share of a sale's line that was given back `before` this refund and is `after` it, and the till's figures.

    `now`: of the sale as a whole, gross, net, tax and tip.
    """

    sale: Sold
    before: Fraction
    after: Fraction
    now: Returned
    left: Decimal
    of: SoldLine | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; shares are rounded to 6 places."""
        sale, now = self.sale, self.now
        return {
            "sale": {"source": sale.position.source, "id": sale.position.id, "settlement": sale.settlement},
            "total": plain(sale.total),
            "gross": plain(now.gross),
            "net": plain(now.net),
            "tax": plain(now.tax),
            "tip": plain(now.tip),
            "left": plain(self.left),
            "share_before": plain(_rounded(self.before)),
            "share_after": plain(_rounded(self.after)),
            "charged": None if self.of is None else plain(self.of.amount),
            "drawn": [
                {"grant": draw.instance, "unit": draw.unit, "amount": drew, "back": back}
                for draw, drew, back in self._drawn()
            ],
        }

    def _drawn(self) -> list[tuple[SoldDraw, str, str]]:
        """Return the draws of the sale's line, each with what it took and what of that had come back before."""
        draws = () if self.of is None else self.of.draws
        scales = [unit_scale(draw.unit) for draw in draws]
        return [
            (draw, plain(in_units(draw.amount, scale)), plain(in_units(draw.back, scale)))
            for draw, scale in zip(draws, scales, strict=True)
        ]

    def text(self, line: Line) -> list[str]:
        """Return it as lines of text."""
        sale, now = self.sale, self.now
        of_sale = f"sale {sale.position.id} from {sale.position.source}"
        total = f"{plain(sale.total)} {sale.currency}"
        out = [f"Refund: {plain(now.gross)} of {total} of the {of_sale}, {plain(self.left)} left"]
        if line.settlement == "paid":
            tip = f", {plain(now.tip)} tip" if sale.tip else ""
            out.append(f"  as the till took it: {plain(now.net)} net, {plain(now.tax)} tax{tip}")
        elif self.of is not None:
            before = f", {_percent(self.before)} before" if self.before else ""
            share = f"{_percent(self.after - self.before)} of its line{before}"
            charged = f"the {plain(self.of.amount)} {line.currency} charged"
            out.append(f"  {share}: {charged} first, then the credit, the last drawn first")
            out += [
                f"  of the {drew} {draw.unit} that it drew from {draw.instance}, {back} had come back before"
                for draw, drew, back in self._drawn()
                if draw.back
            ]
        return out


def refund_of(given: GivenBack, line: Line) -> Refund:
    """Return what a refund's line gives back."""
    before, after = given.before, given.after
    of = next((one for one in before.lines if _is_of(one, line)), None)
    figures = (new - old for new, old in zip(after.returned, before.returned, strict=True))
    return Refund(
        sale=before,
        before=_share(before, of),
        after=_share(after, of),
        now=Returned(*figures),
        left=after.left,
        of=of,
    )


def _is_of(one: SoldLine, line: Line) -> bool:
    return one.meter == line.meter and one.element == line.key.element and one.tip == line.key.of_tip


def _share(sale: Sold, of: SoldLine | None) -> Fraction:
    """Return the share of a line that has been given back: its element's, the tip's, else the whole sale's."""
    if of is None or (not of.tip and of.item is None):
        return sale.share
    return sale.tip_given if of.tip or of.item is None else sale.items[of.item].given


def _rounded(share: Fraction) -> Decimal:
    return round_quantity(EXACT.divide(Decimal(share.numerator), Decimal(share.denominator)))


def _percent(share: Fraction) -> str:
    return percent_text(_rounded(share))
