"""Events as the fold takes them: those that count, each with whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meter.model.event import Position, UsageEvent
from meter.rating.measure.memory import event_json, event_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEvent:
    """An event that counts, with the member it is counted for (None: a paid sale of an unknown guest).

    `sale`: of a refund, the place of its sale.
    """

    event: UsageEvent
    member: str | None
    sale: Position | None = None


def placed_json(placed: PlacedEvent) -> dict[str, Any]:
    """Return the event as JSON values for a checkpoint: `placed_of` gives back an equal one."""
    sale = placed.sale
    return {
        "event": event_json(placed.event),
        "member": placed.member,
        "sale": sale and [sale.time.isoformat(), sale.source, sale.id],
    }


def placed_of(body: Mapping[str, Any]) -> PlacedEvent:
    """Return the event that `placed_json` wrote."""
    sale = body["sale"]
    return PlacedEvent(
        event=event_of(body["event"]),
        member=body["member"],
        sale=sale and Position(datetime.fromisoformat(sale[0]), sale[1], sale[2]),
    )
