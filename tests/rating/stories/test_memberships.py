"""Fees, seats, changes of plan, discounts and deposits, month by month."""

from __future__ import annotations

from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
taxes: {vat: {rate: "0.19", account: "liabilities:vat"}}
sites: {berlin: {name: Berlin, tax: vat}}
meters:
  days: {event: door.access, where: {granted: true}, aggregate: unique_days, unit: day}
plans:
  flex: {fee: {amount: "100.00"}, prices: {days: [{id: day, model: per_unit, unit_price: "20"}]}}
  team: {fee: {amount: "300.00"}, prices: {days: [{id: day, model: per_unit, unit_price: "10"}]}}
  least: {fee: {amount: "100.00"}, prices: {days: [{id: day, model: per_unit, unit_price: "20",
    period_minimum: {amount: "50.00"}}]}}
  late: {fee: {amount: "30.00", in: arrears}, prices: {days: [{id: day, model: per_unit, unit_price: "5"}]}}
members:
  ada: {account: acme}
"""


def account(terms: str) -> str:
    return f"{SPACE}\naccounts:\n  acme: {terms}\n"


def test_a_fee_is_due_when_the_month_begins_for_each_seat() -> None:
    story = Story(account("{subscriptions: [{id: s, plan: flex, from: 2026-10-01, seats: 3}]}"))
    assert story.bill("", until="2026-11-15") == bill("""
        2026-10
          fees membership 3 month 300 EUR
          net 300 tax 57 due 357 EUR
        2026-11
          fees membership 3 month 300 EUR
          net 300 tax 57 due 357 EUR
    """)


def test_a_month_begun_in_its_middle_costs_its_days() -> None:
    # The 16th counts: 15 of 30 days.
    story = Story(account("{subscriptions: [{id: s, plan: flex, from: 2026-11-16}]}"))
    assert story.bill("", until="2026-11-30") == bill("""
        2026-11
          fees membership 0.5 month 50 EUR
          net 50 tax 9.5 due 59.5 EUR
    """)


def test_in_arrears_a_month_is_billed_when_it_is_over() -> None:
    story = Story(account("{subscriptions: [{id: s, plan: late, from: 2026-11-11}]}"))
    assert not story.bill("", until="2026-11-30")
    assert story.bill("", until="2026-12-01") == bill("""
        2026-11
          fees membership 0.666667 month 20 EUR
          net 20 tax 3.8 due 23.8 EUR
    """)


def test_a_change_of_plan_gives_the_unused_days_back_and_asks_for_the_rest_of_the_new_one() -> None:
    story = Story(
        account("{subscriptions: [{id: a, plan: flex, from: 2026-11-01, to: 2026-11-13}, "
                "{id: b, plan: team, from: 2026-11-13}]}")
    )  # fmt: skip
    # 12 days were used of 30; 18 are left: -60, and 180 of the new fee.
    assert story.bill("", until="2026-11-30") == bill("""
        2026-11
          fees membership 1 month 100 EUR
          fees membership -0.6 month -60 EUR
          fees membership 0.6 month 180 EUR
          net 220 tax 41.8 due 261.8 EUR
    """)


def test_an_end_without_a_successor_gives_the_unused_days_back() -> None:
    story = Story(account("{subscriptions: [{id: s, plan: flex, from: 2026-10-01, to: 2026-11-25}]}"))
    assert story.bill("", until="2026-12-31") == bill("""
        2026-10
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
        2026-11
          fees membership 1 month 100 EUR
          fees membership -0.2 month -20 EUR
          net 80 tax 15.2 due 95.2 EUR
    """)


def test_a_members_own_plan_is_paid_by_the_account_and_replaces_its_prices() -> None:
    story = Story(
        SPACE.replace("ada: {account: acme}", "ada: {account: acme, subscriptions: [{id: own, plan: team, "
                      "from: 2026-11-01}]}\n  bob: {account: acme}")
        + "accounts:\n  acme: {subscriptions: [{id: s, plan: flex, from: 2026-11-01}]}\n"
    )  # fmt: skip
    days = """
        2026-11-03 09:00 ada door.access {granted: true}
        2026-11-03 09:05 bob door.access {granted: true}
    """
    assert story.bill(days, until="2026-11-30") == bill("""
        2026-11
          fees membership 1 month 100 EUR
          fees membership 1 month 300 EUR
          usage days 2 day 30 EUR
          net 430 tax 81.7 due 511.7 EUR
    """)


def test_anchor_day_31_has_its_months_end_where_february_does() -> None:
    story = Story(account("{anchor_day: 31, subscriptions: [{id: s, plan: flex, from: 2027-12-31, to: 2028-03-15}]}"))
    # 2028 is a leap year. The third part begins on 29 February and has 31 days, of which 16 are left on 15 March.
    assert story.bill("", until="2028-04-30") == bill("""
        2027-12
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
        2028-01
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
        2028-02
          fees membership 1 month 100 EUR
          fees membership -0.516129 month -51.61 EUR
          net 48.39 tax 9.19 due 57.58 EUR
    """)


def test_a_leap_day_is_a_day() -> None:
    story = Story(account("{subscriptions: [{id: s, plan: flex, from: 2028-02-29}]}"))
    assert story.bill("", until="2028-02-29") == bill("""
        2028-02
          fees membership 0.034483 month 3.45 EUR
          net 3.45 tax 0.66 due 4.11 EUR
    """)


def test_days_on_which_the_clocks_change_are_days() -> None:
    # March has 31 days and 743 hours, October 31 and 745: 3 days are left on the 29th, 7 on the 25th.
    for start, months in (("2026-03-29", "0.096774 month 9.68"), ("2026-10-25", "0.225806 month 22.58")):
        story = Story(account(f"{{subscriptions: [{{id: s, plan: flex, from: {start}}}]}}"))
        assert f"membership {months} EUR" in story.bill("", until=f"{start[:8]}30")


def test_without_a_start_fees_begin_with_the_first_period_in_which_something_happens() -> None:
    story = Story(account("{subscriptions: [{id: s, plan: flex}]}"))
    assert not story.bill("", until="2026-12-15")
    assert story.bill("2026-11-20 09:00 ada door.access {granted: false}", until="2026-12-15") == bill("""
        2026-11
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
        2026-12
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
    """)


def test_discounts_lower_fees_or_usage_while_they_are_in_force() -> None:
    story = Story(
        account(
            '{subscriptions: [{id: s, plan: flex, from: 2026-10-01, discounts: [{id: tenth, rate: "0.10", on: fees, '
            'to: 2026-11-01}, {id: welcome, amount: "25", on: [days], from: 2026-11-01}]}]}'
        )
    )
    days = """
        2026-10-05 09:00 ada door.access {granted: true}
        2026-11-05 09:00 ada door.access {granted: true}
        2026-11-06 09:00 ada door.access {granted: true}
    """
    assert story.bill(days, until="2026-11-30") == bill("""
        2026-10
          fees membership 1 month 90 EUR
          usage days 1 day 20 EUR
          net 110 tax 20.9 due 130.9 EUR
        2026-11
          fees membership 1 month 100 EUR
          usage days 2 day 15 EUR
          net 115 tax 21.85 due 136.85 EUR
    """)


def test_a_discount_to_the_end_lowers_what_comes_back_and_what_was_missing() -> None:
    story = Story(
        account(
            "{subscriptions: [{id: s, plan: least, from: 2026-11-01, to: 2026-11-25, discounts: [{id: fifth, "
            'rate: "0.20", to: 2026-11-25}]}]}'
        )
    )
    # 24 of 30 days: 80 of the fee and 40 of the minimum, a fifth off each.
    day = "2026-11-05 09:00 ada door.access {granted: true}"
    assert story.bill(day, until="2026-12-02", closed=["2026-11"]) == bill("""
        2026-11
          fees membership 1 month 80 EUR
          fees membership -0.2 month -16 EUR
          usage days 1 day 16 EUR
          minimums days/day 16 EUR
          net 96 tax 18.24 due 114.24 EUR
    """)
    reached = f"{day}\n2026-11-06 09:00 ada door.access {{granted: true}}"
    assert story.bill(reached, until="2026-12-02", closed=["2026-11"]) == bill("""
        2026-11
          fees membership 1 month 80 EUR
          fees membership -0.2 month -16 EUR
          usage days 2 day 32 EUR
          net 96 tax 18.24 due 114.24 EUR
    """)


def test_a_deposit_is_taken_at_the_beginning_and_given_back_at_the_end_untaxed() -> None:
    story = Story(
        account('{subscriptions: [{id: s, plan: late, from: 2026-11-01, to: 2026-12-01, deposit: "200"}]}')
    )  # fmt: skip
    assert story.bill("", until="2026-12-02") == bill("""
        2026-11
          fees deposit 1 deposit 200 EUR
          fees membership 1 month 30 EUR
          net 230 tax 5.7 due 235.7 EUR
        2026-12
          fees deposit -1 deposit -200 EUR
          net -200 tax 0 due -200 EUR
    """)


def test_a_version_of_the_catalog_changes_the_fees_of_the_months_that_begin_under_it() -> None:
    terms = "{subscriptions: [{id: s, plan: flex, from: 2026-10-01}]}"
    dearer = account(terms).replace('"100.00"', '"120.00"') + "effective: 2026-10-15\n"
    assert Story(account(terms), dearer).bill("", until="2026-11-02") == bill("""
        2026-10
          fees membership 1 month 100 EUR
          net 100 tax 19 due 119 EUR
        2026-11
          fees membership 1 month 120 EUR
          net 120 tax 22.8 due 142.8 EUR
    """)
