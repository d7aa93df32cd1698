"""Files for Power BI, DuckDB or a data lake: charges or postings as CSV or Parquet, in Hive's folders."""

from __future__ import annotations

from typing import Final, cast

from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.shape import PAGE_MAX, Shape, Span
from meter.export.targets.files.datasets import DATASETS
from meter.export.targets.files.places import place_of
from meter.export.targets.files.target import FORMATS, FilesTarget
from meter.export.targets.spec import Kind, Setup
from meter.model.errors import BadInput
from meter.sources.spec import Option

# Some three megabytes of payload: a day of most operators is one file.
COLLECTED_MAX: Final = 2000


def _shape(setup: Setup) -> Shape:
    collects = cast("Span | None", setup.grain if setup.grain != "charge" else None)
    rows_max = PAGE_MAX if collects is None else COLLECTED_MAX
    if setup.options["dataset"] == "journal":
        return Entries(entries_max=rows_max, collects=collects, page_max=rows_max)
    return Charges(apart="day", charges_max=rows_max, collects=collects, page_max=rows_max)


def _faults(setup: Setup) -> list[str]:
    faults = []
    try:
        place_of(setup)
    except BadInput as error:
        faults.append(error.detail)
    if bool(setup.client_id) != bool(setup.client_secret):
        faults.append("client_id and client_secret (a store's key) go together; set both or neither")
    return faults


FILES: Final = Kind(
    title="CSV and Parquet files",
    facts="RFC 4180, Apache Parquet, the S3 API as obstore 0.12 speaks it",
    about="Charges or postings as tables, in a directory or an S3-compatible store: [files.md](targets/files.md).",
    shape=_shape,
    open=lambda setup, _means: FilesTarget(setup),
    grains=("hour", "charge", "day"),
    options={
        "format": Option(default="csv", about="How tables are written.", choices=FORMATS),
        "dataset": Option(default="charges", about="What is written.", choices=tuple(DATASETS)),
        "endpoint": Option(default="", about="Where an S3-compatible store answers; unset: AWS."),
        "region": Option(default="us-east-1", about="The store's region."),
    },
    faults=_faults,
)
