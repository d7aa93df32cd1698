"""What targets answer and hold: the lines of `meter check`, and `meter reconcile`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.config import Settings, load_settings
from meter.export.contract import Exporter, Figures, Reconcilable
from meter.export.gather.customers import Customers
from meter.export.payload import day_of, thawed
from meter.export.reconcile import Expected, Reconciliation, Sums, reconcile
from meter.export.targets.setups import ConfiguredTarget, Targets
from meter.export.targets.spec import Means
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import instant_text, local_date
from meter.model.money import plain
from meter.store import migrate as schema
from meter.store.catalogs import load_catalogs
from meter.store.directory import current_operator, read_accounts
from meter.store.engine import Database
from meter.store.lanes import held_lanes
from meter.store.sent import sent_batches, sent_items
from meter.telemetry import Telemetry

# A month and what is corrected soon after it.
_DAYS: Final = 35
_INSTEAD: Final = "the page of its kind (docs/targets.md lists them) says what to compare instead"
# More accounts than this say less than how many they are.
_SHOWN_MAX: Final = 10


def target_checks(settings: Settings) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
    """Return a check for each enabled target, by name: raises MeterError that says what keeps it from being sent to.

    Where several targets invoice, one more: no account is a customer of two of them.
    """
    targets = Targets(settings.targets, operator="", data_dir=settings.data_dir)
    checks: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        (f"target {target.setup.name}", partial(_check, settings, target.setup.name)) for target in targets
    ]
    invoicing = [target.setup.customers for target in targets if target.kind.invoices(target.setup)]
    if len(invoicing) > 1:
        checks.append(("customers", partial(_check_customers, invoicing[0])))
    return checks


async def _check_customers(customers: Customers) -> None:
    """Raise BadInput (`billed_twice`) where accounts name customers of several targets that invoice."""
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            accounts = await read_accounts(conn, operator)
    twice = {account.id: names for account in accounts if len(names := customers.knowing(account)) > 1}
    if twice:
        shown = "; ".join(f"{account}: {', '.join(names)}" for account, names in sorted(twice.items())[:_SHOWN_MAX])
        message = f"{len(twice)} accounts name customers of several targets that invoice ({shown}); leave one to each"
        raise BadInput(message, code="billed_twice")


async def _check(settings: Settings, name: str) -> None:
    async with _opened(settings, name, operator=await _known_operator()) as (_, exporter, _database):
        await exporter.check()
    await _require_served(name)


async def _known_operator() -> str:
    """Return whose targets they are: tokens are kept by operator. "" where nobody's are yet."""
    async with connect() as database:
        if await schema.revision(database) != schema.head():
            return ""  # which is a fault of its own
        async with database.begin() as conn:
            return await current_operator(conn) or ""


async def _require_served(name: str) -> None:
    """Raise Unavailable (`target_down`) where the gateway, which tries all the time, has found the target down."""
    async with connect() as database:
        if await schema.revision(database) != schema.head():
            return  # which is a fault of its own
        async with database.begin() as conn:
            operator = await current_operator(conn)
            held = [] if operator is None else await held_lanes(conn, operator)
    for lane in held:
        if lane.target == name and lane.failing_since is not None:
            since, until = instant_text(lane.failing_since), instant_text(lane.held_until)
            message = f"down since {since}, tried again at {until}: {lane.fault}; see meter deliveries summary"
            raise Unavailable(message, code="target_down")


@asynccontextmanager
async def _opened(
    settings: Settings, name: str, *, operator: str | None = None
) -> AsyncIterator[tuple[ConfiguredTarget, Exporter, Database]]:
    """Yield a target that is set up without a fault. Raises BadInput (`bad_target`) naming what is wrong."""
    async with connect() as database:
        known = operator if operator is not None else await require_operator(database)
        targets = Targets(settings.targets, operator=known, data_dir=settings.data_dir)
        target = targets.get(name)
        if target is None:
            names = ", ".join(one.setup.name for one in targets) or "none"
            raise BadInput(f"{name} is no target that is enabled; there are: {names}", code="not_found")
        if target.faults:
            raise BadInput("\n".join(target.faults), code="bad_target")
        exporter = target.kind.open(target.setup, Means(database=database, telemetry=Telemetry()))
        try:
            yield target, exporter, database
        finally:
            await exporter.close()


def show_reconciliation(
    target: Annotated[str, typer.Argument(help="The target's name in the settings.")],
    *,
    since: Annotated[str | None, typer.Option(help="The first day, like 2026-11-01; else five weeks ago.")] = None,
    until: Annotated[str | None, typer.Option(help="The day behind the last; else tomorrow.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what a target holds with what it was sent. Ends with 1 where they differ."""
    found = run(reconciled(target, since, until))
    if as_json:
        print_json(_as_json(found))
    else:
        _show(target, found)
        if any(one.fault == "missing" for one in found.discrepancies):
            days = "".join(f" --{name} {day}" for name, day in (("since", since), ("until", until)) if day)
            command = f"meter deliveries resend --missing --target {target}{days}"
            out.print(f"what is missing is sent again by: {command}", markup=False, highlight=False, soft_wrap=True)
    if found.discrepancies:
        raise typer.Exit(1)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is no day; write it like 2026-11-01", code="bad_day") from error


async def reconciled(target: str, since: str | None, until: str | None) -> Reconciliation:
    """Return how what the target holds compares with what it was sent of these days, by default of five weeks.

    Raises MeterError: BadInput (`not_reconcilable`) where it cannot say what it holds.
    """
    return await _reconcile(target, _day(since), _day(until))


async def _reconcile(name: str, since: date | None, until: date | None) -> Reconciliation:
    settings = load_settings()
    async with _opened(settings, name) as (target, exporter, database):
        if not isinstance(exporter, Reconcilable):
            message = f"a target of kind {target.setup.kind} cannot say what it holds; {_INSTEAD}"
            raise BadInput(message, code="not_reconcilable")
        operator = target.setup.operator
        async with database.begin() as conn:
            catalogs = await load_catalogs(conn, operator)
            today = local_date(now(), "UTC" if catalogs is None else catalogs.at(now()).timezone)
            first, end = since or today - timedelta(days=_DAYS), until or today + timedelta(days=1)
            expected = [
                Expected(delivery=number, item=item, figures=figures)
                async for number, item in sent_items(conn, operator, name)
                if first <= (day_of(thawed(item.operation, item.payload)) or first) < end
                and _counts(figures := exporter.figures(item))
            ]
            batches = await sent_batches(conn, operator, name)
        with err.status(f"asking {escape(name)} for {first} to {end - timedelta(days=1)}"):
            return await reconcile(exporter, expected, batches, since=first, until=end)


def _counts(figures: Figures) -> bool:
    """Tell whether a target holds anything for such an item: a notice leaves nothing behind."""
    return figures.lines > 0


def _show(target: str, found: Reconciliation) -> None:
    table = listing("currency", "", "batches", "lines", "net", "tax")
    for currency in sorted({*found.sent, *found.held}):
        for word, sums in (("sent", found.sent.get(currency, Sums())), ("held", found.held.get(currency, Sums()))):
            table.add_row(currency, word, str(sums.batches), str(sums.lines), plain(sums.net), plain(sums.tax))
    if table.row_count:
        out.print(f"{escape(target)}: what it was sent, and what it holds of that")
    show_listing(table, nothing=f"{target}: nothing of these days was sent, and nothing of ours is there")
    rows = listing("what", "delivery", "theirs", "sent: lines, net, tax", "held: lines, net, tax")
    for one in found.discrepancies:
        rows.add_row(
            one.fault,
            "" if one.delivery is None else str(one.delivery),
            escape(one.remote_id or ""),
            _figures(one.sent),
            _figures(one.held),
        )
    show_listing(rows, nothing="no difference")


def _figures(figures: Figures | None) -> str:
    if figures is None:
        return ""
    return f"{figures.lines}  {plain(figures.net)}  {plain(figures.tax)} {figures.currency}"


def _as_json(found: Reconciliation) -> dict[str, Any]:
    def sums(tables: Any) -> dict[str, Any]:
        return {
            currency: {"batches": one.batches, "lines": one.lines, "net": plain(one.net), "tax": plain(one.tax)}
            for currency, one in sorted(tables.items())
        }

    def figures(one: Figures | None) -> dict[str, Any] | None:
        if one is None:
            return None
        return {"lines": one.lines, "net": plain(one.net), "tax": plain(one.tax), "currency": one.currency}

    return {
        "sent": sums(found.sent),
        "held": sums(found.held),
        "discrepancies": [
            {
                "fault": one.fault,
                "batch": one.batch,
                "delivery": one.delivery,
                "remote_id": one.remote_id,
                "sent": figures(one.sent),
                "held": figures(one.held),
            }
            for one in found.discrepancies
        ],
    }
