from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from meter.model.catalog import Catalog, Graduated, Meter, PerUnit, Plan, PlanGrant, Price, Site, Tier
from meter.model.directory import Directory, Link, Span
from meter.model.errors import Broken
from meter.model.event import Position
from meter.model.journal import JournalEntry, Posting

D = Decimal


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


class TestSpans:
    def test_are_half_open(self) -> None:
        span = Span(start=day(2), end=day(4))
        assert [span.covers(day(n)) for n in (1, 2, 3, 4)] == [False, True, True, False]
        assert Span().covers(day(1))

    def test_that_only_touch_do_not_overlap(self) -> None:
        assert not Span(start=day(1), end=day(2)).overlaps(Span(start=day(2)))
        assert Span(end=day(3)).overlaps(Span(start=day(2)))
        assert Span().overlaps(Span(start=day(1), end=day(2)))


def test_events_stand_in_order_of_time_then_source_then_id_by_bytes() -> None:
    order = [
        Position(day(1), "b", "z"),
        Position(day(2), "a", "\uffff"),
        Position(day(2), "a", "\U00010000"),
        Position(day(2), "b", "a"),
    ]
    assert all(one < two for one, two in pairwise(order))
    assert [p.id.encode() for p in order[1:3]] == sorted(p.id.encode() for p in order[1:3])


class TestPriceContent:
    def test_is_equal_for_numbers_equal_by_value(self) -> None:
        def price(unit_price: str, width: int | Decimal) -> Price:
            return Price(id="p", model=PerUnit(unit_price=D(unit_price)), match={"width": width, "a": "b"})

        assert price("0.50", 5).content == price("0.5", D("5.0")).content
        assert price("0.5", 5).content != price("0.51", 5).content

    def test_tells_prices_apart_by_each_term(self) -> None:
        model = Graduated(tiers=(Tier(up_to=D(10), unit_price=D(1)), Tier(up_to=None, unit_price=D(2))))
        flat = Graduated(tiers=(Tier(up_to=D(10), unit_price=D(1), flat=D(1)), Tier(up_to=None, unit_price=D(2))))
        prices = [
            Price(id="p", model=model),
            Price(id="p", model=flat),
            Price(id="p", model=PerUnit(unit_price=D(1))),
            Price(id="p", model=model, per="member"),
            Price(id="p", model=model, tax="vat"),
            Price(id="p", model=model, match={"color": True}),
            Price(id="p", model=model, match={"color": 1}),
            Price(id="p", model=model, match={"color": "1"}),
        ]
        assert len({price.content for price in prices}) == len(prices)
        assert Price(id="p", model=model, match={"a": 1, "b": 2}).content == (
            Price(id="p", model=model, match={"b": 2, "a": 1}).content
        )


class TestCatalogs:
    METERS = (
        Meter(id="b", event="print.job", aggregate="count", unit="job"),
        Meter(id="a", event="print.job", aggregate="sum", unit="page", value=("impressions",)),
        Meter(id="use", event="usage.reported", aggregate="sum", unit="unit"),
    )
    CATALOG = Catalog(
        operator="o",
        version=1,
        effective=None,
        currency="EUR",
        timezone="Asia/Tokyo",
        meters={meter.id: meter for meter in METERS},
    )

    def test_give_the_meters_of_an_event_by_name(self) -> None:
        assert [meter.id for meter in self.CATALOG.meters_of("print.job", {})] == ["a", "b"]
        assert self.CATALOG.meters_of("door.access", {}) == ()

    def test_let_reported_usage_name_its_meter(self) -> None:
        assert [meter.id for meter in self.CATALOG.meters_of("usage.reported", {"meter": "use"})] == ["use"]
        for name in ("a", "nothing", None):
            assert self.CATALOG.meters_of("usage.reported", {"meter": name}) == ()

    def test_give_an_unknown_site_the_operators_zone(self) -> None:
        assert self.CATALOG.site("oslo") == Site(id="oslo", name="oslo", timezone="Asia/Tokyo")

    def test_know_what_a_plan_prices_or_grants(self) -> None:
        grant = PlanGrant(id="g", unit="page", amount=D(1), meters=("a",))
        plan = Plan(id="p", name="p", grants=(grant,), prices={"b": ()})
        assert plan.meters == {"a", "b"}


def test_a_directory_finds_everyone_who_was_ever_linked_to_an_account() -> None:
    links = {
        "bob": (Link(member="bob", account="acme", span=Span(end=day(2))), Link(member="bob", account="beta")),
        "ada": (Link(member="ada", account="acme"),),
    }
    directory = Directory(version=1, links=links)
    assert directory.members_of("acme") == ("ada", "bob")
    assert directory.members_of("beta") == ("bob",)
    assert directory.members_of("nobody") == ()


def test_a_journal_entry_that_does_not_balance_is_broken() -> None:
    def entry(*amounts: str) -> JournalEntry:
        postings = tuple(Posting(account="a", amount=D(amount)) for amount in amounts)
        return JournalEntry(
            id="ch_1", day=day(1).date(), currency="EUR", narration="", postings=postings, dimensions={}
        )

    entry("5", "-4.99", "-0.01").check_invariants()
    with pytest.raises(Broken, match="does not balance"):
        entry("5", "-4.99").check_invariants()
