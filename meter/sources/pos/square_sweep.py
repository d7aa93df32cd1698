"""What webhooks missed, found by asking for what changed: payments, refunds and completed orders, by location.

A round looks at one window of time, from the end of the round before less an overlap to the moment at which it began,
one location after the other, page by page. The cursor:

    {"since": T}                                                   between two rounds
    {"since": T, "until": T, "locations": [...]}                   in a round, at the first of the locations
    {..., "page": TEXT, "paged_at": T}                             within a location: Square's cursor, and since when

What comes of an object is what comes of its webhook, under the same ids: what is known already is a duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.wire import Parsed
from meter.sources.api import each_row
from meter.sources.fields import Fields, bad_payload
from meter.sources.pos.square_fetch import completed_order
from meter.sources.pos.square_payment import of_payment
from meter.sources.pos.square_refund import of_refund
from meter.sources.spec import Answer, Feed, Page, Request, Setup

# Webhooks bring news at once; the sweep finds what they lost.
_EVERY_S: Final = 900
# Square's lists lag by seconds, and its clock and ours may be minutes apart.
_OVERLAP: Final = timedelta(minutes=15)
# A cursor of Square's lives for five minutes at least; an older one begins its location again.
_PAGE_LIVES: Final = timedelta(minutes=4)
_PAGE_OBJECTS: Final = 100
# Square lists a year.
_DAYS_MAX: Final = 365


class _Round:
    """A cursor, read."""

    def __init__(self, cursor: Json) -> None:
        """Read what `read` wrote; None at the very first."""
        given = Fields(cursor if cursor is not None else {}, path="cursor")
        listed = given.raw("locations")
        self.locations: list[str] = [str(location) for location in listed] if isinstance(listed, list) else []
        self.since = _instant(given, "since")
        self.until = _instant(given, "until")
        self.page = given.opt_text("page")
        self.paged_at = _instant(given, "paged_at")

    def window(self) -> tuple[str, str]:
        """Return the round's begin and end."""
        if self.since is None or self.until is None:
            raise bad_payload("the cursor of this poll names no window; it is none of this source's")
        return instant_text(self.since), instant_text(self.until)


def _instant(given: Fields, name: str) -> datetime | None:
    told = given.opt_text(name)
    return None if told is None else parse_instant(told, what=f"cursor.{name}")


def _sweep(
    ask: Callable[[str, str, str, str | None], Request],
    array: str,
    read_one: Callable[[Setup, Fields], Sequence[Parsed]],
) -> Feed:
    """Return the feed: `ask` gets a location, the window's begin and end and a page; `read_one` an object of it."""

    def request(_setup: Setup, cursor: Json, time: datetime) -> Request:
        at = _Round(cursor)
        if not at.locations:
            return Request(over="square", call="locations.list")
        fresh = at.paged_at is not None and time - at.paged_at < _PAGE_LIVES
        return ask(at.locations[0], *at.window(), at.page if fresh else None)

    def read(setup: Setup, cursor: Json, answer: Answer) -> Page:
        at, body = _Round(cursor), Fields.of_json(answer.body)
        if answer.status != 200 or body.raw("errors"):
            raise bad_payload("Square's answer lists errors; check api_key and its permissions")
        if not at.locations:
            return _begin(setup, at, body, answer.received_at)
        listed = body.raw(array)
        if not isinstance(listed, list | None):
            raise bad_payload(f"{array} is no array; Square documents one")
        items = each_row(listed or (), lambda one: read_one(setup, one))
        since, until = at.window()
        page = body.opt_text("cursor")
        if page is not None:
            paged_at = instant_text(answer.received_at)
            position = {"since": since, "until": until, "locations": at.locations, "page": page, "paged_at": paged_at}
            return Page(items=items, cursor=position, more=True)
        if at.locations[1:]:
            return Page(items=items, cursor={"since": since, "until": until, "locations": at.locations[1:]}, more=True)
        return Page(items=items, cursor={"since": until})

    return Feed(every_s=_EVERY_S, request=request, read=read)


def _begin(setup: Setup, before: _Round, body: Fields, now: datetime) -> Page:
    """Return the cursor at which a round begins, after the list of locations."""
    meant = setup.options["locations"]
    known = [location.text("id") for location in body.objects("locations")]
    locations = sorted(location for location in known if not meant or location in meant)
    if not locations:
        raise bad_payload("the account has none of the source's locations; check the option locations and api_key")
    first = now - timedelta(days=max(0, min(setup.options["sweep_days"], _DAYS_MAX)))
    since = first if before.since is None else before.since - _OVERLAP
    window = {"since": instant_text(since), "until": instant_text(max(now, since)), "locations": locations}
    return Page(cursor=window, more=True)


def _list(call: str) -> Callable[[str, str, str, str | None], Request]:
    def ask(location: str, since: str, until: str, page: str | None) -> Request:
        arguments: dict[str, Json] = {
            "location_id": location,
            "updated_at_begin_time": since,
            "updated_at_end_time": until,
            "sort_field": "UPDATED_AT",
            "sort_order": "ASC",
            "limit": _PAGE_OBJECTS,
        }
        return Request(over="square", call=call, arguments=arguments if page is None else {**arguments, "cursor": page})

    return ask


def _search(location: str, since: str, until: str, page: str | None) -> Request:
    arguments: dict[str, Json] = {
        "location_ids": [location],
        "query": {
            "filter": {
                "state_filter": {"states": ["COMPLETED"]},
                "date_time_filter": {"updated_at": {"start_at": since, "end_at": until}},
            },
            "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
        },
        "limit": _PAGE_OBJECTS,
        "return_entries": True,
    }
    arguments = arguments if page is None else {**arguments, "cursor": page}
    return Request(over="square", call="orders.search", arguments=arguments)


FEEDS: Final = {
    "payments": _sweep(_list("payments.list"), "payments", of_payment),
    "refunds": _sweep(_list("refunds.list"), "refunds", of_refund),
    "orders": _sweep(_search, "order_entries", lambda setup, entry: completed_order(setup, entry.text("order_id"))),
}
