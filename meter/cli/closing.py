"""`meter close`: close a billing period, or say what is not complete yet and what closing would book."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.markup import escape
from rich.progress import Progress

from meter.booking.closing import Look, Obstacle, Prospect, has_minimum, look, prospects
from meter.booking.facts import Facts
from meter.booking.preview import facts_now, previews
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import monotonic_s, now
from meter.config import load_settings
from meter.model.charge import Charge
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store.booking import read_cursors
from meter.store.closes import Closing, awaiting_refold, close_periods, is_rated
from meter.store.edges import edge_marks
from meter.store.engine import Database
from meter.store.shards import rated_in

_T = TypeVar("_T")

# A gateway that runs has rated what is stored well within this.
_RATED_WAIT_S: Final = 10.0
_RATED_LOOK_S: Final = 0.1
# Looked at, and closed, in one transaction.
_CHUNK: Final = 200
# Accounts that a terminal is shown; JSON has all.
_SHOWN_MAX: Final = 50


def close(
    account: Annotated[str | None, typer.Argument(help="The account; or --all.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every account that had usage or fees by then.")] = False,
    period: Annotated[str, typer.Option("--period", metavar="P", help="The month in which it starts, like 2026-11.")],
    force: Annotated[bool, typer.Option("--force", help="Also what is not complete yet; asks for a reason.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why; kept with the period.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Close a billing period: what differs later becomes adjustments of the next open one.

    Refuses, with exit code 1, what is not complete yet. Closing what is closed changes nothing.
    """
    if (account is None) is not every:
        raise BadInput("name an account, or --all for every one of them", code="bad_option")
    if force and not (reason or "").strip():
        raise BadInput("--force closes what is not complete: say why with --reason", code="bad_option")
    plan = run(_close(account, period, force=force, reason=reason, dry_run=dry_run))
    if as_json:
        print_json(plan.as_json(dry_run=dry_run))
    else:
        plan.show(dry_run=dry_run)
    if plan.refused:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is closed already, what closes, and what is refused; with what closing books, and why not."""

    period: str
    closed: Sequence[Prospect]
    closing: Sequence[Prospect]
    refused: Sequence[Prospect]
    true_ups: Mapping[str, Sequence[Charge]]
    agents: Mapping[str, Mapping[str, datetime | None]]

    def show(self, *, dry_run: bool) -> None:
        """Print it for people: what is refused goes to standard error."""
        table = listing("account", "period", "true-ups", "not complete", unbroken=("true-ups",))
        for one in self.closing[:_SHOWN_MAX]:
            charges = self.true_ups.get(one.closing.account, ())
            told = "\n".join(f"{c.line.meter} {plain(c.rounded)} {c.line.currency}" for c in charges)
            table.add_row(escape(one.closing.account), _span(one.closing), escape(told), escape(self._why(one)))
        if table.row_count:
            show_listing(table, nothing="")
        for one in self.refused[:_SHOWN_MAX]:
            told = f"{one.closing.account} {self.period}: {self._why(one)}; wait, or close it with --force --reason R"
            err.print(told, markup=False, highlight=False, soft_wrap=True)
        for one in self.closing:
            if one.earlier is not None:
                told = f"{one.closing.account}: the period of {instant_text(one.earlier.start)} is still open"
                err.print(told, markup=False, highlight=False, soft_wrap=True)
                break
        verb = "would be closed" if dry_run else "closed"
        told = f"{len(self.closing)} {verb}, {len(self.closed)} closed already, {len(self.refused)} refused"
        out.print(told, highlight=False)

    def as_json(self, *, dry_run: bool) -> dict[str, Any]:
        """Return it for machines."""
        verb = "would_close" if dry_run else "closed"
        states = (("already_closed", self.closed), (verb, self.closing), ("refused", self.refused))
        found = [self._account_json(state, one) for state, some in states for one in some]
        return {
            "period": self.period,
            "applied": not dry_run,
            "accounts": sorted(found, key=lambda entry: str(entry["account"])),
        }

    def _account_json(self, state: str, one: Prospect) -> dict[str, Any]:
        return {
            "account": one.closing.account,
            "period": {"start": instant_text(one.closing.start), "end": instant_text(one.closing.end)},
            "status": state,
            "missing": [entry for obstacle in one.obstacles for entry in self._missing(one.closing, obstacle)],
            "true_ups": [
                {
                    "meter": charge.line.meter,
                    "plan": charge.line.plan,
                    "price": charge.line.price,
                    "member": charge.line.member,
                    "amount": plain(charge.line.amount),
                    "rounded": plain(charge.rounded),
                    "tax": plain(charge.tax_amount),
                    "currency": charge.line.currency,
                }
                for charge in self.true_ups.get(one.closing.account, ())
            ],
        }

    def _missing(self, closing: Closing, obstacle: Obstacle) -> Iterator[dict[str, Any]]:
        """Give an obstacle; one of a site as each of its agents that is behind."""
        if obstacle.site is None:
            yield {"kind": obstacle.kind, "until": _text(obstacle.until)}
            return
        for edge, mark in self._behind(closing, obstacle.site):
            yield {"kind": obstacle.kind, "site": obstacle.site, "edge": edge, "complete_until": _text(mark)}

    def _behind(self, closing: Closing, site: str) -> list[tuple[str, datetime | None]]:
        agents = self.agents.get(site, {})
        return [(edge, mark) for edge, mark in agents.items() if mark is None or mark < closing.end]

    def _why(self, one: Prospect) -> str:
        return "; ".join(self._told(one.closing, obstacle) for obstacle in one.obstacles)

    def _told(self, closing: Closing, obstacle: Obstacle) -> str:
        until = _text(obstacle.until)
        match obstacle.kind:
            case "running":
                return f"it runs until {until}"
            case "waiting":
                return f"no site that it used has an agent, so it stays open until {until}"
            case "empty":
                return "the account has nothing to bill by then"
            case "unrated":
                return "events or changed facts wait to be rated; is a gateway running?"
            case "site":
                behind = self._behind(closing, obstacle.site or "")
                edges = ", ".join(
                    f"{edge} {'has never said' if mark is None else _text(mark)}" for edge, mark in behind
                )
                return f"site {obstacle.site} is complete up to {until or 'no time yet'} (edges behind: {edges})"


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _span(closing: Closing) -> str:
    return f"{instant_text(closing.start)}\n{instant_text(closing.end)}"


async def _close(account: str | None, name: str, *, force: bool, reason: str | None, dry_run: bool) -> _Plan:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as connection:
            facts = await facts_now(connection, operator)
        if account is not None and account not in facts.directory.accounts:
            raise BadInput(f"there is no account {account[:60]!r}", code="not_found")
        accounts = sorted(facts.directory.accounts) if account is None else [account]
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            rated, known = await _settled(database, operator, accounts, shards=await _shards(database, operator))
            found: list[Prospect] = []
            task = bar.add_task("looking at accounts", total=len(accounts))
            for chunk in _chunks(accounts):
                async with database.begin() as connection:
                    found += await prospects(connection, operator, facts, chunk, name=name, known=known)
                bar.advance(task, len(chunk))
            plan = await _plan(database, operator, found, name=name, rated=rated, force=force, every=account is None)
            plan = replace(plan, true_ups=await _true_ups(database, operator, facts, plan.closing, bar, at=known.at))
            if not dry_run:
                task = bar.add_task("closing", total=len(plan.closing))
                for some in _chunks([one.closing for one in plan.closing]):
                    async with database.begin() as connection:
                        await close_periods(connection, operator, some, at=now(), reason=reason)
                    bar.advance(task, len(some))
        return plan


async def _settled(database: Database, operator: str, accounts: Collection[str], *, shards: int) -> tuple[bool, Look]:
    """Return what is known now, once all that it vouches for is rated; False with it where that takes too long."""
    started_s = monotonic_s()
    async with database.begin() as connection:
        known = await look(connection, operator, at=now())
    while True:
        async with database.begin() as connection:
            cursors = await read_cursors(connection, operator, range(shards))
            rated = await is_rated(connection, operator, cursors.values(), below_xid=known.below_xid)
            if rated and not await awaiting_refold(connection, operator, accounts):
                return True, known
        if monotonic_s() > started_s + _RATED_WAIT_S:
            return rated, known
        await asyncio.sleep(_RATED_LOOK_S)


async def _shards(database: Database, operator: str) -> int:
    async with database.begin() as connection:
        return await rated_in(connection, operator) or load_settings().rating_shards


async def _plan(
    database: Database, operator: str, found: Sequence[Prospect], *, name: str, rated: bool, force: bool, every: bool
) -> _Plan:
    closed: list[Prospect] = []
    closing: list[Prospect] = []
    refused: list[Prospect] = []
    for one in found:
        if one.closed:
            closed.append(one)
            continue
        if every and any(obstacle.kind == "empty" for obstacle in one.obstacles):
            continue
        unrated = () if rated else (Obstacle("unrated"),)
        told = replace(one, obstacles=(*one.obstacles, *unrated))
        (refused if told.obstacles and not force else closing).append(told)
    sites = {obstacle.site for one in (*closing, *refused) for obstacle in one.obstacles if obstacle.site is not None}
    async with database.begin() as connection:
        agents = await edge_marks(connection, operator, sites)
    return _Plan(period=name, closed=closed, closing=closing, refused=refused, true_ups={}, agents=agents)


async def _true_ups(
    database: Database, operator: str, facts: Facts, closing: Sequence[Prospect], bar: Progress, *, at: datetime
) -> dict[str, list[Charge]]:
    """Return what closing books because usage stayed below a minimum, by account."""
    wanted = {one.closing.account: one.closing for one in closing if has_minimum(facts, one.closing)}
    task = bar.add_task("folding accounts", total=len(wanted))
    since = {account: one.end for account, one in wanted.items()}
    starts = {account: frozenset((one.start,)) for account, one in wanted.items()}
    found: dict[str, list[Charge]] = {}
    async for preview in previews(database, operator, facts, since, at=at, closing=starts):
        found[preview.account] = [
            charge
            for charge in preview.charges
            if charge.line.kind == "minimum" and charge.line.period.start == wanted[preview.account].start
        ]
        bar.advance(task)
    return found


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
