import json
from typing import Any

import pytest
from square.types.payment_created_event import PaymentCreatedEvent

from meter.model.wire import WireEvent
from meter.sources.pos.square import read
from tests.ingest.square import webhook
from tests.sources.case import delivery
from tests.sources.square_objects import UNFETCHED


def sale(kind: str = "payment.created", **changes: Any) -> WireEvent:
    (event,) = read(UNFETCHED, delivery(webhook(kind, **changes))).items
    assert isinstance(event, WireEvent), event
    return event


def test_the_webhook_is_what_the_vendors_own_model_reads() -> None:
    read_by_square = PaymentCreatedEvent.model_validate(json.loads(webhook()))
    assert read_by_square.data is not None


def test_amounts_leave_the_smallest_unit() -> None:
    event = sale()
    assert event.data == {
        "order": "hYy9pRFVxpDsO1FB05SunFWUe9JZY",
        "currency": "EUR",
        "lines": [{"name": "Square payment", "quantity": "1", "amount": "4.20"}],
        "tip": "0.50",
        "total": "4.70",
        "settlement": "paid",
        "square_order": "03O3USaPaAaFnI6kkwB1JxGgBsUZY",
    }
    assert event.time is not None
    assert event.time.isoformat() == "2026-03-02T08:01:27.120000+00:00"


@pytest.mark.parametrize(("currency", "amount"), [("EUR", "12.34"), ("JPY", "1234"), ("KWD", "1.234")])
def test_each_currency_has_its_places(currency: str, amount: str) -> None:
    money = {"amount": 1234, "currency": currency}
    assert sale(amount_money=money, total_money=money, tip_money=None).data["total"] == amount


def test_a_fee_that_is_known_later_is_the_same_sale() -> None:
    fee = [
        {"effective_at": "2026-03-02T10:01:27Z", "type": "INITIAL", "amount_money": {"amount": 9, "currency": "EUR"}}
    ]
    later = sale("payment.updated", updated_at="2026-03-02T10:01:30Z", processing_fee=fee, version_token="another")
    assert (later.id, later.content_hash) == (sale().id, sale().content_hash)


def test_a_customer_known_later_counts() -> None:
    """Both are on one thing at one time: the later in the order is the one with the customer."""
    unknown, known = sale(customer_id=None), sale("payment.updated")
    assert unknown.subject is None
    assert (unknown.thing, unknown.time) == (known.thing, known.time)
    assert unknown.id < known.id


def test_two_payments_of_one_order_are_two_sales() -> None:
    assert sale(id="first").thing != sale(id="second").thing
