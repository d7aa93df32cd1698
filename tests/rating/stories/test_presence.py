"""Hours in the house: sessions, their missing ends, and what they cost by day and by night."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.rating.explain.measured import measured_of
from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {{name: Berlin, closes: "22:00"}}
  auckland: {{name: Auckland, timezone: Pacific/Auckland, closes: "22:00"}}
meters:
  presence: {{event: door.access, aggregate: duration, unit: hour, start: {{direction: in}}, end: {{direction: out}},
             max: 14h, missing_end: {policy}, increment: 15m}}
plans:
  flex: {{prices: {{presence: [{prices}]}}}}
accounts: {{acme: {{subscriptions: [{{id: s, plan: flex}}]}}}}
members: {{ada: {{account: acme}}, bob: {{account: acme}}}}
"""
HOURLY = '{id: hour, model: per_unit, unit_price: "4.00"}'


def space(policy: str = "none", prices: str = HOURLY) -> Story:
    return Story(SPACE.format(policy=policy, prices=prices))


def test_a_session_is_rounded_up_to_its_increment() -> None:
    day = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 10:01 ada door.access {direction: out}
    """
    assert space().bill(day, until="2026-11-04") == bill("""
        2026-11
          usage presence 1.25 hour 5 EUR
          net 5 tax 0 due 5 EUR
    """)


def test_two_members_are_in_the_house_at_once_and_at_two_sites() -> None:
    day = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 09:30 bob door.access {direction: in}
        2026-11-03 10:00 ada door.access {direction: out}
        2026-11-03 11:30 bob door.access {direction: out}
        2026-11-04 08:00 ada@auckland door.access {direction: in}
        2026-11-04 12:00 ada@auckland door.access {direction: out}
    """
    assert space().bill(day, until="2026-11-05") == bill("""
        2026-11
          usage presence 7 hour 28 EUR
          net 28 tax 0 due 28 EUR
    """)


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("none", ""),
        ("cap", "usage presence 14 hour (1 estimated) 56 EUR"),
        ("close_at", "usage presence 13 hour (1 estimated) 52 EUR"),
        ("last_seen", "usage presence 8.5 hour (1 estimated) 34 EUR"),
    ],
)
def test_without_an_end_the_policy_says_what_counts(policy: str, line: str) -> None:
    day = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 17:30 ada door.access {direction: printer}
    """
    assert line in space(policy).bill(day, until="2026-11-05")
    assert ("presence" in space(policy).bill(day, until="2026-11-05")) is bool(line)


def test_nothing_is_estimated_before_its_time() -> None:
    day = "2026-11-03 09:00 ada door.access {direction: in}"
    assert not space("close_at").bill(day, until="2026-11-03 21:59")
    assert "estimated" in space("close_at").bill(day, until="2026-11-03 22:00")


def test_closing_time_is_the_sites_own() -> None:
    day = "2026-11-03 20:00 ada@auckland door.access {direction: in}"
    assert not space("close_at").bill(day, until="2026-11-03 09:59")  # 21:59 in Auckland
    assert "presence 2 hour (1 estimated)" in space("close_at").bill(day, until="2026-11-03 10:00")


def test_closing_time_is_that_of_the_start_whatever_settles_the_session() -> None:
    """In at 14:00 on a day that closes at 22:00; from the next day on the site closes at 18:00, and caps at 2 h."""
    first = SPACE.format(policy="close_at", prices=HOURLY)
    second = first.replace('closes: "22:00"', 'closes: "18:00"').replace("max: 14h", "max: 2h")
    story = Story(first, f"effective: 2026-11-04\n{second}")
    start = "2026-11-03 14:00 ada door.access {direction: in}"
    eight = "usage presence 8 hour (1 estimated) 32 EUR"
    assert eight in story.bill(start, until="2026-11-06")
    for direction in ("in", "out", "printer"):
        later = f"{start}\n2026-11-04 09:00 ada door.access {{direction: {direction}}}"
        assert eight in story.bill(later, until="2026-11-04 09:01")
        folded = story.space().fold(*story.events(later), trace=True)
        part = (folded.evidence or {})[folded.lines[0].key].part
        assert part is not None
        told = measured_of(part, catalogs=story.catalogs, events={})
        assert told is not None
        assert told.text()[1] == "estimated, as no end came: it ends when the site closes (close_at)"


def test_an_end_within_max_replaces_the_estimate_even_after_closing_time() -> None:
    day = """
        2026-11-03 14:00 ada door.access {direction: in}
        2026-11-03 23:30 ada door.access {direction: out}
    """
    assert "usage presence 9.5 hour 38 EUR" in space("close_at").bill(day, until="2026-11-05")


def test_an_end_after_max_is_no_end() -> None:
    story = space("cap")
    where, events = story.space(), story.events("""
        2026-11-03 08:00 ada door.access {direction: in}
        2026-11-03 22:01 ada door.access {direction: out}
    """)  # fmt: skip
    folded = where.fold(*events)
    assert [(line.quantity, line.estimated) for line in folded.lines] == [(Decimal(14), True)]
    assert [orphan.event for orphan in folded.orphans] == [events[1].key]


def test_a_session_over_the_night_of_the_clocks_has_the_hours_that_passed() -> None:
    for night, hours in (("2026-03-28", 7), ("2026-10-24", 9)):
        following = night[:-1] + str(int(night[-1]) + 1)
        doors = f"""
            {night} 22:00 ada door.access {{direction: in}}
            {following} 06:00 ada door.access {{direction: out}}
        """
        assert f"usage presence {hours} hour {4 * hours} EUR" in space().bill(doors, until=f"{night[:8]}30")


def test_a_session_belongs_to_the_period_in_which_it_begins() -> None:
    night = """
        2026-10-31 20:00 ada door.access {direction: in}
        2026-11-01 02:00 ada door.access {direction: out}
    """
    assert space().bill(night, until="2026-11-02") == bill("""
        2026-10
          usage presence 6 hour 24 EUR
          net 24 tax 0 due 24 EUR
    """)


def test_prices_have_windows_in_the_sites_time() -> None:
    prices = """
        {id: night, when: {hours: "22:00-06:00"}, model: per_unit, unit_price: "1.00"},
        {id: weekend, when: {days: [sat, sun], holidays: [2026-11-04]}, model: per_unit, unit_price: "2.00"},
        {id: day, model: per_unit, unit_price: "4.00"}"""
    # A Tuesday, a holiday, a night, a Saturday; one hour each.
    days = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 10:00 ada door.access {direction: out}
        2026-11-04 09:00 ada door.access {direction: in}
        2026-11-04 10:00 ada door.access {direction: out}
        2026-11-04 23:00 ada door.access {direction: in}
        2026-11-05 00:00 ada door.access {direction: out}
        2026-11-07 21:30 ada@auckland door.access {direction: in}
        2026-11-07 22:30 ada@auckland door.access {direction: out}
    """
    story = space(prices=prices)
    lines = story.space().lines(*story.events(days))
    assert [(line.price, int(line.amount)) for line in lines] == [
        ("day", 4),
        ("weekend", 2),
        ("night", 1),
        ("weekend", 2),
    ]


def test_a_day_has_a_cap_and_the_tiers_run_on() -> None:
    prices = """{id: hour, model: graduated, tiers: [{up_to: 10, unit_price: "4"}, {unit_price: "2"}],
                 cap: {amount: "20", every: day}}"""
    days = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 17:00 ada door.access {direction: out}
        2026-11-04 09:00 ada door.access {direction: in}
        2026-11-04 13:00 ada door.access {direction: out}
    """
    # 32, capped at 20; then 2 hours at 4 and 2 at 2.
    assert space(prices=prices).bill(days, until="2026-11-05") == bill("""
        2026-11
          usage presence 12 hour 32 EUR
          net 32 tax 0 due 32 EUR
    """)


def test_a_session_swept_by_a_restart_is_an_estimate_until_its_stop_is_found() -> None:
    story = Story(SPACE.format(policy="cap", prices=HOURLY))
    day = """
        2026-11-03 09:00 ada door.access {direction: in}
        2026-11-03 11:00 ada door.access {direction: out, estimated: true}
    """
    assert story.bill(day, until="2026-11-04") == bill("""
        2026-11
          usage presence 2 hour (1 estimated) 8 EUR
          net 8 tax 0 due 8 EUR
    """)
    found = f"{day.rstrip()}\n2026-11-03 11:20 ada door.access {{direction: out}}"
    assert story.bill(found, until="2026-11-04") == bill("""
        2026-11
          usage presence 2.5 hour 10 EUR
          net 10 tax 0 due 10 EUR
    """)
