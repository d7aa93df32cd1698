"""UniFi Access' system log, and who an actor of its is: the log's rows become door accesses.

A row's `_id` is empty: it is known by published, who, door, result and credential.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import EPOCH
from meter.model.wire import Parsed
from meter.sources.api import api_request, each_row
from meter.sources.clocks import from_epoch_ms
from meter.sources.doors.access import access, badge_subject, direction_of, hint, words
from meter.sources.doors.trail import AHEAD_MAX, Trail
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest
from meter.sources.spec import Answer, Page, Reading, Request, Setup

UNLOCK: Final = "access.door.unlock"
ENTRY_METHODS: Final[Mapping[str, str]] = {"entry": "in", "exit": "out"}
_LOGS: Final = "/api/v1/developer/system/logs"
_PAGE_ROWS: Final = 100


def by_log(setup: Setup) -> bool:
    """Tell whether the log is counted, and not the webhooks."""
    chosen = setup.options["usage_from"]
    return setup.fetched if chosen == "" else chosen == "log"


def request_log(setup: Setup, cursor: Json, now: datetime) -> Request:
    """Return the request of the next page."""
    trail = Trail.of(setup, cursor, now)
    return _request(setup, since=_seconds(trail.since), until=_seconds(now + AHEAD_MAX), page=trail.page)


def read_log(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return a page's accesses. Raises BadInput (`bad_payload`) where the answer is none."""
    trail, rows = Trail.of(setup, cursor, answer.received_at), _rows(answer)
    return trail.following(
        setup,
        _accesses(setup, rows) if by_log(setup) else (),
        moments=[_published(row) for row in rows],
        received_at=answer.received_at,
        more=len(rows) >= _PAGE_ROWS and by_log(setup),
    )


def request_around(setup: Setup, wanted: Mapping[str, Json]) -> Request:
    """Return the request for what the log has around a webhook."""
    return _request(setup, since=wanted["since"], until=wanted["until"], page=1)


def read_around(setup: Setup, _wanted: Mapping[str, Json], answer: Answer) -> Reading:
    """Return the accesses around a webhook; what a first page does not hold, the poll brings."""
    return Reading(_accesses(setup, _rows(answer)))


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def _request(setup: Setup, *, since: int, until: int, page: int) -> Request:
    return api_request(
        setup,
        _LOGS,
        query={"page_num": str(page), "page_size": str(_PAGE_ROWS)},
        content={"topic": "door_openings", "since": since, "until": until},
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


def _published(row: Json) -> datetime | None:
    """Return when a row was published; None where it does not say."""
    try:
        return from_epoch_ms(Fields(row).integer("_source.event.published"), what="published").time
    except BadInput:
        return None


def _accesses(setup: Setup, rows: Sequence[Json]) -> list[Parsed]:
    return each_row(rows, lambda row: _access(setup, row))


def _access(setup: Setup, row: Fields) -> Sequence[Parsed]:
    source = row.object("_source")
    if source.text("event.type") != UNLOCK:
        return ()
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
    made = access(
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
    return [made]


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
