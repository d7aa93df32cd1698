"""The on-site agents: what each has had taken in, how it is, and which closings wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from meter.api.facts import FactsReader
from meter.api.routing import JSON, Body, InstantText, Model, Route, body_of, json_answer, principal_of
from meter.api.services import Services
from meter.booking.closing import look
from meter.booking.held import HeldClosings, held_closings
from meter.model.instant import instant_text
from meter.store.edge_revocations import Revocation
from meter.store.edge_states import EdgeState, list_edges, retire_edge
from meter.store.edges import edge_marks
from meter.store.enrolment import Enrollment, list_enrollments

# Of a boot that is full of them, the others are in `missing`.
_HOLES_SHOWN_MAX: Final = 100


class CollectorJson(Model, kw_only=True):
    """One of an agent's collectors, as it says itself. `last`: when it last heard of its devices."""

    state: str
    detail: str | None = None
    last: InstantText | None = None


class RetirementJson(Model, kw_only=True):
    """Somebody's word that an agent is gone for good; it counts again once anything is heard of it."""

    at: InstantText
    reason: str
    by: str


class RevocationJson(Model, kw_only=True):
    """Somebody's word that an agent is shut out, until it is enrolled again; what came of it since is not stored.

    Of the `refused` events `kept` stand among the rejections, as `edge_revoked`.
    """

    at: InstantText
    reason: str
    by: str
    refused: int
    kept: int
    refused_at: InstantText | None


class EnrollmentJson(Model, kw_only=True):
    """How an agent has its keys. `used` null: its code is open until `expires`."""

    site: str
    edge: str
    opened: InstantText
    expires: InstantText
    used: InstantText | None
    certificate_expires: InstantText | None


class EdgeJson(Model, kw_only=True):
    """One agent and boot. `holes` are missing ranges of sequences below `last_sequence`, both ends included.

    The first of them are shown; `missing` counts all sequences in all of them. `current`: of the agent's boots the one
    that was heard of last. `complete_until`: nothing older of the site is still to come from this agent.
    `clock_offset_ms`: device minus true; `drifts`: by more than 2 s. `offline_since`: its last sign of life, where it
    has been silent too long. From `spooled` on the agent's own words in its latest heartbeat.
    """

    site: str
    edge: str
    boot: int
    current: bool
    last_sequence: int
    up_to: int
    holes: list[tuple[int, int]]
    missing: int
    complete_until: InstantText | None
    clock_offset_ms: int | None
    drifts: bool
    last: InstantText
    heartbeat: InstantText | None
    offline_since: InstantText | None
    retired: RetirementJson | None
    revoked: RevocationJson | None
    spooled: int | None
    spooled_bytes: int | None
    oldest: InstantText | None
    refused: int | None
    ntp: bool | None
    version: str | None
    collectors: dict[str, CollectorJson]
    faults: list[str]


class OpenPeriodsJson(Model, kw_only=True):
    """Billing periods that are over and stay open for a site: of so many accounts, the first one ended at `since`."""

    accounts: int
    since: InstantText


class SiteJson(Model, kw_only=True):
    """Up to when a site is complete, by `slowest` of its agents, and what stays open for it; null: nothing does."""

    site: str
    complete_until: InstantText | None
    slowest: str
    holds: OpenPeriodsJson | None


class Edges(Model, kw_only=True):
    """Every agent that was heard of, each boot by itself, the newest first; those enrolled; and their sites."""

    edges: list[EdgeJson]
    enrollments: list[EnrollmentJson]
    sites: list[SiteJson]


class RetireBody(Body, kw_only=True):
    """Why an agent is gone for good. `force`: although it was heard of within the hour."""

    reason: str
    force: bool = False


class Retired(Model, kw_only=True):
    """The agent's boots as they stand now."""

    edges: list[EdgeJson]


def routes(services: Services, facts: FactsReader) -> list[Route]:
    """Return the routes of the list and of taking an agent out of it."""
    silence = timedelta(seconds=services.settings.offline_after_s)

    async def show(request: web.Request) -> web.StreamResponse:
        operator, site = await services.require_operator(), principal_of(request).site
        async with facts.snapshot(operator) as (conn, known):
            looked = await look(conn, operator, at=services.clock())
            found = await list_edges(conn, operator, site=site)
            marks = await edge_marks(conn, operator, looked.marks)
            held = await held_closings(conn, operator, known, looked)
            enrolled = await list_enrollments(conn, operator, site=site)
        sites = [site_json(name, marks[name], held.get(name)) for name in looked.marks if site in {None, name}]
        listed = [edge_json(state, at=looked.at, silence=silence) for state in found]
        return json_answer(Edges(edges=listed, enrollments=list(map(enrollment_json, enrolled)), sites=sites))

    async def retire(request: web.Request) -> web.StreamResponse:
        operator, body, at = await services.require_operator(), await body_of(request, RetireBody), services.clock()
        async with services.db.begin() as conn:
            found = await retire_edge(
                conn,
                operator,
                site=request.match_info["site"],
                edge=request.match_info["edge"],
                reason=body.reason,
                by=principal_of(request).key,
                at=at,
                force=body.force,
            )
        return json_answer(Retired(edges=[edge_json(state, at=at, silence=silence) for state in found]))

    return [
        Route(
            method="GET",
            path="/v1/edges",
            handler=show,
            tag="sites",
            summary="On-site agents: what is missing, spooled, faulty; their clocks; which closings wait for them",
            scope="usage:read",
            open_to=frozenset({"site"}),
            answers={JSON: Edges},
        ),
        Route(
            method="POST",
            path="/v1/edges/{site}/{edge}/retire",
            handler=retire,
            tag="sites",
            summary="An agent is gone for good: closings wait for it no longer",
            scope="admin",
            bodies={JSON: RetireBody},
            answers={JSON: Retired},
        ),
    ]


def edge_json(state: EdgeState, *, at: datetime, silence: timedelta) -> EdgeJson:
    """Return an agent's boot as it leaves at `at`; `silence` is how long one that is there may be unheard."""
    said, holes = state.said, state.marks.holes
    return EdgeJson(
        site=state.site,
        edge=state.edge,
        boot=state.boot,
        current=state.current,
        last_sequence=state.marks.last,
        up_to=state.marks.up_to,
        holes=list(holes[:_HOLES_SHOWN_MAX]),
        missing=sum(hole.length for hole in holes),
        complete_until=_text(state.complete_until),
        clock_offset_ms=state.clock_offset_ms,
        drifts=state.drifts,
        last=instant_text(state.last_at),
        heartbeat=_text(state.heartbeat_at),
        offline_since=_text(state.offline_since(at, after=silence)),
        retired=None
        if state.retired is None
        else RetirementJson(at=instant_text(state.retired.at), reason=state.retired.reason, by=state.retired.by),
        revoked=None if state.revoked is None else revocation_json(state.revoked),
        spooled=_count(said.get("spooled")),
        spooled_bytes=_count(said.get("spooled_bytes")),
        oldest=said.get("oldest"),
        refused=_count(said.get("refused")),
        ntp=said.get("ntp"),
        version=said.get("version"),
        collectors={name: CollectorJson(**one) for name, one in said.get("collectors", {}).items()},
        faults=said.get("faults", []),
    )


def revocation_json(revocation: Revocation) -> RevocationJson:
    """Return a revocation as it leaves."""
    return RevocationJson(
        at=instant_text(revocation.at),
        reason=revocation.reason,
        by=revocation.by,
        refused=revocation.refused,
        kept=revocation.kept,
        refused_at=_text(revocation.refused_at),
    )


def enrollment_json(enrollment: Enrollment) -> EnrollmentJson:
    """Return an enrolment as it leaves: without its code, which nobody has."""
    return EnrollmentJson(
        site=enrollment.site,
        edge=enrollment.edge,
        opened=instant_text(enrollment.opened_at),
        expires=instant_text(enrollment.expires_at),
        used=_text(enrollment.used_at),
        certificate_expires=_text(enrollment.certificate_expires_at),
    )


def site_json(site: str, marks: Mapping[str, datetime | None], held: HeldClosings | None) -> SiteJson:
    """Return up to when a site is complete by its agents' marks, and what stays open for it."""
    slowest, mark = min(marks.items(), key=lambda item: (item[1] is not None, item[1], item[0]))
    return SiteJson(
        site=site,
        complete_until=_text(mark),
        slowest=slowest,
        holds=None if held is None else OpenPeriodsJson(accounts=held.accounts, since=instant_text(held.since)),
    )


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _count(value: Any) -> int | None:
    """Return a whole number, which JSON may have written as 5.0."""
    return None if value is None else int(value)
