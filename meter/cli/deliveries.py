"""`meter deliveries`: what the export targets were sent, and sending again what they refused or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from textwrap import shorten
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.api.deliveries import TargetDeliveries, delivery_json, shown_json, target_json
from meter.cli.common import COMMAND_LINE, AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.cli.targets import reconciled
from meter.clock import monotonic_s, now
from meter.config import load_settings
from meter.export.role import Renewer, Resender
from meter.export.targets.setups import Targets, targets_of
from meter.model.errors import BadInput
from meter.store.deliveries import (
    Delivery,
    Make,
    TargetSummary,
    dead_deliveries,
    deliveries_of,
    list_deliveries,
    retry_dead,
    show_delivery,
    states_of,
    summarize,
)
from meter.store.engine import Database
from meter.store.outbox import OPEN_STATES, STATES, State
from meter.store.resending import resend as resend_delivered

# So many are settled in one transaction.
_PAGE_DELIVERIES: Final = 500
_LOOK_INTERVAL_S: Final = 0.5
# Longer than a lane waits between two attempts at most: if nothing has moved for so long, nothing will.
_STILL_S_MAX: Final = 75.0
# More numbers than this say less than how many they are.
_NUMBERS_MAX: Final = 20
# A fault has 500; `show` tells all of it.
_FAULT_CHARS: Final = 160

app = typer.Typer(name="deliveries", help="What the export targets are sent.")
Id = Annotated[int, typer.Argument(min=1, help="The delivery's number, as the list shows it.")]


@by_default(app)
@app.command("list")
def show_all(
    *,
    target: Annotated[str | None, typer.Option(help="Only of this target.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only in this state: {', '.join(STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    found = [delivery_json(one) for one in run(_list(target, _state(state), limit))]
    if as_json:
        print_json({"deliveries": msgspec.to_builtins(found)})
        return
    columns = ("id", "to, what", "of", "state", "tries", "created, delivered", "fault")
    table = listing(*columns, unbroken=("created, delivered",))
    for one in found:
        table.add_row(
            one.id,
            escape(f"{one.target}\n{one.operation}"),
            escape(one.account or one.site or ""),
            one.state,
            str(one.attempts),
            f"{one.created}\n{one.delivered or ''}",
            escape(shorten(one.fault or "", _FAULT_CHARS, placeholder=" ...")),
        )
    show_listing(table, nothing="no such delivery; each booking makes one for each target")


@app.command()
def show(delivery: Id, *, as_json: AsJson = False) -> None:
    """Show one delivery with its payload."""
    shown = shown_json(run(_show(delivery)))
    fields: dict[str, Any] = msgspec.to_builtins(shown)
    if as_json:
        print_json(fields)
        return
    payload = fields.pop("payload")
    for name, value in fields.items():
        out.print(f"{name:12} {'' if value is None else value}", markup=False, highlight=False)
    out.print_json(data=payload)


@app.command()
def summary(*, as_json: AsJson = False) -> None:
    """Show for each target how many deliveries are in each state, and whether it is left alone."""
    found = [target_json(one) for one in run(_summary())]
    if as_json:
        print_json({"targets": msgspec.to_builtins(found)})
        return
    # States that nothing is in would take the room that the others need on a narrow screen.
    states = [state for state in STATES if any(one.states.get(state) for one in found)]
    table = listing("target", *states, "oldest open", unbroken=("target", *states, "oldest open"))
    for one in found:
        counts = [str(one.states.get(state) or "") for state in states]
        table.add_row(escape(one.target), *counts, one.oldest or "")
    show_listing(table, nothing="nothing was ever to be sent")
    for one in found:
        if held := _held(one):
            out.print(f"{one.target} is left alone: {held}", markup=False, highlight=False)


def _held(found: TargetDeliveries) -> str:
    held = found.held
    if held is None:
        return ""
    why = "asked for time" if held.failing_since is None else f"down since {held.failing_since}"
    return f"{why}, tried again at {held.until}: {held.fault}"


@app.command()
def retry(
    deliveries: Annotated[list[int] | None, typer.Argument(min=1, help="Dead deliveries, by number.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every dead one.")] = False,
    target: Annotated[str | None, typer.Option(help="With --all: only of this target.")] = None,
    reason: Annotated[str, typer.Option(help="With --all: only those whose fault has this in it.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until they are delivered, or dead again.")] = True,
    as_json: AsJson = False,
) -> None:
    """Send dead deliveries again, each made anew, as a new revision under a new key. Ends with 1 if one stays dead."""
    if bool(deliveries) == every or (not every and (target is not None or reason)):
        raise BadInput("name the deliveries by number, or give --all (--target, --reason)", code="bad_option")
    again = run(_retried(deliveries or [], every=every, target=target, reason=reason, wait=wait))
    _show_again(again, left="is dead as before", nothing="nothing is dead", wait=wait, as_json=as_json)


@app.command()
def resend(
    deliveries: Annotated[list[int] | None, typer.Argument(min=1, help="Delivered ones, by number.")] = None,
    *,
    missing: Annotated[bool, typer.Option("--missing", help="All that `meter reconcile` finds missing.")] = False,
    target: Annotated[str | None, typer.Option(help="With --missing: the target.")] = None,
    since: Annotated[str | None, typer.Option(help="With --missing: the first day; else five weeks ago.")] = None,
    until: Annotated[str | None, typer.Option(help="With --missing: the day behind the last; else tomorrow.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until they are delivered, or dead.")] = True,
    as_json: AsJson = False,
) -> None:
    """Send again what a target was delivered and lost. The target is asked for each first, so nothing doubles."""
    if bool(deliveries) == missing or missing != (target is not None) or (not missing and (since or until)):
        raise BadInput("name the deliveries by number, or give --missing --target NAME", code="bad_option")
    if as_json and not yes:
        raise BadInput("--json asks nothing; give --yes beside it", code="bad_option")
    numbers = list(deliveries or ())
    if target is not None:
        numbers = [
            found.delivery
            for found in run(reconciled(target, since, until)).discrepancies
            if found.fault == "missing" and found.delivery is not None
        ]
    if numbers and not yes:
        asked = f"{len(numbers)} are looked for, and sent again where they are not there: {_numbers(numbers)}. Go on?"
        typer.confirm(asked, abort=True, err=True)
    again = run(_resent(numbers, wait=wait))
    _show_again(again, left="is not sent again", nothing="nothing is missing", wait=wait, as_json=as_json)


def _show_again(again: _Again, *, left: str, nothing: str, wait: bool, as_json: bool) -> None:
    """Say what was made anew, and what has become of it. Ends with 1 where one is dead or was left as it is."""
    for id, unmet in again.left.items():
        err.print(f"{id} {left}: {unmet}", markup=False, highlight=False)
    if as_json:
        print_json({"deliveries": [msgspec.to_builtins(delivery_json(one)) for one in again.made]})
    elif again.made:
        numbers = _numbers([one.id for one in again.made])
        out.print(f"{len(again.made)} to be sent again: {numbers}", markup=False, highlight=False)
        if wait:
            out.print(_come_to(again.made), markup=False, highlight=False)
    elif not again.left:
        err.print(nothing)
    dead = [one for one in again.made if one.state == "dead"]
    for one in dead[:_NUMBERS_MAX]:
        err.print(f"{one.id} is dead again: {one.fault}", markup=False, highlight=False)
    if dead or again.left:
        raise typer.Exit(1)


def _numbers(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:_NUMBERS_MAX])) + (", ..." if len(ids) > _NUMBERS_MAX else "")


def _come_to(made: Sequence[Delivery]) -> str:
    """Return in a line what has become of deliveries."""
    counts: dict[str, int] = {}
    for one in made:
        counts[one.state] = counts.get(one.state, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    there = sum(one.state == "delivered" and not one.attempts for one in made)
    told += f" ({there} were there, and not sent)" if there else ""
    waiting = sum(counts.get(state, 0) for state in OPEN_STATES)
    return f"{told}; what waits goes on by itself while a gateway runs" if waiting else told


def _state(given: str | None) -> State | None:
    for state in STATES:
        if state == given:
            return state
    if given is not None:
        raise BadInput(f"--state is {given[:40]!r}; there are {', '.join(STATES)}", code="bad_option")
    return None


async def _list(target: str | None, state: State | None, limit: int) -> list[Delivery]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await list_deliveries(conn, operator, target=target, state=state, deliveries_max=limit)


async def _show(delivery: int) -> Delivery:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await show_delivery(conn, operator, delivery)


async def _summary() -> list[TargetSummary]:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await summarize(conn, operator)


@dataclass(slots=True, kw_only=True)
class _Again:
    """What was sent again, and what could not be, with the reason."""

    made: Sequence[Delivery] = ()
    left: dict[int, str] = field(default_factory=dict)


async def _retried(numbers: list[int], *, every: bool, target: str | None, reason: str, wait: bool) -> _Again:
    async with connect() as database:
        operator = await require_operator(database)
        if every:
            async with database.begin() as conn:
                numbers = await dead_deliveries(conn, operator, target=target, reason=reason)
        renew = Renewer(_targets(operator), database, clock=now)
        return await _again(database, operator, numbers, partial(retry_dead, by=COMMAND_LINE, renew=renew), wait=wait)


async def _resent(numbers: list[int], *, wait: bool) -> _Again:
    async with connect() as database:
        operator = await require_operator(database)
        renew = Resender(_targets(operator), database, clock=now)
        return await _again(
            database, operator, numbers, partial(resend_delivered, by=COMMAND_LINE, renew=renew), wait=wait
        )


def _targets(operator: str) -> Targets:
    settings = load_settings()
    return targets_of(settings, operator=operator)


async def _again(
    database: Database,
    operator: str,
    numbers: list[int],
    make: Make,
    *,
    wait: bool,
) -> _Again:
    """Make new revisions: of all that are named or of none; wait until nothing of them is open."""
    again, made = _Again(), list[int]()
    pages = [numbers[start : start + _PAGE_DELIVERIES] for start in range(0, len(numbers), _PAGE_DELIVERIES)]
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        for page in bar.track(pages, description="making anew"):
            async with database.begin() as conn:
                retried = await make(conn, operator, page)
            made += retried.made
            again.left |= retried.left
        if wait and made:
            await _settled(database, operator, made, bar)
    async with database.begin() as conn:
        again.made = await deliveries_of(conn, operator, made)
    return again


async def _settled(database: Database, operator: str, deliveries: Sequence[int], bar: Progress) -> None:
    """Return when none of the deliveries is open, or nothing has moved for a while."""
    task = bar.add_task("delivering", total=len(deliveries))
    before: Mapping[State, int] = {}
    moved_at_s = monotonic_s()
    while True:
        async with database.begin() as conn:
            states = await states_of(conn, operator, deliveries)
        waiting = sum(states.get(state, 0) for state in OPEN_STATES)
        bar.update(task, completed=len(deliveries) - waiting)
        if states != before:
            before, moved_at_s = states, monotonic_s()
        if not waiting or monotonic_s() - moved_at_s > _STILL_S_MAX:
            return
        await asyncio.sleep(_LOOK_INTERVAL_S)
