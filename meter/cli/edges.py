"""`meter edges`: the agents on site, what they still hold, and what waits for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape

from meter.api.edges import EdgeJson, Edges, EnrollmentJson, SiteJson, edge_json, enrollment_json, site_json
from meter.booking.closing import look
from meter.booking.held import held_closings
from meter.booking.preview import facts_now
from meter.cli import enrolment
from meter.cli.common import COMMAND_LINE, AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.config import load_settings
from meter.model.errors import BadInput
from meter.store.edge_states import list_edges, retire_edge
from meter.store.edges import edge_marks
from meter.store.enrolment import list_enrollments

_INSTANTS: Final = ("last seen", "complete until")

app = typer.Typer(name="edges", help="The agents on site.")
for command in (enrolment.enroll, enrolment.revoke, enrolment.ca, enrolment.crl, enrolment.acl):
    app.command()(command)


@by_default(app)
@app.command("list")
def show_all(*, as_json: AsJson = False) -> None:
    """List the agents with what is missing, spooled and faulty, and which closings wait for them."""
    found = run(_all())
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    table = listing("agent", "last seen", "complete until", "missing", "spooled", unbroken=_INSTANTS)
    certificates = {(one.site, one.edge): one.certificate_expires for one in found.enrollments if one.used}
    states: list[str] = []
    for edge in found.edges:
        if edge.current or (edge.missing and edge.retired is None and edge.revoked is None):
            table.add_row(*map(escape, _row(edge)))
            states.append(f"{_name(edge)}: {_state(edge, certificates.get((edge.site, edge.edge)))}")
    heard = {(edge.site, edge.edge) for edge in found.edges}
    for one in found.enrollments:
        if (one.site, one.edge) not in heard or one.used is None:
            table.add_row(escape(_name(one)), *[""] * 4)
            states.append(f"{_name(one)}: {_awaited(one)}")
    show_listing(table, nothing="no agent was heard of")
    for told in states:
        out.print(told, markup=False, highlight=False, soft_wrap=True)
    for told in (*_doubts(found.edges), *_held(found.sites)):
        out.print(told, markup=False, highlight=False, soft_wrap=True)


@app.command()
def show(site: enrolment.Site, edge: enrolment.Edge, *, as_json: AsJson = False) -> None:
    """Show everything that is known of one agent, each boot of it, the newest first."""
    boots = [one for one in run(_all()).edges if (one.site, one.edge) == (site, edge)]
    if not boots:
        raise BadInput(f"site {site[:60]!r} has no agent {edge[:60]!r}; meter edges lists them", code="not_found")
    if as_json:
        print_json({"edges": msgspec.to_builtins(boots)})
        return
    for boot in boots:
        fields = msgspec.to_builtins(boot) | {"holes": _holes(boot), "collectors": "", "faults": "; ".join(boot.faults)}
        for name, value in fields.items():
            if value not in (None, ""):
                out.print(f"{name:>15}  {value}", markup=False, highlight=False, soft_wrap=True)
        for name, collector in boot.collectors.items():
            told = f"{'collector':>15}  {name}: {collector.state} {collector.detail or ''} (last {collector.last})"
            out.print(told, markup=False, highlight=False, soft_wrap=True)
        out.print()


@app.command()
def retire(
    site: enrolment.Site,
    edge: enrolment.Edge,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Why; kept with the agent.")],
    yes: Annotated[bool, typer.Option("--yes", help="Although it was heard of within the hour.")] = False,
    as_json: AsJson = False,
) -> None:
    """Note that an agent is gone for good: what it still held will not come, and closings wait for it no longer.

    It counts again with the first thing that is heard of it.
    """
    boots = run(_retire(site, edge, reason=reason, force=yes))
    if as_json:
        print_json({"edges": msgspec.to_builtins(boots)})
    else:
        err.print(f"{edge} of {site} is retired", markup=False, highlight=False)


async def _all() -> Edges:
    async with connect() as database:
        operator, at = await require_operator(database), now()
        async with database.begin() as connection:
            known = await look(connection, operator, at=at)
            found = await list_edges(connection, operator)
            marks = await edge_marks(connection, operator, known.marks)
            enrolled = await list_enrollments(connection, operator)
            facts = await facts_now(connection, operator)
            held = await held_closings(connection, operator, facts, known)
    return Edges(
        edges=[edge_json(state, at=at, silence=_silence()) for state in found],
        enrollments=[enrollment_json(one) for one in enrolled],
        sites=[site_json(site, marks[site], held.get(site)) for site in known.marks],
    )


async def _retire(site: str, edge: str, *, reason: str, force: bool) -> list[EdgeJson]:
    async with connect() as database:
        operator, at = await require_operator(database), now()
        async with database.begin() as connection:
            found = await retire_edge(
                connection, operator, site=site, edge=edge, reason=reason, by=COMMAND_LINE, at=at, force=force
            )
    return [edge_json(state, at=at, silence=_silence()) for state in found]


def _silence() -> timedelta:
    return timedelta(seconds=load_settings().offline_after_s)


def _row(edge: EdgeJson) -> tuple[str, ...]:
    older = "" if edge.current else f" (boot {edge.boot})"
    return (
        _name(edge) + older,
        _minute(edge.heartbeat or edge.last),
        _minute(edge.complete_until),
        str(edge.missing),
        "" if edge.spooled is None else str(edge.spooled),
    )


def _name(agent: EdgeJson | EnrollmentJson) -> str:
    return f"{agent.site}/{agent.edge}"


def _state(edge: EdgeJson, certificate: str | None) -> str:
    """Return in a few words how an agent is: gone, faulty, or how its clock and its collectors are."""
    if edge.revoked is not None:
        return f"revoked at {edge.revoked.at}: {edge.revoked.reason} ({edge.revoked.refused} events refused since)"
    if edge.retired is not None:
        return f"retired at {edge.retired.at}: {edge.retired.reason}"
    if not edge.current:
        return "replaced by a newer boot"
    parts = [] if edge.offline_since is None else [f"offline since {edge.offline_since}"]
    parts += [*edge.faults, *(f"{name} {one.state}" for name, one in sorted(edge.collectors.items()))]
    if edge.clock_offset_ms is not None:
        parts.append(f"clock {edge.clock_offset_ms / 1000:+.3f} s")
    if edge.version:
        parts.append(f"version {edge.version}")
    if certificate is not None:
        parts.append(f"certificate until {_day(certificate)}")
    return "; ".join(parts)


def _awaited(enrollment: EnrollmentJson) -> str:
    """Return what an enrolment waits for: its agent's first word, or somebody with its code."""
    if enrollment.used is not None:
        return (
            f"enrolled at {enrollment.used}, not heard of yet; certificate until {_day(enrollment.certificate_expires)}"
        )
    return f"its code is open until {enrollment.expires}"


def _minute(instant: str | None) -> str:
    """Return an instant as a narrow table has room for it; `show` has all of it."""
    return "" if instant is None else f"{instant[:16]}Z"


def _day(instant: str | None) -> str:
    return (instant or "").partition("T")[0]


def _holes(edge: EdgeJson) -> str:
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in edge.holes)
    return f"{shown} ({edge.missing} missing)" if edge.missing else ""


def _doubts(edges: Sequence[EdgeJson]) -> Iterator[str]:
    for edge in edges:
        if edge.drifts and edge.current and edge.retired is None:
            told = f"the clock of {edge.edge} at {edge.site} is {edge.clock_offset_ms} ms off; look at its NTP"
            yield f"{told} (events are corrected by what was measured)"


def _held(sites: Sequence[SiteJson]) -> Iterator[str]:
    for site in sites:
        if site.holds is not None:
            until = f"up to {site.complete_until}" if site.complete_until else "up to no time yet"
            told = f"{site.site} is complete {until} by {site.slowest}: periods of {site.holds.accounts} accounts stay"
            yield f"{told} open, the first of which ended at {site.holds.since}"
