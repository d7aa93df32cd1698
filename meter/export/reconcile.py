"""What a target really holds, against what it was sent: missing, changed by hand, extra (docs/targets.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias

from meter.export.contract import Absent, Delivered, Figures, Held, Reconcilable
from meter.model.money import ZERO
from meter.store.outbox import OutboxItem

Fault: TypeAlias = Literal["missing", "changed", "void", "extra", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A batch as the target was last told of it: `delivery` is the number of that."""

    delivery: int
    item: OutboxItem
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A batch of which the target holds something else than it was sent. None: nothing was sent, or nothing is held.

    `unknown`: the target did not say.
    """

    fault: Fault
    batch: str
    delivery: int | None = None
    remote_id: str | None = None
    sent: Figures | None = None
    held: Figures | None = None


@dataclass(slots=True, kw_only=True)
class Sums:
    """Batches of one currency, their lines, net and tax."""

    batches: int = 0
    lines: int = 0
    net: Decimal = ZERO
    tax: Decimal = ZERO

    def add(self, figures: Figures) -> None:
        """Count a batch."""
        self.batches += 1
        self.lines += figures.lines
        self.net += figures.net
        self.tax += figures.tax


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What was sent of the days that were looked at, what is held of it, by currency, and where they differ."""

    sent: Mapping[str, Sums]
    held: Mapping[str, Sums]
    discrepancies: tuple[Discrepancy, ...] = field(default=())


async def reconcile(
    exporter: Reconcilable,
    expected: Iterable[Expected],
    known_batches: frozenset[str],
    *,
    since: date,
    until: date,
) -> Reconciliation:
    """Return how what the target holds of the days in [since, until) compares with what it was `expected` to.

    `known_batches` are those that were ever sent to it, on whatever day: what it holds beside them is extra. Targets
    count days by their own zones, so what they do not list is asked for by itself before it is missing.
    Raises MeterError where the target does not answer.
    """
    wanted = {one.item.batch: one for one in expected}
    sent, held = _Tables(), _Tables()
    for one in wanted.values():
        sent.add(one.figures)
    found: list[Discrepancy] = []
    seen: dict[str, Held] = {}
    async for holding in exporter.holdings(since, until):
        if holding.batch in wanted:
            earlier = seen.get(holding.batch)
            seen[holding.batch] = holding if earlier is None else _both(earlier, holding)
        elif holding.batch not in known_batches and not holding.void:
            found.append(
                Discrepancy(fault="extra", batch=holding.batch, remote_id=holding.remote_id, held=holding.figures)
            )
    for batch, holding in seen.items():
        one = wanted.pop(batch)
        held.add(holding.figures)
        if holding.void or not _same(one.figures, holding.figures):
            found.append(_of(one, "void" if holding.void else "changed", holding))
    missing = list(wanted.values())
    for one, finding in zip(missing, await exporter.look_up([one.item for one in missing]), strict=True):
        match finding:
            case Delivered():
                held.add(one.figures)
            case Absent():
                found.append(_of(one, "missing"))
            case _:
                found.append(_of(one, "unknown"))
    found.sort(key=lambda one: (one.fault, one.delivery or 0, one.batch))
    return Reconciliation(sent=sent.tables, held=held.tables, discrepancies=tuple(found))


@dataclass(slots=True)
class _Tables:
    tables: dict[str, Sums] = field(default_factory=dict)

    def add(self, figures: Figures) -> None:
        self.tables.setdefault(figures.currency, Sums()).add(figures)


def _of(one: Expected, fault: Fault, holding: Held | None = None) -> Discrepancy:
    return Discrepancy(
        fault=fault,
        batch=one.item.batch,
        delivery=one.delivery,
        remote_id=None if holding is None else holding.remote_id,
        sent=one.figures,
        held=None if holding is None else holding.figures,
    )


def _both(left: Held, right: Held) -> Held:
    """Return several objects of one batch as one: what counts of them together."""
    if left.void or right.void:
        return right if left.void else left
    figures = Figures(
        lines=left.figures.lines + right.figures.lines,
        net=left.figures.net + right.figures.net,
        tax=left.figures.tax + right.figures.tax,
        currency=left.figures.currency,
    )
    return Held(batch=left.batch, remote_id=f"{left.remote_id} {right.remote_id}", figures=figures)


def _same(sent: Figures, held: Figures) -> bool:
    return (sent.lines, sent.net, sent.tax, sent.currency) == (held.lines, held.net, held.tax, held.currency)
