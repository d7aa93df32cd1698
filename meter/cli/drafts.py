"""`meter drafts`: what vendors say of members and memberships, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.api.catalog import outcome_json
from meter.api.drafts import decided_json, draft_json
from meter.cli.common import AsJson, by_default, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.drafts import (
    APPLIED_MAX,
    Decided,
    Draft,
    DraftKey,
    DraftKind,
    apply_drafts,
    dismiss_draft,
    find_draft,
    list_drafts,
    preview_drafts,
)
from meter.store.source_work import VENDOR_CHANNELS

_PAGE: Final = 500

app = typer.Typer(name="drafts", help="What vendors say of accounts, members and subscriptions.")
Names = Annotated[list[str] | None, typer.Argument(metavar="DRAFT...", help="Drafts, as listed: VENDOR/NAME/KIND/ID.")]
All = Annotated[bool, typer.Option("--all", help="Every open draft.")]


@by_default(app)
@app.command("list")
def show_all(
    *,
    kind: Annotated[str | None, typer.Option(help="Only of this kind: account, member or subscription.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those applied or dismissed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what vendors say that is not in the directory yet."""
    found = run(_listed(None if kind is None else _kind(kind), everything=everything))
    if as_json:
        print_json({"drafts": msgspec.to_builtins([draft_json(draft) for draft in found])})
        return
    table = listing("draft", "changed", "state", "what", unbroken=("changed",))
    for draft in found:
        shown = _shown(draft) if draft.fault is None else f"{_shown(draft)}\n{draft.fault}"
        # Whoever may send events may draft in a vendor's name: a person has to see it.
        state = (
            draft.state if draft.channel in VENDOR_CHANNELS else f"{draft.state}, not by the vendor ({draft.channel})"
        )
        table.add_row(escape(draft.key.text), instant_text(draft.time), state, escape(shown))
    show_listing(table, nothing="no draft is open")


@app.command()
def show(
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="A draft, as listed: VENDOR/NAME/KIND/ID.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one draft with all that its vendor says."""
    found = run(_one(_key(draft)))
    told = msgspec.to_builtins(draft_json(found))
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        if value is not None:
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            out.print(f"{name:>7}  {shown}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def apply(
    drafts: Names = None,
    *,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put what drafts say into the directory: accounts first, then members, then subscriptions."""
    decided = run(_apply(_chosen(drafts, everything=everything), dry_run=dry_run))
    if as_json:
        print_json({"drafts": [decided_json(one, applied=not dry_run) for one in decided]})
    else:
        for one in decided:
            _tell(one, dry_run=dry_run)
        done = sum(one.outcome is not None for one in decided)
        faults = len(decided) - done
        err.print(f"{done} {'would be ' if dry_run else ''}applied" + (f", {faults} with faults" if faults else ""))
    if any(one.outcome is None for one in decided):
        raise typer.Exit(1)


@app.command()
def dismiss(drafts: Names = None, *, everything: All = False, as_json: AsJson = False) -> None:
    """Put drafts aside; a vendor that says something else opens its draft again."""
    dismissed = run(_dismiss(_chosen(drafts, everything=everything)))
    if as_json:
        print_json({"dismissed": [key.text for key in dismissed]})
    else:
        err.print(f"{len(dismissed)} dismissed")


def _kind(text: str) -> DraftKind:
    try:
        kind: DraftKind = msgspec.convert(text, DraftKind)
    except msgspec.ValidationError as error:
        message = f"{text[:40]!r} is no kind of draft; there are account, member and subscription"
        raise BadInput(message) from error
    return kind


def _key(text: str) -> DraftKey:
    parts = text.split("/", 3)
    if len(parts) != 4 or not all(parts):
        raise BadInput(f"{text[:80]!r} names no draft; write VENDOR/NAME/KIND/ID, as meter drafts list shows them")
    vendor, name, kind, id = parts
    return DraftKey(kind, id, vendor, name)


def _chosen(names: Sequence[str] | None, *, everything: bool) -> list[DraftKey] | None:
    """Return the drafts that are named; None: every open one. Raises BadInput unless it is one of the two."""
    if bool(names) == everything:
        raise BadInput("name drafts, or --all for every open one")
    return None if everything else [_key(name) for name in names or ()]


def _shown(draft: Draft) -> str:
    told = (f"{name} {value}" for name, value in draft.body.items() if isinstance(value, str))
    return ", ".join(told) + ("" if draft.note is None else f" ({draft.note})")


def _tell(one: Decided, *, dry_run: bool) -> None:
    if one.outcome is None:
        fault = "" if one.error is None else one.error.detail
        err.print(f"[red]fault[/red] {escape(fault)}", soft_wrap=True, highlight=False)
        return
    told = outcome_json(one.outcome, (), applied=not dry_run)
    parts = [
        " and ".join(filter(None, (f"{n.added} new" * bool(n.added), f"{n.changed} changed" * bool(n.changed))))
        + f" {kind}"
        for kind, n in told.directory.items()
    ]
    accounts, verb = ", ".join(touch.account for touch in one.outcome.touches), "would be " * dry_run + "rated again"
    again = f"; {verb}: {accounts}" if accounts else ""
    out.print(f"{one.draft.key.text}: {', '.join(parts) or 'nothing changes'}{again}", markup=False, highlight=False)
    for warning in one.outcome.warnings:
        err.print(f"[yellow]warning[/yellow] {escape(warning.text)}", soft_wrap=True, highlight=False)


async def _listed(kind: DraftKind | None, *, everything: bool) -> list[Draft]:
    found: list[Draft] = []
    async with connect() as database:
        operator = await require_operator(database)
        while True:
            after = found[-1].key if found else None
            async with database.begin() as conn:
                page = await list_drafts(
                    conn, operator, state=None if everything else "open", kind=kind, after=after, limit=_PAGE
                )
            found += page
            if len(page) < _PAGE:
                return found


async def _one(key: DraftKey) -> Draft:
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await find_draft(conn, operator, key)


async def _apply(chosen: Sequence[DraftKey] | None, *, dry_run: bool) -> list[Decided]:
    keys = sorted(set([draft.key for draft in await _listed(None, everything=False)] if chosen is None else chosen))
    decided: list[Decided] = []
    async with connect() as database:
        operator = await require_operator(database)
        if dry_run:
            # In one transaction, for members build on accounts that are new.
            async with database.begin() as conn:
                return await preview_drafts(conn, operator, keys, now=now())
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("applying", total=len(keys))
            for start in range(0, len(keys), APPLIED_MAX):
                part = keys[start : start + APPLIED_MAX]
                async with database.begin() as conn:
                    decided += await apply_drafts(conn, operator, part, now=now())
                bar.advance(task, len(part))
    return decided


async def _dismiss(chosen: Sequence[DraftKey] | None) -> list[DraftKey]:
    keys = [draft.key for draft in await _listed(None, everything=False)] if chosen is None else list(chosen)
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            for key in keys:
                await dismiss_draft(conn, operator, key, now=now())
    return keys
