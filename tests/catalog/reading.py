"""Catalog texts for tests: the contract's example, how a text begins, what is read of it and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from meter.catalog.issues import CatalogError
from meter.catalog.load import LoadedCatalog, read_catalog_text
from meter.catalog.people import Known

CONTRACT = (Path(__file__).parent / "data" / "contract.yaml").read_text()
HEAD = "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\n"
METER = "meters:\n  pages: {event: print.job, aggregate: sum, value: impressions, unit: page, group_by: [color, a.b]}\n"


def load(text: str, *, known: Known | None = None) -> LoadedCatalog:
    return read_catalog_text([("c.yaml", text)], known=known)


def faults(*texts: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(CatalogError) as caught:
        read_catalog_text([(f"{n}.yaml", text) for n, text in enumerate(texts)])
    return [(issue.file, issue.line, issue.path) for issue in caught.value.issues]


def messages(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(text)
    return [issue.message for issue in caught.value.issues]
