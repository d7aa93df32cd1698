"""Everything else that is counted: days, counters, highest and latest values, packages, volumes, caps, minimums."""

from __future__ import annotations

from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin}
  honolulu: {name: Honolulu, timezone: Pacific/Honolulu}
meters:
  days: {event: door.access, where: {granted: true}, aggregate: unique_days, unit: day}
  kwh: {event: meter.read, aggregate: counter, value: kwh, key: device, unit: kWh}
  seats: {event: desk.count, aggregate: max, value: seats, unit: seat}
  users: {event: wifi.users, aggregate: latest, value: users, unit: user}
  pages: {event: print.job, aggregate: sum, value: impressions, unit: page, group_by: [color]}
  fees: {event: payment, aggregate: count, unit: payment}
plans:
  flex:
    prices:
      days: [{id: day, model: per_unit, unit_price: "20", cap: {amount: "50", every: period}}]
      kwh: [{id: power, model: per_unit, unit_price: "0.30"}]
      seats: [{id: seat, model: graduated, tiers: [{up_to: 5, unit_price: "10"}, {unit_price: "8"}]}]
      users: [{id: user, model: volume, tiers: [{up_to: 15, unit_price: "10"}, {unit_price: "5"}]}]
      pages:
        - {id: colour, match: {color: true}, model: package, size: 10, price: "3.00", free: 5}
        - {id: mono, model: per_unit, unit_price: "0.05", period_minimum: {amount: "10.00"}}
      fees: [{id: fee, model: percentage, field: amount, rate: "0.013", fixed: "0.25", free_events: 1}]
accounts: {acme: {subscriptions: [{id: s, plan: flex, from: 2026-10-01}]}}
members: {ada: {account: acme}, bob: {account: acme}}
"""


def told(happened: str, **more: object) -> str:
    return Story(SPACE).bill(happened, **{"until": "2026-12-02", **more})  # type: ignore[arg-type]


def test_a_day_is_a_day_once_whatever_the_doors_and_a_month_is_capped() -> None:
    happened = """
        2026-11-03 09:00 ada door.access {granted: true}
        2026-11-03 23:59 ada door.access {granted: true}
        2026-11-04 00:00 ada door.access {granted: true}
        2026-11-04 09:00 bob door.access {granted: true}
        2026-11-05 09:00 bob door.access {granted: false}
    """
    assert told(happened) == bill("""
        2026-11
          usage days 3 day 50 EUR
          net 50 tax 0 due 50 EUR
    """)


def test_one_date_counts_once_where_the_accounts_month_ends_on_it() -> None:
    # In Honolulu 31 October lasts until eleven in the morning of 1 November in Berlin, where the account's month ends.
    happened = """
        2026-10-31 12:00 ada@honolulu door.access {granted: true}
        2026-10-31 20:00 ada@honolulu door.access {granted: true}
        2026-11-01 00:00 ada@honolulu door.access {granted: true}
    """
    assert told(happened) == bill("""
        2026-10
          usage days 1 day 20 EUR
          net 20 tax 0 due 20 EUR
        2026-11
          usage days 1 day 20 EUR
          net 20 tax 0 due 20 EUR
    """)


def test_a_counter_runs_across_months() -> None:
    happened = """
        2026-10-30 10:00 ada meter.read {device: a, kwh: 100}
        2026-11-02 10:00 ada meter.read {device: a, kwh: 150}
        2026-11-03 10:00 ada meter.read {device: a, kwh: 140}
        2026-11-04 10:00 ada meter.read {device: a, kwh: 160}
        2026-11-04 10:00 ada meter.read {device: b, kwh: 1000}
    """
    assert told(happened) == bill("""
        2026-11
          usage kwh 60 kWh 18 EUR
          net 18 tax 0 due 18 EUR
    """)


def test_the_highest_of_the_month_counts_and_begins_anew() -> None:
    happened = """
        2026-11-02 10:00 ada desk.count {seats: 4}
        2026-11-03 10:00 ada desk.count {seats: 7}
        2026-11-04 10:00 ada desk.count {seats: 2}
        2026-12-01 10:00 ada desk.count {seats: 2}
    """
    assert told(happened) == bill("""
        2026-11
          usage seats 7 seat 66 EUR
          net 66 tax 0 due 66 EUR
        2026-12
          usage seats 2 seat 20 EUR
          net 20 tax 0 due 20 EUR
    """)


def test_the_latest_counts_and_a_volume_falls() -> None:
    happened = """
        2026-11-02 10:00 ada wifi.users {users: 15}
        2026-11-03 10:00 ada wifi.users {users: 16}
        2026-11-04 10:00 ada wifi.users {users: 12}
    """
    assert told(happened) == bill("""
        2026-11
          usage users 12 user 120 EUR
          net 120 tax 0 due 120 EUR
    """)


def test_packages_are_begun_after_what_is_free() -> None:
    happened = """
        2026-11-02 10:00 ada print.job {job: a, impressions: 5, color: true}
        2026-11-03 10:00 ada print.job {job: b, impressions: 1, color: true}
        2026-11-04 10:00 ada print.job {job: c, impressions: 10, color: true}
    """
    assert told(happened) == bill("""
        2026-11
          usage pages 16 page 6 EUR
          net 6 tax 0 due 6 EUR
    """)


def test_of_several_events_on_one_job_the_latest_counts() -> None:
    happened = """
        2026-11-02 10:00 ada print.job {job: a, impressions: 50, color: false}
        2026-11-02 10:05 ada print.job {job: a, impressions: 20, color: false}
    """
    assert "usage pages 20 page 1 EUR" in told(happened)


def test_a_minimum_is_made_up_for_when_the_month_is_closed() -> None:
    happened = "2026-11-02 10:00 ada print.job {job: a, impressions: 50, color: false}"
    assert "minimums" not in told(happened)
    assert told(happened, closed=["2026-10", "2026-11"]) == bill("""
        2026-10
          minimums pages/mono 10 EUR
          net 10 tax 0 due 10 EUR
        2026-11
          usage pages 50 page 2.5 EUR
          minimums pages/mono 7.5 EUR
          net 10 tax 0 due 10 EUR
    """)


def test_each_payment_costs_a_share_after_the_first() -> None:
    happened = """
        2026-11-02 10:00 ada payment {amount: 500}
        2026-11-03 10:00 ada payment {amount: 100}
        2026-11-04 10:00 ada payment {amount: 10}
    """
    assert told(happened) == bill("""
        2026-11
          usage fees 3 payment 1.93 EUR
          net 1.93 tax 0 due 1.93 EUR
    """)


def test_usage_that_no_price_fits_is_listed_at_nothing() -> None:
    text = SPACE.replace('- {id: mono, model: per_unit, unit_price: "0.05", period_minimum: {amount: "10.00"}}', "")
    happened = "2026-11-02 10:00 ada print.job {job: a, impressions: 50, color: false}"
    assert Story(text).bill(happened, until="2026-11-05") == bill("""
        2026-11
          usage pages 50 page unpriced 0 EUR
          net 0 tax 0 due 0 EUR
    """)
