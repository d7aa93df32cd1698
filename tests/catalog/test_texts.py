"""Texts: several files, scalars without surprises, and what is no catalog at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from meter.catalog.issues import CatalogError
from meter.catalog.load import read_catalog_json, read_catalog_text
from meter.catalog.nodes import DEPTH_MAX
from tests.catalog.reading import HEAD, faults, load, messages


def test_files_are_joined_section_by_section() -> None:
    one = HEAD + "accounts:\n  a: {}\ngrants:\n  - {id: g, account: b, unit: EUR, amount: 1}\n"
    two = "operator: northside\naccounts:\n  b: {}\ngrants:\n  - {id: h, account: a, unit: EUR, amount: 1}\n"
    draft = read_catalog_text([("one", one), ("two", two)]).directory
    assert [account.id for account in draft.accounts] == ["a", "b"]
    assert [(grant.id, grant.place.file, grant.place.path) for grant in draft.grants] == [
        ("g", "one", "grants[0]"),
        ("h", "two", "grants[0]"),
    ]


def test_what_stands_in_two_files_is_a_fault() -> None:
    one = HEAD + "sites:\n  a: {}\n"
    two = "operator: southside\ncurrency: EUR\nsites:\n  a: {}\n"
    assert faults(one, two) == [("1.yaml", 1, "operator"), ("1.yaml", 2, "currency"), ("1.yaml", 4, "sites.a")]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2026-01-01", "2026-01-01"),
        ("'true'", "true"),
        ('"3"', "3"),
        ("true", True),
        ("False", False),
        ("3", 3),
        ("-3", -3),
        ("1e3", Decimal("1e3")),
        ("0.10", Decimal("0.10")),
        ("0.1000000000000000055", "0.1000000000000000055"),  # more digits than are kept: text, which no number takes
        ("0.30000000000000004", Decimal("0.30000000000000004")),
    ],
)
def test_a_scalar_is_what_it_looks_like(written: str, value: Any) -> None:
    meter = f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {{x: {written}}}}}\n"
    (condition,) = load(HEAD + meter).catalog.meters["m"].where
    assert (condition.value, type(condition.value)) == (value, type(value))


def test_an_alias_is_what_its_anchor_is() -> None:
    text = HEAD + "sites:\n  a: &a {name: A, closes: '22:00'}\n  b: *a\n"
    sites = load(text).catalog.sites
    assert (sites["b"].id, sites["b"].name, sites["b"].closes) == ("b", "A", "22:00")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("# nothing\n", None),
        ("- a\n- b\n", None),
        ("operator: a\noperator: b\n", 2),
        ("operator: [\n", 2),
        ("operator: a\n---\noperator: b\n", 2),
        ("operator: !!python/object:os.system x\n", 1),
        ("a: *nowhere\n", 1),
        ("a: &a [*a]\n", 1),
        ("? [a]\n: b\n", 1),
        ("operator: 'a\\0'\nx: \"\\0\"\n", 2),
        ("a: \x07\n", None),
        ("x: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), 1),
        ("x: " + "[" * 100_000, 1),
        ("x: " + "{a: " * 100_000, 1),
        ("\ud800", None),
    ],
)
def test_a_text_that_is_no_catalog_is_refused(text: str, line: int | None) -> None:
    assert ("0.yaml", line) in [fault[:2] for fault in faults(text)]


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "aliases" in messages("\n".join(lines))[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[" * 100_000, "bad_json"),
        ('{"x": ' * (DEPTH_MAX + 2) + "1" + "}" * (DEPTH_MAX + 2), "bad_json"),
        ('{"a": NaN}', "bad_json"),
        ('{"a": 1, "a": 2}', "bad_catalog"),
        ('{"operator": "\\ud800"}', "bad_catalog"),
        ('{"operator": "\\u0000"}', "bad_catalog"),
    ],
)
def test_json_that_is_no_catalog_is_refused(text: str, code: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read_catalog_json(text)
    assert caught.value.code == code
    assert caught.value.issues
