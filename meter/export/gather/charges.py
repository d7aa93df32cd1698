"""Charges as they were booked, for whoever takes them whole: webhooks and files. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal, TypeAlias

import msgspec

from meter.export.charge_json import charge_json
from meter.export.gather.shape import PAGE_MAX, Booked, Draft, Known, Shape, Span
from meter.export.payload import ChargeBatch
from meter.model.charge import Charge
from meter.model.instant import local_date
from meter.store.outbox import name_of

Apart: TypeAlias = Literal["account", "day"]


class Charges(Shape):
    """Charges as they are, a few hundred an item, and those of each account or each local day apart.

    Accounts are streams of their own: one that is held up holds up no other. Days share one order.
    """

    def __init__(
        self, *, apart: Apart, charges_max: int, collects: Span | None = None, page_max: int = PAGE_MAX
    ) -> None:
        """Keep how they are cut; `collects` and `page_max`: see Shape."""
        self.collects = collects
        self.page_max = page_max
        self._apart = apart
        self._charges_max = charges_max

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give the charges that were read. The batch is named after them."""
        groups: dict[tuple[str, date | None], list[Charge]] = {}
        for charge in booked.charges:
            groups.setdefault(self._group(charge, known), []).append(charge)
        for (stream, day), group in groups.items():
            for start in range(0, len(group), self._charges_max):
                part = group[start : start + self._charges_max]
                told = tuple(msgspec.Raw(msgspec.json.encode(charge_json(charge))) for charge in part)
                yield Draft(ChargeBatch(charges=told, day=day), name_of(*(charge.id for charge in part)), stream)

    def _group(self, charge: Charge, known: Known) -> tuple[str, date | None]:
        if self._apart == "account":
            return charge.line.account, None
        return "", local_date(charge.line.key.time, known.catalog.timezone)
