"""What Square sends, in any order, twice, or not at all: the bill is the same, and to the cent what the till took."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from meter.model.charge import Line
from meter.model.directory import Claim
from meter.model.errors import BadInput
from meter.model.event import VOIDED, EventKey, Revision, UsageEvent
from meter.model.instant import instant_text
from meter.model.wire import WireEvent
from meter.rating.fold import Folded
from meter.sources.pos.square import SQUARE
from meter.sources.pos.square_money import split
from tests.ingest.square import notification, payment
from tests.rating.world import CAFE, Space, passed, plan, space, taxed
from tests.sources.case import setup
from tests.sources.square_objects import (
    VAT,
    Square,
    answer,
    come,
    eur,
    item,
    order,
    refund,
    return_order,
    returned,
    tender,
)

DAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
ADA = "CUSTOMER_ADA"


def at(minutes: int) -> str:
    return instant_text(DAY + timedelta(minutes=minutes))


@dataclass(kw_only=True)
class Till:
    """What happened at a till: one order, who paid it, what was given back. Amounts in cents.

    `lines`: (net, tax, quantity) of each article; `tips`: of each payment; `given_back`: (payment, amount or article,
    status). The first payment is Ada's.
    """

    lines: Sequence[tuple[int, int, int]]
    weights: Sequence[int]
    tips: Sequence[int]
    rounding: int = 0
    inclusive: bool = False
    given_back: Sequence[tuple[int, int | str, str]] = ()
    house: bool = False
    items: list[dict[str, Any]] = field(init=False)
    amounts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.items = [item(f"i{n}", net + tax, tax, quantity=str(q)) for n, (net, tax, q) in enumerate(self.lines)]
        self.amounts = split(sum(net + tax for net, tax, _ in self.lines), self.weights)
        self.amounts[-1] += self.rounding

    @property
    def names(self) -> list[str]:
        return [f"PAYMENT{n}" for n in range(len(self.amounts))]

    def order(self, *, state: str = "COMPLETED") -> dict[str, Any]:
        last = len(self.amounts) - 1
        paid = [
            tender(name, amount + tip, tip, kind="CASH" if n == last else "CARD")
            for n, (name, amount, tip) in enumerate(zip(self.names, self.amounts, self.tips, strict=True))
        ]
        taxes = [VAT | {"type": "INCLUSIVE" if self.inclusive else "ADDITIVE"}]
        rounding = {"rounding_adjustment": {"amount_money": eur(self.rounding)}} if self.rounding else {}
        return order(*self.items, tenders=paid, taxes=taxes, state=state, **rounding)

    def payment(self, n: int, **changes: Any) -> dict[str, Any]:
        amount, tip = self.amounts[n], self.tips[n]
        made = {
            "id": self.names[n],
            "created_at": at(n),
            "updated_at": at(n + 1),
            "amount_money": eur(amount),
            "tip_money": eur(tip) if tip else None,
            "total_money": eur(amount + tip),
            "customer_id": ADA if n == 0 else None,
        }
        if self.house and n == 0:
            made |= {"source_type": "EXTERNAL", "external_details": {"type": "OTHER", "source": "House account"}}
        return payment(**(made | changes))

    def refund_ids(self, n: int, made: Collection[int]) -> list[str]:
        return [f"REFUND{r}" for r in made if self.given_back[r][0] == n]

    def back_amount(self, r: int) -> int:
        what = self.given_back[r][1]
        one = next((one for one in self.items if one["uid"] == what), None)
        return int(what) if one is None else int(one["total_money"]["amount"])

    def refund(self, r: int, *, pending: bool = False) -> dict[str, Any]:
        of, _, status = self.given_back[r]
        return refund(
            "PENDING" if pending else status,
            self.back_amount(r),
            id=f"REFUND{r}",
            payment_id=self.names[of],
            order_id=f"RETURN{r}",
            created_at=at(100 + 10 * r),
            updated_at=at(100 + 10 * r + (0 if pending else 5)),
        )

    def return_order(self, r: int) -> dict[str, Any]:
        what, amount = self.given_back[r][1], self.back_amount(r)
        one = next((one for one in self.items if one["uid"] == what), None)
        custom = {"quantity": "1", "item_type": "CUSTOM_AMOUNT", "total_money": eur(amount)}
        tax = 0 if one is None else one["total_tax_money"]["amount"]
        back = custom if one is None else returned(one["uid"], amount, tax, quantity=one["quantity"])
        return return_order(back) | {"id": f"RETURN{r}"}

    def square(self, *, completed: bool = True, made: Collection[int] | None = None) -> Square:
        """The account as the API shows it, once the order was completed and the refunds `made` (None: all)."""
        there = [r for r in range(len(self.given_back)) if made is None or r in made]
        configured = setup("square", "till", api_key="t", options={"house_accounts": ["EXTERNAL"]})
        return Square(configured=configured).holds(
            orders=[
                self.order(state="COMPLETED" if completed else "OPEN"),
                *map(self.return_order, there),
            ],
            payments=[self.payment(n, refund_ids=self.refund_ids(n, there)) for n in range(len(self.amounts))],
            refunds=[self.refund(r) for r in there],
        )

    def webhooks(self) -> list[bytes]:
        """Everything that Square says of it, in the order in which it happens."""
        told = []
        for n in range(len(self.amounts)):
            told.append(notification("payment.created", "payment", self.payment(n, status="APPROVED")))
            told.append(notification("payment.updated", "payment", self.payment(n, customer_id=None)))
            told.append(notification("payment.updated", "payment", self.payment(n)))
        for state in ("OPEN", "COMPLETED"):
            stub = {"order_id": self.order()["id"], "state": state, "location_id": "L", "version": 1}
            told.append(notification("order.updated", "order_updated", stub))
        for r in range(len(self.given_back)):
            told.append(notification("refund.created", "refund", self.refund(r, pending=True)))
            told.append(notification("refund.updated", "refund", self.refund(r)))
        return told

    def swept(self) -> list[WireEvent]:
        """What the sweep finds once all is over."""
        lists: dict[str, Any] = {
            "payments": {"payments": [self.payment(n) for n in range(len(self.amounts))]},
            "refunds": {"refunds": [self.refund(r) for r in range(len(self.given_back))]},
            "orders": {"order_entries": [{"order_id": self.order()["id"]}]},
        }
        cursor = {"since": at(0), "until": at(900), "locations": ["L"]}
        configured = self.square().setup
        pages = [SQUARE.feeds[feed].read(configured, cursor, answer(found)) for feed, found in lists.items()]
        return [one for page in pages for one in page.items if isinstance(one, WireEvent)]


def space_of(account: str) -> Space:
    people: dict[str, Any] = {"claims": [Claim(identity=f"square:{ADA}", member="ada")]}
    terms = {"meters": {"cafe": CAFE}, "taxes": taxed("0.19", name="VAT 19")}
    return space(plan(cafe=passed()), terms=terms, account=account, **people)


def usage(events: Iterable[WireEvent]) -> list[UsageEvent]:
    found = []
    for event in events:
        if event.type == "source.changed":
            continue
        assert event.time is not None
        found.append(
            UsageEvent(
                source=event.source,
                id=event.id,
                type=event.type,
                site=event.site,
                time=event.time,
                subject=event.subject,
                thing=event.thing,
                data=event.data,
            )
        )
    return found


def bill(events: Iterable[WireEvent]) -> tuple[Line, ...]:
    """Every line of the bill, of Ada's account and the guests'."""
    facts = usage(events)
    voids = [
        Revision(target=EventKey(str(one.data["source"]), str(one.data["id"])), **one.position._asdict(), data=None)
        for one in facts
        if one.type == VOIDED
    ]
    folds: list[Folded] = [space_of(account).fold(*facts, revisions=voids) for account in ("acme", "walk-in")]
    assert not [unread for folded in folds for unread in folded.unread]
    return tuple(line for folded in folds for line in folded.lines)


def in_order(till: Till) -> list[WireEvent]:
    square = till.square()
    return square.all_of([event for body in till.webhooks() for event in come(body, square.setup)])


def taken(till: Till) -> Decimal:
    """What is in the till in the end, in euros."""
    paid = sum(till.amounts) + sum(till.tips)
    back = sum(till.back_amount(r) for r, (_, _, status) in enumerate(till.given_back) if status == "COMPLETED")
    return Decimal(paid - back).scaleb(-2)


def made_by(told: Iterable[bytes]) -> set[int]:
    """The refunds of which something was said."""
    said = (json.loads(body)["data"]["object"].get("refund") for body in told)
    return {int(one["id"].removeprefix("REFUND")) for one in said if one is not None}


@st.composite
def tills(draw: st.DrawFn, *, house: bool = False) -> Till:
    lines = draw(
        st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 600), st.integers(1, 4)), min_size=1, max_size=4)
    )
    weights = draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    tips = [draw(st.integers(0, 300)) for _ in weights]
    till = Till(
        lines=lines,
        weights=weights,
        tips=tips,
        rounding=0 if house else draw(st.integers(0, 4)),
        inclusive=draw(st.booleans()),
        house=house,
    )
    left = [amount + tip for amount, tip in zip(till.amounts, tips, strict=True)]
    articles = [f"i{n}" for n in range(len(lines))]
    given_back: list[tuple[int, int | str, str]] = []
    for _ in range(draw(st.integers(0, 3))):
        of = draw(st.integers(0, len(left) - 1))
        status = draw(st.sampled_from(["COMPLETED", "COMPLETED", "FAILED", "REJECTED"]))
        what = draw(st.one_of(st.sampled_from(articles), st.integers(1, max(1, left[of]))))
        given_back.append((of, what, status))
        till.given_back = given_back
        amount = till.back_amount(len(given_back) - 1)
        if amount > left[of]:
            given_back.pop()
        elif status == "COMPLETED":
            left[of] -= amount
    till.given_back = given_back
    return till


def figures(till: Till) -> list[tuple[str, str, str, str]]:
    """Net, tax, tip and total of each line of the bill."""
    return [
        (
            f"{line.amount:.2f}",
            f"{line.tax.amount or 0:.2f}" if line.tax else "",
            f"{line.tip or 0:.2f}",
            f"{line.total}",
        )
        for line in bill(in_order(till))
    ]


class TestByHand:
    def test_a_refund_by_amount_takes_its_share_of_the_tip(self) -> None:
        """2.00 of 3.00 + 0.57 tax + 0.43 tip: the half; 0.215 of the tip is 0.22, 1.78 x 0.57 / 3.57 of tax 0.28."""
        till = Till(lines=[(300, 57, 2)], weights=[1], tips=[43], given_back=[(0, 200, "COMPLETED")])
        assert figures(till) == [("3.00", "0.57", "0.43", "4.00"), ("-1.50", "-0.28", "-0.22", "-2.00")]

    def test_two_halves_give_back_the_whole(self) -> None:
        given_back = [(0, 200, "COMPLETED"), (0, 200, "COMPLETED")]
        till = Till(lines=[(300, 57, 2)], weights=[1], tips=[43], given_back=given_back)
        assert figures(till)[2] == ("-1.50", "-0.29", "-0.21", "-2.00")

    def test_an_article_gives_back_its_own_tax(self) -> None:
        till = Till(lines=[(200, 38, 1), (100, 7, 1)], weights=[1], tips=[0], given_back=[(0, "i1", "COMPLETED")])
        assert figures(till) == [("3.00", "0.45", "0.00", "3.45"), ("-1.00", "-0.07", "0.00", "-1.07")]

    def test_each_payment_bears_its_part_and_its_refund(self) -> None:
        """1.19 as 0.60 and 0.59: tax 0.10 and 0.09; 0.30 given back of Ada's are 0.25 and 0.05."""
        till = Till(lines=[(100, 19, 1)], weights=[60, 59], tips=[0, 20], given_back=[(0, 30, "COMPLETED")])
        assert figures(till) == [
            ("0.50", "0.10", "0.00", "0.60"),
            ("-0.25", "-0.05", "0.00", "-0.30"),
            ("0.50", "0.09", "0.20", "0.79"),
        ]

    def test_what_failed_gives_back_nothing(self) -> None:
        till = Till(lines=[(100, 19, 1)], weights=[1], tips=[0], given_back=[(0, 30, "FAILED"), (0, 30, "REJECTED")])
        assert figures(till) == [("1.00", "0.19", "0.00", "1.19")]

    def test_on_a_house_account_each_article_is_a_line(self) -> None:
        till = Till(lines=[(200, 38, 1), (100, 19, 1)], weights=[1], tips=[50], house=True)
        lines = bill(in_order(till))
        assert {(line.account, line.settlement) for line in lines} == {("acme", "account")}
        assert [(line.price, f"{line.amount:.2f}") for line in lines] == [
            ("passed", "2.00"),
            ("passed", "1.00"),
            (None, "0.50"),
        ]


COFFEE_AND_CAKE = [(294, 56, 2), (500, 95, 1)]


@given(st.one_of(tills(), tills(house=True)), st.data())
@example(Till(lines=COFFEE_AND_CAKE, weights=[1], tips=[50], given_back=[(0, "i0", "COMPLETED")]), None)
@example(Till(lines=COFFEE_AND_CAKE, weights=[1], tips=[50], given_back=[(0, 350, "COMPLETED")]), None)
@example(Till(lines=COFFEE_AND_CAKE, weights=[1, 2], tips=[0, 70], given_back=[(1, 100, "COMPLETED")]), None)
def test_the_bill_is_the_same_in_whatever_order_it_is_told(till: Till, data: st.DataObject | None) -> None:
    """Webhooks shuffled, twice, or lost until the sweep; objects asked for whenever, the order still open or not."""
    reference = bill(in_order(till))
    told = till.webhooks()
    told = list(reversed(told)) if data is None else data.draw(st.permutations(told + told[::2]))
    lost = set() if data is None else data.draw(st.sets(st.integers(0, len(told) - 1)))
    completed = 0 if data is None else data.draw(st.integers(0, len(told)))
    stored: dict[str, WireEvent] = {}
    waiting: list[WireEvent] = []

    def store(events: Iterable[WireEvent]) -> None:
        for event in events:
            known = stored.setdefault(f"{event.source} {event.id}", event)
            assert known.content_hash == event.content_hash, event.id
            if known is event and event.type == "source.changed":
                waiting.append(event)

    for step, body in enumerate(told):
        square = till.square(completed=step >= completed, made=made_by(told[: step + 1]))
        if step not in lost:
            store(come(body, square.setup))
        for _ in range(data.draw(st.integers(0, 3)) if data is not None else 0):
            if waiting and data is not None:
                notice = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
                try:
                    store(square.fetched(notice))
                except BadInput:
                    waiting.append(notice)
    square = till.square()
    store(till.swept())
    while waiting:
        store(square.fetched(waiting.pop()))
    assert bill(stored.values()) == reference


@given(tills())
@example(Till(lines=[(1, 0, 1)], weights=[1], tips=[0], rounding=1, given_back=[(0, "i0", "COMPLETED")]))
def test_the_bill_is_to_the_cent_what_the_till_took(till: Till) -> None:
    lines = bill(in_order(till))
    assert sum((line.total or Decimal(0) for line in lines), Decimal(0)) == taken(till)
    net = sum((line.amount for line in lines), Decimal(0))
    tax = sum((line.tax.amount or Decimal(0) for line in lines if line.tax is not None), Decimal(0))
    tip = sum((line.tip or Decimal(0) for line in lines), Decimal(0))
    if not till.given_back:
        assert net == Decimal(sum(net for net, _, _ in till.lines)).scaleb(-2)
        assert tax == Decimal(sum(tax for _, tax, _ in till.lines)).scaleb(-2)
        assert tip == Decimal(sum(till.tips)).scaleb(-2)
        assert taken(till) - net - tax - tip == Decimal(till.rounding).scaleb(-2)
