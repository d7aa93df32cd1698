"""Audit trails, polled: where a poll looks from, and where it goes on.

    first poll ─▶ back by backfill_s ─▶ page by page ─▶ from the newest row seen, less overlap_s ─▶ page by page ...

The trail's clock leads, not ours, for rows come late; but a clock that is far ahead does not. What the overlap brings
again are duplicates. The cursor:

    {"since": T, "newest": T}                                         between two rounds
    {..., "page": N, "token": TEXT or null, "paged_at": T}            in a round: the next page, and since when
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.wire import Parsed
from meter.sources.fields import Fields
from meter.sources.spec import Option, Page, Setup

# Clocks of doors may be ahead of ours by so much; further ahead they are wrong and must not lead the poll.
AHEAD_MAX: Final = timedelta(minutes=5)
# A trail that shows the same page for ever is left alone after so many.
_PAGES_MAX: Final = 1_000
# No vendor says how long a page's token lives: a round that was interrupted for longer begins again.
_ROUND_LIVES: Final = timedelta(hours=1)


def trail_options(*, overlap_s: int) -> Mapping[str, Option]:
    """Return the settings of every source that polls a trail."""
    return {
        "overlap_s": Option(default=overlap_s, about="How far back each poll asks again, in seconds."),
        "backfill_s": Option(default=86_400, about="How far back the first poll looks, in seconds."),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """How far a poll has come: it looks from `since` on, to the second, and has seen rows up to `newest`."""

    since: datetime
    newest: datetime
    page: int = 1
    token: str | None = None

    @classmethod
    def of(cls, setup: Setup, cursor: Json, now: datetime) -> Trail:
        """Return where a cursor stands; None is the very first. Raises BadInput (`bad_payload`): it is none of ours."""
        if cursor is None:
            since = now - timedelta(seconds=setup.options["backfill_s"])
            return cls(since=since.replace(microsecond=0), newest=since)
        told = Fields(cursor, path="cursor")
        since, newest = (parse_instant(told.text(name), what=f"cursor.{name}") for name in ("since", "newest"))
        paged_at = told.opt_text("paged_at")
        if paged_at is None or now - parse_instant(paged_at, what="cursor.paged_at") > _ROUND_LIVES:
            return cls(since=since, newest=newest)
        return cls(since=since, newest=newest, page=told.integer("page"), token=told.opt_text("token"))

    def following(
        self,
        setup: Setup,
        items: Sequence[Parsed],
        *,
        moments: Iterable[datetime | None],
        received_at: datetime,
        more: bool,
        token: str | None = None,
    ) -> Page:
        """Return the page with the events `items`: `moments` are its rows' own, `token` and `more` name the next."""
        latest = received_at + AHEAD_MAX
        newest = max([self.newest, *(min(moment, latest) for moment in moments if moment is not None)])
        if more and self.page < _PAGES_MAX:
            place = {"page": self.page + 1, "token": token, "paged_at": instant_text(received_at)}
            cursor = {"since": instant_text(self.since), "newest": instant_text(newest), **place}
            return Page(items=items, cursor=cursor, more=True)
        since = max(self.since, newest - timedelta(seconds=setup.options["overlap_s"])).replace(microsecond=0)
        return Page(items=items, cursor={"since": instant_text(since), "newest": instant_text(newest)})
