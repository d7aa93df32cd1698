from __future__ import annotations

from decimal import Decimal

import pytest

from meter.model.catalog import Flat, Model, Package, PassThrough, Percentage, PerUnit
from meter.rating.price import Priced, Tally, compile_price, cumulative, falls, first_flat, price_quantity
from tests.rating.price.words import HOUR, MINUTE, booked, d, graduated, price, volume

FLATS = graduated(("5", "0", "100"), ("10", "0", "50"), ("15", "10"), (None, "5"), flat_at_zero=True)
VOLUME = volume(("15", "10"), (None, "5"))
TIERS = [("10", "1.5"), ("110", "1"), ("1110", "0.5")]


def test_oracle_graduated_with_flats_and_flat_at_zero() -> None:
    assert [cumulative(FLATS, d(q)) for q in ("0", "5", "5.001", "7", "12", "22")] == [100, 100, 150, 150, 170, 235]
    assert first_flat(FLATS) == 100
    assert booked(FLATS, ["0", "5", "0.001", "1.999", "5", "10"]) == [100, 0, 50, 0, 20, 65]


def test_oracle_volume_15_then_16_then_16() -> None:
    assert booked(VOLUME, [15, 1, 0]) == [150, -70, 0]


def test_oracle_tiers_up_to_10_110_1110_at_111() -> None:
    assert cumulative(graduated(*TIERS), d(111)) == d("115.5")
    assert cumulative(volume(*TIERS), d(111)) == d("55.5")


def test_oracle_package_of_10_at_15() -> None:
    assert booked(Package(size=d(10), price=d(15)), [1, 8, 1]) == [15, 0, 0]


def test_oracle_package_of_10_at_100_with_and_without_10_free() -> None:
    assert cumulative(Package(size=d(10), price=d(100)), d(121)) == 1300
    assert cumulative(Package(size=d(10), price=d(100), free=d(10)), d(121)) == 1200


def test_oracle_package_of_1_h_at_10_for_12_sessions_of_10_min() -> None:
    amounts = booked(Package(size=d(1), price=d(10)), [600] * 12, per=HOUR)
    assert sum(amounts) == 20
    assert [n for n, amount in enumerate(amounts) if amount] == [0, 6]


def test_oracle_minutes_at_0_006_by_seconds() -> None:
    assert booked(PerUnit(unit_price=d("0.006")), [36, 60, 78], per=MINUTE) == [d("0.0036"), d("0.006"), d("0.0078")]


def test_oracle_day_passes_75_with_5_days_then_20_and_50_with_3_then_15() -> None:
    assert sum(booked(graduated(("5", "0", "75"), (None, "20")), [1] * 9)) == 155
    assert sum(booked(graduated(("3", "0", "50"), (None, "15")), [1] * 5)) == 80


def test_oracle_seconds_at_0_01_left_by_60_free_ones() -> None:
    assert booked(PerUnit(unit_price=d("0.01")), [60, 120]) == [d("0.6"), d("1.2")]


def test_pass_through_adds_its_markup() -> None:
    assert booked(PassThrough(), ["3.50", "-1"]) == [d("3.50"), -1]
    assert cumulative(PassThrough(markup=d("0.12")), d(100)) == 112


def test_a_tiers_flat_is_due_once_it_is_entered() -> None:
    model = graduated(("5", "0", "100"), (None, "0", "50"))
    assert booked(model, ["0.000001", "4.999999", "0.000001", "100"]) == [100, 0, 50, 0]


def test_up_to_is_inclusive() -> None:
    assert [cumulative(graduated(("10", "1"), (None, "2")), d(q)) for q in ("10", "11")] == [10, 12]
    assert [cumulative(volume(("10", "1"), (None, "2")), d(q)) for q in ("10", "10.01")] == [10, d("20.02")]
    assert [cumulative(Package(size=d(10), price=d(7), free=d(5)), d(q)) for q in ("5", "5.1", "15", "16")] == [
        0, 7, 7, 14,
    ]  # fmt: skip


def test_a_price_by_the_hour_meets_its_tiers_to_the_second() -> None:
    model = graduated(("2", "6"), (None, "3", "1"))
    assert booked(model, [7200, 1, 3599], per=HOUR) == [12, d("1.000833333333"), d("2.999166666667")]
    assert booked(volume(("2", "6"), (None, "3")), [7200, 1], per=HOUR) == [12, d("-5.999166666667")]


def test_flats_and_what_is_free_are_the_same_by_the_hour() -> None:
    assert booked(volume(("2", "6", "5"), (None, "3", "7")), [3600, 7200], per=HOUR) == [11, 5]
    assert booked(Package(size=d(1), price=d(10), free=d(2)), [7200, 1, 3599, 1], per=HOUR) == [0, 10, 0, 10]


@pytest.mark.parametrize("model", [graduated(("10", "1.5", "7"), (None, "1")), PerUnit(unit_price=d("1.5"))])
def test_below_0_it_is_the_first_unit_price(model: Model) -> None:
    assert booked(model, [-4, 4]) == [-6, 6]


def test_below_0_a_volume_asks_its_first_unit_price_and_a_package_nothing() -> None:
    assert booked(volume(("10", "1.5", "7"), (None, "1")), [-4]) == [-6]
    assert booked(Package(size=d(10), price=d(15)), [-4, 4, 1]) == [0, 0, 15]


def test_below_0_a_flat_at_zero_is_given_back() -> None:
    assert booked(FLATS, [0, -1, 1]) == [100, -100, 100]


@pytest.mark.parametrize(
    "model",
    [PerUnit(unit_price=d(2)), graduated(("1", "2", "9")), volume(("1", "2", "9")), Package(size=d(1), price=d(1))],
)
def test_nothing_is_due_at_0(model: Model) -> None:
    assert first_flat(model) == 0
    assert booked(model, [0]) == [0]


def test_a_volume_tiers_flat_is_due_once() -> None:
    assert booked(volume(("10", "1", "5"), (None, "1", "3")), [1, 1, 9]) == [6, 1, 7]


def test_past_the_last_tier_its_price_goes_on() -> None:
    assert cumulative(graduated(("10", "2"), ("20", "1")), d(35)) == 45
    assert cumulative(volume(("10", "2"), ("20", "1")), d(35)) == 35


def test_without_the_zero_line_the_first_line_bears_the_flat_at_zero() -> None:
    assert booked(FLATS, [3, 3]) == [100, 50]


def test_a_full_return_gives_back_packages_and_flats() -> None:
    assert booked(Package(size=d(10), price=d(15)), [11, -1, -10]) == [30, -15, -15]
    assert booked(graduated(("5", "1", "100"), (None, "2")), [6, -6]) == [107, -107]


def test_amounts_are_rounded_to_12_places_so_that_they_telescope() -> None:
    third = PerUnit(unit_price=d("0.333333333333333333"))
    assert booked(third, [1, 1, 1]) == [d("0.333333333333"), d("0.333333333334"), d("0.333333333333")]


def test_one_package_and_one_event_are_rounded_too() -> None:
    tiny, least = d("0.0000000000005"), d("0.000000000001")
    assert booked(Package(size=d(1), price=tiny), [1, 1]) == [least, 0]
    assert booked(Flat(amount=tiny), [1, 1]) == [least, least]


def test_p_at_0_is_rounded_as_p_is_anywhere() -> None:
    model = graduated((None, "0", "0.0000000000005"), flat_at_zero=True)
    assert first_flat(model) == d("0.000000000001")
    assert booked(model, [0, 1]) == [d("0.000000000001"), 0]


def test_a_third_of_an_hour_is_lost_nowhere() -> None:
    assert sum(booked(PerUnit(unit_price=d(10)), [1200, 1200, 1200], per=HOUR)) == 10
    assert cumulative(PerUnit(unit_price=d(7)), d(1), HOUR) == d("0.001944444444")


def test_every_model_counts_its_quantity() -> None:
    some: list[Model] = [PerUnit(unit_price=d(1)), VOLUME, FLATS, Flat(amount=d(1)), Percentage(path=("a",))]
    for model in some:
        tally = price_quantity(model, Tally(quantity=d(2), day_capped=d(9)), d(3), base=d(1)).tally
        assert (tally.quantity, tally.day_capped) == (d(5), d(9))


def test_a_tariff_says_what_its_price_says() -> None:
    tariff = compile_price(price(FLATS), HOUR)
    before = Tally(quantity=d(18_000), begun=True)
    assert tariff.charge(before, d(1)) == price_quantity(FLATS, before, d(1), per=HOUR)
    assert tariff.charge(before, d(1)) == Priced(d(50), before._replace(quantity=d(18_001)))
    assert tariff.at is not None
    assert tariff.at(HOUR * 7) == 150
    assert tariff.per == HOUR
    assert compile_price(price(Flat(amount=d(1)))).at is None


@pytest.mark.parametrize(
    ("model", "can_fall"),
    [
        (PerUnit(unit_price=d("0.5")), False),
        (PerUnit(unit_price=d(0)), False),
        (PerUnit(unit_price=d(-1)), True),
        (FLATS, False),
        (graduated(("5", "1"), (None, "-1")), True),
        (graduated(("5", "1"), (None, "1", "-20")), True),
        (VOLUME, True),
        (Package(size=d(1), price=d(1)), False),
        (Flat(amount=d(-1)), True),
        (PassThrough(), False),
        (PassThrough(markup=d("-0.5")), False),
        (PassThrough(markup=d(-1)), False),
        (PassThrough(markup=d("-1.5")), True),
        (Percentage(path=("a",)), True),
        (Percentage(path=("a",), minimum=d(0)), False),
        (Percentage(path=("a",), minimum=d(-1)), True),
    ],
)
def test_which_models_can_give_money_back_for_more_usage(model: Model, can_fall: bool) -> None:  # noqa: FBT001
    assert falls(model) is can_fall


def test_a_tally_survives_json() -> None:
    for tally in (Tally(), Tally(d("-1.50"), True, 3, d("0.10"), d("8")), Tally(Decimal("1E-6"))):
        row = tally.to_row()
        assert all(isinstance(figure, str) for figure in row)
        assert Tally.from_row(row) == tally
