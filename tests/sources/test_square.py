import json
from typing import Any

import pytest
from square.types.payment_created_event import PaymentCreatedEvent
from square.utils.webhooks_helper import verify_signature

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.pos.square import SIGNATURE_HEADER, check, read, signature
from tests.ingest.square import URL, webhook
from tests.sources.case import delivery, setup
from tests.sources.square_objects import FETCHED, ORDER, PAYMENT, UNFETCHED, come, order_notice


def sale(kind: str = "payment.created", *, options: dict[str, Any] | None = None, **changes: Any) -> WireEvent:
    configured = setup("square", "till", options=options) if options else UNFETCHED
    (event,) = come(webhook(kind, **changes), configured)
    return event


class TestSignature:
    # By `printf %s URL BODY | openssl dgst -sha256 -hmac KEY -binary | base64`.
    @pytest.mark.parametrize(
        ("key", "url", "body", "signed"),
        [
            ("the-active-key", URL, '{"type":"payment.updated"}', "prZ0REO1R2wCiLtwvPxg6vC29sd/sxPD1gYdrhm85XI="),
            ("asdf1234", URL, '{"hello":"world"}', "uAfYX7lsR/DB2YfW4qaRFZCkCWp0d/k2gGWI50HJa7U="),
            (
                "the-next-key",
                f"{URL}?site=berlin",
                '{"note":"Käffchen"}',
                "2AMkGN9GHqd1QOXqbHUzxJDQUsYfTBstMs/zNQcPbEw=",
            ),
        ],
    )
    def test_is_the_vendors(self, key: str, url: str, body: str, signed: str) -> None:
        assert signature(key, url, body.encode()).decode() == signed
        assert verify_signature(request_body=body, signature_header=signed, signature_key=key, notification_url=url)
        configured = setup("square", "till", secrets=("another", key), url=url)
        check(configured, delivery(body.encode(), headers={SIGNATURE_HEADER: signed}))

    def test_is_for_the_registered_url_to_the_byte(self) -> None:
        body = webhook()
        for url in (f"{URL}/", URL.replace("https", "http"), f"{URL}?x=1"):
            configured = setup("square", "till", secrets=("key",), url=URL)
            headers = {SIGNATURE_HEADER: signature("key", url, body).decode()}
            with pytest.raises(BadInput, match="signing key and url"):
                check(configured, delivery(body, headers=headers))


class TestPlainSale:
    def test_the_webhook_is_what_the_vendors_own_model_reads(self) -> None:
        read_by_square = PaymentCreatedEvent.model_validate(json.loads(webhook()))
        assert read_by_square.data is not None

    def test_amounts_leave_the_smallest_unit(self) -> None:
        event = sale()
        assert event.data == {
            "order": PAYMENT,
            "currency": "EUR",
            "lines": [{"name": "Square payment", "quantity": "1", "amount": "4.20"}],
            "tip": "0.50",
            "total": "4.70",
            "settlement": "paid",
            "square_order": ORDER,
        }
        assert event.time is not None
        assert event.time.isoformat() == "2026-03-02T08:01:27.120000+00:00"

    @pytest.mark.parametrize(("currency", "amount"), [("EUR", "12.34"), ("JPY", "1234"), ("KWD", "1.234")])
    def test_each_currency_has_its_places(self, currency: str, amount: str) -> None:
        money = {"amount": 1234, "currency": currency}
        assert sale(amount_money=money, total_money=money, tip_money=None).data["total"] == amount

    def test_two_currencies_in_one_payment_are_refused(self) -> None:
        with pytest.raises(BadInput, match="tip_money is in 'USD'"):
            read(UNFETCHED, delivery(webhook(tip_money={"amount": 1, "currency": "USD"})))

    def test_a_fee_that_is_known_later_is_the_same_sale(self) -> None:
        amount = {"amount": 9, "currency": "EUR"}
        fee = [{"effective_at": "2026-03-02T10:01:27Z", "type": "INITIAL", "amount_money": amount}]
        later = sale("payment.updated", updated_at="2026-03-02T10:01:30Z", processing_fee=fee, version_token="another")
        assert (later.id, later.content_hash) == (sale().id, sale().content_hash)

    def test_a_refund_of_it_is_the_same_sale(self) -> None:
        money = {"amount": 200, "currency": "EUR"}
        later = sale("payment.updated", updated_at="2026-03-03T10:01:30Z", refunded_money=money, refund_ids=["R"])
        assert (later.id, later.content_hash) == (sale().id, sale().content_hash)

    def test_a_customer_known_later_counts(self) -> None:
        """Both are on one thing at one time: the later in the order is the one with the customer."""
        unknown, known = sale(customer_id=None), sale("payment.updated")
        assert unknown.subject is None
        assert (unknown.thing, unknown.time) == (known.thing, known.time)
        assert unknown.id < known.id

    def test_two_payments_of_one_order_are_two_sales(self) -> None:
        assert sale(id="first").thing != sale(id="second").thing

    def test_a_payment_taken_offline_counts_when_the_till_took_it(self) -> None:
        offline: dict[str, Any] = {
            "is_offline_payment": True,
            "offline_payment_details": {"client_created_at": "2026-02-28T22:59:00Z"},
        }
        event = sale(**offline)
        assert event.time is not None
        assert (event.time.isoformat(), event.attributes) == ("2026-02-28T22:59:00+00:00", None)

    @pytest.mark.parametrize("told", ["1970-01-01T00:00:12Z", "2026-03-02T09:00:00Z"])
    def test_a_till_without_a_clock_is_flagged(self, told: str) -> None:
        event = sale(offline_payment_details={"client_created_at": told})
        assert (event.time, event.attributes) == (sale().time, {"timeflag": "unset_clock"})


HOUSE: dict[str, Any] = {"source_type": "EXTERNAL", "external_details": {"type": "OTHER", "source": "House account"}}


class TestHouseAccounts:
    @pytest.mark.parametrize(
        "meant", ["EXTERNAL:OTHER:House account", "external:other:house ACCOUNT", "EXTERNAL:OTHER", "EXTERNAL"]
    )
    def test_what_is_meant_is_on_account(self, meant: str) -> None:
        event = sale(options={"house_accounts": ["CARD:", meant]}, **HOUSE)
        assert event.data["settlement"] == "account"
        # Its tax is in the amount, so none may be put on top by the site.
        assert event.data["lines"] == [{"name": "Square payment", "quantity": "1", "amount": "4.20", "tax": "0.00"}]

    @pytest.mark.parametrize("meant", ["EXTERNAL:OTH", "EXTERNAL:OTHER:House", "WALLET", "", ":"])
    def test_nothing_else_is(self, meant: str) -> None:
        assert sale(options={"house_accounts": [meant, 7]}, **HOUSE).data["settlement"] == "paid"
        assert sale(options={"house_accounts": [meant]}).data["settlement"] == "paid"


class TestNotices:
    def test_without_a_key_nothing_is_to_be_fetched(self) -> None:
        assert [event.type for event in come(webhook(), UNFETCHED)] == ["pos.sale"]
        assert come(order_notice(), UNFETCHED) == []

    def test_a_completed_order_is_to_be_fetched_once(self) -> None:
        first, again = come(order_notice()), come(order_notice(kind="order.created", version=9))
        assert [event.data["object"] for event in first] == [ORDER]
        assert [(e.id, e.content_hash) for e in again] == [(e.id, e.content_hash) for e in first]

    @pytest.mark.parametrize("state", ["OPEN", "CANCELED", "DRAFT"])
    def test_another_order_is_not(self, state: str) -> None:
        assert come(order_notice(state)) == []

    @pytest.mark.parametrize("order", ["../catalog", "a/b?c", "x" * 300, "a b"])
    def test_what_is_no_id_never_gets_into_a_path(self, order: str) -> None:
        assert [event.type for event in come(webhook(order_id=order))] == ["pos.sale"]
        assert come(order_notice(order_id=order)) == []

    def test_other_locations_are_another_sources(self) -> None:
        here = setup("square", "till", api_key="token", options={"locations": ["BERLIN"]})
        assert come(webhook(location_id="HAMBURG"), here) == []
        assert come(order_notice(location_id="HAMBURG"), here) == []
        assert len(come(webhook(location_id="BERLIN"), here)) == 2
        assert len(come(webhook(), FETCHED)) == 2
