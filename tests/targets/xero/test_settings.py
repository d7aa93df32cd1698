"""What a Xero target may be set to, and what checking it asks the organisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meter.export.gather.days import Days
from meter.export.gather.documents import Documents
from meter.export.targets.xero import XERO
from meter.export.targets.xero.rules import rules_of
from meter.model.errors import BadInput, Unavailable
from tests.targets.cases.xero import setup
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT
from tests.targets.xero.given import Make


def test_each_mode_has_its_shape() -> None:
    assert isinstance(XERO.shape(setup("https://unused")), Days)
    assert isinstance(XERO.shape(setup("https://unused", "invoices")), Documents)
    assert [XERO.invoices(setup("https://unused", mode)) for mode in ("journals", "invoices")] == [False, True]


@pytest.mark.parametrize(
    ("mode", "changes", "fault"),
    [
        ("journals", {}, ""),
        ("invoices", {}, ""),
        ("journals", {"accounts": {"income:*": 200}}, ""),
        ("journals", {"accounts": {}}, "options.accounts"),
        ("journals", {"accounts": {"income:*": ""}}, "options.accounts"),
        ("journals", {"status": "submitted"}, "options.status"),
        ("invoices", {"sales": {}}, "options.sales"),
        ("invoices", {"sales": {}, "items": {"*": "USE"}}, ""),
        ("invoices", {"terms_days": -1}, "options.terms_days"),
        ("journals", {"url": "meter.example"}, "options.url"),
        ("journals", {"url": "https://[::1"}, "options.url"),
        ("journals", {"grant": "client_credentials"}, ""),
    ],
)
def test_a_setting_that_cannot_work_is_named(mode: Any, changes: dict[str, Any], fault: str) -> None:
    faults = XERO.faults(setup("https://unused", mode, **changes))
    assert [one.split(":")[0] for one in faults] == ([fault] if fault else [])


def test_an_app_needs_its_first_refresh_token() -> None:
    given = replace(setup("https://unused"), refresh_token=None)
    [fault] = XERO.faults(given)
    assert "client_credentials" in fault
    assert XERO.faults(replace(given, options={**given.options, "grant": "client_credentials"})) == []


def test_codes_may_be_written_as_numbers() -> None:
    assert rules_of(setup("https://unused", sales={"room": 201})).sales == {"room": "201"}


def test_no_setting_shows_its_secret() -> None:
    shown = repr(setup("https://unused"))
    assert "refresh-0" not in shown
    assert "'secret'" not in shown


async def test_checking_reads_the_organisation_and_names_a_wrong_tenant(vendor: FakeXero, make: Make) -> None:
    await make().check()
    assert [one.call.path for one in vendor.calls("GET")] == ["/api.xro/2.0/Organisation"]
    with pytest.raises(BadInput, match=f"company.*connected to these tenants: {TENANT}"):
        await make(company="0" * 8).check()
    vendor.fail_next(503, committed=False, path="/Organisation")
    with pytest.raises(Unavailable):
        await make().check()
    with pytest.raises(Unavailable):
        await make(url="http://127.0.0.1:9").check()


async def test_checking_says_that_an_authorisation_has_ended(vendor: FakeXero, make: Make) -> None:
    vendor.tokens.refresh.clear()
    with pytest.raises(BadInput, match="offline_access"):
        await make().check()
