"""What stands booked against what the facts say: only what differs is booked (decision 0001)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meter.model.charge import Charge, Line, LineKey, changed
from meter.model.errors import Broken
from meter.rating.values import same


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A line to book: `standing` falls if there is one, `line` takes its place if there is one."""

    key: LineKey
    standing: Charge | None
    line: Line | None


def differences(*, standing: Mapping[LineKey, Charge], lines: Iterable[Line]) -> list[Difference]:
    """Return what has to be booked so that `lines` stand, in the order of the lines' keys.

    `standing` holds the charges that stand within the folded range, by line. A line of nothing is none.
    Raises Broken (`line_twice`) if two lines have one key.
    """
    found: list[Difference] = []
    wanted: set[LineKey] = set()
    for line in lines:
        if is_nothing(line):
            continue
        if line.key in wanted:
            raise Broken(f"the fold gave two lines for {line.key}; neither is booked", code="line_twice")
        wanted.add(line.key)
        charge = standing.get(line.key)
        if charge is None or not bills_the_same(charge.line, line):
            found.append(Difference(key=line.key, standing=charge, line=line))
    found += [Difference(key=key, standing=c, line=None) for key, c in standing.items() if key not in wanted]
    found.sort(key=lambda difference: difference.key)
    return found


def is_nothing(line: Line) -> bool:
    """Tell whether there is nothing to book: every figure is 0, the till's among them, and no credit paid for it."""
    settled = line.tip or line.total or (line.tax is not None and line.tax.amount)
    return not (line.quantity or line.amount or line.draws or settled)


def bills_the_same(left: Line, right: Line) -> bool:
    """Tell whether two lines say the same; `true` and 1, which Python takes for equal, are different dimensions."""
    return left == right and same(left.dimensions, right.dimensions)


def reversed_line(line: Line) -> Line:
    """Return `line` with every figure negated."""
    tax = line.tax
    return changed(
        line,
        quantity=-line.quantity,
        covered=-line.covered,
        billable=-line.billable,
        amount=-line.amount,
        draws=tuple(changed(draw, amount=-draw.amount) for draw in line.draws),
        tax=tax if tax is None or tax.amount is None else changed(tax, amount=-tax.amount),
        tip=None if line.tip is None else -line.tip,
        total=None if line.total is None else -line.total,
    )
