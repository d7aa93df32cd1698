"""Whatever the text, the loader answers with a catalog or with a CatalogError."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.catalog.build import catalog_from_body
from meter.catalog.issues import CatalogError, Faults
from meter.catalog.load import read_catalog_json, read_catalog_text
from meter.catalog.nodes import plain_value, read_yaml
from meter.store.catalogs import body_digest
from meter.store.engine import decode_json, encode_json
from tests.catalog.reading import CONTRACT

_FAULTS = Faults()
_TREE = read_yaml(CONTRACT, file="", faults=_FAULTS)
assert _TREE is not None
DOCUMENT: Any = plain_value(_TREE)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["acme", "flex-10", "print-pages", "EUR", "2026-01-01", "0001-01-01", "9999-12-31", "UTC", "22:00"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place of a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in entries for found in paths(inner, (*path, key)))]


PLACES = paths(DOCUMENT)[1:]


def replaced(value: Any, path: tuple[Any, ...], by: Any, *, key: str | None = None) -> Any:
    """Return the document with the value at `path` replaced, or renamed to `key`."""
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and key is not None and isinstance(copy, dict):
        copy[key] = copy.pop(path[0])
    else:
        copy[path[0]] = replaced(copy[path[0]], path[1:], by, key=key)
    return copy


def try_json(document: Any) -> None:
    try:
        text = encode_json(document)
    except (TypeError, ValueError, UnicodeEncodeError):
        text = json.dumps(document, default=str)
    try:
        loaded = read_catalog_json(text)
    except CatalogError:
        return
    # What is taken can be stored and read again.
    kept = decode_json(encode_json(loaded.body))
    assert catalog_from_body(kept, version=0, effective=None) == loaded.catalog
    assert body_digest(kept) == body_digest(loaded.body)


@given(st.sampled_from(PLACES), VALUES)
@settings(max_examples=400)
def test_any_value_in_any_place(path: tuple[Any, ...], value: Any) -> None:
    try_json(replaced(DOCUMENT, path, value))


@given(st.sampled_from(PLACES), st.text(max_size=12))
def test_any_key_in_any_place(path: tuple[Any, ...], key: str) -> None:
    try_json(replaced(DOCUMENT, path, None, key=key))


@given(VALUES)
def test_any_document(document: Any) -> None:
    try_json(document)


@given(st.integers(0, len(CONTRACT)), st.integers(0, 40), st.text(max_size=10))
@settings(max_examples=400)
def test_any_cut_and_insertion_in_the_text(at: int, cut: int, insertion: str) -> None:
    text = CONTRACT[:at] + insertion + CONTRACT[at + cut :]
    with suppress(CatalogError):
        read_catalog_text([("c.yaml", text)])


@given(st.text(alphabet=st.sampled_from("ab:-,[]{}&*!|>'\"#%@`? \n\t01.\\<"), max_size=60))
@settings(max_examples=400)
def test_any_punctuation(text: str) -> None:
    with suppress(CatalogError):
        read_catalog_text([("c.yaml", text)])
