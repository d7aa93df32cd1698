"""What booking systems are sent, what their answers make of an item, and that they hold each charge once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace as with_
from structlog.testing import capture_logs

from meter.export.contract import Absent, Barred, Delivered, Finding, Outcome, Refused, Retry, Uncertain, Untried
from meter.export.gather.gatherer import items_from
from meter.export.gather.lines import Lines
from meter.export.http import Answer
from meter.export.reconcile import Expected, reconcile
from meter.export.targets.books import batch_in
from meter.export.targets.spaces import target as spaces_target
from meter.export.targets.spaces.charges import TEXT_CHARS_MAX, Vendor
from meter.export.targets.spaces.cobot import Cobot
from meter.export.targets.spaces.nexudus import Nexudus
from meter.export.targets.spaces.officernd import OfficeRnD
from meter.export.targets.spaces.settings import rules_of
from meter.export.targets.spaces.target import SpacesTarget
from meter.export.targets.spec import Means
from meter.model.errors import BadInput, Unavailable
from meter.model.period import DaySpan
from meter.rating.calendar import DEPOSIT
from meter.store.engine import decode_json, encode_json
from tests.booked import OPERATOR, a_charge, a_line
from tests.export.clocks import VirtualClock
from tests.export.gathering import Desk, account, customers, known
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import (
    BERLIN,
    CASES,
    COBOT_CASE,
    ELSEWHERE,
    INCLUSIVE,
    KINDS,
    NEXUDUS_CASE,
    NO_RATE,
    OFFICERND_CASE,
    PRODUCT,
    VAT,
    content,
    customer,
    item,
    line,
    open_unhurried,
    setup_of,
)
from tests.targets.driving import delivered_through_faults, one
from tests.targets.fakes.http import Answer as FakeAnswer
from tests.targets.fakes.http import Call
from tests.targets.fakes.spaces import FakeNexudus, FakeOfficeRnD

Make: TypeAlias = Callable[..., Awaitable[tuple[Any, SpacesTarget]]]
BATCH = "k" * 32
BOTH = [COBOT_CASE, OFFICERND_CASE, NEXUDUS_CASE]
by_kind = pytest.mark.parametrize("case", BOTH, ids=lambda case: case.kind)
NO_TAX_RATE = with_(VAT, rate=None)


def vendor_of(kind: str, **options: Any) -> Vendor:
    rules = rules_of(setup_of(kind, None, **options))
    businesses = {"berlin": BERLIN, "*": ELSEWHERE}
    match kind:
        case "cobot":
            return Cobot(rules=rules)
        case "officernd":
            return OfficeRnD(rules=rules, slug="north", locations=businesses)
        case _:
            return Nexudus(rules=rules, businesses=businesses, taxes_named=True, untaxed=NO_RATE)


def sent(vendor: Vendor, what: Any) -> Any:
    """The body as it leaves, numbers exact."""
    return decode_json(encode_json(vendor.post(what, BATCH).body))


@pytest.fixture
async def make(means: Means) -> AsyncIterator[Make]:
    """Open a case's fake and its target."""
    async with AsyncExitStack() as stack:

        async def made(
            case: TargetCase, fake: Any = None, clock: Any = None, **options: Any
        ) -> tuple[Any, SpacesTarget]:
            vendor = await stack.enter_async_context(fake or case.fake())
            target = open_unhurried(setup_of(case.kind, options.pop("url", vendor.url), **options), means, clock)
            stack.push_async_callback(target.close)
            return vendor, target

        yield made


# --- requests ---------------------------------------------------------------------------------------------------------


def test_cobot_adds_the_tax_by_the_lines_rate() -> None:
    post = vendor_of("cobot").post(content(line(item="8400")), BATCH)
    assert post.path == "/api/memberships/1000/charges"
    assert post.body == {
        "description": f"Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit [meter:{BATCH}]",
        "amount": "10",
        "quantity": "1.0",
        "tax_rate": "19",
        "charged_at": "2026/11/02",
        "accounting_code": "8400",
    }


@pytest.mark.parametrize(
    ("given", "amount", "rate"),
    [
        (line("10.55"), "10.55", "19"),
        (line("10.55", tax=None), "10.55", "0.0"),  # without it the space's own rate would be added
        (line("10.55", tax=INCLUSIVE), "10.55", "19"),
        (line("-10.55"), "-10.55", "19"),
        (line("1E+3", tax=with_(VAT, rate=Decimal("0.077"))), "1000", "7.7"),
    ],
)
def test_cobot_gets_net_amounts(given: Any, amount: str, rate: str) -> None:
    body = sent(vendor_of("cobot"), content(given))
    assert (body["amount"], body["tax_rate"]) == (amount, rate)
    assert "accounting_code" not in body


def test_cobot_is_not_sent_a_tax_without_a_rate() -> None:
    with pytest.raises(BadInput, match="has no rate"):
        vendor_of("cobot").post(content(line(tax=NO_TAX_RATE)), BATCH)


def test_a_line_of_a_period_is_dated_by_its_last_event() -> None:
    last, november = datetime(2026, 11, 28, 23, tzinfo=UTC), DaySpan(date(2026, 11, 1), date(2026, 11, 30))
    given = content(with_(line(), days=november, day=date(2026, 11, 29), last=last))
    assert sent(vendor_of("cobot"), given)["charged_at"] == "2026/11/29"  # the account's day, not that of UTC
    assert sent(vendor_of("officernd"), given)["issueDate"] == "2026-11-28T23:00:00Z"


def test_officernd_gets_a_price_and_an_instant() -> None:
    post = vendor_of("officernd").post(content(line(item="plan-1")), BATCH)
    assert post.path == "/api/v2/organizations/north/fees"
    assert post.body == {
        "name": f"Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit [meter:{BATCH}]",
        "price": Decimal("10.00"),
        "quantity": 1,
        "issueDate": "2026-11-02T17:00:00Z",
        "location": BERLIN,
        "company": customer(0),
        "plan": "plan-1",
    }


@pytest.mark.parametrize("net", ["0.1", "0.30", "1E+3", "12345678901234.56", "-19.99"])
@pytest.mark.parametrize("kind", ["officernd", "nexudus"])
def test_a_price_is_a_number_digit_for_digit(kind: str, net: str) -> None:
    text = encode_json(vendor_of(kind).post(content(line(net)), BATCH).body)
    name = "price" if kind == "officernd" else "TotalAmount"
    assert f'"{name}":{Decimal(net):f},' in text


@pytest.mark.parametrize(
    ("given", "whose", "personal"),
    [
        ("5f3c", "company", None),
        ("company:5f3c", "company", None),
        ("member:5f3c", "member", True),  # else the member's company would be billed
    ],
)
def test_an_officernd_customer_is_a_company_or_a_member(given: str, whose: str, personal: Any) -> None:
    body = sent(vendor_of("officernd"), content(line(), customer=given))
    assert (body[whose], body.get("isPersonal")) == ("5f3c", personal)


def test_officernd_keeps_the_reference_where_it_is_told_to() -> None:
    sourced = OfficeRnD(rules=vendor_of("officernd").rules, slug="north", locations={"*": "1"}, sourced=True)
    body = sent(sourced, content(line()))
    assert "meter:" not in body["name"]
    assert body["source"] == f"[meter:{BATCH}]"


def test_a_deposit_can_be_refunded_at_officernd() -> None:
    assert sent(vendor_of("officernd"), content(line(meter=DEPOSIT, tax=None)))["refundable"] is True
    assert "refundable" not in sent(vendor_of("officernd"), content(line()))


def test_nexudus_gets_a_charge_with_its_tax_rate() -> None:
    vendor = Nexudus(
        rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=True, financial_accounts={"*": "9"}
    )
    post = vendor.post(content(line()), BATCH)
    assert post.path == "/api/billing/charges"
    said = "Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by credit"
    assert post.body == {
        "CoworkerId": 1000,
        "BusinessId": 101,
        "Quantity": 1,
        "DiscountAmount": 0,
        "CreditAmount": 0,
        "SaleDate": "2026-11-02T17:00:00Z",
        "TotalAmount": Decimal("10.00"),
        "Description": f"{said} [meter:{BATCH}]",
        "InvoiceLineDisplayAs": said,
        "RegularCharge": False,
        "TaxRateId": 201,
        "FinancialAccountId": 9,
    }


def test_nexudus_may_sell_a_product_instead() -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, entity="coworkerproducts")
    post = vendor.post(content(line(item=PRODUCT)), BATCH)
    assert post.path == "/api/billing/coworkerproducts"
    assert (post.body["ProductId"], post.body["Price"], post.body["InvoiceThisCoworker"]) == (301, Decimal(10), False)
    assert batch_in(post.body["Notes"]) == BATCH
    assert not {"TaxRateId", "TotalAmount", "Description"} & post.body.keys()


@pytest.mark.parametrize(
    ("named", "untaxed", "given", "found"),
    [
        (True, NO_RATE, line(tax=None), 202),
        (True, NO_RATE, line(), 201),
        (False, None, line(tax=with_(VAT, code=None)), None),
        (False, None, line(tax=None), None),
    ],
)
def test_nexudus_adds_the_rate_that_is_named(named: Any, untaxed: str | None, given: Any, found: int | None) -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=named, untaxed=untaxed)
    assert vendor.post(content(given), BATCH).body.get("TaxRateId") == found


def test_nexudus_is_not_left_to_tax_what_has_no_tax() -> None:
    vendor = Nexudus(rules=vendor_of("nexudus").rules, businesses={"*": BERLIN}, taxes_named=True)
    with pytest.raises(BadInput, match="0 % as 'none'"):
        vendor.post(content(line(tax=None)), BATCH)


@pytest.mark.parametrize("kind", ["officernd", "nexudus"])
def test_prices_with_tax_are_sent_where_the_vendor_takes_them_so(kind: str) -> None:
    for given in (line("10.00"), line("10.00", tax=INCLUSIVE)):
        body = sent(vendor_of(kind, prices="gross"), content(given))
        assert body.get("price", body.get("TotalAmount")) == Decimal("11.90")


@pytest.mark.parametrize(("kind", "option"), [("officernd", "options.locations"), ("nexudus", "options.businesses")])
def test_a_site_that_nothing_names_is_said(kind: str, option: str) -> None:
    rules = vendor_of(kind).rules
    only = {"hamburg": "1"}
    vendor: Vendor = (
        OfficeRnD(rules=rules, slug="n", locations=only)
        if kind == "officernd"
        else Nexudus(rules=rules, businesses=only)
    )
    with pytest.raises(BadInput, match=option):
        vendor.post(content(line()), BATCH)


def test_nexudus_ids_are_numbers() -> None:
    with pytest.raises(BadInput, match="digits only"):
        vendor_of("nexudus").post(content(line(), customer="cow-1"), BATCH)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_keeps_the_name_of_the_batch(kind: str) -> None:
    body = sent(vendor_of(kind), content(line(name="x" * 400)))
    text = body.get("description") or body.get("name") or body.get("Description")
    assert len(text) == TEXT_CHARS_MAX
    assert batch_in(text) == BATCH


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"currency": "USD"}, "options.currency"),
        ({"customer": "../../admin"}, "no id of"),
        ({"customer": ""}, "no id of"),
        ({"line": line("-1.00")}, "credit it there by hand"),
    ],
)
def test_what_no_charge_can_say_is_refused_with_what_to_do(kind: str, changes: dict[str, Any], words: str) -> None:
    vendor = vendor_of(kind, credits="refuse")
    vendor.checked(content(line()))
    with pytest.raises(BadInput, match=words):
        vendor.checked(with_(content(line()), **changes))


@pytest.mark.parametrize(("kind", "default"), [("cobot", True), ("officernd", False), ("nexudus", False)])
def test_credits_are_sent_by_default_where_the_vendor_documents_them(kind: str, default: Any) -> None:
    assert (KINDS[kind].options["credits"].default == "send") is default
    vendor_of(kind, credits="send").checked(content(line("-1.00")))


@pytest.mark.parametrize(
    ("given", "gross", "tax"),
    [
        (line("10.03"), False, "1.91"),
        (line("10.03"), True, "1.91"),
        (line("10.03", tax=None), False, "0"),
        (line("10.03", tax=NO_TAX_RATE), False, None),
    ],
)
def test_the_tax_that_a_vendor_will_compute(given: Any, gross: Any, tax: str | None) -> None:
    vendor = vendor_of("nexudus", prices="gross" if gross else "net")
    assert vendor.tax(given) == (None if tax is None else Decimal(tax))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    [
        ("cobot", {"currency": ""}, "options.currency"),
        ("cobot", {"items": {"print-pages": 8400}}, "options.items"),
        ("officernd", {"locations": {}}, "options.locations"),
        ("nexudus", {"businesses": {}}, "options.businesses"),
        ("nexudus", {"businesses": {"*": "b1"}}, "digits only"),
        ("nexudus", {"entity": "products", "items": {}}, "options.items"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named(kind: str, changes: dict[str, Any], fault: str) -> None:
    assert KINDS[kind].faults(setup_of(kind, None)) == []
    [told] = KINDS[kind].faults(setup_of(kind, None, **changes))
    assert fault in told


def test_a_company_is_a_name_in_an_address() -> None:
    assert "company" in KINDS["cobot"].faults(replace(setup_of("cobot", None), company="evil.example/"))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_added_to_and_never_replaced(kind: str) -> None:
    shape = KINDS[kind].shape(setup_of(kind, None))
    assert isinstance(shape, Lines)
    assert not shape.replaces
    assert KINDS[kind].invoices(setup_of(kind, None))
    assert KINDS[kind].grains[0] == "day"


async def test_what_was_booked_is_charged_a_day_at_a_time_and_what_is_late_beside_it(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    given = replace(setup_of("cobot", None), customers=customers("space", "cobot"))
    desk, facts = Desk(KINDS["cobot"].shape(given)), known(account(cobot=customer(0)))
    charges = [a_charge(a_line(number), rounded=Decimal("0.50")) for number in range(3)]
    desk.put(charges[:2], facts)
    early = desk.due(facts)
    desk.put(charges[2:], facts)
    late = desk.due(facts)
    made = items_from([*early, *late], operator=OPERATOR, target="space")
    assert [one.unmet for one in [*early, *late]] == [None, None]
    assert len({one.batch for one in made}) == 2
    assert [type(one) for one in await target.send(made)] == [Delivered, Delivered]
    assert [one.amount for one in vendor.books()] == [Decimal("1.00"), Decimal("0.50")]


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_shows_its_secret(kind: str) -> None:
    assert "'secret'" not in repr(setup_of(kind, None))
    assert "'key'" not in repr(setup_of(kind, None))


# --- answers ----------------------------------------------------------------------------------------------------------


REFUSED_BY_NEXUDUS = {
    "Status": 500,
    "Message": "CoworkerId: is not found",
    "Value": None,
    "WasSuccessful": False,
    "Errors": [{"AttemptedValue": "ada@example.com", "Message": "is not found", "PropertyName": "CoworkerId"}],
}


@pytest.mark.parametrize(
    ("kind", "status", "answered", "outcome", "words"),
    [
        ("cobot", 422, {"errors": {"amount": ["is not a number"]}}, Refused, "is not a number"),
        ("cobot", 401, {}, Barred, "check api_key"),
        ("cobot", 403, {}, Barred, "write_charges"),
        ("cobot", 404, {}, Refused, "accounts.*.cobot"),
        ("cobot", 201, {}, Uncertain, "nothing of what it has made"),
        ("cobot", 302, {}, Refused, "base_url"),
        ("cobot", 429, {}, Retry, "429"),
        ("cobot", 409, {}, Retry, "409"),
        ("cobot", 503, {}, Uncertain, "503"),
        ("officernd", 400, {"message": "price must be a number"}, Refused, "price must be a number"),
        ("officernd", 401, {}, Barred, "flex.community.fees.create and flex.community.fees.read"),
        ("officernd", 404, {}, Refused, "slug"),
        ("officernd", 200, [], Uncertain, "nothing of what it has made"),
        ("officernd", 500, {}, Uncertain, "500"),
        ("nexudus", 200, REFUSED_BY_NEXUDUS, Refused, "CoworkerId: is not found"),
        ("nexudus", 400, REFUSED_BY_NEXUDUS, Refused, "CoworkerId: is not found"),
        ("nexudus", 200, {"WasSuccessful": False, "Status": 503, "Message": "Later"}, Retry, "Later"),
        ("nexudus", 200, {"WasSuccessful": True, "Value": None}, Uncertain, "nothing of what it has made"),
        ("nexudus", 409, {}, Retry, "too often"),
        ("nexudus", 401, {}, Barred, "two-factor"),
        ("nexudus", 403, {}, Barred, "the roles"),
        ("nexudus", 403, {"WasSuccessful": False, "Message": "Not yours"}, Refused, "Not yours"),
        ("nexudus", 500, REFUSED_BY_NEXUDUS, Uncertain, "500"),
    ],
)
def test_what_an_answer_makes_of_an_item(
    kind: str, status: int, answered: Any, outcome: type[Outcome], words: str
) -> None:
    vendor = vendor_of(kind)
    assert vendor.id_of(answered) is None
    made = vendor.outcome(Answer(status=status, headers={"retry-after": "7"}, body=json.dumps(answered).encode()))
    assert isinstance(made, outcome)
    assert not isinstance(made, Delivered | Untried)
    assert words in made.reason
    if isinstance(made, Retry):
        assert made.throttled is ("too often" in words or status == 429)
        assert made.after_s == 7
    if answered is REFUSED_BY_NEXUDUS and isinstance(made, Refused):
        assert "ada@" not in made.reason


# --- with a stateful vendor -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
async def test_a_charge_is_held_as_it_was_sent(make: Make, means: Means, name: str) -> None:
    case = CASES[name]
    made = case.items(30, 3)
    async with case.fake() as vendor:
        target = case.open(case.setup(vendor.url), means)
        outcomes = await target.send(made)
        held = {one.id: one for one in vendor.books()}
        assert [held[one.remote_id or ""].customer for one in outcomes if isinstance(one, Delivered)] == [
            customer(int(one.stream.removeprefix("account-"))) for one in made
        ]
        assert case.books(vendor) == case.wanted(made)
        assert list(await target.look_up(made)) == list(outcomes)
        await target.close()


async def test_cobot_computes_our_tax(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    await target.send([item(content(line("10.03"))), item(content(line("10.03", tax=None)), "other")])
    assert [round(one.tax, 2) for one in vendor.books()] == [Decimal("1.91"), 0]


async def test_where_the_vendors_tax_will_be_another_it_is_said(make: Make) -> None:
    _, target = await make(COBOT_CASE)
    odd = with_(line("10.03"), tax_amount=Decimal("1.92"))
    with capture_logs() as logs:
        await target.send([item(content(odd)), item(content(line("10.03"), number=1), "other")])
    [said] = [one for one in logs if one["event"] == "charge_tax_differs"]
    assert (said["ours"], said["theirs"]) == ("1.92", "1.91")


@by_kind
async def test_a_lost_answer_is_found_on_the_list(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(3, 1)
    assert [type(one) for one in await target.look_up(made)] == [Absent] * 3
    vendor.fail_next(500, committed=True, path="/")
    assert isinstance(await one(target.send(made[:1])), Uncertain)
    [held] = vendor.books()
    found: list[Finding] = [*await target.look_up(made)]
    assert found == [Delivered(held.id), Absent(), Absent()]


@by_kind
async def test_what_was_billed_meanwhile_is_found_all_the_same(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(1, 1)
    await target.send(made)
    vendor.invoice_all()
    assert isinstance(await one(target.look_up(made)), Delivered)


@by_kind
async def test_a_list_that_does_not_answer_says_nothing(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(1, 1)
    await target.check()
    vendor.fail_next(503, committed=False, path="/")
    assert isinstance(await one(target.look_up(made)), Uncertain)
    vendor.fail_next(429, committed=False, path="/")
    assert isinstance(await one(target.look_up(made)), Untried)


async def test_a_member_that_is_gone_is_looked_for_on_the_spaces_list(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    made = item(content(line()))
    await target.send([made])
    vendor.members.clear()
    assert isinstance(await one(target.look_up([made])), Delivered)
    outcome = await one(target.send([item(content(line()), "other")]))
    assert isinstance(outcome, Refused)
    assert "membership is not there" in outcome.reason


class Deaf(FakeOfficeRnD):
    """Its list knows a member and a company by other names: who asks by these gets nothing."""

    def _list(self, call: Call) -> FakeAnswer:
        return FakeAnswer(content={"results": []}) if "company" in dict(call.query) else super()._list(call)


async def test_an_empty_answer_to_a_filter_is_no_answer(make: Make) -> None:
    async with Deaf() as fake:
        fake.members.add(customer(0))
        _, target = await make(OFFICERND_CASE, OFFICERND_CASE.fake(), url=fake.url)
        made = item(content(line()))
        await target.send([made])
        assert isinstance(await one(target.look_up([made])), Delivered)


async def test_lists_are_read_page_by_page(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, target = await make(OFFICERND_CASE)
    made = [item(content(line(day=date(2026, 11, 3))), f"batch-{number}") for number in range(120)]
    await target.send(made)
    assert isinstance(await one(target.look_up(made[-1:])), Delivered)
    held = [one.batch async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    assert sorted(held) == sorted(one.batch for one in made)
    assert len(vendor.calls("GET", "/fees")) == 6
    monkeypatch.setattr(spaces_target, "PAGES_MAX", 2)
    finding = await one(target.look_up([item(content(line(day=date(2026, 11, 3))), "not there")]))
    assert isinstance(finding, Uncertain)
    assert "more than 2 pages" in finding.reason
    with pytest.raises(Unavailable, match="more than 2 pages"):
        _ = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]


class Busy(FakeNexudus):
    """Asked too often, but for a token."""

    def _create(self, _call: Call) -> FakeAnswer:
        return FakeAnswer(status=409, headers={"Retry-After": "60"})


async def test_nexudus_says_409_where_others_say_429(make: Make) -> None:
    clock = VirtualClock()
    vendor, target = await make(NEXUDUS_CASE, Busy(), clock)
    made = NEXUDUS_CASE.items(2, 1)
    outcome = (await target.send(made))[0]
    assert outcome == Retry("Nexudus was asked too often", after_s=60.0, throttled=True)
    asked = len(vendor.requests)
    assert isinstance(await one(target.look_up(made[:1])), Untried)
    assert len(vendor.requests) == asked
    clock.moment_s += 61
    assert isinstance(await one(target.look_up(made[:1])), Absent)


async def test_two_charges_of_one_batch_are_told_and_counted(make: Make) -> None:
    _, target = await make(COBOT_CASE)
    made = item(content(line()))
    await target.send([made])
    await target.send([made])  # as nothing here would
    with capture_logs() as logs:
        assert isinstance(await one(target.look_up([made])), Delivered)
    assert [one["charges"] for one in logs if one["event"] == "charged_twice"]
    expected = [Expected(delivery=1, item=made, figures=target.figures(made))]
    found = await reconcile(target, expected, frozenset({made.batch}), since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert [one.fault for one in found.discrepancies] == ["changed"]


@by_kind
async def test_an_item_of_another_kind_is_refused(make: Make, case: TargetCase) -> None:
    _, target = await make(case)
    foreign = replace(item(content(line())), operation="charges", payload=b'{"charges":[]}')
    outcome = await one(target.send([foreign]))
    assert isinstance(outcome, Refused)
    assert "check the target's mode" in outcome.reason
    assert isinstance(await one(target.look_up([foreign])), Absent)


@by_kind
async def test_checking_reads_a_list(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    await target.check()
    assert not [one for one in vendor.requests if one.call.method == "POST" and "token" not in one.call.path]
    vendor.fail_next(403, committed=False, path="/")
    with pytest.raises(BadInput, match=r"check (api_key|client_id)"):
        await target.check()
    vendor.fail_next(503, committed=False, path="/")
    with pytest.raises(Unavailable):
        await target.check()


@by_kind
async def test_nobody_there_is_unavailable_and_nothing_was_sent(make: Make, case: TargetCase) -> None:
    _, target = await make(case, url="http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await target.check()
    assert isinstance(await one(target.send(case.items(1, 1))), Retry)


@pytest.mark.parametrize("case", [OFFICERND_CASE, NEXUDUS_CASE], ids=lambda case: case.kind)
async def test_a_token_that_ends_loses_nothing(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(3, 1)
    assert isinstance(await one(target.send(made[:1])), Delivered)
    vendor.advance(days=8)
    assert isinstance(await one(target.send(made[1:2])), Delivered)
    assert len(vendor.calls("POST", "/token")) == 2


@pytest.mark.parametrize(
    ("case", "form"),
    [
        (
            OFFICERND_CASE,
            {
                "grant_type": "client_credentials",
                "client_id": "client",
                "client_secret": "secret",
                "scope": "flex.community.fees.create flex.community.fees.read",
            },
        ),
        (NEXUDUS_CASE, {"grant_type": "password", "username": "client", "password": "secret"}),
    ],
    ids=lambda one: one.kind if isinstance(one, TargetCase) else "",
)
async def test_credentials_go_where_the_vendor_reads_them(make: Make, case: TargetCase, form: dict[str, str]) -> None:
    vendor, target = await make(case)
    await target.check()
    [asked] = vendor.calls("POST", "/token")
    assert {name: values[0] for name, values in parse_qs(asked.call.body.decode()).items()} == form
    assert "authorization" not in asked.call.headers


async def test_a_wrong_password_is_said_without_it(make: Make) -> None:
    vendor, target = await make(NEXUDUS_CASE)
    vendor.password = "another"
    with pytest.raises(BadInput, match="check client_id and client_secret") as raised:
        await target.check()
    assert "secret'" not in str(raised.value)
    outcome = await one(target.send(NEXUDUS_CASE.items(1, 1)))
    assert isinstance(outcome, Barred)
    assert "check client_id" in outcome.reason


@by_kind
async def test_what_a_person_changes_shows_when_reconciling(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = [item(content(line(item=PRODUCT), number=number), f"batch-{number}") for number in range(4)]
    await target.send(made)
    ids = [one.id for one in vendor.books()]
    field = {"cobot": "amount", "officernd": "price", "nexudus": "TotalAmount"}[case.kind]
    vendor.by_hand(ids[1], {field: Decimal("11.00") if field != "amount" else "11.00"})
    vendor.by_hand(ids[2], None)
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(made)]
    known = frozenset(one.batch for one in made[:3])
    found = await reconcile(target, expected[:3], known, since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert {(one.fault, one.delivery) for one in found.discrepancies} == {
        ("changed", 1),
        ("missing", 2),
        ("extra", None),
    }
    elsewhen = await reconcile(target, [], known, since=date(2026, 12, 1), until=date(2027, 1, 1))
    assert elsewhen.discrepancies == ()


async def test_a_fee_that_was_waived_counts_no_more(make: Make) -> None:
    vendor, target = await make(OFFICERND_CASE)
    await target.send([item(content(line()))])
    [held] = vendor.books()
    vendor.by_hand(held.id, {"invoice": {"status": "waived"}})
    [shown] = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    assert shown.void


@pytest.mark.parametrize("name", CASES)
async def test_through_a_network_that_fails_each_is_held_once(means: Means, name: str) -> None:
    def later(vendor: Any) -> None:
        vendor.invoice_all()
        vendor.advance(days=8)  # tokens end

    async with delivered_through_faults(CASES[name], means, seed=1, later=later) as (vendor, made):
        assert len(vendor.books()) == len(made)
