"""What Square is sent, what its answers make of an item, and that its books come to what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from operator import methodcaller
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.export.contract import Absent, Barred, Delivered, Outcome, Refused, Retry, Uncertain
from meter.export.gather.documents import Documents
from meter.export.http import TIMEOUT_S, Answer
from meter.export.payload import Invoice, InvoiceLine
from meter.export.reconcile import Expected, Reconciliation, reconcile
from meter.export.targets.spec import Means, Setup
from meter.export.targets.square import SQUARE, faults_of, rules_of, shape_of
from meter.export.targets.square.exporter import SquareTarget
from meter.export.targets.square.held import mark_in, reason_of
from meter.export.targets.square.replies import outcome_of_answer
from meter.export.targets.square.wanted import (
    LINES_MAX,
    Rules,
    Wanted,
    invoice_body,
    is_taxable,
    minor,
    note_body,
    order_body,
    wanted_of,
)
from meter.model.errors import BadInput, Broken, Unavailable
from meter.sources.fields import Fields
from meter.sources.pos.square_own import is_own_number, is_own_order, is_own_refund
from meter.store.outbox import OutboxItem, revised
from tests.targets.cases.square import (
    CASE,
    DRAFTS,
    INCLUSIVE,
    VAT,
    customer_of,
    fake,
    invoice,
    item,
    line,
    open_unhurried,
    setup,
    taking_back,
)
from tests.targets.driving import Closing, delivered_through_faults
from tests.targets.fakes.square import LOCATION, FakeSquare
from tests.targets.fakes.square_rules import priced
from tests.targets.proxy import FaultProxy, Odds

RULES = Rules(location=LOCATION)
BATCH = "a" * 32


def wanted(what: Invoice, rules: Rules = RULES) -> Wanted:
    made = item(what)
    return wanted_of(made.batch, made.payload, what, rules)


def prices(body: dict[str, Any], name: str = "line_items", money: str = "base_price_money") -> list[tuple[str, int]]:
    return [(one["uid"].partition("-")[0], one[money]["amount"]) for one in body.get(name, [])]


# --- requests ---------------------------------------------------------------------------------------------------------


def test_an_order_leads_back_and_an_invoice_says_when_it_is_due() -> None:
    what = wanted(invoice(line("10.00"), line("2.50", tax=None, meter="visits", unit="visit")))
    body = order_body(what, RULES, taxed=True)
    assert (body["reference_id"], body["customer_id"]) == (what.invoice.number, customer_of(0))
    assert len(body["reference_id"]) <= 40
    assert body["metadata"]["meter_batch"] == what.batch
    assert body["metadata"]["account"] == "account-0"
    assert (body["metadata"]["charges"], body["metadata"]["first"]) == ("6", "2026-10-01T09:00:00Z")
    assert len(body["metadata"]) <= 10
    name = "Print pages, Berlin Mitte, 2026-10-01 to 2026-10-31: 34.5 pages, 4 covered by credit"
    assert body["line_items"][0]["name"] == name
    assert body["line_items"][0]["metadata"]["meter"] == "print-pages"
    assert [one["quantity"] for one in body["line_items"]] == ["1", "1"]
    bill = invoice_body(what, RULES, "order")
    assert bill["payment_requests"][0]["due_date"] == "2026-11-14"
    assert bill["title"] == "Invoice for 2026-10-01 to 2026-10-31"
    at_once = invoice_body(wanted(invoice(line("10.00"), advance=True)), RULES, "order")
    assert at_once["title"] == "Invoice of 2026-10-31"
    assert bill["invoice_number"] == what.invoice.number
    assert bill["accepted_payment_methods"] == {"card": True}
    json.dumps([body, bill])  # nothing but what JSON has


def test_a_tax_is_a_tax_of_the_order_or_a_line_of_its_own() -> None:
    what = wanted(invoice(line("10.00"), line("2.50", tax=None)))
    taxed, plain = (order_body(what, RULES, taxed=one) for one in (True, False))
    [tax] = taxed["taxes"]
    assert (tax["percentage"], tax["type"], tax["scope"]) == ("19", "ADDITIVE", "LINE_ITEM")
    assert taxed["line_items"][0]["applied_taxes"] == [{"tax_uid": tax["uid"]}]
    assert "applied_taxes" not in taxed["line_items"][1]
    assert "taxes" not in plain
    assert prices(plain) == [("line", 1000), ("line", 250), ("tax", 190)]
    assert plain["line_items"][2]["name"] == "vat19 19 %"


def test_an_inclusive_price_is_the_gross_or_net_and_tax() -> None:
    what = wanted(invoice(line("10.70", tax=INCLUSIVE)))
    assert what.total == 1070
    assert prices(order_body(what, RULES, taxed=True)) == [("line", 1070)]
    assert prices(order_body(what, RULES, taxed=False)) == [("line", 1000), ("tax", 70)]


def test_what_is_given_back_inside_is_a_discount() -> None:
    what = wanted(invoice(line("10.00"), line("-3.00"), line("-9.00", tax=INCLUSIVE)))
    assert not is_taxable(what, RULES)
    body = order_body(what, RULES, taxed=False)
    assert prices(body) == [("line", 1000), ("tax", 133)]
    assert prices(body, "discounts", "amount_money") == [("line", 300), ("line", 841), ("tax", 59)]
    assert {one["scope"] for one in body["discounts"]} == {"ORDER"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((line("10.00"),), True),
        ((line("10.00", tax=None),), False),
        ((line("10.00", tax=with_(VAT, rate=None)),), True),  # its tax is nothing, and so is its rate
        ((with_(line("10.00", tax=with_(VAT, rate=None)), tax_amount=Decimal(1)),), False),
        ((line("10.00", tax=with_(VAT, rate=Decimal("0.1234567891"))),), False),
        ((line("10.00"), line("-1.00")), False),
    ],
)
def test_square_is_asked_for_taxes_that_it_could_compute(*, lines: tuple[InvoiceLine, ...], expected: bool) -> None:
    what = wanted(invoice(*lines, line("5.00")) if expected else invoice(*lines))
    assert is_taxable(what, RULES) is expected
    assert not is_taxable(what, replace(RULES, taxes=False))


@pytest.mark.parametrize(
    ("currency", "amount", "units"), [("JPY", "1234", 1234), ("EUR", "12.34", 1234), ("KWD", "1.234", 1234)]
)
def test_amounts_are_whole_minor_units(currency: str, amount: str, units: int) -> None:
    assert minor(Decimal(amount), currency) == units
    what = wanted(invoice(line(amount, tax=None, currency=currency), currency=currency))
    money = order_body(what, RULES, taxed=False)["line_items"][0]["base_price_money"]
    assert money == {"amount": units, "currency": currency}
    with pytest.raises(BadInput, match="places"):
        minor(Decimal("1.23456"), currency)


def test_an_amount_never_has_an_exponent() -> None:
    assert minor(Decimal("1E+3"), "EUR") == 100_000


AMOUNTS = st.integers(-10_000, 10_000)
LINES = st.lists(st.tuples(AMOUNTS, st.sampled_from([None, VAT, INCLUSIVE]), st.integers(-2, 2)), min_size=1)


@given(lines=LINES, first=st.integers(0, 3), currency=st.sampled_from(["EUR", "JPY", "KWD"]))
def test_whatever_the_lines_an_order_comes_to_the_cent(lines: Any, first: int, currency: str) -> None:
    places = {"EUR": 2, "JPY": 0, "KWD": 3}[currency]
    made = [
        line(f"{Decimal(units).scaleb(-places):f}", tax=tax, odd=odd if tax else 0, currency=currency)
        for units, tax, odd in lines
    ]
    made.append(line(f"{Decimal(10_000_000 + first).scaleb(-places):f}", tax=None, currency=currency))
    what = wanted(invoice(*made, currency=currency))
    came = priced(order_body(what, RULES, taxed=False), lambda: "uid")
    assert came["total_money"] == {"amount": what.total, "currency": currency}


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(BadInput, match="period"):
        wanted(invoice(*[line()] * (LINES_MAX + 1)))


def test_a_refund_says_whose_it_is() -> None:
    what = wanted(invoice(line("-10.00"), credits="20261031-OLDER", number="N" * 21))
    reason = reason_of(what)
    assert len(reason) <= 192
    mark = mark_in({"reason": reason})
    assert mark == (what.batch, date(2026, 10, 31), 1, 190)
    assert mark_in({"reason": "by hand"}) is None
    assert is_own_refund(Fields({"reason": reason}))


@pytest.mark.parametrize("hidden", ["metadata", "source"])
def test_the_tills_source_knows_what_we_made(hidden: str) -> None:
    what = wanted(invoice(line("10.00")))
    assert is_own_number(invoice_body(what, RULES, "order")["invoice_number"])
    for body in (order_body(what, RULES, taxed=False), note_body(what, RULES, "order")):
        # Metadata is shown to the application that wrote it, the rest to all.
        assert is_own_order(Fields({name: value for name, value in body.items() if name != hidden}))


def answer(status: int, code: str = "", field: str = "", detail: str = "said so", **headers: str) -> Answer:
    errors = [{"category": "INVALID_REQUEST_ERROR", "code": code, "detail": detail, "field": field}]
    return Answer(status=status, headers=headers, body=json.dumps({"errors": errors}).encode())


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        (answer(400, "BAD_REQUEST"), Refused, "said so"),
        (answer(400, "INVALID_VALUE", "invoice.payment_requests[0].due_date"), Refused, "terms_days"),
        (answer(404, "NOT_FOUND", "invoice.primary_recipient.customer_id"), Refused, "accounts.*.square"),
        (answer(404, "NOT_FOUND", "order.location_id"), Refused, "company"),
        (answer(400, "CURRENCY_MISMATCH"), Refused, "another target"),
        (answer(401, "UNAUTHORIZED"), Barred, "api_key"),
        (answer(403, "INSUFFICIENT_SCOPES"), Barred, "ORDERS_WRITE"),
        (answer(403, "FORBIDDEN", "order.location_id"), Barred, "company"),
        (answer(403, "FORBIDDEN", "order"), Refused, "said so"),
        (answer(409, "CONFLICT"), Retry, "CONFLICT"),
        (answer(400, "IDEMPOTENCY_KEY_REUSED"), Uncertain, "REUSED"),
        (answer(500, "INTERNAL_SERVER_ERROR"), Uncertain, "500"),
        (Answer(status=200, headers={}, body=b"<html>"), Uncertain, "cannot be read"),
        (Answer(status=302, headers={}, body=b""), Refused, "base_url"),
        (Answer(status=502, headers={}, body=b"<html>"), Uncertain, "502"),
    ],
)
def test_an_answer_decides_what_becomes_of_an_item(given: Answer, expected: type[Outcome], said: str) -> None:
    outcome = outcome_of_answer(given)
    assert isinstance(outcome, expected)
    assert said in getattr(outcome, "reason", "")


def test_too_many_requests_say_when_to_come_again() -> None:
    outcome = outcome_of_answer(answer(429, "RATE_LIMITED", **{"retry-after": "7"}))
    assert outcome == Retry(outcome.reason, after_s=7.0, throttled=True)  # type: ignore[union-attr]
    reused = outcome_of_answer(answer(400, "IDEMPOTENCY_KEY_REUSED"))
    assert isinstance(reused, Uncertain)
    assert reused.answered


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_settings_are_looked_at() -> None:
    assert faults_of(setup(None)) == []
    assert "terms_days" in faults_of(setup(None, terms_days=-1))[0]
    assert "cash" in faults_of(setup(None, payments=["cash"]))[0]
    assert faults_of(setup(None, payments=[]))
    assert isinstance(shape_of(setup(None)), Documents)
    assert SQUARE.invoices(setup(None))
    rules = rules_of(setup(None, tax="lines", publish=True, refunds=True, delivery="SHARE_MANUALLY", payments=["card"]))
    assert rules == replace(RULES, taxes=False, publish=True, refunds=True, delivery="SHARE_MANUALLY")


# --- a vendor that keeps books ----------------------------------------------------------------------------------------


Make = Callable[..., SquareTarget]


@pytest.fixture
async def vendor() -> AsyncIterator[FakeSquare]:
    async with fake() as made:
        yield made


@pytest.fixture
def make(vendor: FakeSquare, means: Means, closing: Closing) -> Make:
    def made(*, url: str | None = None, **options: Any) -> SquareTarget:
        given: Setup = setup(url or vendor.url, **options)
        return closing(open_unhurried(given, means, timeout_s=TIMEOUT_S))

    return made


async def sent(target: SquareTarget, what: Invoice | OutboxItem) -> Outcome:
    [outcome] = await target.send([item(what) if isinstance(what, Invoice) else what])
    return outcome


async def found(target: SquareTarget, what: Invoice | OutboxItem) -> Any:
    [finding] = await target.look_up([item(what) if isinstance(what, Invoice) else what])
    return finding


def only(vendor: FakeSquare) -> dict[str, Any]:
    [one] = vendor.invoices.values()
    return one


async def test_a_draft_is_left_to_be_looked_at(vendor: FakeSquare, make: Make) -> None:
    target = make()
    assert isinstance(await found(target, invoice()), Absent)
    outcome = await sent(target, invoice())
    assert outcome == Delivered(only(vendor)["id"])
    assert only(vendor)["status"] == "DRAFT"
    assert await found(target, invoice()) == outcome
    assert await sent(target, invoice()) == outcome
    assert len(vendor.orders) == 1


async def test_what_is_published_is_to_be_paid(vendor: FakeSquare, make: Make) -> None:
    target = make(publish=True)
    outcome = await sent(target, invoice())
    assert only(vendor)["status"] == "UNPAID"
    vendor.pay(only(vendor)["id"])
    assert await found(target, invoice()) == outcome
    assert await sent(target, invoice()) == outcome


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("tax", [VAT, INCLUSIVE])
async def test_taxes_are_squares_where_they_come_to_ours(vendor: FakeSquare, make: Make, tax: Any, odd: int) -> None:
    what = invoice(line("10.05", tax=tax, odd=odd))
    assert isinstance(await sent(make(), what), Delivered)
    [order] = vendor.orders.values()
    assert bool(order.get("taxes")) is not bool(odd)
    assert order["total_money"]["amount"] == wanted(what).total
    assert [Decimal(net) + Decimal(tax) for net, tax in CASE.books(vendor).values()] == [what.net + what.tax_amount]


@pytest.mark.parametrize("step", ["/v2/orders", "/v2/invoices", "/publish"])
@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("forgotten", [True, False])
async def test_it_goes_on_where_it_was(
    *, vendor: FakeSquare, make: Make, step: str, committed: bool, forgotten: bool
) -> None:
    """Whichever answer is lost, and whether Square knows the key or not."""
    what = invoice(line(tax=None))
    async with FaultProxy(vendor) as proxy:
        target = make(url=proxy.url, publish=True)
        asked = 0

        def affected(method: str, path: str) -> bool:
            nonlocal asked
            hit = method == "POST" and path.endswith(step)
            asked += hit
            return hit and asked == 1

        proxy.odds = Odds(reset_after=1.0) if committed else Odds(error_before=1.0)
        proxy._affects = affected
        assert isinstance(await sent(target, what), Uncertain)
        proxy.odds = Odds()
        finding = await found(target, what)
        assert isinstance(finding, Delivered if committed and step == "/publish" else Absent)
        vendor.advance(hours=25 if forgotten else 0)
        again = make(publish=True)  # another process
        assert isinstance(await sent(again, what), Delivered)
    assert len(vendor.orders) == len(vendor.invoices) == 1
    assert only(vendor)["status"] == "UNPAID"


async def test_a_retry_reuses_what_is_there_and_replaces_what_is_other(vendor: FakeSquare, make: Make) -> None:
    target = make()
    vendor.customers.clear()
    outcome = await sent(target, invoice())
    assert isinstance(outcome, Refused)
    assert "accounts.*.square" in outcome.reason
    assert len(vendor.orders) == 1
    vendor.add_customer(customer_of(0))
    assert isinstance(await sent(target, revised(item(invoice()), 1)), Delivered)
    assert len(vendor.orders) == 1
    mended = item(invoice(line("11.00"), line("1.00")))
    assert isinstance(await sent(target, revised(mended, 2)), Delivered)
    assert CASE.books(vendor) == CASE.wanted([mended])
    assert [one["state"] for one in vendor.orders.values()] == ["CANCELED", "OPEN"]


async def test_an_open_order_of_other_content_is_cancelled(vendor: FakeSquare, make: Make) -> None:
    vendor.customers.clear()
    await sent(make(), invoice())
    vendor.add_customer(customer_of(0))
    assert isinstance(await sent(make(terms_days=30), revised(item(invoice()), 1)), Delivered)
    assert [one["state"] for one in vendor.orders.values()] == ["CANCELED", "OPEN"]
    assert only(vendor)["payment_requests"][0]["due_date"] == "2026-11-30"


async def test_other_settings_under_the_same_key_are_asked_about(vendor: FakeSquare, make: Make) -> None:
    vendor.customers.clear()
    await sent(make(), invoice())
    vendor.add_customer(customer_of(0))
    outcome = await sent(make(terms_days=30), invoice())
    assert isinstance(outcome, Uncertain)
    assert outcome.answered
    assert isinstance(await sent(make(terms_days=30), revised(item(invoice()), 1)), Delivered)
    assert len(CASE.books(vendor)) == 1


async def test_a_draft_that_somebody_changed_meanwhile_is_published_once(vendor: FakeSquare, make: Make) -> None:
    assert isinstance(await sent(make(), invoice()), Delivered)
    target = make(publish=True)
    send = target._api.write

    async def changing(call: str, **arguments: Any) -> Any:
        if call == "invoices.publish" and arguments["version"] == 0:
            vendor.by_hand(only(vendor)["id"], {"title": "by hand"})
        return await send(call, **arguments)

    target._api.write = changing  # type: ignore[method-assign]
    assert isinstance(await sent(target, invoice()), Delivered)
    assert only(vendor)["status"] == "UNPAID"
    assert len(vendor.calls("POST", "/publish")) == 2


async def test_a_number_that_is_taken_is_refused(vendor: FakeSquare, make: Make) -> None:
    assert isinstance(await sent(make(), invoice()), Delivered)
    outcome = await sent(make(), replace(item(invoice()), batch=BATCH, key="b" * 32))
    assert isinstance(outcome, Refused)
    assert "number" in outcome.reason


async def test_an_order_that_comes_to_something_else_is_withdrawn(
    vendor: FakeSquare, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter.export.targets.square.sender._comes_to", lambda *_: False)
    outcome = await sent(make(), invoice())
    assert isinstance(outcome, Refused)
    assert "options.tax" in outcome.reason
    assert vendor.books() == ()


async def test_an_item_of_another_kind_is_refused(make: Make) -> None:
    other = replace(item(invoice()), operation="charges", payload=b'{"charges":[]}')
    outcome = await sent(make(), other)
    assert isinstance(outcome, Refused)
    assert isinstance(await found(make(), other), Absent)
    with pytest.raises(Broken):
        make().figures(other)


async def test_an_account_without_the_permission_is_told(vendor: FakeSquare, make: Make) -> None:
    vendor.fail_next(401, committed=False, path="/v2/orders/search")
    outcome = await sent(make(), invoice())
    assert isinstance(outcome, Barred)
    assert "api_key" in outcome.reason
    assert "secret" not in outcome.reason
    vendor.fail_next(503, committed=False, path="/v2/orders/search")
    assert isinstance(await sent(make(), invoice()), Retry)
    vendor.fail_next(503, committed=False, path="/v2/orders/search")
    assert isinstance(await found(make(), invoice()), Uncertain)
    vendor.fail_next(429, committed=False, path="/v2/invoices")
    outcome = await sent(make(), invoice())
    assert isinstance(outcome, Retry)
    assert outcome.throttled


# --- what gives back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("publish", "left"), [(True, ["CANCELED"]), (False, [])])
async def test_all_of_an_unpaid_invoice_is_taken_back(
    *, vendor: FakeSquare, make: Make, publish: bool, left: list[str]
) -> None:
    target, sold = make(publish=publish), invoice()
    back = taking_back(sold, 2)
    await sent(target, sold)
    assert isinstance(await found(target, back), Absent)
    outcome = await sent(target, back)
    assert isinstance(outcome, Delivered)
    assert [one["status"] for one in vendor.invoices.values()] == left
    assert vendor.books() == ()
    for again in (sold, back):  # both are held: neither is sent again
        assert isinstance(await found(target, again), Delivered)
        assert isinstance(await sent(target, again), Delivered)
    assert vendor.books() == ()
    assert await found(target, back) == outcome


@pytest.mark.parametrize("step", ["/v2/orders", "/cancel", "/v2/orders/"])
@pytest.mark.parametrize("committed", [True, False])
async def test_taking_back_goes_on_where_it_was(*, vendor: FakeSquare, make: Make, step: str, committed: bool) -> None:
    target, sold = make(publish=True), invoice(line(tax=None))
    await sent(target, sold)
    vendor.fail_next(500, committed=committed, path="/v2/orders/ord" if step == "/v2/orders/" else step)
    if step == "/v2/orders":
        vendor._failures[0].path = "/v2/orders"
    outcome = await sent(target, taking_back(sold, 2))
    assert isinstance(outcome, Uncertain | Retry)
    finding = await found(target, taking_back(sold, 2))
    if isinstance(finding, Absent):
        assert isinstance(await sent(target, taking_back(sold, 2)), Delivered)
    assert [one["status"] for one in vendor.invoices.values()] == ["CANCELED"]
    assert len(vendor.orders) == 2


async def test_a_second_credit_does_not_pass_for_the_first(make: Make) -> None:
    target, sold = make(publish=True), invoice()
    await sent(target, sold)
    assert isinstance(await sent(target, taking_back(sold, 2)), Delivered)
    second = with_(taking_back(sold, 2), number="another")
    outcome = await sent(target, second)
    assert isinstance(outcome, Refused)
    assert "CANCELED" in outcome.reason
    assert isinstance(await found(target, second), Absent)


async def test_a_paid_invoice_is_refunded_where_that_is_allowed(vendor: FakeSquare, make: Make) -> None:
    sold = invoice(line("10.00"))
    back = item(invoice(line("-4.00"), part=2, credits=sold.number))
    await sent(make(publish=True), sold)
    vendor.pay(only(vendor)["id"])
    outcome = await sent(make(), back)
    assert isinstance(outcome, Refused)
    assert "options.refunds" in outcome.reason
    assert "4.76 EUR" in outcome.reason
    target = make(refunds=True)
    vendor.fail_next(500, committed=True, path="/v2/refunds")
    retried = revised(back, 1)
    assert isinstance(await sent(target, retried), Uncertain)
    outcome = await found(target, retried)
    assert isinstance(outcome, Delivered)
    vendor.advance(days=30)  # no key is known any more
    assert await sent(target, retried) == outcome
    [refund] = vendor.refunds.values()
    assert refund["amount_money"] == {"amount": 476, "currency": "EUR"}
    assert all(len(one.call.json()["idempotency_key"]) <= 45 for one in vendor.calls("POST", "/v2/refunds"))
    too_much = invoice(line("-9.00"), part=3, credits=sold.number)
    outcome = await sent(target, too_much)
    assert isinstance(outcome, Refused)
    assert "so much left" in outcome.reason


async def test_a_refund_that_failed_is_made_anew(vendor: FakeSquare, make: Make) -> None:
    sold = invoice(line("10.00"))
    back = item(invoice(line("-4.00"), part=2, credits=sold.number))
    target = make(publish=True, refunds=True)
    await sent(target, sold)
    vendor.pay(only(vendor)["id"])
    assert isinstance(await sent(target, back), Delivered)
    [refund] = vendor.refunds
    vendor.by_hand(refund, {"status": "FAILED"})
    assert isinstance(await found(target, back), Absent)
    assert isinstance(await sent(target, revised(back, 1)), Delivered)
    assert [one["status"] for one in vendor.refunds.values()] == ["FAILED", "PENDING"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"credits": None}, "nothing of what"), ({"credits": "20260101-OTHER"}, "no invoice"), ({}, "not all")],
)
async def test_what_square_cannot_give_back_is_refused_with_what_to_do(
    make: Make, changes: dict[str, Any], said: str
) -> None:
    sold = invoice(line("10.00"))
    await sent(make(publish=True), sold)
    back = invoice(line("-4.00"), part=2, **{"credits": sold.number, **changes})
    outcome = await sent(make(refunds=True), back)
    assert isinstance(outcome, Refused)
    assert said in outcome.reason
    assert "by hand" in outcome.reason
    assert isinstance(await found(make(), back), Absent)


# --- checking and reconciling -----------------------------------------------------------------------------------------


async def test_checking_reads_the_location(vendor: FakeSquare, make: Make) -> None:
    await make().check()
    assert [one.call.path for one in vendor.requests] == [f"/v2/locations/{LOCATION}"]
    vendor.fail_next(401, committed=False, path="/v2/locations")
    with pytest.raises(BadInput, match="api_key"):
        await make().check()
    vendor.fail_next(503, committed=False, path="/v2/locations")
    with pytest.raises(Unavailable):
        await make().check()
    vendor.locations[LOCATION] = "INACTIVE"
    with pytest.raises(BadInput, match="inactive"):
        await make().check()
    vendor.locations.clear()
    with pytest.raises(BadInput, match="company"):
        await make().check()
    with pytest.raises(Unavailable):
        await make(url="http://127.0.0.1:9").check()


async def reconciled(target: SquareTarget, made: list[OutboxItem]) -> Reconciliation:
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(made)]
    known = frozenset(one.batch for one in made)
    return await reconcile(target, expected, known, since=date(2026, 10, 1), until=date(2026, 11, 1))


async def test_what_a_person_changes_shows_when_reconciling(vendor: FakeSquare, make: Make) -> None:
    target = make(publish=True, refunds=True)
    back = taking_back(invoice(customer=3), 2)
    refund = invoice(line("-2.00"), customer=4, part=2, credits=invoice(customer=4).number)
    made = [item(invoice(customer=number)) for number in range(5)] + [item(back), item(refund)]
    await target.send(made[:5])
    by_batch = {one["metadata"]["meter_batch"]: one for one in vendor.orders.values()}
    invoices = {one["order_id"]: one["id"] for one in vendor.invoices.values()}
    orders = [by_batch[one.batch] for one in made[:5]]
    vendor.pay(invoices[orders[4]["id"]])
    assert [type(one) for one in await target.send(made[5:])] == [Delivered, Delivered]
    assert (await reconciled(target, made)).discrepancies == ()

    vendor.by_hand(orders[0]["id"], {"total_money": {"amount": 1200, "currency": "EUR"}})
    vendor.by_hand(invoices[orders[1]["id"]], {"status": "CANCELED"})
    vendor.by_hand(orders[1]["id"], {"state": "CANCELED"})
    vendor.by_hand(invoices[orders[2]["id"]], None)
    vendor.by_hand(orders[2]["id"], {"state": "CANCELED"})
    told = {(one.fault, one.delivery) for one in (await reconciled(target, made)).discrepancies}
    assert told == {("changed", 0), ("void", 1), ("missing", 2)}
    elsewhen = await reconcile(target, [], frozenset(), since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert elsewhen.discrepancies == ()
    stray = await reconcile(target, [], frozenset(), since=date(2026, 10, 1), until=date(2026, 11, 1))
    assert {one.fault for one in stray.discrepancies} == {"extra"}


async def test_what_is_sold_at_the_till_is_not_ours(vendor: FakeSquare, make: Make) -> None:
    target = make()
    await target.send([item(invoice(customer=n % 5, part=n + 1)) for n in range(45)])  # more than two pages of orders
    vendor.orders["till"] = {**next(iter(vendor.orders.values())), "id": "till", "source": {"name": "Square POS"}}
    held = [one async for one in target.holdings(date(2026, 10, 31), date(2026, 11, 1))]
    assert len(held) == 45
    vendor.fail_next(503, committed=False, path="/v2/invoices/search")
    with pytest.raises(Unavailable):
        [one async for one in target.holdings(date(2026, 10, 31), date(2026, 11, 1))]


# --- a network that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "seed", "kept"), [(CASE, 1, timedelta(hours=24)), (DRAFTS, 2, timedelta(0))], ids=["published", "drafts"]
)
async def test_through_a_network_that_fails_each_is_held_once(
    means: Means, case: Any, seed: int, kept: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Square knows a key for a day or not at all."""
    monkeypatch.setattr(FakeSquare, "keys_kept", kept)
    odds = Odds(
        too_many=0.02, error_before=0.02, error_after=0.03, hang_after=0.002, reset_before=0.02, reset_after=0.03
    )
    later = methodcaller("advance", hours=25)
    async with delivered_through_faults(case, means, seed=seed, later=later, odds=odds) as (vendor, made):
        target = open_unhurried(case.setup(vendor.url), means)
        held = await reconciled(target, made)
        await target.close()
        assert held.discrepancies == ()
