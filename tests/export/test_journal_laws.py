"""Laws of the journal: sums alone decide, whatever the order, and what is deferred is earned exactly."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.export.journal import BookingDay, BoughtCredit, Burn, count, deferral_of, earned_entries, entries_of
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.charge import Charge, Draw, LineTax, SalesRole, Shared
from meter.model.event import EventKey
from meter.model.journal import Deferral, JournalEntry
from meter.model.ledger import IncomeRule, Ledger
from tests.booked import MARCH, a_charge, a_line

FIRST = date(2026, 3, 1)
TODAY = date(2026, 3, 20)
RULES = (IncomeRule(income="income:hamburg", site="hamburg"), IncomeRule(income="income:colour", meter="colour"))
CATALOG = Catalog(
    operator="northside",
    version=1,
    effective=None,
    currency="EUR",
    timezone="Europe/Berlin",
    ledger=Ledger(rules=RULES),
)
TIMELINE = CatalogTimeline(versions=(CATALOG,))
money = st.decimals(min_value=-5000, max_value=5000, places=2)
Sums = dict[tuple[str, str], Decimal]


def add(sums: Sums, more: Burn) -> None:
    for key, amount in more.items():
        sums[key] = sums.get(key, Decimal(0)) + amount


def nonzero(sums: Sums) -> Sums:
    return {key: amount for key, amount in sums.items() if amount}


# --- days -------------------------------------------------------------------------------------------------------------


def a_deferral(name: str, net: Decimal, first: int, days: int, **changes: Any) -> Deferral:
    deferral = Deferral(
        charge=name,
        chain="chain",
        currency="EUR",
        net=net,
        first_day=FIRST + timedelta(days=first),
        end_day=FIRST + timedelta(days=first + days),
        next_day=FIRST + timedelta(days=first),
        debit="liabilities:deferred",
        credit="income:membership",
        narration="membership earned",
        dimensions={"site": "berlin", "account": "acme", "meter": "membership", "kind": "fee"},
    )
    return replace(deferral, **changes)


def as_they_are(day: date) -> date:
    return day


schedules = st.lists(st.tuples(money, st.integers(0, 20), st.integers(1, 40)), min_size=1, max_size=4).map(
    lambda given: [a_deferral(f"ch_{n}", *one) for n, one in enumerate(given)]
)


@given(schedules, st.lists(st.integers(1, 70), max_size=6))
def test_the_days_sum_to_the_net_however_the_sweeps_fall(whole: list[Deferral], stops: list[int]) -> None:
    end = FIRST + timedelta(days=71)
    at_once = earned_entries(whole, before=end, dated=as_they_are)
    step_by_step: list[JournalEntry] = []
    left = whole
    for day in [*(FIRST + timedelta(days=stop) for stop in sorted(stops)), end]:
        step_by_step += earned_entries(
            [one for one in left if one.next_day < one.end_day], before=day, dated=as_they_are
        )
        left = [one.moved_to(day) for one in left]
    assert sorted(step_by_step, key=lambda entry: entry.day) == at_once
    assert len({entry.id for entry in at_once}) == len(at_once)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for entry in at_once:
        entry.check_invariants()
        assert len(entry.postings) == 2
        for posting in entry.postings:
            sums[posting.account] += posting.amount
    assert sums["liabilities:deferred"] == sum(one.net for one in whole) == -sums["income:membership"]


@given(money, st.integers(1, 400))
def test_every_day_of_a_fee_earns_the_same_but_for_a_cent(net: Decimal, days: int) -> None:
    entries = earned_entries([a_deferral("ch_0", net, 0, days)], before=date(2030, 1, 1), dated=as_they_are)
    amounts = [abs(entry.postings[0].amount) for entry in entries]
    amounts += [Decimal(0)] * (days - len(amounts))
    assert max(amounts) - min(amounts) <= Decimal("0.01")


@given(money, st.integers(2, 31), st.integers(1, 31))
def test_a_charge_and_its_reversal_earn_nothing_together(net: Decimal, days: int, before: int) -> None:
    both = [a_deferral("ch_0", net, 0, days), a_deferral("ch_1", -net, 0, days)]
    assert earned_entries(both, before=FIRST + timedelta(days=before), dated=as_they_are) == []


@given(st.decimals(min_value=1, max_value=1000, places=2), st.integers(2, 31), st.data())
def test_what_is_credited_in_mid_month_nets_to_nothing_from_then_on(
    net: Decimal, days: int, data: st.DataObject
) -> None:
    """The unused part is rounded to the cent, and so is each day: no running sum is two cents from zero."""
    used = data.draw(st.integers(1, days - 1))
    unused = (net * (days - used) / days).quantize(Decimal("0.01"))
    fee = a_deferral("ch_0", net, 0, days)
    back = a_deferral("ch_1", -unused, used, days - used)
    entries = earned_entries([fee, back], before=FIRST + timedelta(days=days), dated=as_they_are)
    running = Decimal(0)
    for entry in entries:
        if entry.day >= back.first_day:
            running += entry.postings[0].amount
            assert abs(running) < Decimal("0.02")
    assert sum(entry.postings[0].amount for entry in entries) == net - unused


@given(st.integers(1, 25))
def test_days_that_may_not_change_are_one_entry_of_today(locked: int) -> None:
    day = BookingDay(today=TODAY, timezone="Europe/Berlin", locked=FIRST + timedelta(days=locked - 1))
    entries = earned_entries([a_deferral("ch_0", Decimal(310), 0, 31)], before=TODAY, dated=day.of)
    moved = [entry for entry in entries if entry.day == TODAY]
    assert [entry.postings[0].amount for entry in moved] == [Decimal(10) * min(locked, 19)]
    assert sum(entry.postings[0].amount for entry in entries) == Decimal(190)
    rest = earned_entries(
        [a_deferral("ch_0", Decimal(310), 0, 31).moved_to(TODAY)], before=TODAY + timedelta(days=1), dated=as_they_are
    )
    assert not {entry.id for entry in rest} & {entry.id for entry in entries}


# --- bought credit ----------------------------------------------------------------------------------------------------


def a_sale(price: Decimal, amount: Decimal, currency: str = "EUR") -> Charge:
    line = a_line(0, meter="credit", kind="fee", quantity=amount, currency=currency, amount=price, events=())
    return a_charge(with_(line, key=line.key._replace(source="", id="pack/bought")), rounded=price)


def a_draw(n: int, amount: Decimal, **fields: Any) -> Charge:
    draws = (Draw(grant="pack", unit="page", amount=amount),)
    return a_charge(a_line(n, amount=Decimal(0), draws=draws, **fields), rounded=Decimal(0))


def an_expiry(amount: Decimal) -> Charge:
    line = a_line(999, meter="credit", kind="fee", quantity=amount, amount=Decimal(0), events=())
    return a_charge(
        with_(line, key=line.key._replace(source="", id="pack/expired", part="expired")), rounded=Decimal(0)
    )


wheres = st.fixed_dictionaries(
    {"meter": st.sampled_from(["print-pages", "colour"]), "site": st.sampled_from(["berlin", "hamburg"])}
)
drawn = st.lists(st.tuples(st.integers(1, 30), wheres), max_size=8)


@given(st.decimals(min_value=0, max_value=5000, places=2), drawn, st.integers(0, 40), st.randoms(use_true_random=False))
def test_a_pack_earns_exactly_its_price_once_all_is_drawn_or_expired(
    price: Decimal, draws: list[tuple[int, dict[str, str]]], left: int, chance: Any
) -> None:
    amount = Decimal(sum(pages for pages, _ in draws) + left)
    charges = [a_sale(price, amount), *(a_draw(n, Decimal(p), **where) for n, (p, where) in enumerate(draws))]
    charges += [an_expiry(Decimal(left))] if left else []
    in_order: Sums = {}
    credit: dict[str, BoughtCredit] = {}
    for charge in charges:
        moved = count(charge, credit, TIMELINE)
        assert sum(moved.values()) == 0
        add(in_order, moved)
    assert in_order.get(("EUR", "liabilities:deferred"), Decimal(0)) == (price if amount else 0)
    shuffled: Sums = {}
    again: dict[str, BoughtCredit] = {}
    chance.shuffle(charges)
    for charge in charges:
        add(shuffled, count(charge, again, TIMELINE))
    assert nonzero(shuffled) == nonzero(in_order)


@given(st.decimals(min_value=1, max_value=500, places=2), drawn, st.randoms(use_true_random=False))
def test_what_is_taken_back_leaves_nothing(
    price: Decimal, draws: list[tuple[int, dict[str, str]]], chance: Any
) -> None:
    """Reversals, and refunds before the expiry, whose rules are those of their sale."""
    charges = [a_sale(price, Decimal(240))]
    for n, (pages, where) in enumerate(draws):
        charges += [a_draw(n, Decimal(pages), **where), a_draw(n, Decimal(-pages), **where, kind="refund")]
    chance.shuffle(charges)
    sums: Sums = {}
    credit: dict[str, BoughtCredit] = {}
    for charge in charges:
        add(sums, count(charge, credit, TIMELINE))
    assert nonzero(sums) == {}


def test_a_price_that_changes_changes_what_was_earned() -> None:
    credit: dict[str, BoughtCredit] = {}
    sums: Sums = {}
    for charge in (
        a_sale(Decimal(100), Decimal(10)),
        a_draw(1, Decimal(5)),
        a_sale(Decimal(-100), Decimal(-10)),
        a_sale(Decimal(90), Decimal(20), "CHF"),
    ):
        add(sums, count(charge, credit, TIMELINE))
    assert nonzero(sums) == {
        ("CHF", "income:print-pages"): Decimal("-22.50"),
        ("CHF", "liabilities:deferred"): Decimal("22.50"),
    }


def test_what_a_refund_gave_back_after_the_expiry_has_no_price() -> None:
    credit: dict[str, BoughtCredit] = {}
    count(a_sale(Decimal(100), Decimal(10)), credit, TIMELINE)
    late = a_charge(a_line(3, draws=(Draw(grant="pack/returned/berlin%2Ftill/r1", unit="page", amount=Decimal(2)),)))
    assert count(late, credit, TIMELINE) == {}


# --- charges ----------------------------------------------------------------------------------------------------------


@st.composite
def any_charges(draw: st.DrawFn) -> list[Charge]:
    found = []
    for n in range(draw(st.integers(1, 8))):
        inclusive = draw(st.booleans())
        line = a_line(
            n,
            meter=draw(st.sampled_from(["cafe", "membership", "deposit", "credit"])),
            kind=draw(st.sampled_from(["usage", "fee", "refund", "minimum"])),
            settlement=draw(st.sampled_from(["account", "paid"])),
            currency=draw(st.sampled_from(["EUR", "CHF"])),
            tax=LineTax(name="vat", rate=Decimal("0.19"), inclusive=inclusive),
            tip=draw(st.none() | money),
            total=draw(st.none() | money),
            earned_until=draw(st.sampled_from([None, datetime(2026, 4, 1, tzinfo=UTC)])),
            events=(EventKey("berlin/till", f"e{n}"),),
        )
        roles: st.SearchStrategy[SalesRole] = st.sampled_from(["principal", "agent"])
        shares = draw(st.lists(st.tuples(roles, money), max_size=2))
        shared = tuple(Shared(party=f"p{k}", role=role, amount=part) for k, (role, part) in enumerate(shares))
        found.append(a_charge(line, rounded=draw(money), tax_amount=draw(money), invoice_period=MARCH, shared=shared))
    return found


@given(any_charges())
def test_every_entry_balances_and_the_books_say_what_the_charges_say(charges: list[Charge]) -> None:
    day = BookingDay(today=TODAY, timezone="Europe/Berlin")
    sums: Sums = defaultdict(Decimal)
    entries: list[JournalEntry] = []
    for charge in charges:
        deferral = deferral_of(charge, operator="northside", catalog=CATALOG, day=day)
        entries += entries_of(charge, catalog=CATALOG, day=day.of_charge(charge), deferral=deferral)
        if deferral is not None:
            entries += earned_entries([deferral], before=date(2026, 5, 1), dated=day.of)
    for entry in entries:
        entry.check_invariants()
        for posting in entry.postings:
            sums[entry.currency, posting.account] += posting.amount
    for currency in ("EUR", "CHF"):
        own = [charge for charge in charges if charge.line.currency == currency]
        owed = sum(
            c.rounded if c.line.tax is not None and c.line.tax.inclusive else c.rounded + c.tax_amount
            for c in own
            if c.line.settlement == "account"
        )
        assert sums[currency, "assets:receivable"] == owed
        assert sums[currency, "liabilities:tax"] == -sum(c.tax_amount for c in own)
        shares = {f"liabilities:landlord:{s.party}" for c in own for s in c.shared}
        assert sum(sums[currency, account] for account in shares) == -sum(s.amount for c in own for s in c.shared)
        assert sum(amount for (where, _), amount in sums.items() if where == currency) == 0
