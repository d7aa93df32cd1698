"""Targets as they are configured: what each lacks, and what several may not do beside one another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from meter.config import TargetSettings
from meter.export.targets.registry import KINDS
from meter.export.targets.setups import Targets

BOOKS: dict[str, Any] = {"client_id": "c", "client_secret": "s", "refresh_token": "r"}


def targets(**given: dict[str, Any]) -> Targets:
    settings = {name: TargetSettings.model_validate(target) for name, target in given.items()}
    return Targets(settings, operator="northside", data_dir=Path("data"))


def test_every_kind_that_can_be_set_is_there() -> None:
    assert set(get_args(TargetSettings.model_fields["kind"].annotation)) == set(KINDS)


def test_what_a_kind_needs_is_named_and_what_it_has_not_refused() -> None:
    found = targets(books={"kind": "quickbooks", "mode": "journals"}, files={"kind": "ledger", "grain": "day"})
    faults = "\n".join(found.faults)
    assert "METER_TARGETS__BOOKS: a target of kind quickbooks needs company" in faults
    assert "client_id" in faults
    assert "METER_TARGETS__FILES__GRAIN: is day; a target of kind ledger has none" in faults
    options = targets(books={"kind": "quickbooks", "options": {"no_such": 1}})
    assert any("no_such: no such option" in fault for fault in options.faults)


def test_one_that_is_switched_off_is_not_looked_at() -> None:
    found = targets(ledger={"kind": "ledger"}, old={"kind": "ledger", "enabled": False})
    assert [target.setup.name for target in found] == ["ledger"]
    assert found.faults == []


def test_two_ledgers_would_write_the_same_files() -> None:
    found = targets(books={"kind": "ledger"}, ledger={"kind": "ledger"})
    assert "books and ledger are ledgers" in found.faults[0]


def test_books_have_one_mode_and_invoices_one_sender() -> None:
    quickbooks = {"kind": "quickbooks", "company": "1", "mode": "invoices", **BOOKS}
    xero = {"kind": "xero", "company": "2", "mode": "journals", **BOOKS}
    mixed = targets(quickbooks=quickbooks, xero=xero, ledger={"kind": "ledger"})
    assert {target.setup.name for target in mixed if _says(target.faults, "different modes")} == {"quickbooks", "xero"}
    assert not _says(targets(quickbooks=quickbooks, xero={**xero, "mode": "invoices"}).faults, "different modes")
    twice = targets(one=quickbooks, other=quickbooks)
    assert _says(twice.faults, "one and other are one and the same quickbooks")


def _says(faults: Iterable[str], what: str) -> bool:
    return any(what in fault for fault in faults)


def test_one_place_gets_a_dataset_once() -> None:
    hook = {"kind": "webhook", "base_url": "https://hooks.example/x", "secrets": ["whsec_" + "A" * 32]}
    assert "a and b are one and the same webhook" in targets(a=hook, b=hook).faults[0]
    assert targets(a=hook, b={**hook, "options": {"dataset": "journal"}}).faults == []
    assert targets(a=hook, b={**hook, "base_url": "https://hooks.example/y"}).faults == []
    assert targets(a={"kind": "files"}, b={"kind": "files"}).faults == []  # each has a directory of its own
    lake = {"kind": "files", "base_url": "s3://lake/raw"}
    assert "one and the same files" in targets(a=lake, b=lake).faults[0]


def test_a_target_knows_who_else_invoices() -> None:
    found = targets(
        stripe={"kind": "stripe", "api_key": "sk"},
        quickbooks={"kind": "quickbooks", "company": "1", "mode": "invoices", **BOOKS},
        ledger={"kind": "ledger"},
    )
    rivals = {target.setup.name: dict(target.setup.customers.rivals) for target in found}
    assert rivals == {"stripe": {"quickbooks": ("quickbooks",)}, "quickbooks": {"stripe": ("stripe",)}, "ledger": {}}


def test_an_address_with_a_login_has_no_room_for_a_key() -> None:
    books = {"kind": "quickbooks", "mode": "journals", "company": "1", **BOOKS}
    stripe = {"kind": "stripe", "api_key": "sk_test_1"}
    for target in (books, stripe):
        [fault] = [
            one for one in targets(one={**target, "base_url": "https://me:s3cret@host"}).faults if "login" in one
        ]
        assert "METER_TARGETS__ONE__BASE_URL" in fault
        assert "s3cret" not in fault
        assert not _says(targets(one={**target, "base_url": "https://host"}).faults, "BASE_URL")
    hook = {"kind": "webhook", "base_url": "https://me:s3cret@host/in", "secrets": ["whsec_" + "bmV3" * 8]}
    assert targets(hook=hook).faults == []
