"""SALTO KS (Connect API) and SALTO Nebula: the audit trail, polled, becomes door accesses.

    OAuth 2.0 client credentials ─▶ entries since the newest known, less an overlap, page by page ─▶ door.access

No webhook of either is documented publicly. Of KS the names of an entry's fields are known, of Nebula the event's
frame; how a rejection is called, and where Nebula's `data` names door and person, is not: `fields`, `query`, `granted`
and `denied` are settings, and an entry that fits none of them is a refusal whose bytes show how to set them.

- The id is the vendor's (Nebula: `installations/*/events/ULID`). What is asked for again is a duplicate.
- A producer that does not know when something occurred writes now: an `occur_time` that is the `create_time` is kept,
  and flagged.
- Locks that are not online bring their entries days later, when a card visits an online one: what is older than the
  overlap is missed.

Facts: developer.saltosystems.com (Nebula events, KS authentication) and the vendor's PHP client, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.wire import Parsed
from meter.sources.api import api_request, each_row
from meter.sources.clocks import from_text
from meter.sources.doors.access import WAYS, access, direction_of, words
from meter.sources.doors.trail import Trail, trail_options
from meter.sources.fields import Fields, bad_payload
from meter.sources.spec import Answer, Covers, Feed, Option, Page, Request, Setup, Token, Vendor

_PAGE_ROWS: Final = "100"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Api:
    """One of the two interfaces. `{site_id}` and `{since}` are filled in; `strict`: every kind must be known."""

    path: str
    query: Mapping[str, str]
    page_query: str
    page_header: str
    fields: Mapping[str, str]
    strict: bool


_APIS: Final[Mapping[str, _Api]] = {
    "ks": _Api(
        path="/v1.1/sites/{site_id}/entries",
        query={
            "$filter": "utc_date_time ge DateTime'{since}'",
            "$orderby": "local_date_time desc",
            "$top": _PAGE_ROWS,
        },
        page_query="",
        page_header="CLP-Continuation-Token",
        fields={
            "items": "items",
            "next": "continuation_token",
            "id": "id",
            "kind": "event_category",
            "detail": "event_detail",
            "occurred": "utc_date_time",
            "created": "",
            "door": "lock_id",
            "door_name": "lock_customer_reference",
            "person": "accessor_id",
            "how": "access_by",
            "exit": "exit_requested",
        },
        strict=True,
    ),
    "nebula": _Api(
        path="/v1/installations/{site_id}/events",
        query={"filter": 'create_time >= "{since}"', "order_by": "create_time desc", "page_size": _PAGE_ROWS},
        page_query="page_token",
        page_header="",
        fields={
            "items": "events",
            "next": "next_page_token",
            "id": "name",
            "kind": "type",
            "detail": "data.reason",
            "occurred": "occur_time",
            "created": "create_time",
            "door": "data.access_point.name",
            "door_name": "data.access_point.display_name",
            "person": "data.user.name",
            "how": "data.credential_type",
            "exit": "",
        },
        strict=False,
    ),
}


def request(setup: Setup, cursor: Json, now: datetime) -> Request:
    """Return the request of the next page."""
    trail, api, options = Trail.of(setup, cursor, now), _APIS[setup.options["api"]], setup.options
    # To the second: the vendor's filters were seen with no fractions.
    since = instant_text(trail.since)
    query = {name: str(text).replace("{since}", since) for name, text in (options["query"] or api.query).items()}
    headers = {}
    if trail.token and api.page_query:
        query[api.page_query] = trail.token
    if trail.token and api.page_header:
        headers[api.page_header] = trail.token
    form = {
        "grant_type": "client_credentials",
        "client_id": options["client_id"],
        "client_secret": setup.api_key or "",
        "scope": options["scope"],
    }
    return api_request(
        setup,
        (options["path"] or api.path).replace("{site_id}", options["site_id"]),
        query=query,
        headers=headers,
        token=Token(url=options["token_url"], form={name: text for name, text in form.items() if text}),
    )


def read(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return a page's accesses. Raises BadInput (`bad_payload`, or as `strict_json` does) where the answer is none."""
    trail = Trail.of(setup, cursor, answer.received_at)
    page, names = Fields.of_json(answer.body), _names(setup)
    rows = page.raw(names["items"])
    if not isinstance(rows, list):
        # Taken for an empty array, it would hide for ever that nothing is read.
        raise bad_payload(f"{names['items']} is no array; check api_base, path and fields")
    token = page.opt_text(names["next"])
    return trail.following(
        setup,
        each_row(rows, lambda entry: _access(setup, names, entry)),
        moments=[_moment(row, names) for row in rows],
        received_at=answer.received_at,
        more=token is not None,
        token=token,
    )


def _names(setup: Setup) -> Mapping[str, str]:
    """Return where each field of an entry stands."""
    given = {name: str(path) for name, path in setup.options["fields"].items()}
    return {**_APIS[setup.options["api"]].fields, **given}


def _moment(row: Json, names: Mapping[str, str]) -> datetime | None:
    """Return when an entry was written, else when it happened; None where it does not say."""
    try:
        entry = Fields(row)
        written = _opt(entry, names["created"]) or _opt(entry, names["occurred"])
        return None if written is None else parse_instant(_utc(written))
    except BadInput:
        return None


def _access(setup: Setup, names: Mapping[str, str], entry: Fields) -> Sequence[Parsed]:
    kind = entry.text(names["kind"])
    granted, denied = (kind.lower().endswith(words(setup, which)) for which in ("granted", "denied"))
    if not granted and not denied:
        if _APIS[setup.options["api"]].strict:
            message = f"{names['kind']} is {kind[:60]!r}; name it among the options granted or denied"
            raise bad_payload(message)
        return ()
    occurred, created = entry.text(names["occurred"]), _opt(entry, names["created"])
    timed = from_text(_utc(occurred), what=names["occurred"])
    door, door_name = entry.text(names["door"]), _opt(entry, names["door_name"])
    how, person = _opt(entry, names["how"]), _opt(entry, names["person"])
    from_afar = (how or "").lower().startswith(words(setup, "not_at_the_door"))
    leaves = bool(names["exit"]) and entry.raw(names["exit"]) is True
    made = access(
        setup,
        id=entry.text(names["id"]),
        door=door,
        granted=granted,
        subject=None if person is None or from_afar else f"salto:{person}",
        time=timed.time,
        flag="fallback" if occurred == created else timed.flag,
        door_name=door_name,
        direction="out" if leaves else direction_of(setup, door, door_name),
        reason=None if granted else _opt(entry, names["detail"]) or kind,
        credential=how,
    )
    return [made]


def _opt(entry: Fields, path: str) -> str | None:
    return entry.opt_text(path) if path else None


def _utc(written: str) -> str:
    """Return the time with its offset: KS's `utc_date_time` may come without one."""
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return written
    return instant_text(moment.replace(tzinfo=UTC)) if moment.tzinfo is None else written


SALTO_KS: Final = Vendor(
    title="SALTO KS, SALTO Nebula",
    area="doors",
    needs=frozenset({"api_base", "api_key", "site"}),
    options={
        "api": Option(default="ks", about="Which interface `api_base` is.", choices=("ks", "nebula")),
        "site_id": Option(default="", about="KS's site, or Nebula's installation."),
        "client_id": Option(default="", about="The client's id; its secret is `api_key`."),
        "token_url": Option(
            default="", about="Where access tokens are had, like the identity server's /connect/token."
        ),
        "scope": Option(default="", about="What is asked for with the token, like `user_api.full_access`."),
        "path": Option(default="", about="The path of the entries, with `{site_id}`; empty: as far as known."),
        "query": Option(default={}, about="What is asked, with `{since}`; empty: as far as known."),
        "fields": Option(default={}, about='Where fields stand that are elsewhere, like `{"person": "data.user.id"}`.'),
        "granted": Option(
            default=["entry", "accesspointunlocked"],
            about="How kinds of entries end, in lower case, that opened a door.",
        ),
        "denied": Option(
            default=["rejection", "denied"], about="How kinds of entries end, in lower case, that opened none."
        ),
        "not_at_the_door": Option(
            default=["remote"], about="How the ways of access begin, in lower case, by which somebody opens from afar."
        ),
        **trail_options(overlap_s=86_400),
        **WAYS,
    },
    feeds={"entries": Feed(every_s=300, request=request, read=read)},
    covers=(
        Covers(
            what="KS entries",
            state="partly",
            becomes="door.access",
            note="fields as in the vendor's client; path and kinds are not public: check them before billing",
        ),
        Covers(
            what="Nebula events",
            state="partly",
            becomes="door.access",
            note="the event's frame is documented, its data and the list's query are not",
        ),
        Covers(what="entries of offline locks older than overlap_s", state="not"),
        Covers(what="tokens by user and password", state="not", note="the client credentials grant is asked for"),
        Covers(what="incidents, event streaming", state="not"),
    ),
    facts="developer.saltosystems.com and the vendor's PHP client of the Connect API, November 2026",
)
