from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.pos.square import SQUARE, read
from tests.ingest.square import payment
from tests.sources.case import delivery, setup
from tests.sources.square_objects import (
    FETCHED,
    ORDER,
    PAYMENT,
    REFUND,
    RETURN,
    UNFETCHED,
    VAT,
    Square,
    come,
    eur,
    item,
    order,
    order_notice,
    refund,
    refund_notice,
    return_order,
    returned,
    tender,
)

COFFEE = item("coffee", 238, 38, quantity="2")
BOOK = item("book", 107, 7, applied_taxes=[{"tax_uid": "low", "applied_money": {"amount": 7, "currency": "EUR"}}])
SOLD = order(COFFEE, BOOK, tenders=[tender(PAYMENT, 345)])


def refunds(status: str = "COMPLETED", amount: int = 200, **more: Any) -> list[WireEvent]:
    return [event for event in come(refund_notice(status, amount, **more)) if event.type == "pos.refund"]


def lined(back: dict[str, Any], amount: int, *, sold: dict[str, Any] = SOLD) -> list[WireEvent]:
    """The refunds there are once everything is fetched; the first is the one by amount."""
    found = (
        Square()
        .holds(orders=[sold, back], payments=[payment(refund_ids=[REFUND])])
        .all_of(come(refund_notice("COMPLETED", amount)))
    )
    return [event for event in found if event.type == "pos.refund"]


class TestByAmount:
    def test_is_what_was_given_back_of_which_payment(self) -> None:
        (event,) = refunds()
        assert event.data == {
            "refund": REFUND,
            "sale": {"source": "berlin/pos/square-till", "order": PAYMENT},
            "amount": "2.00",
            "currency": "EUR",
            "status": "completed",
            "square_order": RETURN,
        }
        assert (event.thing, event.subject) == (REFUND, None)

    @pytest.mark.parametrize(
        ("told", "status"),
        [("PENDING", "pending"), ("COMPLETED", "completed"), ("REJECTED", "failed"), ("FAILED", "failed")],
    )
    def test_has_the_vendors_status(self, told: str, status: str) -> None:
        (event,) = refunds(told)
        assert event.data["status"] == status

    def test_another_status_is_refused(self) -> None:
        with pytest.raises(BadInput, match="PENDING, COMPLETED, REJECTED, FAILED are documented"):
            read(FETCHED, delivery(refund_notice("APPROVED")))

    def test_the_state_that_came_about_last_counts(self) -> None:
        """Its time is when it came about: a refund made in one month and completed in the next is the next one's."""
        (pending,), (completed,) = refunds("PENDING"), refunds("COMPLETED")
        assert pending.thing == completed.thing
        assert pending.time is not None
        assert completed.time is not None
        assert pending.time < completed.time

    def test_of_states_of_one_instant_the_later_rank_counts(self) -> None:
        at: dict[str, Any] = {"updated_at": "2026-03-03T09:05:00.000Z"}
        states = [refunds(status, **at)[0] for status in ("PENDING", "COMPLETED", "FAILED")]
        assert {event.time for event in states} == {states[0].time}
        assert [event.id for event in states] == sorted(event.id for event in states)

    def test_a_state_told_twice_is_one(self) -> None:
        first, again = refunds(kind="refund.created", reason="x"), refunds(team_member_id="T")
        assert [(e.id, e.content_hash) for e in first] == [(e.id, e.content_hash) for e in again]

    @pytest.mark.parametrize("unlinked", [{"payment_id": None}, {"unlinked": True}])
    def test_one_without_a_payment_is_refused_once_it_is_completed(self, unlinked: dict[str, Any]) -> None:
        with pytest.raises(BadInput, match=r"2\.00 EUR names no payment; enter what it is for by hand"):
            read(FETCHED, delivery(refund_notice("COMPLETED", **unlinked)))
        assert come(refund_notice("PENDING", **unlinked)) == []

    def test_other_locations_are_another_sources(self) -> None:
        here = setup("square", "till", options={"locations": ["BERLIN"]})
        assert come(refund_notice(), here) == []
        assert len(come(refund_notice(location_id="BERLIN"), here)) == 1

    def test_without_a_key_nothing_is_to_be_fetched(self) -> None:
        assert [event.type for event in come(refund_notice(), UNFETCHED)] == ["pos.refund"]

    @pytest.mark.parametrize("status", ["PENDING", "REJECTED", "FAILED"])
    def test_only_of_a_completed_one_lines_are_looked_for(self, status: str) -> None:
        square = Square().holds(payments=[payment(refund_ids=[REFUND])])
        assert [event.type for event in square.all_of(come(refund_notice(status)))] == ["pos.refund", "source.changed"]


class TestByLines:
    def test_names_the_articles_that_came_back(self) -> None:
        by_amount, by_lines = lined(return_order(returned("coffee", 119, 19)), 119)
        assert by_lines.data == {
            "refund": REFUND,
            "sale": by_amount.data["sale"],
            "lines": [
                {
                    "sku": "VARIATION_COFFEE",
                    "name": "Coffee",
                    "quantity": "1",
                    "amount": "1.00",
                    "tax": "0.19",
                    "tax_name": "VAT 19",
                }
            ],
            "total": "1.19",
            "currency": "EUR",
            "status": "completed",
            "square_order": RETURN,
        }

    def test_is_a_later_state_of_the_same_instant(self) -> None:
        by_amount, by_lines = lined(
            return_order(returned("coffee", 238, 38, quantity="2"), returned("book", 107, 7)), 345
        )
        assert (by_amount.thing, by_amount.time) == (by_lines.thing, by_lines.time)
        assert by_amount.id < by_lines.id

    def test_a_service_charge_comes_back_too(self) -> None:
        charge = {"uid": "s", "name": "Service", "total_money": eur(50)}
        sold = order(COFFEE, tenders=[tender(PAYMENT, 288)], service_charges=[charge])
        back = return_order(return_service_charges=[charge | {"uid": "x", "source_service_charge_uid": "s"}])
        (_, by_lines) = lined(back, 50, sold=sold)
        assert [(line["name"], line["amount"]) for line in by_lines.data["lines"]] == [("Service", "0.50")]

    @pytest.mark.parametrize(
        ("back", "amount"),
        [
            # A custom amount: what the Refunds API and a till without articles write.
            (return_order({"quantity": "1", "item_type": "CUSTOM_AMOUNT", "total_money": eur(200)}), 200),
            # A tip came back with it.
            (return_order(returned("coffee", 119, 19), return_tips=[{"applied_money": eur(50)}]), 169),
            (return_order(returned("coffee", 119, 19), return_tips=[{"applied_money": eur(50)}]), 119),
            # Cash was rounded.
            (return_order(returned("coffee", 119, 19), rounding_adjustment={"amount_money": eur(1)}), 120),
            # Not all of it, or more.
            (return_order(returned("coffee", 119, 19)), 100),
            (return_order(returned("coffee", 357, 57, quantity="3")), 357),
            # Nothing of the sale.
            (return_order(returned("cake", 119, 19)), 119),
            # Square took another share of the tax than the bill would.
            (return_order(returned("coffee", 119, 18)), 119),
            (return_order(), 200),
            (order(id=RETURN, line_items=None, tenders=[], returns=[]), 200),
            # Of two sales at once, or an exchange.
            (order(id=RETURN, line_items=None, tenders=[], returns=[{"source_order_id": ORDER}] * 2), 200),
            (return_order(returned("coffee", 119, 19)) | {"line_items": [item("cake", 119)]}, 119),
            # Of a sale that nobody knows.
            (return_order(returned("coffee", 119, 19), source_order_id=None), 119),
            (return_order(returned("coffee", 119, 19), source_order_id="UNKNOWN"), 119),
        ],
    )
    def test_else_the_amount_stands(self, back: dict[str, Any], amount: int) -> None:
        (event,) = lined(back, amount)
        assert "amount" in event.data

    @pytest.mark.parametrize(
        "sold",
        [
            order(COFFEE, BOOK, tenders=[tender(PAYMENT, 200), tender("another", 145)]),
            order(COFFEE, BOOK, tenders=[tender("another", 345)]),
            order(COFFEE, BOOK, tenders=[tender(PAYMENT, 345)], state="OPEN"),
            order(COFFEE, BOOK, tenders=[tender(PAYMENT, 346)], rounding_adjustment={"amount_money": eur(1)}),
            # The bill could take the one for the other, which is taxed otherwise.
            order(COFFEE, BOOK | {"catalog_object_id": "VARIATION_COFFEE"}, tenders=[tender(PAYMENT, 345)]),
        ],
    )
    def test_so_it_does_where_the_sale_would_not_give_back_the_same(self, sold: dict[str, Any]) -> None:
        (event,) = lined(return_order(returned("coffee", 119, 19)), 119, sold=sold)
        assert "amount" in event.data

    def test_each_state_has_lines_of_its_own(self) -> None:
        """Fees change `updated_at` of a completed refund: whichever notice came first, the last state has lines."""
        square = Square().holds(orders=[SOLD, return_order(returned("coffee", 119, 19))], payments=[payment()])
        earlier, later = (
            refund_notice("COMPLETED", 119),
            refund_notice("COMPLETED", 119, updated_at="2026-03-04T00:00:00Z"),
        )
        one, other = square.all_of([*come(earlier), *come(later)]), square.all_of([*come(later), *come(earlier)])
        assert {event.id for event in one} == {event.id for event in other}
        last = max((event for event in one if event.type == "pos.refund"), key=lambda event: (event.time, event.id))
        assert "lines" in last.data

    def test_what_came_back_before_the_order_was_completed_is_looked_into_then(self) -> None:
        paid = payment(refund_ids=[REFUND], amount_money=eur(345), tip_money=None, total_money=eur(345))
        held = {"payments": [paid], "refunds": [refund("COMPLETED", 119)]}
        square = Square().holds(orders=[SOLD | {"state": "OPEN"}, return_order(returned("coffee", 119, 19))], **held)
        before = square.all_of(come(refund_notice("COMPLETED", 119)))
        assert not any("lines" in event.data for event in before)
        after = square.holds(orders=[SOLD]).all_of(come(order_notice()))
        assert [event.thing for event in after if event.type == "pos.refund" and "lines" in event.data] == [REFUND]

    def test_both_orders_are_asked_for_at_once(self) -> None:
        square = Square().holds(orders=[SOLD, return_order(returned("coffee", 119, 19))], payments=[payment()])
        (last,) = (e for e in square.all_of(come(refund_notice("COMPLETED", 119))) if e.data.get("kind") == "returned")
        request = SQUARE.fetches["returned"].request(FETCHED, last.data)
        assert (request.over, request.call) == ("square", "orders.batch_get")
        assert request.arguments == {"order_ids": [RETURN, ORDER]}

    def test_taxes_inside_the_price_make_no_difference(self) -> None:
        inside = [VAT | {"type": "INCLUSIVE"}]
        sold = SOLD | {"taxes": inside}
        (_, by_lines) = lined(return_order(returned("coffee", 119, 19), return_taxes=inside), 119, sold=sold)
        assert by_lines.data["lines"][0]["amount"] == "1.00"


class TestSeveralOfOnePayment:
    """None is by lines, whichever was looked at before the other was made."""

    OTHER = "ANOTHER_REFUND"

    def both(self, square: Square, *bodies: bytes) -> list[WireEvent]:
        one = refund("COMPLETED", 119)
        other = refund("COMPLETED", 50, id=self.OTHER, order_id="CUSTOM", updated_at="2026-03-04T00:00:00Z")
        square.holds(payments=[payment(refund_ids=[REFUND, self.OTHER])], refunds=[one, other])
        return square.all_of([event for body in bodies for event in come(body)])

    def test_the_first_is_by_amount_again(self) -> None:
        custom = return_order({"quantity": "1", "item_type": "CUSTOM_AMOUNT", "total_money": eur(50)}) | {
            "id": "CUSTOM"
        }
        orders = [SOLD, custom, return_order(returned("coffee", 119, 19))]
        first = refund_notice("COMPLETED", 119)
        second = refund_notice("COMPLETED", 50, id=self.OTHER, order_id="CUSTOM", updated_at="2026-03-04T00:00:00Z")
        early = Square().holds(orders=orders, payments=[payment(refund_ids=[REFUND])])
        known = early.all_of(come(first))
        assert any("lines" in event.data for event in known)
        late = self.both(Square().holds(orders=orders), first, second)
        assert not any("lines" in event.data for event in late)
        for events in ([*known, *self.both(early, second)], late):
            last = {event.thing: event for event in sorted(events, key=lambda e: e.id) if event.type == "pos.refund"}
            assert {thing: event.data.get("amount") for thing, event in last.items()} == {
                REFUND: "1.19",
                self.OTHER: "0.50",
            }

    def test_one_that_failed_counts_too(self) -> None:
        """It may be looked at before or after it failed, and what was looked at must not matter."""
        failed = refund_notice("FAILED", 50, id=self.OTHER)
        square = Square().holds(orders=[SOLD, return_order(returned("coffee", 119, 19))])
        assert not any("lines" in event.data for event in self.both(square, refund_notice("COMPLETED", 119), failed))
        assert "refunds.get" in square.asked
