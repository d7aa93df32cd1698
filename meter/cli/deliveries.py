"""`meter deliveries`: what the export targets were sent, and trying again what they refused."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

import msgspec
import typer
from rich.markup import escape

from meter.api.deliveries import DeliveryJson, delivery_json, shown_json
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.model.errors import BadInput
from meter.store.deliveries import Delivery, State, list_deliveries, retry_dead, show_delivery
from meter.store.engine import Database

_STATES: Final[tuple[State, ...]] = get_args(State)
# Named ones are settled in one transaction up to this many.
_PAGE_DELIVERIES: Final = 500

app = typer.Typer(name="deliveries", help="What the export targets are sent.")
Id = Annotated[int, typer.Argument(min=1, help="The delivery's number, as the list shows it.")]


@by_default(app)
@app.command("list")
def show_all(
    *,
    target: Annotated[str | None, typer.Option(help="Only of this target.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only in this state: {', '.join(_STATES)}.")] = None,
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
def retry(
    deliveries: Annotated[list[int] | None, typer.Argument(min=1, help="Dead deliveries, by number.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every dead one.")] = False,
    target: Annotated[str | None, typer.Option(help="With --all: only of this target.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send dead deliveries again, each as a new revision under a new key."""
    if bool(deliveries) == every:
        raise BadInput("name the deliveries by number, or give --all", code="bad_option")
    made = [delivery_json(one) for one in run(_retry(deliveries or [], every=every, target=target))]
    if as_json:
        print_json({"deliveries": msgspec.to_builtins(made)})
    elif made:
        out.print(f"{len(made)} to be sent again: {_numbers(made)}", markup=False, highlight=False)
    else:
        err.print("nothing is dead")


def _numbers(made: list[DeliveryJson]) -> str:
    return ", ".join(one.id for one in made)


def _state(given: str | None) -> State | None:
    for state in _STATES:
        if state == given:
            return state
    if given is not None:
        raise BadInput(f"--state is {given[:40]!r}; there are {', '.join(_STATES)}", code="bad_option")
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


async def _retry(numbers: list[int], *, every: bool, target: str | None) -> list[Delivery]:
    """Return the new revisions: of those named all, or none where one of them is not dead."""
    async with connect() as database:
        operator = await require_operator(database)
        if every:
            numbers = await _dead(database, operator, target)
        made: list[Delivery] = []
        for start in range(0, len(numbers), _PAGE_DELIVERIES):
            async with database.begin() as conn:
                page = numbers[start : start + _PAGE_DELIVERIES]
                made += [await retry_dead(conn, operator, number) for number in page]
        return made


async def _dead(database: Database, operator: str, target: str | None) -> list[int]:
    """Return the dead deliveries, the oldest first, so that they go in the order in which they were booked."""
    found: list[int] = []
    while True:
        async with database.begin() as conn:
            page = await list_deliveries(
                conn,
                operator,
                target=target,
                state="dead",
                before=found[-1] if found else None,
                deliveries_max=_PAGE_DELIVERIES,
            )
        found += [one.id for one in page]
        if len(page) < _PAGE_DELIVERIES:
            return found[::-1]
