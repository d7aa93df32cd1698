"""What a QuickBooks target may be set to, and what checking it asks the company."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.export.gather.documents import Documents
from meter.export.targets.quickbooks import QUICKBOOKS, faults_of, shape_of
from meter.export.targets.spec import Setup
from meter.model.errors import BadInput, Unavailable
from tests.export.gathering import customers
from tests.targets.cases.quickbooks import setup
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import Make


@pytest.mark.parametrize(
    ("mode", "changes", "fault"),
    [
        ("journals", {"accounts": {}}, "options.accounts"),
        ("invoices", {"items": {}}, "options.items"),
        ("journals", {"accounts": {"income:*": 4}}, "needs an id as a string"),
        ("journals", {"terms_days": 400}, "options.terms_days"),
        ("invoices", {"tax_rates": {}}, "cents would differ"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named(mode: Any, changes: dict[str, Any], fault: str) -> None:
    [said] = faults_of(setup("https://unused", mode, **changes))
    assert fault in said


def test_a_realm_has_digits_only() -> None:
    given = replace(setup("https://unused"), company="../9130347596842384")
    assert "digits only" in faults_of(given)[0]
    assert faults_of(setup("https://unused")) == []


def test_the_mode_decides_what_is_made() -> None:
    given = replace(setup("https://unused", "invoices"), customers=customers("books", "quickbooks"))
    assert isinstance(shape_of(given), Documents)
    assert shape_of(replace(given, mode="journals")).reads == "entries"
    assert (QUICKBOOKS.invoices(given), QUICKBOOKS.books) == (True, True)


def test_no_setting_shows_its_secret() -> None:
    given: Setup = setup("https://unused")
    assert "refresh-0" not in repr(given)
    assert "secret" not in repr(given).replace("client_secret", "")


async def test_checking_reads_the_company(vendor: FakeQuickBooks, make: Make) -> None:
    await make().check()
    assert vendor.calls("GET", "/companyinfo/")
    await make(mode="invoices").check()
    vendor.fail_next(403, committed=False, path="/companyinfo/")
    with pytest.raises(BadInput, match="check company"):
        await make().check()
    vendor.fail_next(503, committed=False, path="/companyinfo/")
    with pytest.raises(Unavailable):
        await make().check()
    with pytest.raises(Unavailable):
        await make(url="http://127.0.0.1:9").check()


@pytest.mark.parametrize(
    ("mode", "options", "named"),
    [
        ("journals", {"accounts": {"income:*": "2", "assets:receivable": "998"}, "customer": "997"}, "Account 998, Cu"),
        ("invoices", {"items": {"*": "998"}}, "Item 998"),
        ("invoices", {"tax_codes": {"none": "998"}}, "TaxCode 998"),
    ],
)
async def test_checking_names_what_the_company_does_not_have(
    make: Make, mode: Any, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=f"no active {named}"):
        await make(mode=mode, **options).check()
