"""What targets answer and hold: the lines of `meter check`, and `meter reconcile`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.markup import escape

from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.config import Settings, load_settings
from meter.export.contract import Exporter, Figures, Reconcilable
from meter.export.gather.begun import changed, ignored_start
from meter.export.gather.customers import Customers
from meter.export.payload import day_of, thawed
from meter.export.reconcile import Expected, Reconciliation, Sums, reconcile
from meter.export.role import begun_of
from meter.export.targets.gaps import Comparable, billed_by_nobody, few, foreign, gaps_of, untracked
from meter.export.targets.setups import ConfiguredTarget, targets_of
from meter.export.targets.spec import Means
from meter.model.catalog import Catalog
from meter.model.directory import Account
from meter.model.errors import BadInput, MeterError, Unavailable
from meter.model.instant import instant_text, local_date
from meter.model.money import plain
from meter.store import migrate as schema
from meter.store.catalogs import load_catalogs
from meter.store.directory import current_operator, read_accounts
from meter.store.engine import Database
from meter.store.gathering import read_export_cursor
from meter.store.lanes import held_lanes
from meter.store.sent import sent_batches, sent_items
from meter.telemetry import Telemetry

# A month and what is corrected soon after it.
_DAYS: Final = 35
_INSTEAD: Final = "the page of its kind (docs/targets.md lists them) says what to compare instead"
# Returns what is to be said though all is well; raises MeterError where it is not.
Check: TypeAlias = Callable[[], Awaitable[Sequence[str] | None]]


def target_checks(settings: Settings) -> list[tuple[str, Check]]:
    """Return a check for each enabled target, by name: raises MeterError that says what keeps it from being sent to.

    Where any target invoices, one more: each account is a customer of one of them.
    """
    targets = targets_of(settings, operator="")
    checks: list[tuple[str, Check]] = [
        (f"target {target.setup.name}", partial(_check, settings, target.setup.name)) for target in targets
    ]
    invoicing = [target.setup.customers for target in targets if target.kind.invoices(target.setup)]
    if invoicing:
        checks.append(("customers", partial(_check_customers, invoicing[0])))
    return checks


def target_faults(settings: Settings) -> dict[str, str]:
    """Return what is wrong with the settings of targets, by part: what can be told without a database."""
    targets = targets_of(settings, operator="")
    return {f"target {target.setup.name}": "\n".join(target.faults) for target in targets if target.faults}


async def _check_customers(customers: Customers) -> Sequence[str]:
    """Return what is to be said of accounts that nobody bills.

    Raises BadInput (`billed_twice`) where accounts name customers of several targets that invoice.
    """
    found = await _facts()
    if found is None:
        return ()
    _, catalog, accounts = found
    twice = {account.id: names for account in accounts if len(names := customers.knowing(account)) > 1}
    if twice:
        shown = few([f"{account} ({' and '.join(names)})" for account, names in twice.items()])
        message = f"{len(twice)} accounts name customers of several targets that invoice: {shown}; leave one to each"
        raise BadInput(message, code="billed_twice")
    return list(filter(None, [billed_by_nobody(customers, catalog, accounts)]))


async def _facts() -> tuple[str, Catalog, list[Account]] | None:
    """Return operator, catalog of today and accounts; None before the first catalog, or with another schema.

    Both are faults of their own.
    """
    async with connect() as database:
        if await schema.fault(database):
            return None
        async with database.begin() as conn:
            operator = await current_operator(conn)
            catalogs = None if operator is None else await load_catalogs(conn, operator)
            if operator is None or catalogs is None:
                return None
            return operator, catalogs.at(now()), list(await read_accounts(conn, operator))


async def _check(settings: Settings, name: str) -> Sequence[str]:
    """Return what is to be said of a target that is in order. Raises MeterError with all that is wrong with it."""
    facts = await _facts()
    operator, catalog = ("", None) if facts is None else facts[:2]
    faults: list[str] = []
    warnings: list[str] = []
    async with _opened(settings, name, operator=operator) as (target, exporter, database):
        try:
            await exporter.check()
            await _require_served(name)
            if catalog is not None and isinstance(exporter, Comparable):
                faults += await exporter.mismatches(catalog)
        except MeterError as error:
            faults.append(error.detail)
            if isinstance(exporter, Comparable):
                warnings.append("not compared: whether what the settings name there is what the catalog means")
        if catalog is not None:
            needs = target.kind.needs_names(target.setup)
            faults += gaps_of(needs, catalog)
            warnings += filter(
                None, [untracked(needs, catalog), foreign(needs, target.setup.customers, facts[2] if facts else ())]
            )
            begun = begun_of(target)
            async with database.begin() as conn:
                cursor = await read_export_cursor(conn, operator, name)
            if cursor is not None:
                faults += filter(None, [changed(name, cursor, begun)])
                warnings += filter(None, [ignored_start(name, cursor, begun)])
    if faults:
        raise BadInput("\n".join([*faults, *warnings]), code="target_fault")
    return warnings


async def _require_served(name: str) -> None:
    """Raise Unavailable (`target_down`) where the gateway, which tries all the time, has found the target down."""
    async with connect() as database:
        if await schema.fault(database):
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
        targets = targets_of(settings, operator=known)
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
