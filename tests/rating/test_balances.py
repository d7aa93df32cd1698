"""What is left of credit that was paid for, and of credit that a refund gave back too late."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from meter.model.catalog import PlanGrant, Rollover
from meter.model.directory import GivenGrant, Purchase
from meter.rating.grants import balances, returned_instance, returned_of
from meter.rating.state import Returned
from tests.rating.world import USE, d, given, per_unit, plan, plan_grant, space, span, t

PACK = given("pack", USE, "7", bought=Purchase(price=d("100.00")), span=span("11-01"))


@over(st.lists(st.decimals(min_value=0, max_value=2, places=3), max_size=6).filter(lambda parts: sum(parts) <= 7))
def test_the_cost_of_draws_sums_to_the_price_exactly(parts: list[Decimal]) -> None:
    where = space(plan(use=per_unit("1")), grants=[PACK])

    def cost(used: Decimal) -> Decimal:
        (balance,) = balances(where.facts, t("11-02"), {"pack": used})
        assert balance.origin == "bought"
        assert balance.price == 100
        assert balance.drawn_cost is not None
        return balance.drawn_cost

    steps = [sum(parts[:n], Decimal(0)) for n in range(len(parts) + 1)] + [Decimal(7)]
    costs = [cost(used) for used in steps]
    assert sum((after - before for before, after in pairwise(costs)), Decimal(0)) == 100
    assert costs == sorted(costs)


def test_the_cost_of_draws_has_12_places() -> None:
    where = space(plan(use=per_unit("1")), grants=[replace(PACK, id="a/pack")])
    (balance,) = balances(where.facts, t("11-02"), {"a%2Fpack": d(1)})
    assert (balance.price, balance.drawn_cost) == (d(100), d("14.285714285714"))


def test_credit_that_was_given_has_no_cost() -> None:
    where = space(plan(use=per_unit("1")), grants=[given("gift", USE, "5")])
    (balance,) = balances(where.facts, t("11-02"), {})
    assert (balance.origin, balance.price, balance.drawn_cost) == ("given", None, None)


def test_what_a_refund_gave_back_after_the_expiry_lasts_until_the_end_of_its_period() -> None:
    where = space(plan(use=per_unit("1"), grants=[plan_grant("pool", USE, "10")]))
    name = "sub/pool/2026-10/returned/berlin%2Ftill/r"
    returned = returned_of(where.facts, name, t("11-05"), d(4))
    assert returned is not None
    own, back = balances(where.facts, t("11-06"), {name: d(1)}, {name: returned})
    assert (own.id, back.id, back.origin, back.scope) == ("sub/pool/2026-11", name, "refund", ("use",))
    assert [back.amount, back.used, back.remaining] == [4, 1, 3]
    assert (back.effective, back.expires) == (t("11-05"), t("11-30 23:00"))
    assert returned_of(where.facts, "sub/pool/2026-10", t("11-05"), d(4)) is None


@pytest.mark.parametrize("origin", ["sub/r/2026-09", "sub/r/2026-09/rolled"])
def test_what_a_refund_gave_back_neither_rolls_over_nor_did_so(origin: str) -> None:
    rolling = PlanGrant(id="r", unit="hour", amount=d(10), meters=("use",), rollover=Rollover(most=d(9)))
    where = space(plan(grants=[rolling]))
    name = f"{origin}/returned/berlin%2Ftill/r"
    returned = returned_of(where.facts, name, t("11-05"), d(2))
    assert returned == Returned(origin, t("11-05"), t("11-30 23:00"), d(7200))
    assert returned is not None
    back = returned_instance(where.facts, name, returned)
    assert back is not None
    assert (back.rolls, back.rolled_from, back.rank_as, back.age) == (None, None, None, 0)
    assert back.granted({"sub/r/2026-09": d(36_000)}) == 7200
    assert back.lasts == t("11-30 23:00")


def test_what_a_refund_gave_back_of_credit_that_is_no_more_is_in_no_balance() -> None:
    where = space(plan(use=per_unit("1")))
    name = "gone/returned/berlin%2Ftill/r"
    assert returned_of(where.facts, name, t("11-05"), d(4)) is None
    assert balances(where.facts, t("11-06"), {}, {name: Returned("gone", t("11-05"), t("11-30 23:00"), d(4))}) == []


def test_hours_roll_over_to_the_second() -> None:
    rolling = PlanGrant(id="r", unit="hour", amount=d(10), meters=("use",), rollover=Rollover(most=d(2)))
    gift = GivenGrant(id="gift", account="acme", unit="hour", amount=d("1.5"))
    where = space(plan(grants=[rolling]), grants=[gift])

    def left(used: str) -> Decimal:
        found = {one.id: one for one in balances(where.facts, t("11-02"), {"sub/r/2026-10": d(used)})}
        assert found["gift"].remaining == d("1.5")
        return found["sub/r/2026-10/rolled"].amount

    assert [left(used) for used in ("0", "8", "9.666666666667", "10")] == [2, 2, d("0.333333333333"), 0]


def test_what_rolls_over_is_what_is_left_to_the_last_place() -> None:
    rolling = PlanGrant(id="r", unit="unit", amount=d(10), meters=("use",), rollover=Rollover(most=d(9)))
    where = space(plan(use=per_unit("1"), grants=[rolling]))
    found = {one.id: one for one in balances(where.facts, t("11-02"), {"sub/r/2026-10": d("1.0000005")})}
    assert found["sub/r/2026-10/rolled"].amount == d("8.9999995")
