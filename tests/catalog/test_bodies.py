"""What the store keeps of a catalog, and JSON."""

from __future__ import annotations

import pytest

from meter.catalog.build import catalog_from_body
from meter.catalog.issues import CatalogError
from meter.catalog.load import read_catalog_json
from meter.examples import example_catalog
from meter.model.catalog import (
    Window,
)
from meter.store.engine import decode_json, encode_json
from tests.catalog.reading import CONTRACT, load


@pytest.mark.parametrize("text", [CONTRACT, example_catalog()], ids=["contract", "example"])
def test_a_body_survives_the_store_and_builds_the_same_catalog(text: str) -> None:
    loaded = load(text)
    kept = decode_json(encode_json(loaded.body))
    built = catalog_from_body(kept, version=0, effective=None)
    assert built == loaded.catalog
    assert set(kept) & {"accounts", "members", "grants", "effective"} == set()


def test_what_an_earlier_version_took_can_still_be_read() -> None:
    """It booked nothing for either; a gateway that could not read its catalog any more would book nothing at all."""
    body = {
        "operator": "o",
        "currency": "EUR",
        "timezone": "UTC",
        "meters": {
            "visits": {"event": "e", "aggregate": "duration", "unit": "visit", "start": {"s": 1}, "end": {"s": 0}},
            "hours": {"event": "e", "aggregate": "duration", "unit": "hour", "start": {"s": 1}, "end": {}, "max": "0s"},
        },
        "plans": {"p": {"prices": {"visits": [{"id": "x", "model": "flat", "amount": 1, "when": {"days": []}}]}}},
    }
    catalog = catalog_from_body(body, version=1, effective=None)
    assert set(catalog.meters) == {"hours"}
    assert catalog.meters["hours"].pairing is not None
    assert catalog.meters["hours"].pairing.max_s == 1
    assert catalog.plans["p"].prices["visits"][0].when == Window()
    with pytest.raises(CatalogError):
        read_catalog_json(encode_json(body))


def test_json_says_the_same_as_yaml() -> None:
    loaded = load(CONTRACT)
    sections = {**loaded.body, "members": {"ada": {"identities": ["badge:1"]}}}
    again = read_catalog_json(encode_json(sections))
    assert (again.catalog, again.body) == (loaded.catalog, loaded.body)
    assert again.directory.claims[0].identity == "badge:1"
