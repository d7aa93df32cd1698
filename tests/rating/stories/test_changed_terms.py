"""An account's anchor day, zone or currency changes with a period (decision 0010), month by month."""

from __future__ import annotations

from meter.model.period import Replaced, Terms
from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {berlin: {name: Berlin}}
meters:
  days: {event: door.access, where: {granted: true}, aggregate: unique_days, unit: day}
plans:
  flex: {fee: {amount: "310.00"}, grants: [{id: d, unit: day, amount: 31}],
         prices: {days: [{id: day, model: per_unit, unit_price: "20", period_minimum: {amount: "31.00"}}]}}
members:
  ada: {account: acme}
"""
FIRST = Terms("EUR", "Europe/Berlin", 1)


def account(terms: str) -> str:
    return f"{SPACE}\naccounts:\n  acme: {terms}\n"


def test_a_later_anchor_makes_one_long_period_that_costs_its_days() -> None:
    story = Story(
        account("{anchor_day: 15, subscriptions: [{id: s, plan: flex, from: 2026-11-01}]}"),
        replaced=[Replaced(FIRST, "2026-12")],
    )
    # From 1 December to 15 January: 45 days, at the fee of 31. So much are the credit and the minimum, too.
    assert story.bill("", until="2027-01-20", closed=["2026-11", "2026-12"], left=True) == bill("""
        2026-11
          fees membership 1 month 310 EUR
          minimums days/day 31 EUR
          net 341 tax 0 due 341 EUR
        2026-12
          fees membership 1.451613 month 450 EUR
          minimums days/day 45 EUR
          net 495 tax 0 due 495 EUR
        2027-01
          fees membership 1 month 310 EUR
          net 310 tax 0 due 310 EUR
        left s/d/2027-01 31 day
    """)
    assert story.bill("", until="2027-01-10", left=True).endswith("left s/d/2026-12 45 day")


def test_an_earlier_anchor_makes_one_short_period() -> None:
    story = Story(
        account("{anchor_day: 1, subscriptions: [{id: s, plan: flex, from: 2026-11-15}]}"),
        replaced=[Replaced(Terms("EUR", "Europe/Berlin", 15), "2026-12")],
    )
    # From 15 December to 1 January: 17 days of 31.
    assert story.bill("", until="2027-01-20") == bill("""
        2026-11
          fees membership 1 month 310 EUR
          net 310 tax 0 due 310 EUR
        2026-12
          fees membership 0.548387 month 170 EUR
          net 170 tax 0 due 170 EUR
        2027-01
          fees membership 1 month 310 EUR
          net 310 tax 0 due 310 EUR
    """)


def test_a_subscription_that_ends_within_the_long_period_costs_its_days() -> None:
    story = Story(
        account("{anchor_day: 15, subscriptions: [{id: s, plan: flex, from: 2026-12-01, to: 2027-01-01}]}"),
        replaced=[Replaced(FIRST, "2026-12")],
    )
    # 31 days of a month of 31: what is asked for in advance, less the 14 days up to 15 January.
    assert story.bill("", until="2027-01-20") == bill("""
        2026-12
          fees membership 1.451613 month 450 EUR
          fees membership -0.451613 month -140 EUR
          net 310 tax 0 due 310 EUR
    """)


def test_another_zone_charges_each_day_once() -> None:
    story = Story(
        account("{timezone: America/New_York, subscriptions: [{id: s, plan: flex, from: 2026-11-01T00:00:00+01:00}]}"),
        replaced=[Replaced(FIRST, "2026-12")],
    )
    # It is 30 November in New York when December begins in Berlin, and it begins once.
    assert story.bill("2026-12-01 02:00 ada door.access {granted: true}", until="2027-01-20", left=True) == bill("""
        2026-11
          fees membership 1 month 310 EUR
          net 310 tax 0 due 310 EUR
        2026-12
          fees membership 1 month 310 EUR
          usage days 1 day (1 by credit) 0 EUR
          net 310 tax 0 due 310 EUR
        2027-01
          fees membership 1 month 310 EUR
          net 310 tax 0 due 310 EUR
        left s/d/2027-01 31 day
    """)


LEU = """
operator: northside
currency: RON
timezone: Europe/Bucharest
sites: {bucharest: {name: Bucharest}}
meters:
  days: {event: door.access, where: {granted: true}, aggregate: unique_days, unit: day}
plans:
  flex: {fee: {amount: "200.00"}, prices: {days: [{id: day, model: per_unit, unit_price: "20"}]}}
accounts:
  acme:
    currency: EUR
    subscriptions: [{id: s, plan: flex, from: 2025-12-01, to: 2026-02-01, deposit: 400}]
members:
  ada: {account: acme}
grants:
  - {id: gift, account: acme, unit: RON, amount: 15}
"""
EURO = (
    LEU.replace("currency: RON", "currency: EUR\neffective: 2026-01-01")
    .replace('"200.00"', '"102.26"')
    .replace('"20"', '"10"')
)


def test_a_space_goes_over_to_another_currency() -> None:
    story = Story(LEU, EURO, replaced=[Replaced(Terms("RON", "Europe/Bucharest"), "2026-01")])
    days = """
        2025-12-03 09:00 ada door.access {granted: true}
        2026-01-07 09:00 ada door.access {granted: true}
    """
    # Each period is paid in its own currency; a deposit comes back as it was given; credit in lei covers lei.
    assert story.bill(days, until="2026-02-02") == bill("""
        2025-12
          fees deposit 1 deposit 400 RON
          fees membership 1 month 200 RON
          usage days 1 day 5 RON
          net 605 tax 0 due 605 RON
        2026-01
          fees membership 1 month 102.26 EUR
          usage days 1 day 10 EUR
          net 112.26 tax 0 due 112.26 EUR
        2026-02
          fees deposit -1 deposit -400 RON
          net -400 tax 0 due -400 RON
    """)
