"""UniFi Access' system log, and who an actor of its is: the log's rows become door accesses.

A row's `_id` is empty: it is known by published, who, door, result and credential. A poll goes on from the newest row
that it saw, less an overlap; a page that is asked for twice brings duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import from_epoch_ms
from meter.sources.doors.access import access, badge_subject, direction_of, hint, words
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest, refused
from meter.sources.spec import Answer, Page, Reading, Request, Setup

UNLOCK: Final = "access.door.unlock"
ENTRY_METHODS: Final[Mapping[str, str]] = {"entry": "in", "exit": "out"}
_LOGS: Final = "/api/v1/developer/system/logs"
_PAGE_ROWS: Final = 100
# A controller that shows the same page for ever is left alone after so many.
_PAGES_MAX: Final = 1_000
# The controller's clock may be ahead of ours by so much; further ahead it is wrong and must not lead the poll.
_AHEAD_S: Final = 300
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def by_log(setup: Setup) -> bool:
    """Tell whether the log is counted, and not the webhooks."""
    chosen = setup.options["usage_from"]
    return setup.fetched if chosen == "" else chosen == "log"


def ask_log(setup: Setup, cursor: Json, now: datetime) -> Request:
    """Return the request of the next page: `cursor` has since (seconds), page and newest (seconds)."""
    at = cursor or _start(setup, now)
    return _log_request(setup, since=at["since"], until=_seconds(now) + _AHEAD_S, page=at["page"])


def read_log(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return a page's accesses. Raises BadInput (`bad_payload`) where the answer is none.

    After the last page it goes on from the newest row, less the overlap: the controller's clock leads, not ours.
    """
    at = cursor or _start(setup, answer.received_at)
    rows = _rows(answer)
    latest = _seconds(answer.received_at) + _AHEAD_S
    published = (min(moment, latest) for moment in map(_published_s, rows) if moment is not None)
    newest = max([at["newest"], *published])
    more = len(rows) >= _PAGE_ROWS and at["page"] < _PAGES_MAX
    if more:
        following = {"since": at["since"], "page": at["page"] + 1, "newest": newest}
    else:
        since = max(at["since"], newest - setup.options["overlap_s"])
        following = {"since": since, "page": 1, "newest": newest}
    items = _accesses(setup, rows) if by_log(setup) else []
    return Page(items=items, cursor=following, more=more and by_log(setup))


def ask_around(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    """Return the request for what the log has around a webhook."""
    return _log_request(setup, since=wanted["since"], until=wanted["until"], page=1)


def read_around(setup: Setup, _wanted: Mapping[str, Json], answer: Answer) -> Reading:
    """Return the accesses around a webhook; what a first page does not hold, the poll brings."""
    return Reading(_accesses(setup, _rows(answer)))


def _start(setup: Setup, now: datetime) -> dict[str, int]:
    since = _seconds(now) - setup.options["backfill_s"]
    return {"since": since, "page": 1, "newest": since}


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


def _log_request(setup: Setup, *, since: int, until: int, page: int) -> Request:
    return Request(
        method="POST",
        url=f"{(setup.api_base or '').rstrip('/')}{_LOGS}",
        query={"page_num": str(page), "page_size": str(_PAGE_ROWS)},
        headers={
            "Authorization": f"Bearer {setup.api_key}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        },
        body=msgspec.json.encode({"topic": "door_openings", "since": since, "until": until}),
        verify_tls=setup.options["verify_tls"],
    )


def _rows(answer: Answer) -> list[Json]:
    page = Fields.of_json(answer.body)
    if page.text("code") != "SUCCESS":
        raise bad_payload(f"the controller answered {page.text('code')[:60]!r}: {page.opt_text('msg') or ''}"[:200])
    hits = page.raw("data.hits")
    if hits is not None and not isinstance(hits, list):
        raise bad_payload("data.hits is no array; check that api_base is a UniFi Access controller")
    return hits or []


def _published_s(row: Json) -> int | None:
    """Return when a row was published, in seconds; None where it does not say."""
    try:
        return Fields(row).integer("_source.event.published") // 1000
    except BadInput:
        return None


def _accesses(setup: Setup, rows: Sequence[Json]) -> list[Parsed]:
    made = []
    for row in rows:
        try:
            event = _access(setup, Fields(row))
        except BadInput as error:
            event = refused(error, msgspec.json.encode(row))
        if event is not None:
            made.append(event)
    return made


def _access(setup: Setup, row: Fields) -> Parsed | None:
    source = row.object("_source")
    if source.text("event.type") != UNLOCK:
        return None
    targets = source.objects("target")
    door = _target(targets, "door") or _target(targets, "UAH") or _refuse_doorless()
    door_id, door_name = door.text("id"), door.opt_text("display_name")
    published, result = source.integer("event.published"), source.text("event.result")
    timed = from_epoch_ms(published, what="published")
    how = source.opt_text("authentication.credential_provider")
    # Of other ways to show oneself the issuer may be a PIN, which belongs into no event and no digest.
    card = source.opt_text("authentication.issuer") if how == "NFC" else None
    actor = source.opt_object("actor")
    person = None if actor is None else actor.opt_text("id")
    subject = subject_of(setup, actor, how=how or "", card=card)
    method = next((target for target in targets if target.opt_text("id") == "door_entry_method"), None)
    way = None if method is None else method.opt_text("display_name")
    granted = result == "ACCESS"
    return access(
        setup,
        id=f"log:{digest(published, person or card, door_id, result, how)}",
        door=door_id,
        granted=granted,
        subject=subject,
        time=timed.time,
        flag=timed.flag,
        door_name=door_name,
        direction=ENTRY_METHODS.get(way or "", direction_of(setup, door_id, door_name)),
        reason=None if granted else source.opt_text("event.display_message") or result,
        credential=how,
        hint=hint_of(actor, subject, "display_name"),
    )


def _target(targets: Sequence[Fields], kind: str) -> Fields | None:
    return next((target for target in targets if target.opt_text("type") == kind), None)


def _refuse_doorless() -> Fields:
    raise bad_payload("_source.target holds no door and no hub; one of them is documented here")


def subject_of(setup: Setup, actor: Fields | None, *, how: str, card: str | None) -> str | None:
    """Return who stood at the door: the controller's person, else an unknown card; None where nobody did."""
    if how.upper().startswith(words(setup, "not_at_the_door")):
        return None
    person = None if actor is None else actor.opt_text("id")
    if person is not None:
        return f"unifi:{person}"
    return None if card is None else badge_subject(setup, card)


def hint_of(actor: Fields | None, subject: str | None, field: str) -> Mapping[str, str] | None:
    """Return by what a person is recognised whose name stands in `field`."""
    if actor is None or subject is None or subject.startswith("badge:"):
        return None
    return hint(name=actor.raw(field), email=actor.raw("email"))
