"""Other terms of an account that was charged begin with the next period (decision 0010)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meter.catalog.draft import AccountDraft
from meter.catalog.issues import Faults, Place
from meter.catalog.terms import put_account, terms_warning
from meter.model.directory import Account
from meter.model.period import Replaced, Terms

SOFIA = "Europe/Sofia"
EURO_SINCE = datetime(2025, 12, 31, 22, tzinfo=UTC)  # midnight in Sofia
LEV, EURO = Terms("BGN", SOFIA), Terms("EUR", SOFIA)


def on(month: int, day: int, hour: int = 12, year: int = 2025) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def operator(instant: datetime) -> Terms:
    """The operator's terms: the lev, and the euro from 2026 on."""
    return EURO if instant >= EURO_SINCE else LEV


def account(terms: Terms, *replaced: Replaced) -> Account:
    return Account(id="acme", name="acme", **terms._asdict(), replaced=replaced)


def put(before: Account | None, at: datetime, *, charged: bool = True, **written: object) -> Account:
    draft = AccountDraft(
        id="acme", name="acme", currency=None, timezone=None, anchor_day=1, place=Place("c.yaml", 1, "accounts.acme")
    )
    faults = Faults()
    found = put_account(
        replace(draft, **written),  # type: ignore[arg-type]
        before,
        charged=charged,
        operator=operator,
        at=at,
        faults=faults,
    )
    faults.settle()
    return found


def test_the_next_period_is_the_first_of_the_new_terms() -> None:
    assert put(account(LEV), on(11, 20), anchor_day=15).replaced == (Replaced(LEV, "2025-12"),)
    # Where a period begins at that very instant, it is that one.
    assert put(account(LEV), on(11, 30, 22), anchor_day=15).replaced == (Replaced(LEV, "2025-12"),)
    assert put(account(LEV), on(11, 30, 23), anchor_day=15).replaced == (Replaced(LEV, "2026-01"),)


def test_before_anything_was_charged_they_hold_from_the_start() -> None:
    assert put(account(LEV), on(11, 20), charged=False, anchor_day=15) == account(Terms("BGN", SOFIA, 15))


def test_the_same_terms_again_stay_as_they_were_dated() -> None:
    pending = account(Terms("BGN", SOFIA, 15), Replaced(LEV, "2025-12"))
    for at in (on(11, 20), on(12, 20)):
        assert put(pending, at, anchor_day=15) == pending


def test_what_has_not_begun_is_taken_back_or_replaced() -> None:
    pending = account(Terms("BGN", SOFIA, 15), Replaced(LEV, "2025-12"))
    assert put(pending, on(11, 20), anchor_day=1) == account(LEV)
    assert put(pending, on(11, 20), anchor_day=20) == account(Terms("BGN", SOFIA, 20), Replaced(LEV, "2025-12"))


def test_what_has_begun_stays_and_is_followed() -> None:
    changed = account(Terms("BGN", SOFIA, 15), Replaced(LEV, "2025-10"))
    assert put(changed, on(10, 20), anchor_day=1).replaced == (
        Replaced(LEV, "2025-10"),
        Replaced(Terms("BGN", SOFIA, 15), "2025-11"),
    )


def test_the_operators_currency_is_that_of_the_time_at_which_the_terms_hold() -> None:
    # The catalog with the euro is applied in November, to take effect in January: so do the terms.
    pending = put(account(LEV), EURO_SINCE)
    assert pending == account(EURO, Replaced(LEV, "2026-01"))
    # A later change of something else does not take that back.
    assert put(pending, on(11, 20), name="ACME") == replace(pending, name="ACME")
    assert put(None, on(11, 20)) == account(LEV)


def test_a_warning_says_since_when() -> None:
    before = account(LEV)
    after = put(before, on(11, 20), anchor_day=15, timezone="Europe/Berlin")
    assert terms_warning(before, after) == (
        "BGN, Europe/Berlin and anchor_day 15 begin with the period 2025-12, on 2025-12-01;"
        " until then BGN, Europe/Sofia and anchor_day 1 hold"
    )
    assert terms_warning(after, replace(after, name="ACME")) is None
    assert terms_warning(None, before) is None
    # What is taken back leaves the terms that hold: they began long ago, and are no news.
    moved = account(Terms("BGN", SOFIA, 15), Replaced(LEV, "2025-10"))
    pending = put(moved, on(11, 20), anchor_day=20)
    assert terms_warning(moved, pending) is not None
    assert terms_warning(pending, put(pending, on(11, 20), anchor_day=15)) is None
    assert terms_warning(pending, put(pending, on(11, 20), anchor_day=25)) is not None
    assert terms_warning(before, account(Terms("BGN", SOFIA, 15))) is None


@pytest.mark.parametrize("anchor_day", [1, 2])
def test_a_period_must_keep_some_time(anchor_day: int) -> None:
    """At midnight of the 31st in Midway it is 1 April in Kiritimati soon, or has been for an hour."""
    before = account(Terms("BGN", "Pacific/Midway", 31))
    if anchor_day == 1:
        with pytest.raises(Exception, match="leaves no time for the period 2026-03"):
            put(before, on(3, 10, year=2026), timezone="Pacific/Kiritimati", anchor_day=1)
    else:
        after = put(before, on(3, 10, year=2026), timezone="Pacific/Kiritimati", anchor_day=2)
        assert after.replaced == (Replaced(before.terms, "2026-03"),)
