"""The `ledger:` section: what is read of it, and what of it is a fault or draws a warning."""

from __future__ import annotations

from datetime import date

import pytest

from meter.catalog.build import catalog_from_body
from meter.model.ledger import IncomeRule, Ledger
from tests.catalog.reading import HEAD, METER, faults, load

BOOKS = HEAD + METER + "sites:\n  berlin: {}\nplans:\n  flex: {}\n"


def ledger_of(text: str) -> Ledger:
    return load(BOOKS + text).catalog.ledger


def test_the_whole_section_is_read() -> None:
    read = ledger_of(
        """
ledger:
  accounts: {unbilled: "assets:unbilled", landlord.mitte: "liabilities:rent", clearing.square: "assets:square"}
  revenue: {pages: "income:print", membership: "income:dues", pos: "income:tills"}
  rules:
    - {match: {meter: pages, site: berlin, plan: flex, kind: usage, dimensions: {color: true}}, income: "income:colour"}
    - {match: {kind: refund}, income: "income:returned"}
    - {income: "income:other"}
  unmapped: suspense
  recognition: at_once
  locked: 2026-03-31
"""
    )
    assert read == Ledger(
        accounts={
            "unbilled": "assets:unbilled",
            "landlord.mitte": "liabilities:rent",
            "clearing.square": "assets:square",
            "revenue.pages": "income:print",
            "revenue.membership": "income:dues",
            "revenue.pos": "income:tills",
        },
        rules=(
            IncomeRule(
                income="income:colour",
                meter="pages",
                site="berlin",
                plan="flex",
                kind="usage",
                dimensions={"color": True},
            ),
            IncomeRule(income="income:returned", kind="refund"),
            IncomeRule(income="income:other"),
        ),
        unmapped="suspense",
        recognition="at_once",
        locked=date(2026, 3, 31),
    )


def test_without_the_section_meters_name_their_accounts_and_fees_are_earned_daily() -> None:
    assert ledger_of("") == Ledger() == ledger_of("ledger: {}\n")
    assert (Ledger().unmapped, Ledger().recognition, Ledger().locked) == ("meter", "daily", None)


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("ledger:\n  accounts: {recievable: 'assets:r'}\n", 11, "ledger.accounts.recievable"),
        ("ledger:\n  accounts: {tax: tax}\n", 11, "ledger.accounts.tax"),
        ("ledger:\n  revenue: {pages: print}\n", 11, "ledger.revenue.pages"),
        ("ledger:\n  rules:\n    - {match: {meter: pagse}, income: 'income:a'}\n", 12, "ledger.rules[0].match.meter"),
        ("ledger:\n  rules:\n    - {match: {site: b}, income: 'income:a'}\n", 12, "ledger.rules[0].match.site"),
        ("ledger:\n  rules:\n    - {match: {plan: gold}, income: 'income:a'}\n", 12, "ledger.rules[0].match.plan"),
        ("ledger:\n  rules:\n    - {match: {kind: tip}, income: 'income:a'}\n", 12, "ledger.rules[0].match.kind"),
        ("ledger:\n  rules:\n    - {match: {account: a}, income: 'income:a'}\n", 12, "ledger.rules[0].match.account"),
        (
            "ledger:\n  rules:\n    - {match: {dimensions: {color: true}}, income: 'income:a'}\n",
            12,
            "ledger.rules[0].match.dimensions",
        ),
        (
            "ledger:\n  rules:\n    - {match: {meter: pages, dimensions: {colour: true}}, income: 'income:a'}\n",
            12,
            "ledger.rules[0].match.dimensions.colour",
        ),
        ("ledger:\n  rules:\n    - {match: {meter: pages}}\n", 12, "ledger.rules[0]"),
        ("ledger:\n  rules: {meter: pages}\n", 11, "ledger.rules"),
        ("ledger:\n  unmapped: drop\n", 11, "ledger.unmapped"),
        ("ledger:\n  recognition: monthly\n", 11, "ledger.recognition"),
        ("ledger:\n  locked: march\n", 11, "ledger.locked"),
        ("ledger:\n  locked: 2026-03-31T00:00:00Z\n", 11, "ledger.locked"),
        ("ledger:\n  chart: {}\n", 11, "ledger.chart"),
    ],
)
def test_a_fault_names_its_line_and_path(text: str, line: int, path: str) -> None:
    assert faults(BOOKS + text) == [("0.yaml", line, path)]


def test_income_of_a_meter_that_is_none_draws_a_warning() -> None:
    [warning] = load(BOOKS + "ledger: {revenue: {page: 'income:print'}}\n").warnings
    assert (warning.path, warning.line) == ("ledger.revenue.page", 10)
    assert "did you mean pages?" in warning.message


def test_a_stored_catalog_with_a_role_that_nobody_plays_stays_readable() -> None:
    body = {**load(BOOKS).body, "ledger": {"accounts": {"recievable": "assets:debtors"}}}
    assert catalog_from_body(body, version=1, effective=None).ledger.accounts == {"recievable": "assets:debtors"}
