"""What is posted, to whom it is told again, and what a receiver's answers make of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from standardwebhooks import Webhook, WebhookVerificationError

from meter.api.openapi import document
from meter.clock import now
from meter.export.charge_json import charge_json
from meter.export.contract import Absent, Barred, Delivered, Outcome, Refused, Retry, Uncertain
from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.gatherer import items_from
from meter.export.gather.shape import Booked
from meter.export.http import Answer
from meter.export.targets.spec import Setup
from meter.export.targets.webhook import (
    CHARGES_MAX,
    GONE_S,
    WEBHOOK,
    WebhookTarget,
    body_of,
    headers_of,
    outcome_from,
    webhook_id,
)
from meter.model.errors import Unavailable
from meter.store.deliveries import retry_dead
from meter.store.engine import Database
from meter.store.outbox import OutboxItem
from tests.booked import OPERATOR, a_charge, a_line
from tests.export.books import entry
from tests.export.clocks import VirtualClock
from tests.export.gathering import known
from tests.targets.cases.webhook import CASE
from tests.targets.driving import driven
from tests.targets.fakes.receiver import SECRET, FakeReceiver
from tests.targets.proxy import Fault, FaultProxy, Odds
from tests.targets.random_charges import items_of, random_charges

NEW = "whsec_" + "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3"


def setup_of(url: str, *secrets: str, **options: str) -> Setup:
    return Setup(
        operator=OPERATOR,
        name="hook",
        kind="webhook",
        data_dir=Path("unused"),
        base_url=url,
        grain="charge",
        secrets=secrets or (SECRET,),
        options={"dataset": "charges", **options},
    )


def told(n: int = 1, account: str = "acme") -> list[OutboxItem]:
    charges = [a_charge(a_line(number, account=account)) for number in range(n)]
    return items_of(Charges(apart="account", charges_max=1), charges, "hook")


def receiver_of(fake: FakeReceiver, path: str = "/hook") -> str:
    return fake.url + path


# --- what is posted ---------------------------------------------------------------------------------------------------


def test_the_body_has_the_charges_as_the_api_gives_them() -> None:
    booked = random_charges(20, seed=1)
    for item in items_of(Charges(apart="account", charges_max=CHARGES_MAX), booked, "hook"):
        body = json.loads(body_of(item), parse_float=Decimal)
        mine = [one for one in booked if one.line.account == body["data"]["charges"][0]["account"]]
        as_api = [json.loads(msgspec.json.encode(charge_json(one)), parse_float=Decimal) for one in mine]
        assert body["type"] == "charges.booked"
        assert body["data"] == {"version": 1, "operator": OPERATOR, "batch": item.batch, "charges": as_api}
        assert datetime.fromisoformat(body["timestamp"]) == max(one.booked_at for one in mine)


def test_entries_are_told_as_they_are() -> None:
    drafts = Entries().at_once(Booked(entries=[entry("ch_1", amount="0.10", day=date(2026, 3, 2))]), known())
    [item] = items_from(drafts, operator=OPERATOR, target="hook")
    body = json.loads(body_of(item))
    assert (body["type"], body["timestamp"]) == ("journal.posted", "2026-03-02T00:00:00Z")
    [one] = body["data"]["entries"]
    assert one["postings"] == [
        {"account": "assets:receivable", "amount": "0.1"},
        {"account": "income:print-pages", "amount": "-0.1"},
    ]


def test_every_body_fits_the_schema_that_the_document_gives() -> None:
    api = document([])
    drafts = Entries().at_once(Booked(entries=[entry("ch_1")]), known())
    items = items_of(Charges(apart="account", charges_max=7), random_charges(60, seed=2), "hook")
    for item in [*items, *items_from(drafts, operator=OPERATOR, target="hook")]:
        body = json.loads(body_of(item))
        content = api["webhooks"][body["type"]]["post"]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": api["components"]}
        Draft202012Validator(schema).validate(body)


def test_a_payload_of_another_kind_is_refused_with_its_name() -> None:
    item = replace(told()[0], operation="line", payload=b"{}")
    with pytest.raises(msgspec.ValidationError):
        body_of(item)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), "whsec_" + "AAAA" * 8 + "AA=="])
def test_a_receiver_that_has_the_secret_verifies(secret: str) -> None:
    body = '{"größe": 1}'.encode()
    headers = headers_of("msg_1", body, [secret], now())
    assert Webhook(secret).verify(body, headers) == {"größe": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)


@pytest.mark.parametrize(
    ("url", "secrets", "fault"),
    [
        ("hooks.example", (SECRET,), "base_url"),
        ("ftp://hooks.example/x", (SECRET,), "base_url"),
        ("https://[::1/x", (SECRET,), "base_url"),
        ("https://hooks.example/x", ("whsec_short",), "secrets"),
        ("https://hooks.example/x", ("not base64 at all, but long enough", SECRET), "secrets"),
        ("https://hooks.example/x", (SECRET, NEW), ""),
        ("http://127.0.0.1:8080", (SECRET,), ""),
    ],
)
def test_a_setting_that_cannot_work_is_named(url: str, secrets: tuple[str, ...], fault: str) -> None:
    faults = WEBHOOK.faults(setup_of(url, *secrets))
    assert [one.split(" ")[0].rstrip(":") for one in faults] == ([fault] if fault else [])


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, Delivered()),
        (204, {}, Delivered()),
        (301, {"location": "https://elsewhere.example"}, Refused),
        (400, {}, Refused),
        (401, {}, Barred),
        (403, {}, Barred),
        (404, {}, Refused),
        (409, {}, Retry),
        (410, {}, Barred),
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "9"}, 9.0),
        (500, {}, Uncertain),
        (503, {}, Uncertain),
    ],
)
def test_what_an_answer_makes_of_an_item(status: int, headers: Mapping[str, str], expected: Any) -> None:
    outcome = outcome_from(Answer(status=status, headers=headers, body=b"said"))
    if isinstance(expected, float):
        assert isinstance(outcome, Retry)
        assert (outcome.after_s, outcome.throttled) == (expected, True)
    elif isinstance(expected, Delivered):
        assert outcome == expected
    else:
        assert isinstance(outcome, expected)


async def sent_to(fake: FakeReceiver, items: list[OutboxItem], *secrets: str) -> list[Outcome]:
    target = WebhookTarget(setup_of(receiver_of(fake), *secrets))
    try:
        return list(await target.send(items))
    finally:
        await target.close()


async def test_the_address_is_asked_as_it_was_set() -> None:
    async with FakeReceiver(path="/in/{place}") as fake:
        target = WebhookTarget(setup_of(f"{fake.url}/in/a%2Fb?code=x%20y&z"))
        assert await target.send(told()) == [Delivered()]
        await target.check()
        await target.close()
        [call] = [one.call for one in fake.calls("POST")]
        assert (call.parts["place"], call.query) == ("a/b", (("code", "x y"), ("z", "")))


async def test_both_secrets_sign_while_one_is_replaced() -> None:
    items = told(3)
    # Before: the old one alone. During: ours has both, the receiver the old and then the new. After: the new alone.
    async with FakeReceiver(SECRET) as old, FakeReceiver(NEW) as new:
        assert await sent_to(old, items[:1], SECRET) == [Delivered()]
        assert await sent_to(old, items[1:2], NEW, SECRET) == [Delivered()]
        assert await sent_to(new, items[1:2], NEW, SECRET) == [Delivered()]
        assert await sent_to(new, items[2:], NEW) == [Delivered()]
        assert isinstance((await sent_to(new, items[2:], SECRET))[0], Barred)
        assert (old.unverified, new.unverified) == (0, 1)
        signatures = [one.call.headers["webhook-signature"].split(" ") for one in new.calls()]
        assert [len(one) for one in signatures] == [2, 1, 1]
        assert list(old.taken) == [webhook_id(item) for item in items[:2]]


async def test_a_receiver_that_is_gone_is_left_alone_for_an_hour_and_loses_nothing(database: Database) -> None:
    clock = VirtualClock()
    async with FakeReceiver() as fake:
        target = WebhookTarget(setup_of(receiver_of(fake)))
        async with driven(database, target, "hook", clock) as lane:
            await lane.add(told(3))
            fake.fail_next(410, committed=False)
            await lane.step()
            told_so_far = len(fake.calls())
            clock.moment_s += GONE_S - 3600.5 - 1.0  # each step passes an hour
            assert await lane.lane.step(lane.lease) > 0
            assert len(fake.calls()) == told_so_far
            [held, *_] = [one for one in await lane.deliveries() if one.fault]
            assert held.state == "pending"
            assert "enabled = false" in (held.fault or "")
            await lane.drain()
            assert {one.state for one in await lane.deliveries()} == {"delivered"}
        assert len(fake.taken) == 3


async def test_a_receiver_cannot_be_asked_and_is_told_again() -> None:
    async with FakeReceiver() as fake:
        target = WebhookTarget(setup_of(receiver_of(fake)))
        assert await target.look_up(told(2)) == [Absent(), Absent()]
        fake.fail_next(410, committed=False)
        with pytest.raises(Unavailable, match="410"):
            await target.check()
        await target.close()
    target = WebhookTarget(setup_of(receiver_of(fake)))
    with pytest.raises(Unavailable, match="base_url"):
        await target.check()
    await target.close()


# --- through the lane -------------------------------------------------------------------------------------------------


async def test_one_account_that_is_refused_holds_up_no_other(database: Database) -> None:
    async with FakeReceiver() as fake:
        target = WebhookTarget(setup_of(receiver_of(fake)))
        async with driven(database, target, "hook") as lane:
            acme, zeta = told(2), told(2, account="zeta")
            await lane.add([*acme, *zeta])
            fake.fail_next(500, committed=False)
            await lane.step()
            # The first of one account was not taken, and what is behind it waits; the other's two went through.
            assert sorted(one.state for one in await lane.deliveries()) == [
                "delivered",
                "delivered",
                "pending",
                "uncertain",
            ]
            await lane.drain()
        assert sorted(fake.taken) == sorted(webhook_id(item) for item in [*acme, *zeta])


async def test_what_was_taken_and_refused_when_it_came_again_keeps_its_id(database: Database) -> None:
    [item] = told()
    async with FakeReceiver() as fake:
        target = WebhookTarget(setup_of(receiver_of(fake)))
        async with driven(database, target, "hook") as lane:
            await lane.add([item])
            fake.fail_next(500, committed=True)  # taken, and nobody knows
            await lane.step()
            fake.fail_next(400, committed=False)
            fake.fail_next(400, committed=False)
            await lane.drain()
            [dead] = await lane.deliveries()
            assert (dead.state, dead.key != item.key) == ("dead", True)
            async with database.begin() as conn:
                await retry_dead(conn, OPERATOR, [dead.id], by="command line")
            await lane.drain()
        assert list(fake.taken) == [webhook_id(item)] == [item.key]
        assert (fake.repeats, fake.changed) == (1, [])


async def test_charges_arrive_once_each_and_in_order_whatever_the_network_does(database: Database) -> None:
    booked = random_charges(300, seed=5)
    items = items_of(Charges(apart="account", charges_max=3), booked, "hook", page=20)
    clock = VirtualClock()
    odds = Odds(
        too_many=0.05, error_before=0.05, error_after=0.05, hang_after=0.01, reset_before=0.05, reset_after=0.05
    )
    async with FakeReceiver() as fake, FaultProxy(fake, odds, seed=5) as proxy:
        target = WebhookTarget(setup_of(proxy.url + "/hook"), monotonic=clock, timeout_s=0.5)
        async with driven(database, target, "hook", clock) as lane:
            await lane.add(items)
            proxy.plan(Fault.HANG_AFTER, Fault.RESET_AFTER)
            await lane.drain()
            assert {one.state for one in await lane.deliveries()} == {"delivered"}
        assert proxy.counts.total() > 20
        assert fake.repeats > 0
        assert (fake.unverified, fake.changed) == (0, [])
        assert sorted(fake.taken) == sorted(webhook_id(item) for item in items)
        assert CASE.books(fake) == CASE.wanted(items)
        received: dict[str, list[str]] = defaultdict(list)
        for message in fake.taken.values():
            for one in message["data"]["charges"]:
                received[one["account"]].append(one["id"])
        expected: dict[str, list[str]] = defaultdict(list)
        for charge in booked:
            expected[charge.line.account].append(charge.id)
        assert received == expected


async def test_the_time_of_a_signature_is_that_of_the_attempt(database: Database) -> None:
    moments = iter([datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)])
    async with FakeReceiver() as fake:
        target = WebhookTarget(setup_of(receiver_of(fake)), clock=lambda: next(moments))
        [item] = told()
        await target.send([item])
        await target.send([item])
        await target.close()
        first, second = (one.call for one in fake.calls())
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        stamps = [int(one.headers["webhook-timestamp"]) for one in (first, second)]
        assert stamps[1] - stamps[0] == 86_400
