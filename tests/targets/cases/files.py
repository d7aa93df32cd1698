"""Files in a bucket: parts of three charges each, as CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

from meter.export.gather.charges import Charges
from meter.export.targets.files import FILES
from meter.export.targets.files.places import place_of
from meter.export.targets.files.target import FilesTarget
from meter.export.targets.spec import Means, Setup
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem
from tests.booked import OPERATOR
from tests.targets.case import Books, TargetCase
from tests.targets.fakes.s3 import FakeS3
from tests.targets.random_charges import items_of, random_charges, told_sums

CHARGES_MAX = 3


def setup(url: str) -> Setup:
    options, faults = options_of(FILES.options, {"endpoint": url, "region": "eu-central-1"})
    assert not faults, faults
    return Setup(
        operator=OPERATOR,
        name="lake",
        kind="files",
        data_dir=Path("/nowhere"),
        base_url="s3://lake/raw",
        grain="hour",
        client_id="AKIDFAKE",
        client_secret="secret",
        options=options,
    )


def open_impatient(given: Setup, _means: Means) -> FilesTarget:
    """The target with the patience of a test."""
    return FilesTarget(given, place_of(given, timeout_s=0.5))


def items(n: int, seed: int) -> list[OutboxItem]:
    shape = Charges(apart="day", charges_max=CHARGES_MAX)
    return items_of(shape, random_charges(n * CHARGES_MAX, seed), "lake", page=10 * CHARGES_MAX)[:n]


def books(fake: FakeS3) -> Books:
    found = {}
    for key, stored in fake.objects.items():
        net = tax = Decimal(0)
        for row in csv.DictReader(io.StringIO(stored.content.decode(), newline="")):
            tax_amount = Decimal(row["tax_amount"] or 0)
            net += Decimal(row["rounded"]) - (tax_amount if row["tax_inclusive"] == "true" else 0)
            tax += tax_amount
        found[key.rpartition("part-")[2].partition(".")[0]] = (net, tax)
    return found


CASE = TargetCase(
    kind="files", fake=FakeS3, setup=setup, open=open_impatient, items=items, books=books, wanted=told_sums
)
