"""Faults: all at once, each with its file, line and path."""

from __future__ import annotations

import pytest

from tests.catalog.reading import HEAD, METER, faults, messages


def test_all_faults_are_told_at_once_with_file_line_and_path() -> None:
    first = """operator: northside
currency: euro
timezone: Europe/Berlyn
meters:
  pages:
    event: print.job
    agregate: sum
    unit: page
plans:
  flex:
    prices:
      pags:
        - {id: x, model: per_unit}
      pages:
        - id: tiered
          model: graduated
          tiers:
            - {up_to: 50, unit_price: "0.25"}
            - {up_to: 40, unit_price: -1}
"""
    second = """accounts:
  acme:
    subscriptions:
      - id: s
        plan: gold
        from: 2026-02-30
members:
  ada: {account: nobody, identities: ["04A2", {id: "badge:1", from: 2026-03-01, to: 2026-03-01}]}
"""
    assert sorted(faults(first, second)) == [
        ("0.yaml", 2, "currency"),
        ("0.yaml", 3, "timezone"),
        ("0.yaml", 5, "meters.pages"),
        ("0.yaml", 7, "meters.pages.agregate"),
        ("0.yaml", 12, "plans.flex.prices.pags"),
        ("0.yaml", 19, "plans.flex.prices.pages[0].tiers[1].unit_price"),
        ("0.yaml", 19, "plans.flex.prices.pages[0].tiers[1].up_to"),
        ("1.yaml", 5, "accounts.acme.subscriptions[0].plan"),
        ("1.yaml", 6, "accounts.acme.subscriptions[0].from"),
        ("1.yaml", 8, "members.ada.account"),
        ("1.yaml", 8, "members.ada.identities[0]"),
        ("1.yaml", 8, "members.ada.identities[1].to"),
    ]


def test_a_misspelt_key_is_answered_with_the_right_one() -> None:
    (missing, unknown) = messages(HEAD + "meters:\n  m: {event: e, agregate: sum, unit: u}\n")
    assert "aggregate" in missing
    assert "did you mean aggregate?" in unknown
    (reference,) = messages(HEAD + METER + "plans:\n  p: {prices: {page: [{id: x, model: per_unit, unit_price: 1}]}}\n")
    assert "did you mean pages?" in reference


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        (
            METER
            + "plans:\n  p: {prices: {pages: [{id: x, match: {colour: true}, model: per_unit, unit_price: 1}]}}\n",
            7,
            "plans.p.prices.pages[0].match.colour",
        ),
        (
            METER + "plans:\n  p: {grants: [{id: g, unit: hour, amount: 1, meters: [pages]}]}\n",
            7,
            "plans.p.grants[0].meters[0]",
        ),
        (METER + "plans:\n  p: {grants: [{id: g, unit: hour, amount: 1}]}\n", 7, "plans.p.grants[0].unit"),
        (METER + "plans:\n  p: {grants: [{id: g, unit: page, amount: 0}]}\n", 7, "plans.p.grants[0].amount"),
        ("taxes:\n  vat: {rate: 19}\n", 5, "taxes.vat.rate"),
        ("sites:\n  b: {tax: vat}\n", 5, "sites.b.tax"),
        ("sites:\n  b: {closes: 25:00}\n", 5, "sites.b.closes"),
        ("sites:\n  a/b: {}\n", 5, "sites.a/b"),
        ("default_plan: gold\n", 4, "default_plan"),
        ("mqtt:\n  - {topic: 'a/#/b', decoder: d, site: s}\n", 5, "mqtt[0].topic"),
        ("mqtt:\n  - {topic: a, decoder: d, site: s}\n", 5, "mqtt[0].site"),
        ("grants:\n  - {id: g, account: a, unit: EUR, amount: 1}\n", 5, "grants[0].account"),
        ("members:\n  m: {account: a}\n", 5, "members.m.account"),
        ("members:\n  m: {identities: ['member:x']}\n", 5, "members.m.identities[0]"),
        ("revenue_share:\n  - {match: {meter: m}, party: p, share: '0.1'}\n", 5, "revenue_share[0].match.meter"),
        ("revenue_share:\n  - {match: {site: s}, party: p, share: '0.1'}\n", 5, "revenue_share[0].match.site"),
        ("revenue_share:\n  - {match: {plan: p}, party: p, share: '0.1'}\n", 5, "revenue_share[0].match.plan"),
        ("revenue_share:\n  - {party: p, share: 12}\n", 5, "revenue_share[0].share"),
        ("revenue_share:\n  - {party: p, share: '0.1', basis: gross}\n", 5, "revenue_share[0].basis"),
        ("revenue_share:\n  - {party: p, share: '0.1', role: owner}\n", 5, "revenue_share[0].role"),
        ("revenue_share:\n  - {share: '0.1'}\n", 5, "revenue_share[0]"),
        ("credits: {rates: {m: [{rate: 1}]}}\n", 4, "credits.rates.m"),
        ("ledger: {accounts: {receivable: receivable}}\n", 4, "ledger.accounts.receivable"),
        ("accounts:\n  a: {anchor_day: 32}\n", 5, "accounts.a.anchor_day"),
        ("accounts:\n  a: {name: true}\n", 5, "accounts.a.name"),
        ("accounts:\n  a: {xero: 1e5}\n", 5, "accounts.a.xero"),
        ("accounts:\n  a: {timezone: Mars/Base}\n", 5, "accounts.a.timezone"),
        ("accounts: [a]\n", 4, "accounts"),
        ("effective: soon\n", 4, "effective"),
        ("plan: {}\n", 4, "plan"),
    ],
)
def test_a_fault_names_its_line_and_path(text: str, line: int, path: str) -> None:
    found = faults(HEAD + text)
    assert ("0.yaml", line, path) in found


def test_ids_are_unique() -> None:
    accounts = "accounts:\n  a: {subscriptions: [{id: s, plan: p}]}\n  b: {subscriptions: [{id: s, plan: p}]}\n"
    prices = "plans:\n  p: {prices: {pages: [{id: x, model: flat, amount: 1}, {id: x, model: flat, amount: 2}]}}\n"
    assert faults(HEAD + METER + prices + accounts) == [
        ("0.yaml", 7, "plans.p.prices.pages[1].id"),
        ("0.yaml", 10, "accounts.b.subscriptions[0]"),
    ]
    assert faults(HEAD + "members:\n  m: {identities: ['badge:a1', 'badge:A1']}\n") == [
        ("0.yaml", 5, "members.m.identities[1]")
    ]


def test_the_number_of_faults_told_is_bounded() -> None:
    text = HEAD + "accounts:\n" + "".join(f"  a{n}: {{nam: x}}\n" for n in range(3000))
    assert len(faults(text)) == 500
