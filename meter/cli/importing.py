"""`meter import`: take in tables by a mapping, or files that a configured source can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from rich.markup import escape
from rich.progress import Progress

from meter.catalog.issues import CatalogError, Issue, Place
from meter.catalog.mapping import read_mapping
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.cli.tables import listing, show_listing
from meter.clock import now
from meter.config import Settings, load_settings
from meter.ingest.accept import Acceptor
from meter.ingest.importing.rows import Extract, RowEvent, extract
from meter.ingest.importing.run import Imported, Importer
from meter.ingest.setups import Sources
from meter.model.errors import BadInput
from meter.model.wire import Refusal
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Lines
from meter.sources.table import TABLE_BYTES_MAX
from meter.telemetry import Telemetry

_SAMPLES: Final = 3
_FAULTS_SHOWN_MAX: Final = 50
_WORDS_CHARS_MAX: Final = 160


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tables (CSV), or what the source reads.")],
    *,
    mapping: Annotated[
        Path | None, typer.Option("--map", metavar="MAPPING", help="Which column is which field; docs/import.md.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="VENDOR/NAME", help="A configured source that reads such files, without --map."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    skip_faults: Annotated[bool, typer.Option("--skip-faults", help="Leave rows with faults out.")] = False,
    site: Annotated[str | None, typer.Option(help="The site of events, where the mapping names none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in members, accounts, plans, badges, credit or events from tables; the same file again changes nothing."""
    if (mapping is None) == (source is None):
        raise BadInput("give --map MAPPING for a table, or --source VENDOR/NAME for what a source can read")
    settings = load_settings()
    try:
        texts = [(path.name, _read(path)) for path in files]
        if mapping is not None:
            found = extract(texts, read_mapping(_read(mapping).decode("utf-8-sig"), file=str(mapping)), site=site)
        else:
            found = _lines(_configured(settings, source or ""), texts)
    except CatalogError as error:
        _refuse(error.issues, as_json=as_json)
    except UnicodeDecodeError as error:
        _refuse([Issue(str(mapping), None, "", f"is not UTF-8: {error}")], as_json=as_json)
    with _progress() as told:
        result = run(_import(found, settings, progress=told, dry_run=dry_run, skip_faults=skip_faults, origin=source))
    _report(found, result, dry_run=dry_run, as_json=as_json)
    if result.faults and not (skip_faults and result.written):
        raise typer.Exit(1 if result.written else 2)


def _read(path: Path) -> bytes:
    """Return a file's bytes. Raises BadInput: it cannot be read, or is too large."""
    try:
        with path.open("rb") as file:
            body = file.read(TABLE_BYTES_MAX + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(body) > TABLE_BYTES_MAX:
        raise BadInput(f"{path}: has more than {TABLE_BYTES_MAX} bytes; split it")
    return body


def _configured(settings: Settings, named: str) -> ConfiguredSource:
    """Return the source. Raises BadInput: there is none of this name, it has faults, or it reads no files."""
    vendor, _, name = named.partition("/")
    sources = Sources(settings.webhooks)
    source = sources.get(vendor, name)
    if source is None:
        known = ", ".join(f"{one.setup.vendor}/{one.setup.name}" for one in sources) or "none"
        raise BadInput(f"{named[:80]!r} is no configured source; there are: {known}")
    if source.faults:
        raise BadInput("; ".join(source.faults))
    if source.vendor.lines is None:
        raise BadInput(f"{source.vendor.title} is read from no files; see docs/sources.md")
    return source


def _lines(source: ConfiguredSource, files: Sequence[tuple[str, bytes]]) -> Extract:
    """Return what the source's reader makes of whole files."""
    found, read = Extract(), source.vendor.lines
    for name, body in files:
        lines = body.splitlines()
        found.rows += len(lines)
        try:
            items = [] if read is None else read(source.setup, Lines(name=name, lines=lines, received_at=now())).items
        except BadInput as error:
            found.fault(Place(name, None, ""), error.detail)
            continue
        for item in items:
            if isinstance(item, Refusal):
                found.refused += 1  # the reader names the line, as far as it knows it
                found.faults.add(Place(name, None, ""), item.detail)
            else:
                found.events.append(RowEvent(event=item, place=Place(name, None, "")))
    return found


async def _import(
    found: Extract,
    settings: Settings,
    *,
    progress: Callable[[int, int], None],
    dry_run: bool,
    skip_faults: bool,
    origin: str | None,
) -> Imported:
    async with connect() as database:
        operator = await require_operator(database)

        async def known() -> str | None:
            return operator

        acceptor = Acceptor(database, operator=known, telemetry=Telemetry(), max_age_days=settings.max_age_days)
        importer = Importer(
            database=database,
            acceptor=acceptor,
            operator=operator,
            now=now(),
            max_age=timedelta(days=settings.max_age_days),
            progress=progress,
        )
        return await importer.run(found, origin=origin or "meter import", dry_run=dry_run, skip_faults=skip_faults)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("importing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _refuse(issues: Sequence[Issue], *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"written": False, "faults": msgspec.to_builtins(list(issues))})
    _say(issues)
    raise typer.Exit(2)


def _say(issues: Sequence[Issue]) -> None:
    for issue in issues[:_FAULTS_SHOWN_MAX]:
        err.print(escape(issue.text), soft_wrap=True, highlight=False)
    if len(issues) > _FAULTS_SHOWN_MAX:
        err.print(f"and {len(issues) - _FAULTS_SHOWN_MAX} more")


def _report(found: Extract, result: Imported, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(_result_json(found, result, dry_run=dry_run))
    else:
        _show(found, result)
    outcome = result.directory.outcome
    _say(result.faults)
    for warning in () if outcome is None else outcome.warnings:
        err.print(f"[yellow]warning[/yellow] {escape(warning.text)}", soft_wrap=True, highlight=False)
    err.print(_verdict(result, dry_run=dry_run), highlight=False)


def _verdict(result: Imported, *, dry_run: bool) -> str:
    faults = f"{len(result.faults)} fault{'' if len(result.faults) == 1 else 's'}; " if result.faults else ""
    if result.written:
        return f"{faults}{result.skipped} rows were left out" if result.faults else f"{result.rows} rows are in"
    return f"{faults}nothing was changed" + ("" if faults and not dry_run else ": this was a preview" * dry_run)


def _show(found: Extract, result: Imported) -> None:
    table = listing("kind", "new", "changed", "unchanged", "the first of them")
    for kind, counts in result.counts.items():
        table.add_row(
            kind,
            str(counts.new or ""),
            str(counts.changed or ""),
            str(counts.unchanged or ""),
            escape("\n".join(_samples(found, kind))),
        )
    show_listing(table, nothing="no row is without a fault" if result.faults else "no row makes anything")
    outcome = result.directory.outcome
    if outcome is not None and outcome.touches:
        accounts = ", ".join(touch.account for touch in outcome.touches[:10])
        more = f" and {len(outcome.touches) - 10} more" if len(outcome.touches) > 10 else ""
        verb = "rated again" if result.written else "would be rated again"
        out.print(f"{verb}: {accounts}{more}", markup=False, highlight=False)


def _samples(found: Extract, kind: str) -> Iterator[str]:
    """Give the first rows of a kind as they are understood."""
    if kind == "events":
        for item in found.events[:_SAMPLES]:
            event = item.event
            when = "" if event.time is None else f" {event.time:%Y-%m-%d %H:%M}Z"
            place = "" if item.place.line is None else f"line {item.place.line}: "
            data = msgspec.json.encode(event.data).decode()
            yield f"{place}{event.type}{when} {event.subject or '-'} {data}"[:_WORDS_CHARS_MAX]
        return
    for entry in [entry for entry in found.entries if entry.section == kind][:_SAMPLES]:
        told = ", ".join(f"{name} {_plain(value)}" for name, value in entry.body.items())
        yield f"line {entry.place.line}: {entry.id}: {told}"[:_WORDS_CHARS_MAX]


def _plain(value: Any) -> str:
    """Return a value as a mapping's reader would write it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _result_json(found: Extract, result: Imported, *, dry_run: bool) -> dict[str, Any]:
    outcome = result.directory.outcome
    return {
        "written": result.written,
        "dry_run": dry_run,
        "rows": result.rows,
        "skipped": result.skipped,
        "kinds": msgspec.to_builtins(result.counts),
        "first": {kind: list(_samples(found, kind)) for kind in result.counts},
        "refolds": [] if outcome is None else [touch.account for touch in outcome.touches],
        "faults": msgspec.to_builtins(list(result.faults)),
    }
