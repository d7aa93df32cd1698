"""Plans: models of prices with their limits and windows, and what credit is for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.catalog.issues import CatalogError
from meter.model.catalog import (
    PerUnit,
    Price,
)
from tests.catalog.reading import HEAD, METER, faults, load


def price_of(rest: str) -> Price:
    text = f"plans:\n  p: {{prices: {{pages: [{{id: x, model: per_unit, unit_price: 1, {rest}}}]}}}}\n"
    return load(HEAD + METER + text).catalog.plans["p"].prices["pages"][0]


def test_caps_of_a_day_and_of_a_period_stand_side_by_side() -> None:
    both = price_of("cap: [{amount: 8, every: day}, {amount: 100, every: period}]")
    assert (both.day_cap, both.period_cap) == (Decimal(8), Decimal(100))


@pytest.mark.parametrize(
    ("hours", "minutes"),
    [("18:00-24:00", (1080, 1440)), ("22:00-06:30", (1320, 390)), ("00:00-09:05", (0, 545))],
)
def test_hours_are_minutes_of_the_day_and_may_reach_over_midnight(hours: str, minutes: tuple[int, int]) -> None:
    window = price_of(f"when: {{hours: '{hours}'}}").when
    assert window is not None
    assert (window.from_minute, window.to_minute, window.days, window.holidays) == (*minutes, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("cap: [{amount: 8, every: day}, {amount: 9, every: day}]", "cap[1].every"),
        ("cap: {amount: 8}", "cap"),
        ("cap: 8", "cap"),
        ("period_minimum: {}", "period_minimum"),
        ("when: {days: [monday]}", "when.days[0]"),
        ("when: {days: []}", "when.days"),
        ("when: {hours: '9-17'}", "when.hours"),
        ("when: {holidays: ['2026-12-25T00:00:00Z']}", "when.holidays"),
        ("flat_at_zero: true", "flat_at_zero"),
        ("free_events: 3", "free_events"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_fault(rest: str, path: str) -> None:
    with pytest.raises(CatalogError) as caught:
        price_of(rest)
    assert [issue.path for issue in caught.value.issues] == [f"plans.p.prices.pages[0].{path}"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("model: volume", ""),
        ("model: volume, tiers: []", ".tiers"),
        ("model: graduated", ""),
        ("model: package, size: 0, price: 1", ".size"),
        ("model: package, size: 1", ""),
        ("model: flat", ""),
        ("model: percentage, rate: 0.1", ""),
        ("model: percentage, field: f, minimum: 2, maximum: 1", ".maximum"),
        ("model: pass_through, markup: -2", ".markup"),
    ],
)
def test_a_model_without_what_it_needs_is_a_fault(model: str, path: str) -> None:
    text = HEAD + METER + f"plans:\n  p: {{prices: {{pages: [{{id: x, {model}}}]}}}}\n"
    assert faults(text) == [("0.yaml", 7, f"plans.p.prices.pages[0]{path}")]


def test_the_keys_of_another_model_are_faults() -> None:
    text = HEAD + METER + "plans:\n  p: {prices: {pages: [{id: x, model: per_unit, unit_price: 1, tiers: []}]}}\n"
    assert faults(text) == [("0.yaml", 7, "plans.p.prices.pages[0].tiers")]


def test_numbers_are_read_as_written_never_as_floats() -> None:
    text = HEAD + METER + "plans:\n  p: {prices: {pages: [{id: x, model: per_unit, unit_price: 0.07}]}}\n"
    assert load(text).catalog.plans["p"].prices["pages"][0].model == PerUnit(unit_price=Decimal("0.07"))


def test_the_scope_of_credit_is_what_has_a_rate_and_of_money_what_the_plan_prices() -> None:
    meters = METER + "  days: {event: d, aggregate: count, unit: day}\n"
    grants = "[{id: c, unit: credit, amount: 1}, {id: m, unit: EUR, amount: 1},"
    grants += " {id: e, unit: EUR, amount: 1, meters: [pages]}]"
    text = f"plans:\n  p: {{grants: {grants}, prices: {{days: [{{id: x, model: flat, amount: 1}}]}}}}\n"
    plan = load(HEAD + meters + "credits: {rates: {pages: [{rate: 2}]}}\n" + text).catalog.plans["p"]
    assert [grant.meters for grant in plan.grants] == [("pages",), ("days",), ("pages",)]
