"""The till: sales paid and on account, tips, refunds of either, and guests who turn out to be members."""

from __future__ import annotations

from tests.rating.stories.telling import Story, bill

SPACE = """
operator: northside
currency: EUR
timezone: Europe/Berlin
taxes: {vat: {rate: "0.19", account: "liabilities:vat"}, food: {rate: "0.07", account: "liabilities:vat"}}
sites: {berlin: {name: Berlin, tax: vat, walk_in: guests}}
meters:
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
  cups: {event: pos.sale, aggregate: sum, value: lines.cups, unit: cup}
plans:
  flex:
    grants: [{id: cups, unit: cup, amount: "3", meters: [cups]}]
    prices:
      cafe: [{id: cafe, model: pass_through, markup: "-0.10"}]
      cups: [{id: deposit, model: per_unit, unit_price: "1.00"}]
accounts:
  acme: {subscriptions: [{id: s, plan: flex}]}
  guests: {}
members: {ada: {account: acme}}
"""
COFFEE = "2026-11-03 10:00 ada pos.sale {order: o1, currency: EUR, settlement: %s, total: '%s', tip: '%s', lines: [%s]}"
REFUND = (
    "2026-11-%s ada pos.refund {refund: %s, sale: {source: berlin/device, order: o1}, currency: EUR, status: %s, "
    "amount: '%s'}"
)
CUPS = "%s ada pos.sale {order: %s, currency: EUR, settlement: account, total: '5', lines: [{cups: 5}]}"


def sale(lines: str, *, settlement: str = "account", total: str = "10", tip: str = "0") -> str:
    return COFFEE % (settlement, total, tip, lines)


def refund(at: str, amount: str, *, id: str = "r1", status: str = "completed") -> str:
    return REFUND % (at, id, status, amount)


def told(*happened: str, account: str = "acme", until: str = "2026-11-30") -> str:
    return Story(SPACE, account=account).bill("\n".join(happened), until=until)


def test_a_sale_on_account_is_priced_by_the_plan_and_its_tip_is_not() -> None:
    assert told(sale("{amount: '10.00', tax_name: food}", total="12.70", tip="2.00")) == bill("""
        2026-11
          usage cafe 10 EUR 9 EUR
          tips cafe 2 EUR 2 EUR
          net 11 tax 0.63 due 11.63 EUR
    """)


def test_a_sale_paid_at_the_till_is_as_the_till_has_it_and_on_no_invoice() -> None:
    story = told(sale("{amount: '10.00', tax: '0.70', tax_name: food}", settlement="paid", total="12.70", tip="2.00"))
    assert story == bill("""
        2026-11
          till cafe 10 EUR 10 EUR
    """)


def test_a_guest_pays_into_the_walk_in_account() -> None:
    paid = sale("{amount: '10.00'}", settlement="paid").replace(" ada ", " - ")
    assert "till cafe 10 EUR 10 EUR" in told(paid, account="guests")
    assert not told(paid)


def test_credit_pays_for_cups_and_money_for_the_rest() -> None:
    assert told(sale("{amount: '10.00', cups: 5}", total="11.90")) == bill("""
        2026-11
          usage cafe 10 EUR 9 EUR
          usage cups 5 cup (3 by credit) 2 EUR
          net 11 tax 2.09 due 13.09 EUR
    """)


def test_a_refund_gives_money_back_first_and_then_credit() -> None:
    # Of 10.00 the plan asked 9.00, and for five cups 2.00 and three cups of credit. Half comes back: 4.50, and of
    # the cups 2.50, which is 2.00 in money and half a cup of credit.
    story = Story(SPACE)
    text = "\n".join([sale("{amount: '10.00', cups: 5}", total="10"), refund("04 10:00", "5")])
    assert story.bill(text, until="2026-11-30", left=True) == bill("""
        2026-11
          usage cafe 10 EUR 9 EUR
          usage cups 5 cup (3 by credit) 2 EUR
          refunds cafe -5 EUR -4.5 EUR
          refunds cups -2.5 cup (-0.5 by credit) -2 EUR
          net 4.5 tax 0.86 due 5.36 EUR
        left s/cups/2026-11 0.5 cup
    """)


def test_refunds_never_exceed_the_sale() -> None:
    happened = [sale("{amount: '10.00'}"), refund("04 10:00", "8"), refund("05 10:00", "8", id="r2")]
    assert told(*happened) == bill("""
        2026-11
          usage cafe 10 EUR 9 EUR
          refunds cafe -10 EUR -9 EUR
          net 0 tax 0 due 0 EUR
    """)


def test_a_refund_counts_when_it_is_completed_and_once() -> None:
    pending = refund("04 10:00", "5", status="pending")
    assert "refunds" not in told(sale("{amount: '10.00'}"), pending)
    assert told(sale("{amount: '10.00'}"), pending, refund("04 11:00", "5")).count("refunds cafe -5") == 1


def test_a_refund_from_before_its_sale_stands_right_behind_it() -> None:
    assert told(refund("02 10:00", "5"), sale("{amount: '10.00'}")) == bill("""
        2026-11
          usage cafe 10 EUR 9 EUR
          refunds cafe -5 EUR -4.5 EUR
          net 4.5 tax 0.86 due 5.36 EUR
    """)


def test_a_refund_without_its_sale_waits() -> None:
    assert not told(refund("04 10:00", "5"))


def test_a_refund_of_a_paid_sale_is_split_as_the_sale_was() -> None:
    paid = sale("{amount: '10.00', tax: '1.90', tax_name: vat}", settlement="paid", total="13.90", tip="2.00")
    assert told(paid, refund("04 10:00", "13.90")) == bill("""
        2026-11
          till cafe -10 EUR -10 EUR
          till cafe 10 EUR 10 EUR
    """)


def test_a_refund_in_another_month_gives_credit_until_that_month_ends() -> None:
    text = "\n".join(
        [
            sale("{cups: 3}", total="3"),
            refund("04 10:00", "3").replace("2026-11", "2026-12"),
            CUPS % ("2026-12-05 10:00", "o2"),
            CUPS % ("2027-01-05 10:00", "o3"),
        ]
    )
    story = Story(SPACE)
    lines = story.space().lines(*story.events(text))
    back = "s/cups/2026-11/returned/berlin%2Fdevice/e002"
    assert [[(draw.grant, int(draw.amount)) for draw in line.draws] for line in lines] == [
        [("s/cups/2026-11", 3)],
        [(back, -3)],
        [("s/cups/2026-12", 3), (back, 2)],
        [("s/cups/2027-01", 3)],
    ]
