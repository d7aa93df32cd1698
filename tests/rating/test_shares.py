"""What of a charge belongs to others: which lines share, of what, and that it sums however it is booked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.model.catalog import Catalog, Fee, Graduated, RevenueShare, Site, Tax, Tier
from meter.model.charge import Charge, Line, Share
from meter.model.directory import GivenGrant, Purchase
from meter.model.event import UsageEvent
from meter.model.money import EXACT, ONE, rounded_minor
from meter.rating.book import GroupTotals, RoundingGroup, charge_groups, revenue_of
from meter.rating.fold import fold
from meter.rating.state import AccountState
from tests.rating.world import (
    Ledger,
    Space,
    catalog,
    d,
    event,
    passed,
    per_unit,
    plan,
    priced,
    space,
    span,
    subscription,
    t,
    taxed,
    use,
)

LANDLORD = RevenueShare(party="landlord", share=Decimal("0.12"))
BERLIN = {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", tax="vat", walk_in="walk-in")}


def sharing(*shares: RevenueShare, **terms: Any) -> Space:
    """Usage at 1.00 and a till, with shares."""
    return space(plan(use=per_unit("1"), cafe=passed()), terms={"revenue_shares": shares or (LANDLORD,), **terms})


def parties(line: Line) -> list[tuple[str, str]]:
    return [(share.party, str(share.share)) for share in line.shares]


def sale(at: str, amount: str, *, settlement: str = "account", **more: Any) -> UsageEvent:
    data = {"order": f"o-{at}", "currency": "EUR", "lines": [{"sku": "c", "quantity": 1, "amount": amount}]}
    return event(f"s-{at}", "pos.sale", at, data | {"settlement": settlement, "total": amount} | more)


def back(of: UsageEvent, at: str, amount: str) -> UsageEvent:
    sold = {"source": of.source, "order": of.data["order"]}
    data = {"refund": f"r-{at}", "sale": sold, "currency": "EUR", "status": "completed", "amount": amount}
    return event(f"r-{at}", "pos.refund", at, data)


def of_groups(charges: Iterable[Charge]) -> dict[tuple[RoundingGroup, Share], Decimal]:
    """What was booked for each party in each group."""
    found: dict[tuple[RoundingGroup, Share], Decimal] = defaultdict(Decimal)
    for charge in charges:
        group, _ = charge_groups(charge.line)
        for share, shared in zip(charge.line.shares, charge.shared, strict=True):
            assert (shared.party, shared.role) == (share.party, share.role)
            found[group, share] += shared.amount
    return found


def once(lines: Iterable[Line]) -> dict[tuple[RoundingGroup, Share], Decimal]:
    """What that must come to: the share of each group's revenue, rounded once."""
    found: dict[tuple[RoundingGroup, Share], Decimal] = defaultdict(Decimal)
    for line in lines:
        group, _ = charge_groups(line)
        for share in line.shares:
            found[group, share] += revenue_of(line)
    return {
        (group, share): rounded_minor(
            EXACT.divide(revenue * share.share, ONE + (group.tax_rate or 0) if group.tax_inclusive else ONE),
            group.currency,
        )
        for (group, share), revenue in found.items()
    }


def some(sums: Mapping[tuple[RoundingGroup, Share], Decimal]) -> dict[tuple[RoundingGroup, Share], Decimal]:
    return {name: amount for name, amount in sums.items() if amount}


class TestWhichLinesShare:
    def test_each_party_has_the_first_entry_that_fits_the_meter_and_the_site(self) -> None:
        where = sharing(
            RevenueShare(party="landlord", share=d("0.3"), meter="cafe"),
            RevenueShare(party="landlord", share=d("0.2"), meter="use", site="hamburg"),
            RevenueShare(party="roaster", share=d("0.5"), role="agent", site="berlin"),
            RevenueShare(party="landlord", share=d("0.1")),
        )
        used, sold = where.lines(use("11-02", 1), sale("11-03", "4"))
        assert parties(used) == [("roaster", "0.5"), ("landlord", "0.1")]
        assert parties(sold) == [("landlord", "0.3"), ("roaster", "0.5")]
        assert [share.role for share in sold.shares] == ["principal", "agent"]

    def test_none_without_an_entry_that_fits(self) -> None:
        where = sharing(replace(LANDLORD, meter="cafe"), replace(LANDLORD, site="hamburg"))
        assert [line.shares for line in where.lines(use("11-02", 1))] == [()]

    def test_the_catalog_of_the_events_time_decides(self) -> None:
        plans = plan(use=per_unit("1"))
        versions = [
            catalog(plans, revenue_shares=(LANDLORD,)),
            catalog(plans, version=2, effective="11-03", revenue_shares=(replace(LANDLORD, share=d("0.5")),)),
        ]
        where = space(catalogs=versions, subscriptions=[subscription()])
        lines = where.lines(use("11-02", 1), use("11-04", 1))
        assert [parties(line) for line in lines] == [[("landlord", "0.12")], [("landlord", "0.5")]]

    def test_what_is_owed_or_passed_on_is_nobodys_revenue(self) -> None:
        pack = GivenGrant(
            id="pack",
            account="acme",
            unit="day",
            amount=d(9),
            span=span("11-02", "11-09"),
            bought=Purchase(price=d(80)),
        )
        held = subscription(span=span("11-02", "11-20"), deposit=d(100))
        terms = {"revenue_shares": (LANDLORD,)}
        where = space(plan(cafe=passed()), terms=terms, subscriptions=[held], grants=[pack])
        lines = where.lines(sale("11-03", "4", tip="1", total="5"), until="11-30")
        assert [(line.meter, line.key.part, line.shares != ()) for line in lines] == [
            ("credit", "", False),
            ("deposit", "", False),
            ("cafe", "", True),
            ("cafe", "tip", False),
            ("credit", "expired", False),
            ("deposit", "", False),
        ]

    def test_fees_first_flats_and_minimums_share(self) -> None:
        tiers = (Tier(up_to=None, unit_price=d(1), flat=d(10)),)
        price = priced(Graduated(tiers=tiers, flat_at_zero=True), period_minimum=d(50))
        plans = replace(plan(use=price), fee=Fee(amount=d(100)))
        held = subscription(span=span("10-31 23:00"))
        where = space(plans, terms={"revenue_shares": (LANDLORD,)}, subscriptions=[held], closed=["10-31 23:00"])
        lines = [line for line in where.lines(until="12-05") if line.period.start < t("11-30")]
        assert sorted(line.kind for line in lines) == ["fee", "minimum", "usage"]
        assert all(line.shares for line in lines)

    def test_unused_days_take_back_what_the_fee_gave_whatever_the_catalog_says_by_then(self) -> None:
        plans = replace(plan(), fee=Fee(amount=d(300)))
        versions = [
            catalog(plans, revenue_shares=(LANDLORD,)),
            catalog(plans, version=2, effective="11-05", revenue_shares=()),
        ]
        held = subscription(span=span("10-31 23:00", "11-15 23:00"))
        ledger = Ledger.empty()
        charges = ledger.make_good(space(catalogs=versions, subscriptions=[held]).lines(until="11-30"))
        assert [[shared.amount for shared in charge.shared] for charge in charges] == [[d(36)], [d(-18)]]


class TestOfWhat:
    def amounts(self, where: Space, *events: UsageEvent) -> list[Decimal]:
        return [charge.shared[0].amount for charge in Ledger.empty().make_good(where.lines(*events))]

    def test_the_amount_without_tax_on_top_of_it(self) -> None:
        where = sharing(taxes=taxed("0.19"), sites=BERLIN)
        assert self.amounts(where, use("11-02", 100)) == [d(12)]

    def test_the_amount_less_the_tax_in_it(self) -> None:
        where = sharing(taxes=taxed("0.19", inclusive=True), sites=BERLIN)
        assert self.amounts(where, use("11-02", 119)) == [d(12)]

    def test_tax_in_the_price_is_taken_out_last(self) -> None:
        # 0.125 x 1.04 / 1.04 is exactly half a cent more than 0.12, although no quotient by 1.04 ever ends.
        whole = RevenueShare(party="landlord", share=d(1))
        where = sharing(whole, taxes=taxed("0.04", inclusive=True), sites=BERLIN)
        assert self.amounts(where, use("11-02", "0.13")) == [d("0.13")]

    def test_the_net_of_a_till(self) -> None:
        line = {"amount": "100", "tax": "19", "tax_name": "vat", "quantity": 1}
        sold = sale("11-02", "119", settlement="paid", lines=[line], tip="5", total="124")
        assert self.amounts(sharing(), sold) == [d(12)]

    def test_before_money_that_was_given(self) -> None:
        gift = GivenGrant(id="gift", account="acme", unit="EUR", amount=d(30))
        where = space(plan(use=per_unit("1")), terms={"revenue_shares": (LANDLORD,)}, grants=[gift])
        (line,) = where.lines(use("11-02", 100))
        assert line.amount == 70
        assert self.amounts(where, use("11-02", 100)) == [d(12)]
        # All of it was given: nothing is charged, and the landlord has the share all the same.
        assert self.amounts(where, use("11-02", 10)) == [d("1.2")]

    def test_after_credit_that_covers_the_quantity(self) -> None:
        pack = GivenGrant(id="pack", account="acme", unit="unit", amount=d(30))
        where = space(plan(use=per_unit("1")), terms={"revenue_shares": (LANDLORD,)}, grants=[pack])
        assert self.amounts(where, use("11-02", 100)) == [d("8.4")]


class TestHowItSums:
    def test_cents_are_the_running_difference_of_the_group(self) -> None:
        where = sharing(replace(LANDLORD, share=d("0.004")))
        charges = Ledger.empty().make_good(where.lines(*(use(f"11-0{day}", 1) for day in range(2, 7))))
        assert [charge.shared[0].amount for charge in charges] == [0, d("0.01"), 0, d("0.01"), 0]

    def test_a_reversal_takes_back_what_its_group_gave(self) -> None:
        ledger = Ledger.empty()
        where = sharing(replace(LANDLORD, share=d("0.005")))
        ledger.make_good(where.lines(use("11-02", 1), use("11-03", 1)))
        reversal, replacement = ledger.make_good(where.lines(use("11-02", 1), use("11-03", 7)))
        assert (reversal.line.shares, replacement.line.shares) == (ledger.charges[1].line.shares,) * 2
        assert [charge.shared[0].amount for charge in ledger.charges] == [d("0.01"), 0, 0, d("0.03")]

    @given(
        st.lists(
            st.tuples(st.integers(1, 28), st.decimals("-5", "99", places=3)),
            min_size=1,
            max_size=8,
            unique_by=lambda one: one[0],
        ),
        st.lists(st.sampled_from(["0.004", "0.12", "0.333", "0.5", "1"]), min_size=1, max_size=3),
        st.sampled_from([taxed("0.07"), taxed("0.07", inclusive=True)]),
        st.randoms(use_true_random=False),
    )
    def test_a_groups_sum_is_its_rounded_share_whatever_the_order_and_number_of_bookings(
        self, used: list[tuple[int, Decimal]], shares: list[str], tax: dict[str, Tax], chance: Any
    ) -> None:
        entries = [RevenueShare(party=f"p{n}", share=d(share)) for n, share in enumerate(shares)]
        where = sharing(*entries, taxes=tax, sites=BERLIN)
        events = [use(f"11-{day:02}", str(quantity)) for day, quantity in used]
        whole = where.lines(*events)
        ledger = Ledger.empty()
        for _ in range(chance.randint(1, 4)):
            # Whatever is known so far, rated with other quantities as well: corrections go through the group, too.
            known = chance.sample(events, chance.randint(0, len(events)))
            ledger.make_good(where.lines(*known))
            ledger.make_good([with_(line, amount=line.amount * 3 + d("0.001")) for line in where.lines(*known)])
        ledger.make_good(whole)
        standing = [charge.line for charge in ledger.standing().values()]
        assert sorted(standing, key=lambda line: line.key) == [line for line in whole if line.quantity]
        assert some(of_groups(ledger.charges)) == some(once(standing))
        loaded = GroupTotals()
        for charge in ledger.charges:
            loaded.add(charge)
        assert loaded.shared == ledger.totals.shared

    def test_another_share_books_the_line_again(self) -> None:
        ledger = Ledger.empty()
        ledger.make_good(sharing().lines(use("11-02", 100)))
        lines = sharing(replace(LANDLORD, share=d("0.2"))).lines(use("11-02", 100))
        again = ledger.make_good(lines)
        assert [(charge.role, charge.shared[0].amount) for charge in again] == [
            ("reversal", d(-12)),
            ("replacement", d(20)),
        ]
        assert ledger.make_good(lines) == []


class TestRefunds:
    def versions(self, *later: RevenueShare) -> list[Catalog]:
        plans = plan(cafe=passed())
        return [
            catalog(plans, revenue_shares=(LANDLORD,)),
            catalog(plans, version=2, effective="11-05", revenue_shares=later),
        ]

    @pytest.mark.parametrize("settlement", ["paid", "account"])
    def test_take_back_the_sales_share_whatever_the_catalog_says_by_then(self, settlement: str) -> None:
        sold = sale("11-03", "100", settlement=settlement)
        where = space(catalogs=self.versions(replace(LANDLORD, share=d("0.9"))), subscriptions=[subscription()])
        charges = Ledger.empty().make_good(where.lines(sold, back(sold, "11-09", "25")))
        assert [charge.shared[0].amount for charge in charges] == [d(12), d(-3)]

    def test_know_it_from_a_state_that_was_kept(self) -> None:
        sold = sale("11-03", "100")
        where = space(catalogs=self.versions(), subscriptions=[subscription()])
        first, second = where.placed([sold, back(sold, "11-09", "25")])
        whole = fold(where.facts, AccountState(), [first, second], stride=1)
        (rung,) = whole.rungs
        kept = AccountState.from_json(json.loads(json.dumps(rung.to_json())))
        assert kept.to_json() == rung.to_json()
        (line,) = fold(where.facts, kept, [second]).lines
        assert parties(line) == [("landlord", "0.12")]

    @given(
        st.lists(st.integers(1, 4000), min_size=1, max_size=6),
        st.integers(1, 9999),
        st.sampled_from(["paid", "account"]),
        st.integers(0, 50),
        st.sampled_from(["0.12", "0.333333", "0.5"]),
    )
    def test_in_parts_give_back_exactly_the_sales_share(
        self, parts: list[int], cents: int, settlement: str, gift: int, share: str
    ) -> None:
        credit = GivenGrant(id="gift", account="acme", unit="EUR", amount=d(gift))
        where = space(
            plan(cafe=passed()), terms={"revenue_shares": (replace(LANDLORD, share=d(share)),)}, grants=[credit]
        )
        sold = sale("11-03", str(Decimal(cents).scaleb(-2)), settlement=settlement)
        amounts = [Decimal(part).scaleb(-2) for part in [*parts, 10**6]]
        refunds = [back(sold, f"11-{day:02}", str(amount)) for day, amount in enumerate(amounts, 10)]
        first, *rest = Ledger.empty().make_good(where.lines(sold, *refunds))
        assert sum(charge.shared[0].amount for charge in rest) == -first.shared[0].amount
        # Each part takes no less than nothing back, and all so far never more than was given.
        so_far = [first.shared[0].amount]
        for charge in rest:
            so_far.append(so_far[-1] + charge.shared[0].amount)
        assert all(before >= after >= 0 for before, after in pairwise(so_far))
