"""Charges summed into lines: one an account, meter, site, unit, tax and grain, for whoever bills the account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.shape import Draft
from meter.export.gather.spans import GRACE, Grain
from meter.export.payload import LineItem, PeriodClosed
from meter.model.charge import Charge, LineTax
from meter.model.money import ZERO
from meter.model.period import Period
from tests.booked import MARCH, NOON, a_charge, a_line
from tests.export.gathering import NOW, Desk, account, customers, in_zone, known

VAT = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)


def lines(grain: Grain = "day", *, replaces: bool = True, notices: bool = False, codes: Codes | None = None) -> Lines:
    return Lines(
        target="stripe",
        customers=customers(),
        grain=grain,
        codes=codes or Codes(),
        replaces=replaces,
        notices=notices,
    )


def charged(n: int = 0, amount: str = "0.50", tax: str = "0.10", **changes: Any) -> Charge:
    line = a_line(n, tax=VAT, amount=Decimal(amount), **changes)
    return a_charge(line, rounded=Decimal(amount), tax_amount=Decimal(tax))


def at(charge: Charge, time: datetime) -> Charge:
    return replace(charge, line=with_(charge.line, key=charge.line.key._replace(time=time)))


def items(drafts: list[Draft]) -> list[LineItem]:
    found = [draft.content for draft in drafts if isinstance(draft.content, LineItem)]
    return sorted(found, key=lambda item: (item.line.meter, item.line.start))


def test_a_day_of_a_meter_is_one_line_that_is_replaced_as_it_grows() -> None:
    desk, facts = Desk(lines()), known()
    desk.put([charged(0), charged(1)], facts)
    [first] = desk.due(facts)
    desk.put([charged(2)], facts)
    [second] = desk.due(facts)
    assert first.batch == second.batch
    assert first.stream == "acme"
    [before, after] = items([first, second])
    assert (before.line.rounded, after.line.rounded) == (Decimal("1.00"), Decimal("1.50"))
    assert (before.line.charges, after.line.charges) == (2, 3)
    assert after.line.tax_amount == Decimal("0.30")
    assert after.line.day == date(2026, 3, 2)
    assert after.customer == "cus_1"
    assert after.line.tracking == "Berlin"
    assert (after.line.first, after.line.last) == (NOON, NOON + timedelta(seconds=2))
    assert desk.due(facts) == []


def test_what_can_only_be_added_to_is_sent_when_the_day_is_over_and_later_as_a_difference() -> None:
    desk = Desk(lines(replaces=False))
    midday = known(now=NOON)
    desk.put([charged(0)], midday)
    assert desk.due(midday) == []
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    assert desk.due(known(now=midnight)) == []
    [first] = desk.due(known(now=midnight + GRACE))
    late = known(now=NOW)
    desk.put([charged(1, "0.20", "0.04")], late, late=timedelta(minutes=15))
    assert desk.due(late) == []
    [second] = desk.due(known(now=NOW + timedelta(minutes=15)))
    assert first.batch != second.batch
    assert [item.line.rounded for item in items([first, second])] == [Decimal("0.50"), Decimal("0.20")]


def test_the_day_is_the_accounts() -> None:
    desk, facts = Desk(lines()), known(in_zone("Europe/Berlin", account(stripe="cus_1")))
    evening = at(charged(0), datetime(2026, 3, 2, 22, 59, tzinfo=UTC))
    night = at(charged(1), datetime(2026, 3, 2, 23, 0, tzinfo=UTC))
    desk.put([evening, night], facts)
    found = items(desk.due(facts))
    assert [item.line.day for item in found] == [date(2026, 3, 2), date(2026, 3, 3)]
    assert found[1].line.start == datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert found[1].line.end == datetime(2026, 3, 3, 23, tzinfo=UTC)


def test_a_sale_that_was_paid_at_the_till_is_never_on_an_invoice() -> None:
    desk, facts = Desk(lines()), known()
    desk.put([charged(0, settlement="paid")], facts)
    assert desk.due(facts) == []


def test_what_credit_covered_is_no_line_but_what_was_a_line_falls_to_nothing() -> None:
    desk, facts = Desk(lines()), known()
    desk.put([charged(0, "0.00", "0.00")], facts)
    assert desk.due(facts) == []
    desk.put([charged(1)], facts)
    assert len(desk.due(facts)) == 1
    desk.put([charged(2, "-0.50", "-0.10")], facts)
    [gone] = items(desk.due(facts))
    assert (gone.line.rounded, gone.line.tax_amount) == (ZERO, ZERO)


def test_an_account_without_a_customer_is_a_dead_item_that_says_what_to_set() -> None:
    desk, facts = Desk(lines()), known(account())
    desk.put([charged()], facts)
    [draft] = desk.due(facts)
    assert draft.unmet is not None
    assert "accounts.acme.stripe" in draft.unmet
    content, unmet = desk.shape.renew(draft.content, known(account(stripe="cus_9")))
    assert unmet is None
    assert isinstance(content, LineItem)
    assert content.customer == "cus_9"
    assert content.line == items([draft])[0].line


def test_an_account_is_billed_by_one_target_alone() -> None:
    facts = known(account(stripe="cus_1", square="SQ1"), account("bob", stripe="cus_2"), account("cat"))
    charges = [charged(n, account=name) for n, name in enumerate(("acme", "bob", "cat"))]
    of: dict[str, set[str]] = {}
    for target, key, rival, rival_key in (
        ("square", "square", "stripe", "stripe"),
        ("stripe", "stripe", "square", "square"),
    ):
        shape = Lines(
            target=target,
            customers=customers(target, key, **{rival: (rival_key,)}),
            grain="day",
            codes=Codes(),
            replaces=True,
            notices=False,
        )
        desk = Desk(shape)
        desk.put(charges, facts)
        of[target] = {draft.stream for draft in desk.due(facts)}
    assert of == {"square": {"acme", "cat"}, "stripe": {"bob"}}


def test_each_charge_is_an_item_where_that_is_the_grain() -> None:
    desk, facts = Desk(lines("charge")), known()
    charges = [charged(0), charged(1), charged(2, "0.00", "0.00")]
    drafts = desk.put(charges, facts)
    assert [item.line.charge for item in items(drafts)] == [charges[0].id, charges[1].id]
    assert len({draft.batch for draft in drafts}) == 2
    assert desk.buckets == {}


def test_an_adjustment_is_a_line_of_its_own_that_names_the_period_it_corrects() -> None:
    desk, facts = Desk(lines("period")), known()
    april = Period(MARCH.end, datetime(2026, 5, 1, tzinfo=UTC))
    late = replace(charged(1, "-0.20", "-0.04"), invoice_period=april)
    desk.put([charged(0), late], facts)
    found = items(desk.due(facts))
    assert {item.line.adjusts for item in found} == {None, MARCH.start}
    assert len({item.invoice for item in found}) == 2


def test_a_period_that_is_closed_is_noticed_once_behind_its_lines() -> None:
    desk, facts = Desk(lines(notices=True)), known()
    desk.put([charged(0)], facts)
    [line] = desk.due(facts)
    closed = [("acme", MARCH.start)]
    [notice] = desk.due(facts, closed=closed)
    assert isinstance(notice.content, PeriodClosed)
    assert notice.content.invoice == items([line])[0].invoice
    assert notice.stream == line.stream
    assert desk.due(facts, closed=closed) == []


def test_a_tax_without_a_code_waits_for_one() -> None:
    desk, facts = Desk(lines(codes=Codes(taxes={"vat7": "txr_7"}))), known()
    desk.put([charged()], facts)
    [draft] = desk.due(facts)
    assert draft.unmet is not None
    assert "vat19" in draft.unmet


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-500, 500), st.sampled_from(["day", "again"])), max_size=30),
    st.sampled_from(["hour", "day", "period"]),
    st.booleans(),
)
def test_however_it_is_gathered_nothing_is_lost_and_nothing_doubled(
    given_charges: list[tuple[int, int, str]],
    grain: Grain,
    replaces: bool,  # noqa: FBT001 -- drawn by Hypothesis
) -> None:
    desk, facts = Desk(lines(grain, replaces=replaces)), known(now=datetime(2026, 5, 2, tzinfo=UTC))
    held: dict[str, Decimal] = {}
    total = ZERO
    for n, (hour, cents, then) in enumerate(given_charges):
        charge = at(charged(n, str(Decimal(cents) / 100), "0.00"), NOON + timedelta(hours=hour))
        total += charge.rounded
        desk.put([charge], facts)
        if then == "again":
            _hold(held, desk.due(facts), replaces=replaces)
    _hold(held, desk.due(facts), replaces=replaces)
    assert sum(held.values(), ZERO) == total


def _hold(held: dict[str, Decimal], drafts: list[Draft], *, replaces: bool) -> None:
    for draft in drafts:
        [item] = items([draft])
        assert replaces or draft.batch not in held
        held[draft.batch] = item.line.rounded
