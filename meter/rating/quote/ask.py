"""Who wants what, and the contribution that it would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from meter.model.catalog import Meter
from meter.model.event import Json, UsageEvent
from meter.model.instant import local_date
from meter.model.money import unit_scale
from meter.rating.facts import AccountFacts
from meter.rating.measure import Contribution, Memory

_SOURCE = "authorizations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A member wants `quantity` (above 0, in the meter's unit) of a meter at a site.

    `dimensions` choose a price as those of a charge do. `data` is what the event will say, for a price that is a
    percentage of a field of it. `id` tells asks of one account apart.
    """

    id: str
    member: str
    site: str
    meter: str
    quantity: Decimal
    dimensions: Mapping[str, Json] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)


def contribution(ask: Ask, meter: Meter, at: datetime, quantity: Decimal) -> Contribution:
    """Return what the ask would be at `at` with a quantity in the meter's unit."""
    event = UsageEvent(
        source=f"{ask.site}/{_SOURCE}",
        id=ask.id,
        type=meter.event,
        site=ask.site,
        time=at,
        subject=f"member:{ask.member}",
        data=ask.data,
    )
    amount = quantity * unit_scale(meter.unit)
    return Contribution(meter, event, ask.member, 0, amount, ask.dimensions, None, (event.key,))


def counted(
    facts: AccountFacts, asks: list[Ask], at: datetime, memory: Memory
) -> list[tuple[Ask, Contribution | None]]:
    """Return what each of `asks` would count at `at`, in their order; None: nothing.

    A member's day counts once. An ask for a meter that the catalog no longer has counts nothing. Changes `memory`.
    """
    catalog = facts.catalogs.at(at)
    found: list[tuple[Ask, Contribution | None]] = []
    for ask in asks:
        meter = catalog.meters.get(ask.meter)
        if meter is not None and meter.aggregate == "unique_days":
            day = local_date(at, catalog.site(ask.site).timezone)
            meter = meter if memory.first_of_day(meter.id, ask.member, day, at) else None
        found.append((ask, None if meter is None else contribution(ask, meter, at, ask.quantity)))
    return found
