"""`meter deliveries`: what the export targets were sent, and trying again what they refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.api.deliveries import TargetDeliveries, delivery_json, shown_json, target_json
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import monotonic_s, now
from meter.config import load_settings
from meter.export.role import Renewer
from meter.export.targets.setups import Targets
from meter.model.errors import BadInput
from meter.store.deliveries import (
    Delivery,
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

# So many are settled in one transaction.
_PAGE_DELIVERIES: Final = 500
_LOOK_INTERVAL_S: Final = 0.5
# Longer than a lane waits between two attempts at most: if nothing has moved for so long, nothing will.
_STILL_S_MAX: Final = 75.0
# More numbers than this say less than how many they are.
_NUMBERS_MAX: Final = 20

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
    table = listing("id", "to, what", "state", "tries", "created, delivered", "fault", unbroken=("created, delivered",))
    for one in found:
        table.add_row(
            one.id,
            escape(f"{one.target}\n{one.operation}"),
            one.state,
            str(one.attempts),
            f"{one.created}\n{one.delivered or ''}",
            escape(one.fault or ""),
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
    again = run(_again(deliveries or [], every=every, target=target, reason=reason, wait=wait))
    for id, unmet in again.left.items():
        err.print(f"{id} is dead as before: {unmet}", markup=False, highlight=False)
    if as_json:
        print_json({"deliveries": [msgspec.to_builtins(delivery_json(one)) for one in again.made]})
    elif again.made:
        numbers = ", ".join(str(one.id) for one in again.made[:_NUMBERS_MAX])
        more = ", ..." if len(again.made) > _NUMBERS_MAX else ""
        out.print(f"{len(again.made)} to be sent again: {numbers}{more}", markup=False, highlight=False)
        if wait:
            out.print(_come_to(again.made), markup=False, highlight=False)
    elif not again.left:
        err.print("nothing is dead")
    dead = [one for one in again.made if one.state == "dead"]
    for one in dead[:_NUMBERS_MAX]:
        err.print(f"{one.id} is dead again: {one.fault}", markup=False, highlight=False)
    if dead or again.left:
        raise typer.Exit(1)


def _come_to(made: Sequence[Delivery]) -> str:
    """Return in a line what has become of deliveries."""
    counts: dict[str, int] = {}
    for one in made:
        counts[one.state] = counts.get(one.state, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
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


async def _again(numbers: list[int], *, every: bool, target: str | None, reason: str, wait: bool) -> _Again:
    """Make new revisions: of all that are named or of none; wait until nothing of them is open."""
    again, made = _Again(), list[int]()
    async with connect() as database:
        operator = await require_operator(database)
        if every:
            async with database.begin() as conn:
                numbers = await dead_deliveries(conn, operator, target=target, reason=reason)
        settings = load_settings()
        targets = Targets(settings.targets, operator=operator, data_dir=settings.data_dir)
        renew = Renewer(targets, database, clock=now)
        pages = [numbers[start : start + _PAGE_DELIVERIES] for start in range(0, len(numbers), _PAGE_DELIVERIES)]
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            for page in bar.track(pages, description="making anew"):
                async with database.begin() as conn:
                    retried = await retry_dead(conn, operator, page, renew=renew)
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
