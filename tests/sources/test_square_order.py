from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.wire import Refusal, WireEvent
from meter.sources.pos.square import SQUARE
from meter.sources.pos.square_money import split
from tests.ingest.square import payment, webhook
from tests.sources.case import setup
from tests.sources.square_objects import (
    FETCHED,
    INCLUSIVE,
    LOW,
    ORDER,
    PAYMENT,
    VAT,
    Square,
    answer,
    come,
    eur,
    item,
    order,
    order_notice,
    tender,
)


def paid(amount: int, tip: int = 0, **changes: Any) -> dict[str, Any]:
    """A payment of `amount` and a tip."""
    tips = eur(tip) if tip else None
    return payment(amount_money=eur(amount), tip_money=tips, total_money=eur(amount + tip), **changes)


def noticed(amount: int = 420, tip: int = 50, **changes: Any) -> tuple[WireEvent, WireEvent]:
    """The plain sale of a payment, and the notice to fetch its order."""
    plain, notice = come(webhook(**paid(amount, tip, **changes)))
    return plain, notice


def read(found: dict[str, Any], amount: int = 420, tip: int = 50, **changes: Any) -> list[Any]:
    _, notice = noticed(amount, tip, **changes)
    return list(SQUARE.fetches["sale"].read(FETCHED, notice.data, answer({"order": found})).items)


def detailed(found: dict[str, Any], amount: int = 420, tip: int = 50, **changes: Any) -> WireEvent:
    (event,) = read(found, amount, tip, **changes)
    assert isinstance(event, WireEvent), event
    return event


def lines(*items: dict[str, Any], amount: int | None = None, **more: Any) -> list[tuple[Any, ...]]:
    """Name, net and tax of each line of an order that one payment paid."""
    whole = sum(one["total_money"]["amount"] for one in items) if amount is None else amount
    event = detailed(order(*items, tenders=[tender(PAYMENT, whole)], **more), whole, 0)
    return [(line["name"], line["amount"], line.get("tax")) for line in event.data["lines"]]


class TestOnePayment:
    def test_the_sale_has_the_orders_lines(self) -> None:
        found = order(item("coffee", 350, 56, quantity="2"), item("water", 70, tax=0))
        event = detailed(found)
        assert event.data == {
            "order": PAYMENT,
            "currency": "EUR",
            "lines": [
                {
                    "sku": "VARIATION_COFFEE",
                    "name": "Coffee",
                    "quantity": "2",
                    "amount": "2.94",
                    "tax": "0.56",
                    "tax_name": "VAT 19",
                },
                {"sku": "VARIATION_WATER", "name": "Water", "quantity": "1", "amount": "0.70"},
            ],
            "tip": "0.50",
            "total": "4.70",
            "settlement": "paid",
            "square_order": ORDER,
        }

    def test_it_is_a_later_state_of_the_plain_sale_at_the_same_time(self) -> None:
        found = order(item("coffee", 420))
        for customer in (None, "C"):
            plain, _ = noticed(customer_id=customer)
            event = detailed(found, customer_id=customer)
            assert (event.source, event.type, event.thing) == (plain.source, plain.type, plain.thing)
            assert (event.time, event.subject) == (plain.time, plain.subject)
            assert plain.id < event.id

    def test_the_detailed_one_counts_whoever_was_known_first(self) -> None:
        found = order(item("coffee", 420))
        states = [
            noticed(customer_id=None)[0],
            noticed()[0],
            detailed(found, customer_id=None),
            detailed(found),
        ]
        assert [event.id for event in states] == sorted(event.id for event in states)

    def test_tax_on_top_and_tax_inside_come_to_net_lines_alike(self) -> None:
        on_top = item("coffee", 119, 19)
        assert lines(on_top) == [("Coffee", "1.00", "0.19")]
        assert lines(on_top, taxes=[INCLUSIVE]) == [("Coffee", "1.00", "0.19")]

    def test_what_a_discount_leaves_is_the_line(self) -> None:
        cheap = item("coffee", 238, 38, gross_sales_money=eur(300), total_discount_money=eur(100))
        assert lines(cheap) == [("Coffee", "2.00", "0.38")]
        free = item("cake", 0, total_discount_money=eur(300))
        assert lines(cheap, free) == [("Coffee", "2.00", "0.38"), ("Cake", "0.00", None)]

    def test_several_taxes_of_a_line_are_named(self) -> None:
        applied = [{"tax_uid": "vat", "applied_money": eur(19)}, {"tax_uid": "low", "applied_money": eur(7)}]
        found = order(item("coffee", 126, 26, applied_taxes=applied), tenders=[tender(PAYMENT, 126)], taxes=[VAT, LOW])
        assert detailed(found, 126, 0).data["lines"][0]["tax_name"] == "VAT 19, VAT 7"

    def test_a_tax_of_nothing_is_still_named(self) -> None:
        applied = [{"tax_uid": "vat", "applied_money": eur(0)}]
        found = order(item("stamp", 100, 0, applied_taxes=applied), tenders=[tender(PAYMENT, 100)])
        (line,) = detailed(found, 100, 0).data["lines"]
        assert (line["tax"], line["tax_name"]) == ("0.00", "VAT 19")

    def test_service_charges_are_lines(self) -> None:
        charge = {"uid": "s", "name": "Large group", "total_money": eur(119), "total_tax_money": eur(19)}
        charge |= {"applied_money": eur(100), "treatment_type": "LINE_ITEM_TREATMENT"}
        found = order(item("coffee", 300), tenders=[tender(PAYMENT, 419)], service_charges=[charge])
        (_, line) = detailed(found, 419, 0).data["lines"]
        assert line == {
            "name": "Large group",
            "category": "service_charge",
            "quantity": "1",
            "amount": "1.00",
            "tax": "0.19",
        }

    @pytest.mark.parametrize(("collected", "count"), [(420, 1), (370, 2)])
    def test_an_apportioned_charge_counts_once_wherever_square_puts_it(self, collected: int, count: int) -> None:
        charge = {"uid": "s", "total_money": eur(50), "treatment_type": "APPORTIONED_TREATMENT"}
        found = order(item("coffee", collected), tenders=[tender(PAYMENT, 420)], service_charges=[charge])
        event = detailed(found, 420, 0)
        assert len(event.data["lines"]) == count
        assert sum(Decimal(line["amount"]) for line in event.data["lines"]) == Decimal("4.20")

    @pytest.mark.parametrize("by", [3, -2])
    def test_the_rounding_of_cash_is_no_line(self, by: int) -> None:
        adjustment = {"name": "Cash rounding", "amount_money": eur(by)}
        found = order(
            item("coffee", 402), tenders=[tender(PAYMENT, 402 + by, kind="CASH")], rounding_adjustment=adjustment
        )
        event = detailed(found, 402 + by, 0)
        assert [line["amount"] for line in event.data["lines"]] == ["4.02"]
        assert event.data["total"] == ("4.05" if by == 3 else "4.00")

    def test_names_tell_variations_custom_amounts_and_gift_cards(self) -> None:
        large = item("coffee", 100, variation_name="Large")
        bare = {"quantity": "1", "item_type": "CUSTOM_AMOUNT", "total_money": eur(50)}
        card = item("card", 270, item_type="GIFT_CARD")
        found = detailed(order(large, bare, card, tenders=[tender(PAYMENT, 420)]), 420, 0).data["lines"]
        assert [(line["name"], line.get("category")) for line in found] == [
            ("Coffee, Large", None),
            ("Custom amount", None),
            ("Card", "gift_card"),
        ]
        assert "sku" not in found[1]

    def test_quantities_stay_as_they_were_told(self) -> None:
        found = order(item("beans", 420, quantity="0.250"), tenders=[tender(PAYMENT, 420)])
        assert detailed(found, 420, 0).data["lines"][0]["quantity"] == "0.25"

    def test_what_an_exchange_takes_back_is_below_nothing(self) -> None:
        back = {"source_order_id": "OLD", "return_line_items": [item("shirt", 238, 38)], "return_taxes": [VAT]}
        found = order(item("coat", 595, 95), tenders=[tender(PAYMENT, 357)], returns=[back])
        assert [(line["quantity"], line["amount"], line["tax"]) for line in detailed(found, 357, 0).data["lines"]] == [
            ("1", "5.00", "0.95"),
            ("-1", "-2.00", "-0.38"),
        ]

    def test_a_house_account_is_told_in_the_detailed_sale_too(self) -> None:
        configured = setup("square", "till", api_key="t", options={"house_accounts": ["EXTERNAL"]})
        _, notice = come(webhook(source_type="EXTERNAL"), configured)
        found = order(item("coffee", 420, 67))
        (event,) = SQUARE.fetches["sale"].read(configured, notice.data, answer({"order": found})).items
        assert isinstance(event, WireEvent)
        assert event.data["settlement"] == "account"
        assert event.data["lines"][0]["amount"] == "3.53"


class TestWhatDoesNotAddUp:
    @pytest.mark.parametrize(
        "found",
        [
            order(item("coffee", 419)),
            order(item("coffee", 420), tenders=[tender("another", 470, 50)]),
            order(item("coffee", 420), tenders=[tender(PAYMENT, 470)]),
            order(item("coffee", 420), tenders=[tender(PAYMENT, 470, 50, card_details={"status": "VOIDED"})]),
            order(item("coffee", 420) | {"total_money": {"amount": 420, "currency": "USD"}}),
            order(item("coffee", 420) | {"total_money": None}),
            order(item("coffee", 420) | {"quantity": "-1"}),
            order(item("coffee", 420) | {"quantity": "one"}),
        ],
    )
    def test_is_refused_and_the_plain_sale_stands(self, found: dict[str, Any]) -> None:
        (refusal,) = read(found)
        assert isinstance(refusal, Refusal)
        assert refusal.code in {"bad_payload", "bad_number"}

    def test_a_voided_tender_pays_nothing(self) -> None:
        voided = tender("another", 999, card_details={"status": "VOIDED"})
        found = order(item("coffee", 420), tenders=[voided, tender(PAYMENT, 470, 50)])
        assert len(detailed(found).data["lines"]) == 1

    @pytest.mark.parametrize("state", ["OPEN", "DRAFT", "CANCELED"])
    def test_an_order_that_is_not_completed_says_nothing_yet(self, state: str) -> None:
        assert read(order(item("coffee", 420), state=state)) == []

    def test_an_order_without_lines_says_nothing(self) -> None:
        assert read(order()) == []

    def test_what_square_does_not_know_is_refused(self) -> None:
        _, notice = noticed()
        (refusal,) = SQUARE.fetches["sale"].read(FETCHED, notice.data, answer({"errors": []}, 404)).items
        assert isinstance(refusal, Refusal)
        assert "check whose api_key it is" in refusal.detail


class TestSeveralPayments:
    def split(self, *tenders: dict[str, Any], items: tuple[dict[str, Any], ...], **more: Any) -> list[WireEvent]:
        found = order(*items, tenders=tenders, **more)
        events = []
        for one in tenders:
            tip = one.get("tip_money", {"amount": 0})["amount"]
            amount = one["amount_money"]["amount"] - tip
            events.append(detailed(found, amount, tip, id=one["id"]))
        return events

    def test_halves_of_an_odd_line(self) -> None:
        first, second = self.split(tender("a", 60), tender("b", 59), items=(item("coffee", 119, 19),))
        (one,), (other,) = first.data["lines"], second.data["lines"]
        assert (one["amount"], one["tax"]) == ("0.50", "0.10")
        assert (other["amount"], other["tax"]) == ("0.50", "0.09")
        assert Decimal(one["quantity"]) + Decimal(other["quantity"]) == 1

    def test_each_tip_stays_with_its_payment(self) -> None:
        first, second = self.split(tender("a", 310, 10), tender("b", 520, 120), items=(item("coffee", 700),))
        assert [event.data["tip"] for event in (first, second)] == ["0.10", "1.20"]
        assert [event.data["total"] for event in (first, second)] == ["3.10", "5.20"]
        assert [event.data["lines"][0]["amount"] for event in (first, second)] == ["3.00", "4.00"]

    def test_cash_bears_its_rounding(self) -> None:
        adjustment = {"amount_money": eur(2)}
        events = self.split(
            tender("a", 200),
            tender("b", 105, kind="CASH"),
            items=(item("coffee", 303),),
            rounding_adjustment=adjustment,
        )
        assert [event.data["lines"][0]["amount"] for event in events] == ["2.00", "1.03"]

    def test_the_order_of_tenders_changes_nothing(self) -> None:
        tenders = [tender("a", 100), tender("b", 100), tender("c", 101)]
        items = (item("coffee", 200, 32), item("cake", 101, 7))
        one = self.split(*tenders, items=items)
        other = self.split(*reversed(tenders), items=items)
        assert {event.id: event.content_hash for event in one} == {event.id: event.content_hash for event in other}

    @given(
        st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 950)), min_size=1, max_size=6),
        st.lists(st.integers(1, 100), min_size=2, max_size=4),
        st.integers(-4, 4),
    )
    def test_parts_sum_to_the_cent_both_ways(
        self, figures: list[tuple[int, int]], weights: list[int], rounding: int
    ) -> None:
        """Over payments each line's net, tax and quantity; over lines what each payment paid, but for the rounding."""
        items = tuple(item(f"i{n}", net + tax, tax, quantity="3") for n, (net, tax) in enumerate(figures))
        whole = sum(net + tax for net, tax in figures)
        amounts = split(whole, weights)
        if amounts[-1] + rounding < 0:
            rounding = 0
        tenders = [tender(f"p{n}", amount) for n, amount in enumerate(amounts)]
        tenders[-1] = tender(f"p{len(amounts) - 1}", amounts[-1] + rounding, kind="CASH")
        events = self.split(*tenders, items=items, rounding_adjustment={"amount_money": eur(rounding)})
        for n, (net, tax) in enumerate(figures):
            parts = [line for event in events for line in event.data["lines"] if line["name"] == f"I{n}"]
            assert sum(Decimal(line["amount"]) for line in parts) == Decimal(net).scaleb(-2)
            assert sum(Decimal(line.get("tax", 0)) for line in parts) == Decimal(tax).scaleb(-2)
            assert sum(Decimal(line["quantity"]) for line in parts) == 3
            assert all(Decimal(line["amount"]) >= 0 for line in parts)
        for event, amount in zip(events, amounts, strict=True):
            paid = [Decimal(line["amount"]) + Decimal(line.get("tax", 0)) for line in event.data["lines"]]
            assert sum(paid) == Decimal(amount).scaleb(-2)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(0, 5000))
def test_a_split_sums_and_stays_below_its_weights(weights: list[int], amount: int) -> None:
    parts = split(amount, weights)
    assert sum(parts) == amount
    assert all(part >= 0 for part in parts)
    if amount <= sum(weights):
        assert all(part <= weight for part, weight in zip(parts, weights, strict=True))
    if sum(weights):
        assert all(
            abs(part * sum(weights) - amount * weight) < sum(weights)
            for part, weight in zip(parts, weights, strict=True)
        )


class TestTheWayFromAnOrder:
    """An order that was open when its payment was fetched leads back to it once it is completed."""

    def test_the_lines_come_with_the_orders_own_notice(self) -> None:
        square = Square().holds(payments=[payment()], orders=[order(item("coffee", 420), state="OPEN")])
        before = square.all_of(come(webhook()))
        assert [event.type for event in before] == ["pos.sale", "source.changed"]
        square.holds(orders=[order(item("coffee", 420))])
        after = square.all_of([*before[:1], *come(order_notice())])
        assert sorted(event.id for event in after if event.type == "pos.sale") == sorted(
            [before[0].id, detailed(order(item("coffee", 420))).id]
        )

    def test_every_payment_of_it_is_looked_at(self) -> None:
        found = order(item("coffee", 300), tenders=[tender("a", 100), tender("b", 200)])
        square = Square().holds(payments=[paid(100, id="a"), paid(200, id="b")], orders=[found])
        sales = [event for event in square.all_of(come(order_notice())) if event.type == "pos.sale"]
        assert sorted(event.data["order"] for event in sales) == ["a", "a", "b", "b"]

    def test_it_ends(self) -> None:
        square = Square().holds(payments=[payment()], orders=[order(item("coffee", 420))])
        square.all_of([*come(webhook()), *come(order_notice()), *come(webhook(customer_id=None))])
        assert sorted(set(square.asked)) == ["orders.get", "payments.get"]
        assert len(square.asked) == 5

    def test_a_payment_that_was_not_completed_stays_nothing(self) -> None:
        square = Square().holds(payments=[payment(status="APPROVED")], orders=[order(item("coffee", 420))])
        assert [event.type for event in square.all_of(come(order_notice()))] == ["source.changed"] * 2
