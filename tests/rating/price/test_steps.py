from __future__ import annotations

import pytest

from meter.model.catalog import Flat, Graduated, Package, PassThrough, Percentage, PerUnit, Volume
from meter.rating.price import Step, Tally, step_text, steps_between
from meter.rating.price.steps import Label
from tests.rating.price.words import HOUR, d, graduated, step, steps, volume

FLATS = graduated(("5", "0", "100"), ("10", "0", "50"), ("15", "10"), (None, "5"), flat_at_zero=True)


def text(found: list[Step], unit: str = "hour") -> list[str]:
    return [step_text(one, unit=unit, currency="EUR") for one in found]


def test_per_unit() -> None:
    found = steps(PerUnit(unit_price=d("0.05")), 7, 3)
    assert found == [step("units", 3, "0.05", "0.15")]
    assert text(found, "page") == ["3 page x 0.05 = 0.15"]


def test_an_hours_price_shows_hours() -> None:
    found = steps(PerUnit(unit_price=d(6)), None, 1200, per=HOUR)
    assert found == [step("units", "0.333333333333", 6, 2)]


def test_an_hours_price_shows_its_tiers_and_packages_in_hours() -> None:
    tiers = ("2", "6", "1"), (None, "3", "5")
    assert steps(graduated(*tiers), 3600, 7200, per=HOUR) == [
        step("tier", 1, 6, 6, up_to=2),
        step("tier", 1, 3, 8, flat=5, above=2),
    ]
    assert steps(graduated(*tiers), 3600, 3600, per=HOUR) == [step("tier", 1, 6, 6, up_to=2)]
    assert steps(volume(*tiers), 7200, 1800, per=HOUR) == [
        step("volume", -2, 6, -13, flat=-1, up_to=2),
        step("volume", "2.5", 3, "12.5", flat=5, above=2),
    ]
    assert steps(Package(size=d(1), price=d(10)), None, 3601, per=HOUR) == [step("package", 2, 10, 20, size=1)]
    zero = graduated(("2", "6", "1"), flat_at_zero=True)
    assert steps(zero, None, -1800, per=HOUR) == [step("tier", "-0.5", 6, -3)]


def test_graduated_shows_the_tiers_that_differ() -> None:
    found = steps(FLATS, 7, 6)
    assert found == [
        step("tier", 3, 0, 0, above=5, up_to=10),
        step("tier", 3, 10, 30, above=10, up_to=15),
    ]
    assert text(found) == ["3 hour x 0 = 0 (above 5 up to 10)", "3 hour x 10 = 30 (above 10 up to 15)"]


def test_graduated_shows_a_flat_where_it_falls_due() -> None:
    found = steps(graduated(("5", "1", "100"), (None, "2", "50")), 4, 2)
    assert text(found) == ["1 hour x 1 = 1 (above 0 up to 5)", "1 hour x 2 + 50 flat = 52 (above 5)"]


def test_a_tier_that_is_only_reached_is_not_entered() -> None:
    assert text(steps(graduated(("5", "1", "100"), (None, "2", "50")), 4, 1)) == ["1 hour x 1 = 1 (above 0 up to 5)"]


def test_the_zero_line_is_its_flat() -> None:
    found = steps(FLATS, None, 0)
    assert found == [step("tier", 0, 0, 100, flat=100, above=0, up_to=5)]
    assert text(found) == ["0 hour x 0 + 100 flat = 100 (above 0 up to 5)"]


@pytest.mark.parametrize(
    ("model", "label"), [(graduated(("5", "1", "100")), "tier"), (volume(("5", "1", "100")), "volume")]
)
def test_a_flat_is_due_above_0_however_little_and_not_at_it(model: Graduated | Volume, label: Label) -> None:
    assert steps(model, 0, "0.5") == [step(label, "0.5", 1, "100.5", flat=100)]
    assert steps(model, 2, -2) == [step(label, -2, 1, -102, flat=-100)]
    assert steps(model, None, -1) == [step(label, -1, 1, -1)]


def test_where_nothing_differs_the_last_tier_stands_for_the_answer() -> None:
    assert steps(graduated(("5", "1"), (None, "2")), 7, 0) == [step("tier", 0, 2, 0, above=5)]


def test_graduated_back_below_0() -> None:
    assert steps(graduated(("5", "1", "100")), 2, -3) == [step("tier", -3, 1, -103, flat=-100)]


def test_volume_takes_back_what_another_tier_had_asked() -> None:
    found = steps(volume(("15", "10"), (None, "5")), 15, 1)
    assert found == [step("volume", -15, 10, -150, up_to=15), step("volume", 16, 5, 80, above=15)]
    assert text(found) == ["-15 hour x 10 = -150 (above 0 up to 15)", "16 hour x 5 = 80 (above 15)"]


def test_volume_within_a_tier() -> None:
    assert steps(volume(("15", "10"), (None, "5")), 3, 2) == [step("volume", 2, 10, 20, up_to=15)]
    assert text(steps(volume(("15", "10", "7"), (None, "5")), None, 2)) == [
        "2 hour x 10 + 7 flat = 27 (above 0 up to 15)"
    ]


def test_packages_after_what_is_free() -> None:
    model = Package(size=d(10), price=d(15), free=d(4))
    found = steps(model, 3, 2)
    assert found == [step("free", 1, 0, 0), step("package", 1, 15, 15, size=10)]
    assert text(found) == ["1 hour free = 0", "1 package of 10 hour x 15 = 15"]


def test_what_is_free_begins_at_0() -> None:
    model = Package(size=d(10), price=d(15), free=d(4))
    assert steps(model, None, "0.5") == [step("free", "0.5", 0, 0)]
    assert steps(model, -2, 3) == [step("free", 1, 0, 0)]


def test_a_package_that_was_begun_before_says_so_with_0_packages() -> None:
    found = steps(Package(size=d(1), price=d(15)), 600, 600, per=HOUR)
    assert found == [step("package", 0, 15, 0, size=1)]


def test_pass_through_shows_its_markup() -> None:
    found = steps(PassThrough(markup=d("0.1")), 5, "3.50")
    assert found == [step("passed", "3.50", 1, "3.50"), step("markup", "3.50", "0.1", "0.35")]
    assert text(found, "EUR") == ["3.5 EUR = 3.5", "3.5 EUR x 0.1 markup = 0.35"]
    assert text(steps(PassThrough(), 5, "3.50"), "EUR") == ["3.5 EUR = 3.5"]


def test_flat() -> None:
    found = steps(Flat(amount=d(2)), 5, 30)
    assert found == [step("event", 1, 2, 2)]
    assert text(found) == ["1 event x 2 = 2"]
    assert steps(Flat(amount=d(2)), 5, 0) == []


PERCENT = Percentage(
    path=("amount",), rate=d("0.013"), fixed=d(2), free_events=3, free_amount=d(250), minimum=d(3), maximum=d(7)
)


@pytest.mark.parametrize(
    ("tally", "base", "expected"),
    [
        (Tally(events=1, base=d(50)), 100, ["100 EUR free = 0"]),
        (
            Tally(events=2, base=d(150)),
            250,
            ["100 EUR free = 0", "150 EUR x 0.013 = 1.95", "fixed = 2"],
        ),
        (
            Tally(events=3, base=d(400), begun=True),
            400,
            ["400 EUR x 0.013 = 5.2", "fixed = 2", "lowered to the maximum = -0.2"],
        ),
        (
            Tally(events=3, base=d(60)),
            50,
            ["50 EUR x 0.013 = 0.65", "fixed = 2", "raised to the minimum = 0.35"],
        ),
    ],
)
def test_percentage(tally: Tally, base: int, expected: list[str]) -> None:
    assert text(steps_between(PERCENT, tally, d(1), base=d(base))) == expected


@pytest.mark.parametrize(("base", "label", "limited"), [(400, "maximum", "-0.2"), (50, "minimum", "0.35")])
def test_what_a_percentage_pays_beside_its_rate_are_flats(base: int, label: Label, limited: str) -> None:
    found = steps_between(PERCENT, Tally(events=3, base=d(400), begun=True), d(1), base=d(base))
    assert found[1:] == [step("fixed", 0, 0, 2, flat=2), step(label, 0, 0, limited, flat=limited)]


def test_a_percentage_of_nothing_is_a_step_all_the_same() -> None:
    assert text(steps(Percentage(path=("a",), rate=d("0.1")), 5, 1, base=d(0))) == ["0 EUR x 0.1 = 0"]
    assert steps(PERCENT, 5, 0, base=d(9)) == []


def test_steps_are_rounded_so_that_they_sum_to_the_line() -> None:
    third = d("0.333333333333333333")
    found = steps(graduated(("1", str(third)), ("2", str(third)), (None, str(third))), None, 3)
    assert [one.amount for one in found] == [d("0.333333333333"), d("0.333333333334"), d("0.333333333333")]
