"""Ruff's security rules are on for everything; where one is set aside, its line says why."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("meter", "edge", "requirements") for path in (ROOT / folder).rglob("*.py"))
BARE = re.compile(r"# noqa: (?:[A-Z]+\d+, ?)*S\d+(?:, ?[A-Z]+\d+)*\s*$")


@pytest.mark.parametrize("text", ["x  # noqa: S608", "x  # noqa: ARG001, S608  "])
def test_a_bare_exception_is_found(text: str) -> None:
    assert BARE.search(text)


def test_every_exception_of_a_security_rule_says_why() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BARE.search(line)
    ]
    assert bare == []
