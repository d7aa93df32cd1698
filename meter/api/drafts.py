"""Drafts of the directory: what vendors say of members and memberships, applied or dismissed by a person."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web

from meter.api.catalog import EntriesJson, IssueJson, RefoldJson, issues_json, outcome_json
from meter.api.routing import JSON, InstantText, Limit, Model, Query, Route, json_answer, query_of
from meter.api.services import Services
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.apply import Outcome
from meter.store.drafts import (
    Decided,
    Draft,
    DraftKey,
    DraftKind,
    apply_drafts,
    dismiss_draft,
    find_draft,
    list_drafts,
    preview_drafts,
)

_PATH: Final = "/v1/drafts/{vendor}/{name}/{kind}/{id}"


class DraftsQuery(Query, kw_only=True):
    """A page of the list, in the order in which drafts are applied: accounts, members, subscriptions."""

    state: Literal["open", "applied", "dismissed", "all"] = "open"
    kind: DraftKind | None = None
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class ApplyQuery(Query, kw_only=True):
    """How to apply."""

    dry_run: Annotated[bool, msgspec.Meta(description="Tell what would change, and change nothing.")] = False


class DraftJson(Model, kw_only=True):
    """What a vendor says of an object: `body` has the fields of the catalog's entry, `time` is when it changed there.

    `fault`: why it could not be applied. A decision stands until the vendor says something else.
    """

    vendor: str
    name: str
    kind: DraftKind
    id: str
    body: dict[str, Any]
    note: str | None
    time: InstantText
    channel: str
    state: Literal["open", "applied", "dismissed"]
    fault: str | None
    decided: InstantText | None


class DraftsPage(Model, kw_only=True):
    """Drafts; `next` is null at the end."""

    drafts: list[DraftJson]
    next: str | None


class AppliedDraftJson(Model, kw_only=True):
    """What applying a draft changes, or would change (`applied` false): entries by kind, and who is rated again."""

    draft: DraftJson
    applied: bool
    directory: dict[str, EntriesJson]
    refolds: RefoldJson
    warnings: list[IssueJson]


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its actions."""

    async def show_all(request: web.Request) -> web.StreamResponse:
        query = query_of(request, DraftsQuery)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await list_drafts(
                conn,
                operator,
                state=None if query.state == "all" else query.state,
                kind=query.kind,
                after=_after(query.cursor) if query.cursor else None,
                limit=query.limit,
            )
        following = _cursor(found[-1].key) if len(found) == query.limit else None
        return json_answer(DraftsPage(drafts=[draft_json(draft) for draft in found], next=following))

    async def apply(request: web.Request) -> web.StreamResponse:
        key, query = key_of(request.match_info), query_of(request, ApplyQuery)
        operator, now = await services.require_operator(), services.clock()
        async with services.db.begin() as conn:
            decide = preview_drafts if query.dry_run else apply_drafts
            (decided,) = await decide(conn, operator, [key], now=now)
            found = await find_draft(conn, operator, key)
        # Raised after the commit: the draft keeps its fault.
        if decided.outcome is None:
            raise decided.error or BadInput("the draft cannot be applied", code="bad_catalog")
        if decided.outcome and not query.dry_run:
            services.accepted.notify()
        return json_answer(applied_json(found, decided.outcome, applied=not query.dry_run))

    async def dismiss(request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await dismiss_draft(conn, operator, key_of(request.match_info), now=services.clock())
        return json_answer(draft_json(found))

    return [
        Route(
            method="GET",
            path="/v1/drafts",
            handler=show_all,
            tag="work lists",
            summary="What vendors say of accounts, members and subscriptions",
            scope="catalog:write",
            query=DraftsQuery,
            answers={JSON: DraftsPage},
        ),
        Route(
            method="POST",
            path=f"{_PATH}/apply",
            handler=apply,
            tag="work lists",
            summary="Put what a draft says into the directory",
            description="As a put of the entry; what the vendor does not know stays as it is stored.",
            scope="catalog:write",
            query=ApplyQuery,
            answers={JSON: AppliedDraftJson},
        ),
        Route(
            method="POST",
            path=f"{_PATH}/dismiss",
            handler=dismiss,
            tag="work lists",
            summary="Put a draft aside until its vendor says something else",
            scope="catalog:write",
            answers={JSON: DraftJson},
        ),
    ]


def key_of(given: Mapping[str, str]) -> DraftKey:
    """Return the key that names a draft in an address or a command."""
    return DraftKey(given["kind"], given["id"], given["vendor"], given["name"])


def draft_json(draft: Draft) -> DraftJson:
    """Return a draft as it leaves."""
    return DraftJson(
        vendor=draft.key.vendor,
        name=draft.key.name,
        kind=msgspec.convert(draft.key.kind, DraftKind),
        id=draft.key.id,
        body=dict(draft.body),
        note=draft.note,
        time=instant_text(draft.time),
        channel=draft.channel,
        state=draft.state,
        fault=draft.fault,
        decided=None if draft.decided_at is None else instant_text(draft.decided_at),
    )


def applied_json(draft: Draft, outcome: Outcome, *, applied: bool) -> AppliedDraftJson:
    """Return what a draft changes as it leaves."""
    told = outcome_json(outcome, (), applied=applied)
    return AppliedDraftJson(
        draft=draft_json(draft),
        applied=applied,
        directory=told.directory,
        refolds=told.refolds,
        warnings=issues_json(outcome.warnings),
    )


def decided_json(decided: Decided, *, applied: bool) -> dict[str, Any]:
    """Return what became of a draft for the command line: as the route answers, or its fault."""
    if decided.outcome is None:
        fault = "" if decided.error is None else decided.error.detail
        told: dict[str, Any] = {"draft": draft_json(decided.draft), "applied": False, "fault": fault}
    else:
        told = msgspec.structs.asdict(applied_json(decided.draft, decided.outcome, applied=applied))
    builtins: dict[str, Any] = msgspec.to_builtins(told)
    return builtins


def _cursor(key: DraftKey) -> str:
    return "d" + urlsafe_b64encode(msgspec.json.encode(tuple(key))).decode().rstrip("=")


def _after(cursor: str) -> DraftKey:
    """Return the key in a cursor of `_cursor`'s. Raises BadInput (`bad_cursor`)."""
    try:
        body = urlsafe_b64decode(cursor[1:] + "=" * (-len(cursor[1:]) % 4))
        key = DraftKey(*msgspec.json.decode(body, type=tuple[str, str, str, str]))
        if b"\\u0000" not in body and _cursor(key) == cursor:
            return key
    except (ValueError, msgspec.MsgspecError):
        pass
    message = f"{cursor[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
    raise BadInput(message, code="bad_cursor")
