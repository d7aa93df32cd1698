from pathlib import Path

from meter.sources.page import page
from meter.sources.registry import VENDORS

DOCUMENT = Path(__file__).parents[2] / "docs" / "sources.md"


def test_the_document_is_what_the_registry_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == page(), "make docs"


def test_every_vendor_says_what_of_it_is_read_and_where_that_is_known_from() -> None:
    for name, vendor in VENDORS.items():
        assert vendor.covers, name
        assert vendor.facts, name
        for covered in vendor.covers:
            assert covered.becomes or covered.state == "not", (name, covered.what)
            assert covered.note or covered.state != "partly", (name, covered.what)
