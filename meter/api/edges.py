"""The on-site agents: what each has had taken in, what is missing, how far its site is complete."""

from __future__ import annotations

from aiohttp import web

from meter.api.routing import JSON, InstantText, Model, Route, json_answer, principal_of
from meter.api.services import Services
from meter.model.instant import instant_text
from meter.store.edge_states import EdgeState, list_edges


class EdgeJson(Model, kw_only=True):
    """One agent and boot. `holes` are missing ranges of sequences below `last_sequence`, both ends included.

    `complete_until`: nothing older of the site is still to come from this agent. `clock_offset_ms`: device minus true.
    """

    site: str
    edge: str
    boot: int
    last_sequence: int
    up_to: int
    holes: list[tuple[int, int]]
    complete_until: InstantText | None
    clock_offset_ms: int | None
    last: InstantText


class Edges(Model, kw_only=True):
    """Every agent, each boot by itself, the newest first."""

    edges: list[EdgeJson]


def routes(services: Services) -> list[Route]:
    """Return the route of the list."""

    async def show(request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await list_edges(conn, operator, site=principal_of(request).site)
        return json_answer(Edges(edges=[_json(state) for state in found]))

    return [
        Route(
            method="GET",
            path="/v1/edges",
            handler=show,
            tag="sites",
            summary="On-site agents: last sequence, holes, completeness, clock offset",
            scope="usage:read",
            open_to=frozenset({"site"}),
            answers={JSON: Edges},
        )
    ]


def _json(state: EdgeState) -> EdgeJson:
    return EdgeJson(
        site=state.site,
        edge=state.edge,
        boot=state.boot,
        last_sequence=state.marks.last,
        up_to=state.marks.up_to,
        holes=list(state.marks.holes),
        complete_until=None if state.complete_until is None else instant_text(state.complete_until),
        clock_offset_ms=state.clock_offset_ms,
        last=instant_text(state.last_at),
    )
