from dataclasses import replace
from typing import Any

import pytest
from square.utils.webhooks_helper import verify_signature

from meter.ingest.batcher import Batcher
from meter.ingest.webhook import _read as read_posted
from meter.model.wire import Refusal
from meter.sources.pos.square import signature as square_signature
from meter.sources.spec import Delivery, Reading, Setup
from meter.sources.wifi.meraki import MERAKI
from meter.store.engine import Database
from meter.store.tables import events, rejections
from meter.transport import samples
from tests.api.conftest import Answer, Api
from tests.ingest.gateway import until
from tests.ingest.rows import rows
from tests.ingest.square import KEYS, URL, signature, webhook
from tests.sources.case import delivery, setup

HEADER = "x-square-hmacsha256-signature"


async def post(door: Api, body: bytes, signed: str | None, *, path: str = "/hooks/square/till") -> Answer:
    headers = {"Content-Type": "application/json"} | ({} if signed is None else {HEADER: signed})
    return await door.call("POST", path, key=None, data=body, headers=headers)


def refusals(door: Api) -> float | None:
    registry = door.services.telemetry.registry
    return registry.get_sample_value("meter_webhook_refusals_total", {"vendor": "square"})


def test_we_sign_as_square_verifies() -> None:
    body = webhook(note="Käffchen ☕")
    ours = square_signature(KEYS[0], URL, body).decode()
    assert ours == signature(body)
    assert verify_signature(
        request_body=body.decode(), signature_header=ours, signature_key=KEYS[0], notification_url=URL
    )


async def test_a_payment_becomes_a_sale_once(door: Api, database: Database) -> None:
    body = webhook()
    answer = await post(door, body, signature(body))
    assert answer.status == 200
    assert [result["status"] for result in answer.json["results"]] == ["accepted"]
    (row,) = await rows(database, events)
    assert (row["source"], row["type"], row["channel"]) == ("berlin/pos/square-till", "pos.sale", "webhook")
    assert row["subject"] == "square:RDX9Z4XTIZR7MRZJUXNY9HUK6I"
    assert row["thing"] == "hYy9pRFVxpDsO1FB05SunFWUe9JZY"
    again = await post(door, body, signature(body))
    assert (again.status, again.json["results"][0]["status"]) == (200, "duplicate")
    assert len(await rows(database, events)) == 1


async def test_one_flipped_byte_is_401_and_stores_nothing_but_a_sample(
    door: Api, database: Database, batcher: Batcher
) -> None:
    body = webhook()
    for position in (0, 100, len(body) - 1):
        flipped = bytearray(body)
        flipped[position] ^= 1
        answer = await post(door, bytes(flipped), signature(body))
        assert (answer.status, answer.json["code"]) == (401, "bad_signature")
    assert await rows(database, events) == []
    assert refusals(door) == 3
    await until(lambda: batcher._events == 0)
    kept = await rows(database, rejections)
    assert [row["code"] for row in kept] == ["bad_signature"] * 3


@pytest.mark.parametrize("signed", [None, "", "x", "=", "\u00e4", signature(webhook(), key="another")])
async def test_what_is_not_signed_stays_out(door: Api, database: Database, signed: str | None) -> None:
    assert (await post(door, webhook(), signed)).status == 401
    assert await rows(database, events) == []


async def test_a_signature_for_another_url_stays_out(door: Api) -> None:
    body = webhook()
    assert (await post(door, body, signature(body, url=URL + "/"))).status == 401


async def test_two_keys_are_active_while_one_replaces_the_other(door: Api) -> None:
    for number, key in enumerate(KEYS):
        body = webhook(id=f"payment-{number}")
        assert (await post(door, body, signature(body, key=key))).status == 200


async def test_samples_of_forgeries_are_bounded(door: Api, database: Database, batcher: Batcher) -> None:
    for number in range(samples.SAMPLES_PER_HOUR_MAX + 5):
        body = webhook(id=f"forged-{number}", note="x" * 10_000)
        assert (await post(door, body, "forged")).status == 401
    await until(lambda: batcher._events == 0)
    kept = await rows(database, rejections)
    assert len(kept) == samples.SAMPLES_PER_HOUR_MAX
    assert max(len(row["body"]) for row in kept) <= samples.SAMPLE_BYTES_MAX


@pytest.mark.parametrize(
    "path", ["/hooks/square/other", "/hooks/square/unfinished", "/hooks/nobody/till", "/hooks/stripe/till"]
)
async def test_what_is_not_configured_is_404(door: Api, path: str) -> None:
    body = webhook()
    assert (await post(door, body, signature(body), path=path)).status == 404


async def test_other_news_is_acknowledged_and_counted(door: Api, database: Database) -> None:
    for body in (webhook("dispute.created"), webhook(status="APPROVED"), webhook(status="CANCELED")):
        answer = await post(door, body, signature(body))
        assert (answer.status, answer.json) == (200, {"results": []})
    assert await rows(database, events) == []
    ignored: dict[str, Any] = {"channel": "webhook", "outcome": "ignored"}
    assert door.services.telemetry.registry.get_sample_value("meter_events_total", ignored) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"not json",
        b'{"type":"payment.created"}',
        b'{"type":"payment.created","type":"x"}',
        webhook(amount_money={"amount": 4.2, "currency": "EUR"}),
        webhook(amount_money=None),
        webhook(tip_money={"amount": 1, "currency": "USD"}),
        webhook(id=None),
        webhook(created_at="yesterday"),
    ],
)
async def test_what_is_signed_but_not_understood_is_kept_and_acknowledged(
    door: Api, database: Database, body: bytes
) -> None:
    answer = await post(door, body, signature(body))
    assert answer.status == 200
    assert [result["status"] for result in answer.json["results"]] == ["rejected"]
    (kept,) = await rows(database, rejections)
    assert kept["origin"] == "POST /hooks/square/till"


def test_a_reader_that_fails_has_no_secret_kept() -> None:
    def failing(_setup: Setup, _delivery: Delivery) -> Reading:
        raise ZeroDivisionError

    assert MERAKI.hook is not None
    told = delivery(b'{"sharedSecret":"the-active-key"}')
    (kept,) = read_posted(replace(MERAKI.hook, read=failing), setup("meraki", secrets=KEYS), told).items
    assert isinstance(kept, Refusal)
    assert (kept.code, kept.body) == ("undecodable", b'{"sharedSecret":"redacted"}')
