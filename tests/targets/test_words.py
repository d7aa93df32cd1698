"""What customers read of a line, and the days that Stripe prints of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace as with_

from meter.export.payload import InvoiceLine
from meter.export.targets.books import described, headed, traced
from meter.export.targets.stripe.wanted import changed_params, note_params, parts_of, wanted_of
from meter.model.period import DaySpan, Period, Terms, periods_of
from tests.targets.contents import line, line_item, month_of

CHARGE = "ch_00000000000000000000000000000001"
DAY = "Print pages, Berlin Mitte, 2026-11-02"
NOTHING = Decimal(0)


def told(rounded: str = "10.00", **changes: Any) -> InvoiceLine:
    day = datetime(2026, 11, 2, tzinfo=UTC)
    return line(Decimal(rounded), NOTHING, start=day, **{"covered": NOTHING, **changes})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, f"{DAY}: 34 pages"),
        ({"quantity": Decimal(1)}, f"{DAY}: 1 page"),
        ({"quantity": Decimal(-1)}, f"{DAY}: -1 page"),
        ({"covered": Decimal(4)}, f"{DAY}: 34 pages, 4 covered by credit"),
        ({"clock": "09:00"}, f"{DAY} 09:00: 34 pages"),
        ({"place": ""}, "Print pages, 2026-11-02: 34 pages"),
        ({"unit": "hour", "quantity": Decimal("1.500000")}, f"{DAY}: 1.5 hours"),
        ({"unit": "hour", "quantity": Decimal("0.333333")}, f"{DAY}: 0.333 hours"),
        ({"unit": "GB", "quantity": Decimal("0.000012")}, f"{DAY}: 0.000012 GB"),
        ({"unit": "Seite"}, f"{DAY}: 34 Seite"),
        ({"unit": "page", "quantity": Decimal("1E+3")}, f"{DAY}: 1000 pages"),
        # Where the quantity says no more than the amount, the amount says it.
        ({"unit": "EUR", "quantity": Decimal("12.5")}, DAY),
        ({"quantity": NOTHING}, DAY),
        ({"meter": "deposit", "name": "Deposit", "unit": "deposit"}, "Deposit, Berlin Mitte, 2026-11-02"),
        ({"kind": "minimum", "quantity": NOTHING}, "Print pages (minimum), Berlin Mitte, 2026-11-02"),
        ({"kind": "tip", "unit": "EUR", "quantity": Decimal(2)}, "Print pages (tip), Berlin Mitte, 2026-11-02"),
    ],
)
def test_a_line_is_told_as_people_say_it(changes: dict[str, Any], text: str) -> None:
    assert described(told(**changes)) == text


@pytest.mark.parametrize(
    ("seats", "text"),
    [("1", ""), ("3", ": 3 x 1 month"), ("0.677419", ": 0.677 x 1 month"), ("-0.5", ": -0.5 x 1 month")],
)
def test_three_seats_of_a_month_are_not_three_months(seats: str, text: str) -> None:
    fee = told(
        meter="membership",
        name="Flex 10",
        place="",
        unit="month",
        quantity=Decimal(seats),
        days=month_of(date(2026, 11, 1)),
    )
    assert described(fee) == f"Flex 10, 2026-11-01 to 2026-11-30{text}"


def test_a_correction_names_the_days_that_it_corrects() -> None:
    october = DaySpan(date(2026, 10, 1), date(2026, 10, 31))
    of_a_day = told("-0.20", quantity=Decimal(-4), adjusts_days=october)
    assert described(of_a_day) == f"{DAY}: -4 pages, correction of 2026-10-01 to 2026-10-31"
    whole = with_(of_a_day, days=october)
    assert described(whole) == "Print pages, Berlin Mitte, 2026-10-01 to 2026-10-31: -4 pages, correction"


def test_a_single_charge_can_be_asked_about() -> None:
    assert traced(told(charge=CHARGE)) == f"{described(told())} ({CHARGE})"
    assert described(told(charge=CHARGE)) == described(told())


# --- Stripe -----------------------------------------------------------------------------------------------------------


def printed(given: InvoiceLine, *zones: str) -> set[tuple[date, date]]:
    """The first and last day of what Stripe prints beside an item, by the clocks of each zone."""
    wanted = wanted_of("b1", b"", line_item(given, number=0, customer_id="cus_0"), None)
    [part] = parts_of(wanted, wanted.gross, wanted.tax)
    period = changed_params(wanted, part)["period"]
    begin, end = (datetime.fromtimestamp(period[name], UTC) for name in ("start", "end"))
    return {(begin.astimezone(ZoneInfo(zone)).date(), end.astimezone(ZoneInfo(zone)).date()) for zone in zones}


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]
)
@pytest.mark.parametrize("month", ["2026-03", "2026-11"])
def test_stripe_prints_the_accounts_days_by_its_clocks_and_by_utc(zone: str, month: str) -> None:
    periods = periods_of(Terms("EUR", zone))
    period = periods.named(month)
    days = periods.dates(period)
    whole = with_(told(), start=period.start, end=period.end, days=days)
    assert printed(whole, zone, "UTC") == {days}
    # A plan that was taken late in an evening.
    begun = datetime(period.start.year, period.start.month, 28, 23, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rest = with_(whole, start=begun, days=periods.dates(Period(begun, period.end)))
    assert printed(rest, zone, "UTC") == {rest.days}


def test_stripe_prints_no_second_time_what_is_of_one_day() -> None:
    [(begin, end)] = printed(told(), "UTC")
    assert begin == end == date(2026, 11, 2)
    wanted = wanted_of("b1", b"", line_item(told(), number=0, customer_id="cus_0"), None)
    [part] = parts_of(wanted, wanted.gross, wanted.tax)
    period = changed_params(wanted, part)["period"]
    assert period["start"] == period["end"]


def test_the_difference_to_what_is_final_says_what_the_line_is_now() -> None:
    wanted = wanted_of("b1", b"", line_item(told("12.00"), number=0, customer_id="cus_0"), None)
    [more] = parts_of(wanted, 200, 0)
    assert changed_params(wanted, more)["description"] == f"{DAY}: now 34 pages"
    [whole] = parts_of(wanted, 1200, 0)
    assert changed_params(wanted, whole)["description"] == f"{DAY}: 34 pages"


def test_a_credit_note_says_what_is_left_of_a_line_and_what_is_given_back_of_a_period() -> None:
    wanted = wanted_of("b1", b"", line_item(told("7.00"), number=0, customer_id="cus_0"), None)
    note = note_params(wanted, "in_1", 300, 0, paid={})
    assert (note["memo"], note["lines"][0]["description"]) == (
        f"Correction: {DAY}: now 34 pages",
        f"{DAY}: now 34 pages",
    )
    back = told("-4.00", quantity=Decimal(-4), adjusts=datetime(2026, 10, 1, tzinfo=UTC))
    wanted = wanted_of("b2", b"", line_item(back, number=0, customer_id="cus_0"), None)
    note = note_params(wanted, "in_1", 400, 0, paid={})
    assert note["memo"] == f"{headed(back)}: -4 pages, correction of 2026-10-01 to 2026-10-31"
