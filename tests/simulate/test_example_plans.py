"""What the example's plans come to, each figure worked out by hand from `meter/examples/northside.yaml`."""

from __future__ import annotations

import pytest

from meter.examples import example_catalog
from tests.rating.stories.telling import Story, bill

# Members since 1 October. Each story is told for November alone: in October nobody came.
NOVEMBER = "2026-11"


def november(account: str, happened: str, *, until: str = "2026-11-30", left: bool = False) -> str:
    told = Story(example_catalog(), account=account).bill(happened, until=until, left=left)
    return told[told.index(NOVEMBER) :]


def day(who: str, date: str, come: str, go: str | None = None) -> str:
    """A visit through the main door; without `go` nobody saw the way out."""
    swipe = "door.access {granted: true, door: main, direction: "
    out = "" if go is None else f"\n{date} {go} {who} {swipe}out}}"
    return f"{date} {come} {who} {swipe}in}}{out}"


def test_a_team_pays_its_seats_and_its_hours() -> None:
    # Team: 59.00 x 3 seats = 177.00, the founders' 10 % off: 159.30. David has a residency of his own: 279.00.
    # Ben is in for 4 h 47 min 22 s, 5 h in quarters: 1 h was left of October, 3 h are November's, 1 h x 3.00 = 3.00.
    # 159.30 + 279.00 + 3.00 = 441.30; 19 % of it is 83.847.
    assert november("acme", day("ben", "2026-11-16", "09:12:18", "13:59:40")) == bill("""
        2026-11
          fees membership 1 month 279 EUR
          fees membership 3 month 159.3 EUR
          usage presence 5 hour (4 by credit) 3 EUR
          net 441.3 tax 83.85 due 525.15 EUR
    """)


def test_who_was_not_seen_to_leave_was_there_until_the_space_closed_and_pays_for_five_hours_at_most() -> None:
    # In at 09:00, closed at 22:00: 13 h, of which 4 are covered. 9 x 3.00 = 27.00, and a day costs 15.00 at most.
    # 159.30 + 279.00 + 15.00 = 453.30; 19 % of it is 86.127.
    happened = day("ada", "2026-11-16", "09:00")
    assert november("acme", happened) == bill("""
        2026-11
          fees membership 1 month 279 EUR
          fees membership 3 month 159.3 EUR
          usage presence 13 hour (4 by credit) (1 estimated) 15 EUR
          net 453.3 tax 86.13 due 539.43 EUR
    """)
    assert "presence" not in november("acme", happened, until="2026-11-16T21:59")
    # She left at 14:10, and the door says so a day late: 5 h 10 min, 5.25 h in quarters, 1.25 x 3.00 = 3.75.
    late = day("ada", "2026-11-16", "09:00", "14:10")
    assert "usage presence 5.25 hour (4 by credit) 3.75 EUR" in november("acme", late)


def test_a_second_member_has_a_day_of_their_own_to_fill() -> None:
    # Ada's first 4 hours are covered, 5 more reach the cap: 15.00. Ben's 8 hours would be 24.00: another 15.00.
    both = f"{day('ada', '2026-11-16', '08:00', '18:00')}\n{day('ben', '2026-11-16', '09:00', '17:00')}"
    assert "usage presence 18 hour (4 by credit) 30 EUR" in november("acme", both)


def test_days_that_were_not_used_go_on_into_the_next_month() -> None:
    # Flex 10: of October's 10 days 2 go on, so November has 12; the 13th costs 25.00. 199.00 + 25.00 = 224.00.
    happened = "\n".join(day("hugo", f"2026-11-{number:02}", "09:00", "10:00") for number in range(2, 15))
    assert november("hugo", happened, left=True) == bill("""
        2026-11
          fees membership 1 month 199 EUR
          usage day-passes 13 day (12 by credit) 25 EUR
          net 224 tax 42.56 due 266.56 EUR
        left hugo-flex-10/days/2026-10/hugo/rolled 0 day
        left hugo-flex-10/days/2026-11/hugo 0 day
        left hugo-flex-10/pages/2026-11 50 page
    """)


def test_a_pass_is_bought_and_then_drawn() -> None:
    # Five days for 125.00; the sixth costs 29.00 like anybody's. 19 % of 154.00 is 29.26.
    happened = "\n".join(day("ines", f"2026-11-{number:02}", "09:00", "10:00") for number in range(2, 8))
    assert november("ines", happened) == bill("""
        2026-11
          fees credit 5 day 125 EUR
          usage day-passes 6 day (5 by credit) 29 EUR
          net 154 tax 29.26 due 183.26 EUR
    """)


@pytest.mark.parametrize(
    ("account", "october"),
    [
        ("brightside", "236"),  # 59.00 x 4 seats
        ("elif", "279"),
        # Its periods begin on the 15th. 1 to 14 October are 14 of 30 days: 199.00 x 2 seats x 14 / 30 = 185.7333...
        ("inkwell", "185.73"),
    ],
)
def test_fees_are_due_from_the_first_day_on(account: str, october: str) -> None:
    first = Story(example_catalog(), account=account).bill("", until="2026-10-02").splitlines()[1]
    assert first.split()[-2:] == [october, "EUR"]
