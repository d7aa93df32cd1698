"""Square: payments as its api.json of 2025-08-19 shows them."""

from collections.abc import Mapping

from meter.sources.spec import Delivery, Setup
from tests.ingest.square import signature, webhook
from tests.sources.case import KEYS, Case, Sample, setup

URL = "https://meter.example/hooks/square/till"
_CUSTOMER = "square:RDX9Z4XTIZR7MRZJUXNY9HUK6I"


def sign(setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {"x-square-hmacsha256-signature": signature(delivery.body, key=key, url=setup.url or "")}, {}


CASE = Case(
    vendor="square",
    setup=setup("square", "till", secrets=KEYS, url=URL),
    sign=sign,
    samples=[
        Sample(
            name="payment.created",
            body=webhook(),
            again=webhook("payment.updated", updated_at="2026-03-02T10:01:30Z", version_token="another"),
            becomes=[("pos.sale", _CUSTOMER)],
            required=["type", "data.object.payment.id", "data.object.payment.amount_money.amount"],
        ),
        Sample(name="refund.created", body=webhook("refund.created"), becomes=[]),
    ],
)
