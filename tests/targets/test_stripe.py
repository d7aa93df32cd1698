"""Stripe's books against what was sent, through a real lane, also when the network fails and time passes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace as with_
from sqlalchemy import text

from meter.export import limiter
from meter.export.contract import Absent, Delivered, Figures, Refused, Retry, Uncertain
from meter.export.http import Ends
from meter.export.payload import LineItem, thawed
from meter.export.targets.stripe import exporter
from meter.export.targets.stripe.api import Api
from meter.export.targets.stripe.exporter import StripeTarget
from meter.model.errors import BadInput
from meter.store.engine import Database
from meter.store.outbox import OutboxItem, next_revisions, revised
from tests.targets.cases.stripe import CASE, OCTOBER, TAXES, content, item, line, notice, setup
from tests.targets.contents import NOVEMBER
from tests.targets.driving import DrivenLane, driven
from tests.targets.fakes.stripe import FakeStripe
from tests.targets.proxy import FaultProxy, Odds


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a rate: what is asked too often is what the proxy says."""
    unlimited = replace(exporter.LIMITS, rate_per_s=None, endpoint_rate_per_s=None, settles_s=0.0)
    monkeypatch.setattr(exporter, "LIMITS", unlimited)
    monkeypatch.setattr(exporter, "SANDBOX_LIMITS", unlimited)
    monkeypatch.setattr(limiter, "PAUSE_FIRST_S", 0.0)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with CASE.fake() as made:
        yield made


@pytest.fixture
async def target(fake: FakeStripe) -> AsyncIterator[StripeTarget]:
    made = StripeTarget(setup(fake.url))
    yield made
    await made.close()


async def send(target: StripeTarget, what: OutboxItem) -> str | None:
    [outcome] = await target.send([what])
    assert isinstance(outcome, Delivered), outcome
    return outcome.remote_id


def amounts(fake: FakeStripe) -> list[tuple[str, str, Decimal]]:
    return [(one.kind, one.state, one.amount + one.tax) for one in fake.books()]


def known(what: OutboxItem, remote_id: str | None) -> OutboxItem:
    return replace(what, known_id=remote_id)


async def test_a_line_is_an_item_of_a_draft_that_leads_back_to_its_charges(
    fake: FakeStripe, target: StripeTarget
) -> None:
    remote_id = await send(target, item("b1", content(line("3.40", tax=TAXES[1]))))
    [held] = fake.books()
    [draft] = fake.invoices.objects.values()
    assert remote_id == f"{draft['id']}/{held.id}"
    assert (held.amount, held.tax, held.state, draft["auto_advance"]) == (
        Decimal("3.40"),
        Decimal("0.65"),
        "draft",
        False,
    )
    assert fake.items.objects[held.id]["description"] == "Print pages, Berlin Mitte, 2026-11-02: 34 pages"
    assert draft["metadata"]["meter_invoice"] == "20261101-00000000"
    expected = {"meter": "print-pages", "site": "berlin", "account": "account-0", "charges": "3", "tax": "vat19"}
    assert expected.items() <= held.details.items()
    assert (held.details["first"], held.details["last"]) == ("2026-11-02T09:00:00Z", "2026-11-02T17:00:00Z")


async def test_lines_of_an_invoice_share_its_draft(fake: FakeStripe, target: StripeTarget) -> None:
    for number in range(3):
        await send(target, item(f"b{number}", content(line())))
    assert len(fake.invoices.objects) == 1
    assert len(fake.calls("GET", "/v1/invoices")) == 1


async def test_a_later_revision_replaces_the_item_with_one_request(fake: FakeStripe, target: StripeTarget) -> None:
    place = await send(target, item("b1", content(line("10.00"))))
    before = len(fake.requests)
    again = await send(target, known(item("b1", content(line("12.50")), 1), place))
    assert (again, len(fake.requests) - before, amounts(fake)) == (
        place,
        1,
        [("invoiceitem", "draft", Decimal("12.50"))],
    )
    await send(target, known(item("b1", content(line("0.00")), 2), place))
    assert amounts(fake) == [("invoiceitem", "draft", Decimal(0))]


async def test_the_cent_by_which_taxes_differ_stands_beside_the_item(fake: FakeStripe, target: StripeTarget) -> None:
    place = await send(target, item("b1", content(line("3.40", tax=TAXES[1], odd=1))))
    assert sorted(amounts(fake)) == [
        ("invoiceitem", "draft", Decimal("0.01")),
        ("invoiceitem", "draft", Decimal("4.05")),
    ]
    await send(target, known(item("b1", content(line("3.40", tax=TAXES[1])), 1), place))
    assert CASE.books(fake) == {"b1": (Decimal("3.40"), Decimal("0.65"))}


async def test_an_inclusive_price_needs_no_cent_beside_it(fake: FakeStripe, target: StripeTarget) -> None:
    await send(target, item("b1", content(line("3.40", tax=TAXES[2], odd=1))))
    [held] = fake.books()
    assert held.amount + held.tax == Decimal("3.65")
    assert CASE.books(fake) == {"b1": (Decimal("3.40"), Decimal("0.25"))}


async def test_taxes_may_be_lines_of_their_own(fake: FakeStripe) -> None:
    target = StripeTarget(setup(fake.url, tax="lines"))
    await send(target, item("b1", content(line("3.40", tax=TAXES[1]))))
    await target.close()
    shown = [(one["amount"], one["description"], one["tax_rates"]) for one in fake.items.objects.values()]
    assert shown == [
        (340, "Print pages, Berlin Mitte, 2026-11-02: 34 pages", []),
        (65, "vat19 19 % on Print pages, Berlin Mitte, 2026-11-02", []),
    ]


@pytest.mark.parametrize(("now", "kinds"), [("7.00", ["credit_note"]), ("12.00", ["invoiceitem"])])
async def test_what_changes_after_its_invoice_is_final_is_a_difference(
    fake: FakeStripe, target: StripeTarget, now: str, kinds: list[str]
) -> None:
    place = await send(target, item("b1", content(line("10.00", tax=TAXES[1]))))
    await send(target, item("closed", notice()))
    change = known(item("b1", content(line(now, tax=TAXES[1])), 1), place)
    later = await send(target, change)
    assert later is not None
    assert later.endswith("~")
    assert [one.kind for one in fake.books()][1:] == kinds
    wanted = (Decimal(now), (Decimal(now) * Decimal("0.19")).quantize(Decimal("0.01")))
    assert CASE.books(fake) == {"b1": wanted}
    assert await send(target, change) is not None  # the same bytes under the same key
    assert CASE.books(fake) == {"b1": wanted}
    back = known(item("b1", content(line("10.00", tax=TAXES[1])), 2), later)
    await send(target, back)
    assert CASE.books(fake) == {"b1": (Decimal("10.00"), Decimal("1.90"))}


async def test_a_paid_invoice_is_credited_to_the_balance(fake: FakeStripe, target: StripeTarget) -> None:
    place = await send(target, item("b1", content(line("10.00"))))
    await send(target, item("closed", notice()))
    [invoice] = fake.invoices.objects
    fake.pay(invoice)
    await send(target, known(item("b1", content(line("4.00")), 1), place))
    [call] = fake.calls("POST", "/v1/credit_notes")
    assert b"credit_amount=600" in call.call.body
    assert b"reason=order_change" in call.call.body
    assert CASE.books(fake) == {"b1": (Decimal("4.00"), Decimal(0))}


async def test_a_correction_of_a_closed_period_is_credited_on_its_invoice(
    fake: FakeStripe, target: StripeTarget
) -> None:
    await send(target, item("b1", content(line("10.00"), start=OCTOBER)))
    await send(target, item("closed", notice(start=OCTOBER)))
    await send(target, item("b2", content(line("-4.00", adjusts=OCTOBER))))
    assert amounts(fake)[-1] == ("credit_note", "issued", Decimal("-4.00"))
    await send(target, item("b3", content(line("-7.00", adjusts=OCTOBER))))  # more than is left
    assert amounts(fake)[1] == ("invoiceitem", "draft", Decimal("-7.00"))


async def test_a_voided_invoice_is_not_billed_again(fake: FakeStripe, target: StripeTarget) -> None:
    place = await send(target, item("b1", content(line("10.00"))))
    await send(target, item("closed", notice()))
    [invoice] = fake.invoices.objects.values()
    invoice["status"] = "void"
    await send(target, known(item("b1", content(line("10.00", charges=4)), 1), place))
    [less] = await target.send([known(item("b1", content(line("9.00")), 2), place)])
    assert isinstance(less, Refused)
    assert "voided" in less.reason
    assert len(fake.items.objects) == 1


async def test_an_account_whose_customer_changed_is_not_billed_twice(fake: FakeStripe, target: StripeTarget) -> None:
    place = await send(target, item("b1", content(line("10.00"))))
    await send(target, item("closed", notice()))
    await send(target, known(item("b1", content(line("12.00"), customer=0), 1), place))
    moved = content(line("13.00"), customer=0)
    moved = with_(moved, customer="cus_1")
    await send(target, known(item("b1", moved, 2), place))
    assert CASE.books(fake) == {"b1": (Decimal("13.00"), Decimal(0))}


async def test_an_invoice_of_more_than_250_lines_goes_on_in_another_draft(
    fake: FakeStripe, target: StripeTarget
) -> None:
    lines = [item(f"b{number}", content(line("1.00"))) for number in range(260)]
    for start in range(0, 260, 100):
        outcomes = await target.send(lines[start : start + 100])
        assert all(isinstance(one, Delivered) for one in outcomes), outcomes
    names = [one["metadata"]["meter_invoice"] for one in fake.invoices.objects.values()]
    assert names == ["20261101-00000000", "20261101-00000000#2"]
    await send(target, item("closed", notice()))
    assert {one["status"] for one in fake.invoices.objects.values()} == {"open"}
    assert sum(one.amount for one in fake.books()) == 260


async def test_a_notice_marks_the_draft_or_leaves_nothing(fake: FakeStripe) -> None:
    target = StripeTarget(setup(fake.url, invoices="draft"))
    assert await send(target, item("closed", notice())) is None
    await send(target, item("b1", content(line())))
    assert isinstance((await target.look_up([item("closed", notice())]))[0], Absent)
    await send(target, item("closed", notice(), 1))
    assert isinstance((await target.look_up([item("closed", notice())]))[0], Delivered)
    await target.close()
    [draft] = fake.invoices.objects.values()
    assert (draft["status"], draft["metadata"]["meter_complete"]) == ("draft", "true")


async def test_lines_may_stay_pending(fake: FakeStripe) -> None:
    target = StripeTarget(setup(fake.url, invoices="none"))
    place = await send(target, item("b1", content(line("10.00"))))
    await send(target, known(item("b1", content(line("11.00")), 1), place))
    await target.close()
    assert (amounts(fake), fake.invoices.objects) == ([("invoiceitem", "pending", Decimal("11.00"))], {})


async def test_a_stored_failure_is_looked_up_and_sent_under_another_key(fake: FakeStripe, database: Database) -> None:
    for committed in (False, True):
        fake.fail_next(500, committed=committed, path="/v1/invoiceitems")
    made = [item("b1", content(line("10.00"))), item("b2", content(line("2.00"), customer=1))]
    async with driven(database, StripeTarget(setup(fake.url)), "stripe") as lane:
        await lane.add(made)
        await lane.drain()
    assert CASE.books(fake) == CASE.wanted(made)


async def test_an_outage_beyond_what_keys_are_kept_doubles_nothing(fake: FakeStripe, database: Database) -> None:
    made = CASE.items(60, 3)
    async with (
        FaultProxy(fake, Odds(reset_after=0.5), seed=3) as proxy,
        driven(database, StripeTarget(setup(proxy.url)), "stripe") as lane,
    ):
        await lane.add(made)
        for _ in range(4):
            for _ in range(5):
                await lane.step()
            await a_day_passes(fake, lane)
        proxy.odds = Odds()
        await lane.drain()
    assert CASE.books(fake) == CASE.wanted(made)


async def test_what_landed_in_part_before_an_outage_is_found_after_it(
    fake: FakeStripe, target: StripeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(target, item("warm", content(line())))
    write, made = Api.write, item("b1", content(line("3.40", tax=TAXES[1], odd=1)))

    async def down(api: Api, path: str, params: Any, *, key: str | None = None, **options: Any) -> Any:
        if key is not None and key.endswith("-tax"):
            raise Ends(Retry("no connection was made"))
        return await write(api, path, params, key=key, **options)

    monkeypatch.setattr(Api, "write", down)
    assert await target.send([made]) == [Retry("no connection was made")]
    monkeypatch.undo()
    fake.advance(hours=30)
    await send(target, made)
    assert CASE.books(fake)["b1"] == (Decimal("3.40"), Decimal("0.66"))


async def a_day_passes(fake: FakeStripe, lane: DrivenLane) -> None:
    fake.advance(hours=30)
    async with lane.database.begin() as conn:
        await conn.execute(text("UPDATE outbox SET first_sent_at = first_sent_at - interval '30 hours'"))


@pytest.mark.parametrize("seed", [1])
async def test_stripe_holds_what_was_sent_whatever_fails(fake: FakeStripe, database: Database, seed: int) -> None:
    made = CASE.items(300, seed)
    async with (
        FaultProxy(fake, Odds.evenly(0.25), seed=seed, retry_after_s=0, hang_s_max=0.05) as proxy,
        driven(database, StripeTarget(setup(proxy.url)), "stripe") as lane,
    ):
        await lane.add(made)
        await lane.drain()
        dead = [one.fault for one in await lane.deliveries() if one.state == "dead"]
    assert not dead
    assert CASE.books(fake) == CASE.wanted(made)
    totals: dict[str, Decimal] = {}
    for one in fake.books():
        totals[one.customer] = totals.get(one.customer, Decimal(0)) + one.amount + one.tax
    newest = {one.batch: thawed(one.operation, one.payload) for one in made}
    owed: dict[str, Decimal] = {}
    for what in newest.values():
        if isinstance(what, LineItem):
            owed[what.customer] = owed.get(what.customer, Decimal(0)) + what.line.gross
    assert {name: sum_ for name, sum_ in totals.items() if sum_} == {name: sum_ for name, sum_ in owed.items() if sum_}


@pytest.mark.parametrize("seed", [4])
async def test_stripe_holds_what_was_sent_though_others_finalise_and_pay_meanwhile(
    fake: FakeStripe, database: Database, seed: int
) -> None:
    made, dice = CASE.items(200, seed), random.Random(seed)  # noqa: S311  a test is repeated by its seed
    async with (
        FaultProxy(fake, Odds.evenly(0.2), seed=seed, retry_after_s=0, hang_s_max=0.05) as proxy,
        driven(database, StripeTarget(setup(proxy.url, invoices="draft")), "stripe") as lane,
        aiohttp.ClientSession(fake.url, headers={"Authorization": "Bearer sk_of_somebody_else"}) as somebody,
    ):
        for start in range(0, len(made), 10):
            for one in made[start : start + 10]:
                async with database.begin() as conn:
                    free = await next_revisions(conn, one.operator, one.target, [one.batch])
                await lane.add([revised(one, free[one.batch])])
            for _ in range(dice.randrange(6)):
                await lane.step()
            for invoice in list(fake.invoices.objects.values()):
                if invoice["status"] == "draft" and dice.random() < 0.2:
                    await somebody.post(f"/v1/invoices/{invoice['id']}/finalize")
                elif invoice["status"] == "open" and dice.random() < 0.3:
                    fake.pay(invoice["id"])
        await lane.drain()
        dead = [one.fault for one in await lane.deliveries() if one.state == "dead"]
    assert not dead
    assert CASE.books(fake) == CASE.wanted(made)


async def test_what_is_held_can_be_reconciled(fake: FakeStripe, target: StripeTarget) -> None:
    made = item("b1", content(line("3.40", tax=TAXES[1], odd=1)))
    await send(target, made)
    assert target.figures(made) == Figures(lines=1, net=Decimal("3.40"), tax=Decimal("0.66"), currency="EUR")
    since, until = NOVEMBER.date(), NOVEMBER.date() + timedelta(days=30)
    [held] = [one async for one in target.holdings(since, until)]
    assert (held.batch, held.figures, held.void) == ("b1", target.figures(made), False)
    assert [one async for one in target.holdings(since - timedelta(days=60), since)] == []
    fake.by_hand(next(iter(fake.items.objects)), {"amount": 100})
    [held] = [one async for one in target.holdings(since, until)]
    assert held.figures != target.figures(made)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda _: {"customer": "cus_nobody"}, "No such customer"),
        (lambda _: {"currency": "KWD", "line": line("1.234")}, "steps of 0.010"),
        (lambda _: {"line": line(tax=replace_code("txr_none"))}, "knows no tax rate"),
        (lambda _: {"line": line(tax=replace_code("txr_000000000000000000000002"))}, "at Stripe 7"),
    ],
)
async def test_what_stripe_cannot_take_is_refused_with_its_remedy(
    target: StripeTarget, spoil: Callable[[LineItem], dict[str, Any]], says: str
) -> None:
    given = content(line())
    made = with_(given, **spoil(given))
    [outcome] = await target.send([item("b1", made)])
    assert isinstance(outcome, Refused)
    assert says in outcome.reason


def replace_code(code: str | None) -> Any:
    assert TAXES[1] is not None
    return with_(TAXES[1], code=code)


async def test_check_says_what_keeps_it_from_working(fake: FakeStripe, target: StripeTarget) -> None:
    await target.check()
    for given, says in (
        (replace(setup(fake.url), api_key="rk_wrong"), "api_key"),
        (setup(fake.url, tax_codes={"vat19": "txr_none"}), "txr_none"),
    ):
        wrong = StripeTarget(given)
        with pytest.raises(BadInput, match=says):
            await wrong.check()
        await wrong.close()


async def test_a_key_that_belongs_to_another_attempt_is_uncertain(fake: FakeStripe, target: StripeTarget) -> None:
    await send(target, item("warm", content(line())))
    await send(target, item("b1", content(line("10.00"))))
    [other] = await target.send([replace(item("b1", content(line("11.00"))), batch="b1")])
    assert isinstance(other, Uncertain)
    assert other.answered
