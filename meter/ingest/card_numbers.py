"""The door's look for numbers of payment cards, before anything of an arrival is judged, logged or stored."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from meter.ingest.arrival import Arrival
from meter.model import card_number
from meter.model.card_less import card_less
from meter.transport.looking import looked


async def without_card_numbers(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Return the arrivals; each that holds a card number anywhere, as refused, with the number masked."""
    return await looked(
        lambda: [_without(arrival) for arrival in arrivals], (arrival.parsed.body for arrival in arrivals)
    )


def _without(arrival: Arrival) -> Arrival:
    parsed = card_less(arrival.parsed)
    origin = card_number.masked_text(arrival.origin)
    content_type = None if arrival.content_type is None else card_number.masked_text(arrival.content_type)
    if (parsed, origin, content_type) == (arrival.parsed, arrival.origin, arrival.content_type):
        return arrival
    return replace(arrival, parsed=parsed, origin=origin, content_type=content_type)
