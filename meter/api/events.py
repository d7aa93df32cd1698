"""The doors of the ingest role: events and webhooks. What happens behind them is `meter.ingest`'s."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web

from meter.api.routing import ANY, JSON, InstantText, Model, Query, Route, json_answer, principal_of, query_of
from meter.api.services import Services
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.edges import stored_marks

CLOUDEVENT: Final = "application/cloudevents+json"
CLOUDEVENTS: Final = "application/cloudevents-batch+json"


class CloudEvent(Model, kw_only=True):
    """CloudEvents 1.0. `source` begins with the site; `subject` is an identity, `kind:value`."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str | None = None
    time: InstantText | None = None
    data: dict[str, Any] | None = None


class EventResult(Model, kw_only=True, omit_defaults=True):
    """What became of one event. A duplicate was accepted before; a rejection is kept with its bytes."""

    id: str | None
    source: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    detail: str | None = None


class EventResults(Model, kw_only=True):
    """One result for each event, in their order."""

    results: list[EventResult]


class ClockTime(Model, kw_only=True):
    """The gateway's clock, to the microsecond."""

    time: InstantText


class StoredQuery(Query, kw_only=True):
    """Which of the agent's spools is meant."""

    boot: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="The number of the agent's spool.")]


class StoredSequences(Model, kw_only=True):
    """Every sequence up to `up_to`, and those of the ranges `beyond`, both ends included."""

    boot: int
    up_to: int
    beyond: list[tuple[int, int]]


class HookQuery(Query, kw_only=True):
    """A vendor that signs nothing shows the secret here."""

    token: Annotated[str, msgspec.Meta(description="The secret, where the vendor signs nothing.")] = ""


def routes(services: Services) -> list[Route]:
    """Return the routes of the doors that are open in this gateway."""
    found: list[Route] = []
    receive_events, receive_hook = services.receive_events, services.receive_hook
    if receive_events is not None:

        async def post(request: web.Request) -> web.StreamResponse:
            return await receive_events(request, principal_of(request))

        found.append(
            Route(
                method="POST",
                path="/v1/events",
                handler=post,
                tag="events",
                summary="Hand in events; answered after they are committed",
                description=(
                    "One event, an array of events, or one event in binary mode (`ce-` headers, its data as the body). "
                    "400 only where the body as a whole cannot be read."
                ),
                scope="events:write",
                open_to=frozenset({"site"}),
                bodies={CLOUDEVENT: CloudEvent, CLOUDEVENTS: list[CloudEvent], JSON: Any},
                answers={JSON: EventResults},
            )
        )

        found += _for_agents(services)
    if receive_hook is not None:
        found.append(
            Route(
                method="POST",
                path="/hooks/{vendor}/{source}",
                handler=receive_hook,
                tag="events",
                summary="Where a vendor's webhooks arrive; its signature decides",
                scope=None,
                query=HookQuery,
                lenient_query=True,
                bodies={"*/*": bytes},
            )
        )
    return found


def _for_agents(services: Services) -> list[Route]:
    """Return what an agent on site asks beside handing in events."""

    async def tell_time(_request: web.Request) -> web.StreamResponse:
        return json_answer(ClockTime(time=instant_text(services.clock())))

    async def show_stored(request: web.Request) -> web.StreamResponse:
        site, edge = request.match_info["site"], request.match_info["edge"]
        if principal_of(request).site not in {None, site}:
            raise BadInput(f"this key is not for site {site[:60]!r}", code="forbidden")
        operator, boot = await services.require_operator(), query_of(request, StoredQuery).boot
        async with services.db.begin() as conn:
            (marks,) = (await stored_marks(conn, operator, [(site, edge, boot)])).values()
        return json_answer(StoredSequences(boot=boot, up_to=marks.up_to, beyond=[*marks.beyond]))

    return [
        Route(
            method="GET",
            path="/v1/clock",
            handler=tell_time,
            tag="events",
            summary="What time it is here: an agent on site measures its own clock by it",
            scope=ANY,
            open_to=frozenset({"site", "account"}),
            answers={JSON: ClockTime},
        ),
        Route(
            method="GET",
            path="/v1/edges/{site}/{edge}/stored",
            handler=show_stored,
            tag="events",
            summary="Which of an agent's sequences are stored: it sends again what it was told of and is not there",
            scope="events:write",
            open_to=frozenset({"site"}),
            query=StoredQuery,
            answers={JSON: StoredSequences},
        ),
    ]
