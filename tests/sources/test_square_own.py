"""Invoices of the export target that customers pay: their usage was metered before, and is no sale again."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from meter.model.event import REFUND, SALE, VOIDED
from meter.model.wire import Refusal, WireEvent
from meter.sources.pos.square import read as read_webhook
from tests.ingest.square import payment, webhook
from tests.sources.case import delivery
from tests.sources.square_objects import (
    FETCHED,
    PAYMENT,
    UNFETCHED,
    Square,
    come,
    eur,
    item,
    order,
    order_notice,
    refund_notice,
    tender,
)
from tests.sources.test_square_bill import bill

NUMBER = "20261031-K7Q2M4XA"
INVOICE: dict[str, Any] = {
    "application_details": {"square_product": "INVOICES", "application_id": "sq0idp-w46nJ_NCNDMSOywaCY0mwA"}
}
LINES = (item("coffee", 420, 67),)
PAID: dict[str, Any] = {"amount_money": eur(420), "tip_money": None, "total_money": eur(420)}
# What the target's application reads of its order, and what any other one does.
OURS: dict[str, dict[str, Any]] = {
    "read by its own application": {"metadata": {"meter_batch": "abcdefgh"}},
    "read by another": {"source": {"name": "meter"}, "reference_id": NUMBER},
    "a further part": {"source": {"name": "meter"}, "reference_id": f"{NUMBER}-2"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "written in the dashboard": {},
    "of another application of that name": {"source": {"name": "meter"}, "reference_id": "table 7"},
    "with a number like ours": {"source": {"name": "Square Online"}, "reference_id": NUMBER},
    "with metadata of its own": {"metadata": {"batch": "7"}},
}
each_own = pytest.mark.parametrize("marks", OURS.values(), ids=OURS.keys())
each_other = pytest.mark.parametrize("marks", OTHERS.values(), ids=OTHERS.keys())


def held(marks: dict[str, Any], **changes: Any) -> Square:
    made = order(*LINES, tenders=[tender(PAYMENT, 420)], **marks)
    return Square().holds(orders=[made], payments=[payment(**PAID, **changes)])


def told(marks: dict[str, Any], **changes: Any) -> list[WireEvent]:
    """Everything that comes of a paid order, told by its payment and by itself."""
    square = held(marks, **changes)
    return square.all_of(
        [*come(webhook(**PAID, **changes)), *come(order_notice()), *come(webhook("payment.updated", **PAID, **changes))]
    )


@each_own
@pytest.mark.parametrize("product", [INVOICE, {}, {"application_details": {"square_product": "VIRTUAL_TERMINAL"}}])
def test_what_the_customer_pays_of_an_invoice_of_ours_is_not_billed_again(
    marks: dict[str, Any], product: dict[str, Any]
) -> None:
    events = told(marks, **product)
    assert bill(events) == ()
    assert bill(events[::-1]) == ()


@each_own
def test_what_pays_an_invoice_is_no_sale_for_a_moment(marks: dict[str, Any]) -> None:
    assert {event.type for event in told(marks, **INVOICE)} == {"source.changed"}


def test_a_sale_that_was_told_before_its_order_was_read_is_taken_back_once() -> None:
    events = told(OURS["read by another"])
    (sale,) = [event for event in events if event.type == SALE]
    (void,) = [event for event in events if event.type == VOIDED]
    assert (void.source, void.data["source"], void.data["id"]) == (sale.source, sale.source, sale.id)


@each_other
def test_an_invoice_that_is_not_ours_is_a_sale_with_the_lines_of_its_order(marks: dict[str, Any]) -> None:
    lines = bill(told(marks, **INVOICE))
    assert lines
    assert lines == bill(told(marks))


def test_a_part_of_an_invoice_that_is_not_ours_is_a_sale_before_the_rest_is_paid() -> None:
    square = Square().holds(orders=[order(*LINES, state="OPEN", tenders=[tender(PAYMENT, 420)])])
    (sale,) = [event for event in square.all_of(come(webhook(**PAID, **INVOICE))) if event.type == SALE]
    assert sale.data["lines"] == [{"name": "Square payment", "quantity": "1", "amount": "4.20"}]


def test_an_invoice_whose_figures_do_not_sum_is_a_plain_sale_and_says_so() -> None:
    square = Square().holds(orders=[order(item("coffee", 10), tenders=[tender(PAYMENT, 420)])])
    (notice,) = come(webhook(**PAID, **INVOICE))
    fetched = square.fetched_items(notice)
    assert [type(one) for one in fetched] == [WireEvent, Refusal]
    assert isinstance(fetched[0], WireEvent)
    assert fetched[0].data["total"] == "4.20"


def test_without_a_key_a_payment_of_an_invoice_is_refused_with_the_remedy() -> None:
    (refusal,) = read_webhook(UNFETCHED, delivery(webhook(**INVOICE))).items
    assert isinstance(refusal, Refusal)
    assert refusal.code == "unknown_invoice"
    assert "set api_key" in refusal.detail
    # Handed in again with a key it is looked into.
    assert come(refusal.body) == come(webhook(**INVOICE))


def test_what_the_target_gives_back_on_its_invoice_is_no_refund_of_a_sale() -> None:
    mark = f"Correction of {NUMBER}, {NUMBER}-2 [meter:{'a' * 32} 2026-11-30 1 lines, tax 12]"
    assert come(refund_notice(reason=mark), FETCHED) == []
    assert [event.type for event in come(refund_notice(reason="[meter: cold]"), UNFETCHED)] == [REFUND]


@pytest.mark.parametrize("steps", list(permutations(range(3))))
def test_the_bill_is_nothing_in_whatever_order_it_is_told(steps: tuple[int, ...]) -> None:
    square = held(OURS["read by another"])
    bodies = [webhook(**PAID), order_notice(), webhook("payment.updated", **PAID, customer_id="ANOTHER")]
    assert bill(square.all_of([event for step in steps for event in come(bodies[step])])) == ()
