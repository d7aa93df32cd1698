"""What a bill reads of a movement: the rest of it can go (decision 0026)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from meter.model.catalog import Catalog, Meter, Percentage
from meter.model.event import Json

# An end that says of itself that it is an estimate (`meter.rating.measure.duration`).
_ESTIMATED: Final = "estimated"


def read_of(versions: Iterable[Catalog], event_type: str) -> frozenset[str]:
    """Return the members of `data` that any meter of any of the versions reads of such events, by whichever way.

    Each member is kept whole, so that what is read within it, element by element, is read as before.
    """
    return frozenset(
        path[0]
        for version in versions
        for meter in version.meters.values()
        if meter.event == event_type
        for path in (*_measured(meter), *_priced(version, meter))
        if path
    )


def _measured(meter: Meter) -> Iterable[tuple[str, ...]]:
    yield from (condition.path for condition in meter.where)
    yield from meter.group_by
    yield meter.value or ()
    yield meter.key or ()
    if meter.pairing is not None:
        yield from (condition.path for condition in (*meter.pairing.start, *meter.pairing.end))
        yield (_ESTIMATED,)


def _priced(version: Catalog, meter: Meter) -> Iterable[tuple[str, ...]]:
    for plan in version.plans.values():
        for price in plan.prices.get(meter.id, ()):
            if isinstance(price.model, Percentage):
                yield price.model.path


def only(data: Mapping[str, Json], kept: frozenset[str]) -> dict[str, Json]:
    """Return the members of `data` that are kept."""
    return {name: value for name, value in data.items() if name in kept}
