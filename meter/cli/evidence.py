"""`meter evidence`: events, charges and journal as Parquet, for others to hold the books against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meter.backup.keeping import Evidences
from meter.cli.common import AsJson, connect, err, out, print_json, require_operator, run
from meter.clock import now
from meter.config import Settings, load_settings
from meter.model.errors import BadInput

if TYPE_CHECKING:
    from meter.backup.evidence import Evidence

app = typer.Typer(
    name="evidence", help="Events, charges and journal as Parquet, with a manifest.", no_args_is_help=True
)


@app.command("export")
def export(
    *,
    to: Annotated[
        str | None, typer.Option(help="A directory, or s3://bucket/prefix (METER_STORE); unset: METER_EVIDENCE__TO.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write everything that is stored and booked, whole, beside the running gateway."""
    settings = load_settings()
    if (place := to or settings.evidence.to) is None:
        raise BadInput("no place: name one with --to, or set METER_EVIDENCE__TO", code="bad_evidence_place")
    made = run(_exported(settings, place))
    if as_json:
        from meter.backup.evidence import evidence_json  # noqa: PLC0415 -- pyarrow is heavy

        print_json(evidence_json(made))
        return
    rows = ", ".join(f"{file.name} {file.rows}" for file in made.files)
    out.print(f"{made.name}: {rows} rows, to {place}", soft_wrap=True, markup=False, highlight=False)


@app.command("verify")
def verify(
    *, folder: Annotated[Path, typer.Argument(metavar="DIR", help="An export.")], as_json: AsJson = False
) -> None:
    """Tell which files are missing, altered or of another length. Ends with 1 where any is."""
    from meter.backup.evidence import evidence_faults, read_evidence  # noqa: PLC0415 -- pyarrow is heavy

    found = read_evidence(folder)
    faults = list(evidence_faults(folder, found))
    if as_json:
        print_json({"name": found.name, "files": len(found.files), "faults": faults})
    else:
        for fault in faults:
            out.print(fault, soft_wrap=True, markup=False, highlight=False)
        err.print(f"{found.name}: {len(found.files)} files, {len(faults)} faults", markup=False, highlight=False)
    if faults:
        raise typer.Exit(1)


async def _exported(settings: Settings, place: str) -> Evidence:
    evidences = Evidences(place, settings.store, staging=settings.data_dir / ".evidence")
    async with connect() as database:
        return await evidences.export(database, await require_operator(database), at=now())
