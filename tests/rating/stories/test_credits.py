"""Credit: pools, rollover, credits at a rate, money, and what is bought ahead."""

from __future__ import annotations

from typing import Any

from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
taxes: {{vat: {{rate: "0.19", account: "liabilities:vat"}}}}
sites: {{berlin: {{name: Berlin, tax: vat}}}}
credits: {{rates: {{pages: [{{rate: "0.5"}}], hours: [{{rate: "2"}}]}}}}
meters:
  pages: {{event: print.job, aggregate: sum, value: impressions, unit: page}}
  hours: {{event: room.used, aggregate: sum, value: hours, unit: hour}}
plans:
  flex:
    grants: [{grants}]
    prices:
      pages: [{{id: page, model: per_unit, unit_price: "0.10"}}]
      hours: [{{id: hour, model: per_unit, unit_price: "12"}}]
accounts: {{acme: {{subscriptions: [{{id: s, plan: flex, seats: 2{more}}}]}}}}
members: {{ada: {{account: acme}}, bob: {{account: acme}}}}
grants: [{given}]
"""


def space(grants: str = "", given: str = "", more: str = "") -> Story:
    return Story(SPACE.format(grants=grants, given=given, more=more))


def printed(*jobs: tuple[str, str, int]) -> str:
    return "\n".join(f"{at} {who} print.job {{job: j{n}, impressions: {k}}}" for n, (at, who, k) in enumerate(jobs))


def draws(story: Story, happened: str) -> list[Any]:
    lines = story.space().lines(*story.events(happened))
    return [[(draw.grant, float(draw.amount)) for draw in line.draws] for line in lines]


def test_a_pool_is_the_accounts_and_comes_anew_each_month() -> None:
    story = space('{id: pool, unit: page, amount: "100", meters: [pages]}')
    jobs = printed(("2026-11-03 09:00", "ada", 80), ("2026-11-04 09:00", "bob", 50), ("2026-12-01 09:00", "bob", 50))
    assert story.bill(jobs, until="2026-12-02", left=True) == bill("""
        2026-11
          usage pages 130 page (100 by credit) 3 EUR
          net 3 tax 0.57 due 3.57 EUR
        2026-12
          usage pages 50 page (50 by credit) 0 EUR
          net 0 tax 0 due 0 EUR
        left s/pool/2026-12 50 page
    """)


def test_what_is_left_rolls_over_up_to_its_most_and_burns_first() -> None:
    story = space(
        '{id: pool, unit: page, amount: "100", meters: [pages], rollover: {max: "30", periods: 2}}',
        more=", from: 2026-11-01",
    )
    jobs = printed(("2026-11-03 09:00", "ada", 60), ("2026-12-03 09:00", "ada", 20), ("2027-01-03 09:00", "ada", 15))
    assert draws(story, jobs) == [
        [("s/pool/2026-11", 60)],
        [("s/pool/2026-11/rolled", 20)],
        [("s/pool/2026-11/rolled", 10), ("s/pool/2026-12/rolled", 5)],
    ]
    assert story.bill(jobs, until="2027-02-02", left=True).splitlines()[-3:] == [
        "left s/pool/2026-12/rolled 25 page",
        "left s/pool/2027-01/rolled 30 page",
        "left s/pool/2027-02 100 page",
    ]


def test_rollover_stays_in_its_subscription() -> None:
    grant = '{id: pool, unit: page, amount: "100", meters: [pages], rollover: {max: "30"}}'
    story = space(grant, more=", from: 2026-11-01, to: 2026-12-21")
    jobs = printed(("2026-11-03 09:00", "ada", 80), ("2026-12-03 09:00", "ada", 10), ("2027-01-03 09:00", "ada", 10))
    assert draws(story, jobs) == [[("s/pool/2026-11", 80)], [("s/pool/2026-11/rolled", 10)], []]


def test_the_order_is_priority_then_expiry_then_the_members_own() -> None:
    given = """
        {id: shared, account: acme, unit: page, amount: 10},
        {id: adas, account: acme, member: ada, unit: page, amount: 10},
        {id: soon, account: acme, unit: page, amount: 10, expires: 2027-01-01},
        {id: first, account: acme, unit: page, amount: 10, priority: 5}"""
    assert draws(space(given=given), printed(("2026-11-03 09:00", "ada", 40), ("2026-11-04 09:00", "bob", 1))) == [
        [("first", 10), ("soon", 10), ("adas", 10), ("shared", 10)],
        [],
    ]


def test_credits_pay_for_several_meters_at_their_rates() -> None:
    story = space('{id: credits, unit: credit, amount: "10", meters: [pages, hours]}')
    happened = """
        2026-11-03 09:00 ada print.job {job: a, impressions: 4}
        2026-11-03 10:00 ada room.used {hours: 1}
        2026-11-04 10:00 ada room.used {hours: 4}
    """
    assert draws(story, happened) == [
        [("s/credits/2026-11", 2)],
        [("s/credits/2026-11", 2)],
        [("s/credits/2026-11", 6)],
    ]
    assert story.bill(happened, until="2026-11-05") == bill("""
        2026-11
          usage hours 5 hour (4 by credit) 12 EUR
          usage pages 4 page (4 by credit) 0 EUR
          net 12 tax 2.28 due 14.28 EUR
    """)


def test_money_lowers_what_is_left_to_pay_before_tax() -> None:
    story = space(given='{id: goodwill, account: acme, unit: EUR, amount: "5"}')
    assert story.bill(printed(("2026-11-03 09:00", "ada", 80)), until="2026-11-05", left=True) == bill("""
        2026-11
          usage pages 80 page 3 EUR
          net 3 tax 0.57 due 3.57 EUR
        left goodwill 0 EUR
    """)


def test_what_is_bought_is_due_when_it_takes_effect_and_not_when_it_is_drawn() -> None:
    given = """{id: pack, account: acme, unit: page, amount: "200", effective: 2026-10-15, expires: 2026-12-01,
                bought: {price: "15.00", tax: vat}}"""
    jobs = printed(("2026-11-03 09:00", "ada", 150), ("2026-12-03 09:00", "ada", 10))
    assert space(given=given).bill(jobs, until="2026-12-05") == bill("""
        2026-10
          fees credit 200 page 15 EUR
          net 15 tax 2.85 due 17.85 EUR
        2026-11
          fees credit 50 page expired 0 EUR
          usage pages 150 page (150 by credit) 0 EUR
          net 0 tax 0 due 0 EUR
        2026-12
          usage pages 10 page 1 EUR
          net 1 tax 0.19 due 1.19 EUR
    """)


def test_a_grant_pays_for_nothing_from_before_it_began() -> None:
    given = "{id: late, account: acme, unit: page, amount: 100, effective: 2026-11-04}"
    jobs = printed(("2026-11-03 23:59", "ada", 10), ("2026-11-04 00:00", "ada", 10))
    assert draws(space(given=given), jobs) == [[], [("late", 10)]]


def test_a_part_of_a_month_gives_a_part_of_the_credit() -> None:
    story = space('{id: pool, unit: page, amount: "90", meters: [pages]}', more=", from: 2026-11-21")
    assert story.bill(printed(("2026-11-23 09:00", "ada", 40)), until="2026-11-24", left=True) == bill("""
        2026-11
          usage pages 40 page (30 by credit) 1 EUR
          net 1 tax 0.19 due 1.19 EUR
        left s/pool/2026-11 0 page
    """)


def test_seats_multiply_a_pool_and_limit_who_has_an_own_grant() -> None:
    pool = '{id: pool, unit: page, amount: "10", meters: [pages], per_seat: true}'
    own = '{id: own, unit: page, amount: "10", meters: [pages], for: member}'
    jobs = printed(("2026-11-03 09:00", "ada", 25))
    assert draws(space(pool), jobs) == [[("s/pool/2026-11", 20)]]
    assert draws(space(own), jobs) == [[("s/own/2026-11/ada", 10)]]


def test_time_is_drawn_to_the_second_and_told_in_hours() -> None:
    story = space('{id: hours, unit: hour, amount: "1", meters: [hours]}')
    happened = "\n".join(f"2026-11-0{n} 10:00 ada room.used {{hours: '0.333333333333'}}" for n in range(3, 6))
    told = story.bill(happened + "\n2026-11-06 10:00 ada room.used {hours: '1'}", until="2026-11-07", left=True)
    # An instance of an hour gives 3600 seconds and no more, whatever its thirds are rounded to.
    assert told.splitlines()[-1] == "left s/hours/2026-11 0 hour"
    assert "(1 by credit)" in told
