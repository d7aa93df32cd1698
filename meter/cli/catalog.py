"""`meter apply` and `meter plan`: take in catalog files, or tell what they would change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from meter.api.catalog import outcome_json
from meter.booking.preview import AccountPreview, facts_with
from meter.catalog.issues import CatalogError, Issue
from meter.catalog.load import LoadedCatalog, read_catalog_text
from meter.cli.common import AsJson, connect, err, out, print_json, run
from meter.cli.costs import cost_json, cost_of, show_cost
from meter.clock import now
from meter.model.directory import SINCE_ALWAYS
from meter.model.instant import instant_text
from meter.store.apply import Outcome, apply_catalog, preview_catalog, read_known_to
from meter.store.engine import Database

# So many names of a section are shown before "and n more".
_NAMES_SHOWN_MAX = 6

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Catalog files, YAML; read together as one.")]


def apply(
    files: Files,
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; asked for where the catalog takes effect in the past.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a catalog: a new version where it says something new, and the people that it names."""
    _report(files, reason=reason, dry_run=False, as_json=as_json)


def plan(files: Files, *, as_json: AsJson = False) -> None:
    """Show what applying the files would change, every line that it would book, and for whom. Changes nothing."""
    _report(files, reason=None, dry_run=True, as_json=as_json)


def _report(paths: Sequence[Path], *, reason: str | None, dry_run: bool, as_json: bool) -> None:
    try:
        loaded, outcome, costs = run(_take_in(read_files(paths), reason=reason, dry_run=dry_run, at=now()))
    except CatalogError as error:
        # Each fault on a line of its own, as editors and people expect it.
        if as_json:
            print_json({"issues": msgspec.to_builtins(error.issues)})
        for issue in error.issues:
            err.print(escape(issue.text), soft_wrap=True, highlight=False)
        err.print(f"{len(error.issues)} fault{'s' if len(error.issues) > 1 else ''}; nothing was changed")
        raise typer.Exit(2) from error
    if as_json:
        told = msgspec.to_builtins(outcome_json(outcome, loaded.warnings, applied=not dry_run))
        print_json(told | ({"costs": cost_json(costs)} if dry_run else {}))
        return
    _show(outcome, (*loaded.warnings, *outcome.warnings), dry_run=dry_run)
    if dry_run and outcome:
        show_cost(costs)


def read_files(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Return each file's name and text. Raises CatalogError that names every file that cannot be read."""
    texts: list[tuple[str, str]] = []
    issues: list[Issue] = []
    for path in paths:
        try:
            texts.append((str(path), path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            issues.append(Issue(str(path), None, "", f"cannot be read: {why}; name a readable UTF-8 file"))
    if issues:
        raise CatalogError(issues)
    return texts


async def _take_in(
    files: Sequence[tuple[str, str]], *, reason: str | None, dry_run: bool, at: datetime
) -> tuple[LoadedCatalog, Outcome, list[AccountPreview]]:
    async with connect() as database:
        loaded, outcome = await take_in(database, files, reason=reason, dry_run=dry_run, at=at)
        if not dry_run or not outcome.touches:
            return loaded, outcome, []
        facts = await facts_with(database, loaded, outcome.operator, at=at)
        since = {touch.account: touch.since for touch in outcome.touches}
        return loaded, outcome, await cost_of(database, outcome.operator, facts, since, at=at)


async def take_in(
    database: Database, files: Sequence[tuple[str, str]], *, reason: str | None, dry_run: bool, at: datetime
) -> tuple[LoadedCatalog, Outcome]:
    """Return what the files (name and text) say and what applying them did, or would do. Raises CatalogError."""
    async with database.begin() as conn:
        known = await read_known_to(conn)
    # Reading a large file takes seconds, in which no transaction is held. What is known only ever grows.
    loaded = read_catalog_text(files, known=known)
    async with database.begin() as conn:
        if dry_run:
            return loaded, await preview_catalog(conn, loaded, now=at)
        return loaded, await apply_catalog(conn, loaded, now=at, reason=reason)


def _show(outcome: Outcome, warnings: Sequence[Issue], *, dry_run: bool) -> None:
    for warning in warnings:
        err.print(f"[yellow]warning[/yellow] {escape(warning.text)}", soft_wrap=True, highlight=False)
    if not outcome:
        out.print(f"{escape(outcome.operator)}: nothing changes; all of this is in force already")
        return
    out.print(_headline(outcome, dry_run=dry_run), highlight=False)
    table = Table("section", "added", "changed", "removed", box=None, pad_edge=False)
    for section in outcome.sections:
        single = not (section.added or section.changed or section.removed)
        names = ("", "yes", "") if single else (section.added, section.changed, section.removed)
        table.add_row(section.section, *(_names(part) for part in names))
    for kind, changes in outcome.changes.by_kind().items():
        added = sum(change.before is None for change in changes)
        if changes:
            table.add_row(kind, str(added or ""), str((len(changes) - added) or ""), "")
    out.print(table)
    out.print(_consequence(outcome, dry_run=dry_run), highlight=False)


def _headline(outcome: Outcome, *, dry_run: bool) -> str:
    name = escape(outcome.operator)
    if outcome.version is None:
        return f"{name}: the catalog stays as it is; entries of the directory change"
    since = "since always" if outcome.effective is None else f"from {instant_text(outcome.effective)} on"
    return f"{name}: version {outcome.version} {'would be' if dry_run else 'is'} in force {since}"


def _names(names: Sequence[str]) -> str:
    if isinstance(names, str):
        return names
    more = len(names) - _NAMES_SHOWN_MAX
    return escape(", ".join(names[:_NAMES_SHOWN_MAX])) + (f" and {more} more" if more > 0 else "")


def _consequence(outcome: Outcome, *, dry_run: bool) -> str:
    lines = []
    if outcome.touches:
        since = min(touch.since for touch in outcome.touches)
        start = "the beginning" if since == SINCE_ALWAYS else instant_text(since)
        count = len(outcome.touches)
        verb = "would be" if dry_run else ("is" if count == 1 else "are")
        lines.append(f"{count} account{'' if count == 1 else 's'} {verb} rated again, from {start} on")
    else:
        lines.append("no usage so far is rated again")
    if dry_run and outcome.needs_reason:
        lines.append("it takes effect in the past: apply it with --reason")
    return "\n".join(lines)
