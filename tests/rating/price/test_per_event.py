from __future__ import annotations

from typing import Any

import pytest

from meter.model.catalog import Flat, Percentage
from meter.model.errors import Broken
from meter.rating.price import Tally, price_quantity
from tests.rating.price.words import booked, d, events


def percentage(rate: str, **more: Any) -> Percentage:
    figures: dict[str, Any] = {name: d(value) if isinstance(value, str) else value for name, value in more.items()}
    return Percentage(path=("amount",), rate=d(rate), **figures)


def test_oracle_percentage_1_3_and_2_with_3_free_events_and_250_free() -> None:
    amounts = events(percentage("0.013", fixed="2", free_events=3, free_amount="250"), [50, 100, 250, 400])
    assert amounts == [0, 0, d("3.95"), d("7.2")]
    assert sum(amounts) == d("11.15")


def test_oracle_percentage_1_3_and_2_after_3_free_events() -> None:
    model = percentage("0.013", fixed="2", free_events=3, free_amount="250")
    assert events(model, [10, 20, 30, 100]) == [0, 0, 0, d("3.30")]


def test_oracle_percentage_2_99_between_1_75_and_12() -> None:
    amounts = events(percentage("0.0299", minimum="1.75", maximum="12"), [10, 80, 10_000])
    assert amounts == [d("1.75"), d("2.392"), 12]
    assert sum(amounts) == d("16.142")


def test_without_anything_free_every_event_pays() -> None:
    assert events(percentage("0.1", fixed="1"), [10, 0]) == [2, 1]
    assert events(percentage("0.1", free_events=0), [10]) == [1]


def test_free_events_alone_do_not_look_at_amounts() -> None:
    assert events(percentage("0.1", free_events=2), [1000, 1000, 10]) == [0, 0, 1]


def test_a_free_amount_alone_does_not_count_events() -> None:
    assert events(percentage("0.1", fixed="1", free_amount="30"), [10, 10, 10, 10, 10]) == [0, 0, 0, 2, 2]


def test_the_event_that_passes_the_free_amount_pays_on_what_lies_above() -> None:
    assert events(percentage("0.1", free_amount="30"), [20, 25, 10]) == [0, d("1.5"), 1]
    assert events(percentage("0.1", free_amount="30"), ["30.50"]) == [d("0.05")]


def test_an_event_after_the_free_events_pays_in_full_whatever_is_left_of_the_free_amount() -> None:
    assert events(percentage("0.1", free_events=1, free_amount="30"), [20, 25]) == [0, d("2.5")]


def test_once_an_event_has_paid_all_pay_though_the_running_amount_falls() -> None:
    assert events(percentage("0.1", free_amount="30"), [40, -20, 5]) == [1, -2, d("0.5")]


def test_minimum_and_maximum_are_for_events_that_pay() -> None:
    assert events(percentage("0.1", minimum="5", maximum="9", free_events=1), [10, 10, 1000]) == [0, 5, 9]


def test_a_flat_is_due_for_each_event_whatever_its_quantity() -> None:
    assert booked(Flat(amount=d("2.50")), [1, "0.000001", 30]) == [d("2.50")] * 3


def test_a_flat_begins_with_the_first_event_that_pays() -> None:
    _, first = price_quantity(Flat(amount=d(1)), Tally(), d(3))
    assert first == Tally(quantity=d(3), begun=True, events=1)
    assert price_quantity(Flat(amount=d(1)), first, d(3)).tally == Tally(quantity=d(6), begun=True, events=2)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("quantity", [0, -2])
def test_an_event_of_which_credit_left_nothing_pays_nothing_and_does_not_count(*, quantity: int, begun: bool) -> None:
    before = Tally(quantity=d(4), begun=begun, events=1, base=d(7))
    for model in (Flat(amount=d(1)), percentage("0.1", free_events=2)):
        amount, after = price_quantity(model, before, d(quantity), base=d(100))
        assert amount == 0
        assert after == before._replace(quantity=d(4 + quantity))


def test_each_event_is_rounded_by_itself() -> None:
    assert events(percentage("0.0000000000005"), [1, 1]) == [d("0.000000000001")] * 2


def test_a_percentage_without_its_amount_is_our_fault() -> None:
    with pytest.raises(Broken, match="field") as fault:
        price_quantity(percentage("0.1"), Tally(), d(1))
    assert fault.value.code == "no_base"
