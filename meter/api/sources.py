"""Where usage comes from: every configured source, when it last told something, what it still has to fetch."""

from __future__ import annotations

from aiohttp import web

from meter.api.routing import JSON, InstantText, Model, Route, json_answer
from meter.api.services import Services
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.fetching import FeedRow, SourceState, hasten


class PollJson(Model, kw_only=True):
    """One poll. `failures`: in a row; `fault`: why the last one failed; `polled`: when it last answered."""

    feed: str
    polled: InstantText | None
    due: InstantText
    failures: int
    fault: str | None


class SourceJson(Model, kw_only=True):
    """One source. `faults` keep it from working; `pending` objects are to be fetched, of which `failing` failed.

    `received`: when it last told something, by its hook or when it was asked, to within seconds; null: never.
    """

    vendor: str
    name: str
    site: str | None
    faults: list[str]
    received: InstantText | None
    pending: int
    failing: int
    fault: str | None
    polls: list[PollJson]


class SourcesAnswer(Model, kw_only=True):
    """Every source, by vendor and name."""

    sources: list[SourceJson]


class Hastened(Model, kw_only=True):
    """How many objects and polls are due at once now."""

    due: int


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its action."""

    async def show(_request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            states = await services.source_states(conn, operator)
        return json_answer(SourcesAnswer(sources=[source_json(state) for state in states]))

    async def poll(request: web.Request) -> web.StreamResponse:
        vendor, name = request.match_info["vendor"], request.match_info["source"]
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            known = {(state.vendor, state.name) for state in await services.source_states(conn, operator)}
            if (vendor, name) not in known:
                message = f"there is no source {vendor[:60]}/{name[:60]}; GET /v1/sources lists them"
                raise BadInput(message, code="not_found")
            due = await hasten(conn, operator, vendor, name, now=services.clock())
        return json_answer(Hastened(due=due))

    return [
        Route(
            method="GET",
            path="/v1/sources",
            handler=show,
            tag="sites",
            summary="Configured sources: what keeps them from working, when they last told something, what waits",
            scope="usage:read",
            answers={JSON: SourcesAnswer},
        ),
        Route(
            method="POST",
            path="/v1/sources/{vendor}/{source}/poll",
            handler=poll,
            tag="sites",
            summary="Ask a source's vendor at once for all that is due later",
            scope="catalog:write",
            answers={JSON: Hastened},
        ),
    ]


def source_json(state: SourceState) -> SourceJson:
    """Return the source as it leaves."""
    waiting = state.waiting
    return SourceJson(
        vendor=state.vendor,
        name=state.name,
        site=state.site,
        faults=list(state.faults),
        received=None if state.received_at is None else instant_text(state.received_at),
        pending=0 if waiting is None else waiting.objects,
        failing=0 if waiting is None else waiting.failing,
        fault=None if waiting is None else waiting.fault,
        polls=[_poll_json(row) for row in state.polls],
    )


def _poll_json(row: FeedRow) -> PollJson:
    return PollJson(
        feed=row.feed,
        polled=None if row.polled_at is None else instant_text(row.polled_at),
        due=instant_text(row.due_at),
        failures=row.failures,
        fault=row.fault,
    )
