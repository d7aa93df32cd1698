"""docs/targets.md is what the registry says, and every kind has a page of its own."""

from __future__ import annotations

from pathlib import Path

from meter.export.targets.page import page
from meter.export.targets.registry import KINDS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_what_the_registry_says() -> None:
    assert (DOCS / "targets.md").read_text(encoding="utf-8") == page(), "make docs"


def test_every_kind_says_what_it_does_and_where_that_is_known_from() -> None:
    for name, kind in KINDS.items():
        assert kind.facts, name
        assert kind.about, name
        for option_name, option in kind.options.items():
            assert option.about, (name, option_name)
