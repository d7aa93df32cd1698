from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from meter.model.catalog import Price
from meter.model.directory import Discount
from meter.model.money import ZERO, rounded_minor
from meter.rating.price import Capped, Tally, capped, discounted, price_quantity, true_up
from tests.rating.price.words import d, graduated, price, volume


def lines(limited: Price, used: Iterable[tuple[str, int]]) -> list[Decimal]:
    """The amounts of lines of (date, quantity)."""
    tally, days, amounts = Tally(), dict[str, Decimal](), []
    for day, quantity in used:
        amount, tally = price_quantity(limited.model, tally, d(quantity))
        amount, days[day], period_sum = capped(
            limited, amount, day_sum=days.get(day, ZERO), period_sum=tally.day_capped
        )
        tally = tally._replace(day_capped=period_sum)
        amounts.append(amount)
    return amounts


def discount(*, rate: str | None = None, amount: str | None = None) -> Discount:
    return Discount(id="less", rate=d(rate) if rate else None, amount=d(amount) if amount else None)


def after(less: Discount, amounts: Iterable[str | int]) -> list[Decimal]:
    running, found = ZERO, []
    for amount in amounts:
        left, running = discounted(less, d(amount), running)
        found.append(left)
    return found


def test_oracle_cap_8_a_day_while_q_runs_on() -> None:
    limited = price(graduated(("10", "1"), (None, "0.5")), day_cap=d(8))
    assert lines(limited, [("mon", 12), ("tue", 12)]) == [8, 6]


def test_oracle_period_minimum_10_of_25_of_28_days_after_8() -> None:
    missing = rounded_minor(true_up(d(10), d(8), 25, 28), "EUR")
    assert missing == d("0.93")
    gross = (8 + missing) * d("1.2")
    assert rounded_minor(gross, "EUR") == d("10.72")


def test_without_caps_everything_is_billed_and_summed() -> None:
    assert capped(price(), d(5), day_sum=d(2), period_sum=d(7)) == Capped(amount=d(5), day_sum=d(7), period_sum=d(12))


def test_a_day_cap_begins_anew_each_date_in_whatever_order_the_dates_come() -> None:
    limited = price(day_cap=d(8))
    assert lines(limited, [("mon", 6), ("tue", 5), ("mon", 6), ("tue", 2), ("tue", 2)]) == [6, 5, 2, 2, 1]


def test_a_period_cap_acts_on_what_the_day_cap_lets_through() -> None:
    limited = price(day_cap=d(8), period_cap=d(20))
    assert lines(limited, [("mon", 100), ("tue", 10), ("wed", 3), ("wed", 3), ("thu", 1)]) == [8, 8, 3, 1, 0]


def test_what_falls_below_the_cap_is_given_back_and_what_falls_above_it_is_not() -> None:
    limited = price(period_cap=d(10))
    assert lines(limited, [("mon", 15), ("mon", -4), ("mon", -3), ("mon", -8), ("mon", 20)]) == [10, 0, -2, -8, 10]


def test_a_volume_price_falls_under_a_cap() -> None:
    limited = price(volume(("15", "10"), (None, "5")), day_cap=d(100))
    assert lines(limited, [("mon", 15), ("mon", 1)]) == [100, -20]


def test_a_flat_at_zero_stands_under_the_cap() -> None:
    limited = price(graduated(("5", "2", "100"), flat_at_zero=True), period_cap=d(80))
    assert lines(limited, [("mon", 0), ("mon", 1)]) == [80, 0]


@pytest.mark.parametrize(
    ("minimum", "paid", "active", "expected"),
    [("10", "0", 30, "10"), ("10", "0", 10, "3.333333333333"), ("10", "10", 30, "0"), ("10", "12", 30, "0"),
     ("10", "-1", 30, "11"), ("10", "0", 0, "0")],
)  # fmt: skip
def test_the_minimum_is_made_up_for_by_active_days(minimum: str, paid: str, active: int, expected: str) -> None:
    assert true_up(d(minimum), d(paid), active, 30) == d(expected)


def test_a_rate_leaves_its_share_of_each_line() -> None:
    assert after(discount(rate="0.25"), [100, "0.10", -40]) == [75, d("0.075"), -30]


def test_shares_are_running_differences() -> None:
    third = discount(rate="0.333333333333333333")
    assert after(third, ["0.000000000001"] * 3) == [d("0.000000000001"), 0, d("0.000000000001")]


def test_an_amount_is_used_up_first_and_given_back_last() -> None:
    assert after(discount(amount="30"), [20, 20, 20, -25, -10, 10]) == [0, 10, 20, -25, -5, 5]
