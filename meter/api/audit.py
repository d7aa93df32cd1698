"""GET /v1/audit: who did what, the newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web

from meter.api.routing import JSON, InstantText, Limit, Model, Query, Route, json_answer, query_of
from meter.api.services import Services
from meter.model.instant import instant_text
from meter.store.records import Record, RecordFilter, list_records

LIMIT_DEFAULT: Final = 100


class AuditQuery(Query, kw_only=True):
    """Filters are conjunctive; `before` is the `next` of an earlier answer."""

    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    limit: Limit = LIMIT_DEFAULT
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    actor: str | None = None
    kind: str | None = None
    object: str | None = None
    member: Annotated[str | None, msgspec.Meta(description="An id or a pseudonym.")] = None


class RecordJson(Model, kw_only=True):
    """What was done. A member is told by the pseudonym; `fields` names what changed, or what a list was narrowed by."""

    id: int
    at: InstantText
    actor: str
    action: str
    kind: str
    object: str
    member: str | None
    fields: list[str]
    times: int
    digest: str | None


class AuditPage(Model, kw_only=True):
    """The records, the newest first; `next` goes on behind them, null where there may be none."""

    records: list[RecordJson]
    next: int | None


def record_json(record: Record) -> RecordJson:
    """Return a record as it leaves."""
    return RecordJson(
        id=record.seq,
        at=instant_text(record.at),
        actor=record.actor,
        action=record.action,
        kind=record.kind,
        object=record.object,
        member=record.member,
        fields=record.detail.get("fields") or record.detail.get("filters") or [],
        times=record.detail.get("times", 1),
        digest=record.detail.get("digest"),
    )


def routes(services: Services) -> list[Route]:
    """Return the route of records."""

    async def show(request: web.Request) -> web.StreamResponse:
        query = query_of(request, AuditQuery)
        wanted = RecordFilter(
            since=query.since, actor=query.actor, kind=query.kind, object=query.object, member=query.member
        )
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await list_records(conn, operator, wanted, before=query.before, limit=query.limit)
        more = found[-1].seq if len(found) == query.limit else None
        return json_answer(AuditPage(records=[record_json(one) for one in found], next=more))

    return [
        Route(
            method="GET",
            path="/v1/audit",
            handler=show,
            tag="audit",
            summary="Who changed what, and who read what is kept of persons",
            scope="admin",
            query=AuditQuery,
            answers={JSON: AuditPage},
        )
    ]
