"""What is sent as it was booked: entries for plain-text books. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final, Literal

from meter.export.gather.shape import PAGE_MAX, Booked, Draft, Known, Shape, Span
from meter.export.payload import JournalBatch
from meter.model.journal import JournalEntry
from meter.store.outbox import name_of

# About half a megabyte of payload: a day's worth of corrections must not become one item.
ENTRIES_PER_ITEM_MAX: Final = 1000


class Entries(Shape):
    """Entries of one day and site as they are, all in one order."""

    reads: Literal["entries"] = "entries"

    def __init__(
        self,
        *,
        entries_max: int = ENTRIES_PER_ITEM_MAX,
        collects: Span | None = None,
        page_max: int = PAGE_MAX,
    ) -> None:
        """Keep how they are cut; `collects` and `page_max`: see Shape."""
        self.collects = collects
        self.page_max = page_max
        self._entries_max = entries_max

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give the entries that were read by day and site. The batch is named after them."""
        del known
        groups: dict[tuple[date, str], list[JournalEntry]] = {}
        for entry in booked.entries:
            groups.setdefault((entry.day, entry.dimensions.get("site", "")), []).append(entry)
        for (day, site), group in groups.items():
            for start in range(0, len(group), self._entries_max):
                part = tuple(group[start : start + self._entries_max])
                content = JournalBatch(day=day, site=site, entries=part)
                yield Draft(content, name_of(*(entry.id for entry in part)), "")
