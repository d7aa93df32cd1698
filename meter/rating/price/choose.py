"""Which price of a list applies: the first whose `match` and `when` fit (rating.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from meter.model.catalog import Price, Window
from meter.model.event import Json
from meter.model.instant import zone
from meter.rating.values import MISSING, same


def choose(
    prices: Sequence[Price], dimensions: Mapping[str, Json], *, instant: datetime, zone_name: str
) -> Price | None:
    """Return the first price whose `match` fits the dimensions and whose `when` fits `instant` in the site's zone."""
    local: datetime | None = None
    for price in prices:
        if price.match and not _matches(price.match, dimensions):
            continue
        if price.when is None:
            return price
        local = local or instant.astimezone(zone(zone_name))  # most lists have no windows
        if fits(price.when, local):
            return price
    return None


def _matches(wanted: Mapping[str, Json], dimensions: Mapping[str, Json]) -> bool:
    return all(same(dimensions.get(name, MISSING), value) for name, value in wanted.items())


def fits(window: Window, local: datetime) -> bool:
    """Tell whether the window holds the local time: its clock decides, also in the hour that a DST change repeats.

    18:00 ── 22:00   from <= clock < to
    22:00 ── 06:00   clock >= from or clock < to, each on the date that the calendar shows
    """
    if window.days or window.holidays:
        today = local.date()
        if today.weekday() not in window.days and today not in window.holidays:
            return False
    minute = local.hour * 60 + local.minute
    if window.from_minute < window.to_minute:
        return window.from_minute <= minute < window.to_minute
    return minute >= window.from_minute or minute < window.to_minute
