"""The fifteen nastiest things that vendors do, each through the whole gateway to the bill."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.outside import run
from tests.e2e.vendors import KEY, SETTLE_TIMEOUT_S, SQUARE_URL, Site, catalog, signature, write_catalog
from tests.gateway import RunningGateway
from tests.ingest.square import payment

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIMPLE = ("kisi", "brivo", "alta", "papercut", "freeradius", "cups", "unifi-access")

MEMBERS: dict[str, list[Any]] = {
    "acked": ["square:ACKED", "kisi:1"],
    "delayed": ["user:delayed"],
    "counted": ["user:counted"],
    "giga": ["user:giga"],
    "powercut": ["user:powercut"],
    "shuffled": ["square:SHUFFLED", "user:shuffled"],
    "pulses": ["alta:7", "badge:04AA01"],
    "nameless": ["unifi:unifi-8"],
    "numbered": ["badge:74103794"],
    "exits": ["kisi:9"],
    "roamer": ["user:roamer"],
    "clocks": ["badge:04AA11", "user:clocks"],
    "offline": ["brivo:12"],
    "retained": ["badge:04AA13"],
    "printing": ["papercut:printing", "cups:printing"],
    "refunded": ["square:REFUNDED"],
}
MQTT: list[dict[str, Any]] = [
    {"topic": "rc522/tag", "decoder": "esphome-tag", "site": "berlin"},
    {"topic": "rfid/send", "decoder": "esp-rfid", "site": "berlin"},
    {
        "topic": "rfid-local/send",
        "decoder": "esp-rfid",
        "site": "berlin",
        "name": "local",
        "timezone": "Europe/Berlin",
        "options": {"clock": "local"},
    },
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(session_dir: Path) -> AsyncIterator[Site]:
    path = fresh(session_dir)
    webhooks: dict[str, Any] = {
        vendor: {"main": {"secrets": [KEY], "site": "berlin", "timezone": "Europe/Berlin"}} for vendor in SIMPLE
    }
    webhooks["square"] = {"till": {"secrets": [KEY], "url": SQUARE_URL, "site": "berlin"}}
    # Two posts of a test may lie on both sides of a narrower window's border.
    webhooks["unifi-access"]["main"]["options"] = {"window_s": 86_400}
    webhooks["papercut"]["main"]["options"] = {"read": "table"}
    env = {
        "METER_DATA_DIR": str(path),
        "METER_WEBHOOKS": json.dumps(webhooks),
        "METER_CATALOG": str(write_catalog(path, catalog(MEMBERS, MQTT))),
        "METER_HASH_IDENTITIES": "[]",
    }
    async with RunningGateway(path, env=env) as running:
        yield Site(running)
    shutil.rmtree(path, ignore_errors=True)


def fresh(session_dir: Path) -> Path:
    path = Path(tempfile.mkdtemp(dir=session_dir))
    path.chmod(0o711)
    return path


def cafe(id: str, customer: str, **changes: Any) -> dict[str, Any]:
    """A payment of 4.20 with a tip of 0.50."""
    changes = {"created_at": "2026-03-02T08:01:27Z", "updated_at": "2026-03-02T08:01:28Z"} | changes
    return _square("payment.created", "payment", payment(id=id, customer_id=customer, **changes))


def _square(kind: str, what: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "merchant_id": "M1",
        "type": kind,
        "event_id": f"{content['id']}-{kind}-{content.get('status')}",
        "created_at": "2026-03-02T08:01:28Z",
        "data": {"type": what, "id": content["id"], "object": {what: content}},
    }


def refund(id: str, of: str, cents: int, status: str, updated: str) -> dict[str, Any]:
    content = {
        "id": id,
        "payment_id": of,
        "order_id": f"order-{id}",
        "status": status,
        "amount_money": {"amount": cents, "currency": "EUR"},
        "location_id": "L1",
        "created_at": "2026-03-02T09:00:00Z",
        "updated_at": updated,
    }
    return _square("refund.updated", "refund", content)


def unlock(uuid: str, actor: int | None, **changes: Any) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "actor_type": "User" if actor else None,
        "actor_id": actor,
        "object_type": "Lock",
        "object_id": 3,
        "object_name": "Main",
        "success": True,
        "type": "lock.unlock",
        "created_at": "2026-03-02T08:00:00Z",
    } | changes


def accounting(status: str, session: str, user: str | None, at: str | None, **more: Any) -> dict[str, Any]:
    """A packet as FreeRADIUS' rest module posts it."""
    attributes = {
        "Acct-Status-Type": status,
        "Acct-Session-Id": session,
        "User-Name": user,
        "NAS-IP-Address": "192.0.2.1",
        "NAS-Identifier": more.pop("nas", "ap-1"),
        "Calling-Station-Id": more.pop("mac", "AA-BB-CC-00-00-01"),
        "Event-Timestamp": at,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return {
        name: {"type": "string" if isinstance(value, str) else "integer", "value": [value]}
        for name, value in attributes.items()
        if value is not None
    }


async def test_1_the_answer_is_lost_after_the_commit(site: Site) -> None:
    sale = json.dumps(cafe("pay-acked", "ACKED")).encode()
    entry = json.dumps(unlock("uuid-acked", 1)).encode()
    for vendor, body in (("square", sale), ("kisi", entry)):
        source, headers, _ = signature(vendor, body)
        for _ in range(3):
            await site.post_and_go(source, body, headers)
        await site.signed(vendor, body)
        assert [result["status"] for result in await site.signed(vendor, body)] == ["duplicate"]
    assert await site.bill("acked") == {"cafe": Decimal("4.20"), "visits": 1}


async def test_2_a_retransmission_has_other_bytes(site: Site) -> None:
    stop = accounting("Stop", "s2", "delayed", None, Acct_Session_Time=3600, Acct_Output_Octets=5_000_000)
    await site.signed("freeradius", {**stop, "Acct-Delay-Time": {"type": "integer", "value": [0]}})
    for delay_s in (5, 17):
        again = {**stop, "Acct-Delay-Time": {"type": "integer", "value": [delay_s]}}
        await site.signed("freeradius", again)
    assert (await site.bill("delayed"))["wifi-data"] == 5


async def test_3_counters_are_not_added_up(site: Site) -> None:
    times = ("Mar  2 2026 09:00:00 CET", "Mar  2 2026 09:10:00 CET", "Mar  2 2026 09:20:00 CET")
    await site.signed("freeradius", accounting("Start", "s3", "counted", times[0]))
    for at, octets in zip(times[1:], (100_000_000, 300_000_000), strict=True):
        packet = accounting("Interim-Update", "s3", "counted", at, Acct_Output_Octets=octets)
        await site.signed("freeradius", packet)
    packet = accounting(
        "Stop", "s3", "counted", "Mar  2 2026 09:30:00 CET", Acct_Output_Octets=500_000_000, Acct_Session_Time=1800
    )
    await site.signed("freeradius", packet)
    assert await site.bill("counted") == {"wifi-data": 500, "wifi-time": Decimal("0.5")}


async def test_4_gigawords_are_absent_wrap_and_fall(site: Site) -> None:
    readings = [(None, 4_000_000_000), (1, 5_032_704), (1, 105_032_704), (None, 7_000_000)]
    for minute, (gigawords, octets) in enumerate(readings):
        packet = accounting(
            "Interim-Update",
            "s4",
            "giga",
            f"Mar  2 2026 09:{minute:02}:00 CET",
            Acct_Output_Octets=octets,
            **({} if gigawords is None else {"Acct_Output_Gigawords": gigawords}),
        )
        await site.signed("freeradius", packet)
    assert (await site.bill("giga"))["wifi-data"] == 4400


async def test_5_a_power_cut_ends_a_session_at_its_last_reading(site: Site) -> None:
    await site.signed("freeradius", accounting("Start", "s5", "powercut", "Mar  2 2026 09:00:00 CET", nas="ap-5"))
    interim = accounting(
        "Interim-Update", "s5", "powercut", "Mar  2 2026 09:45:00 CET", nas="ap-5", Acct_Output_Octets=7_000_000
    )
    await site.signed("freeradius", interim)
    await site.signed("freeradius", accounting("Accounting-On", "", None, "Mar  2 2026 12:00:00 CET", nas="ap-5"))
    expected = {"wifi-data": Decimal(7), "wifi-time": Decimal("0.75")}
    await site.until("powercut", expected)
    lines = [charge for charge in await site.charges("powercut") if charge["meter"] == "wifi-time"]
    assert lines[-1]["estimated"] is True
    # What the access point still had to say comes an hour after it is back: the end moves, and never to now.
    late = accounting("Interim-Update", "s5", "powercut", "Mar  2 2026 10:00:00 CET", nas="ap-5")
    await site.signed("freeradius", late)
    await site.until("powercut", {**expected, "wifi-time": Decimal(1)})


async def test_6_what_happened_later_arrives_first(site: Site) -> None:
    await site.signed("square", refund("re-6", "pay-6", 470, "COMPLETED", "2026-03-02T09:30:00Z"))
    fees = {"updated_at": "2026-03-02T10:00:00Z", "version_token": "later"}
    updated = cafe("pay-6", "SHUFFLED", **fees) | {"type": "payment.updated"}
    await site.signed("square", updated)
    await site.signed("square", cafe("pay-6", "SHUFFLED", status="APPROVED"))
    await site.signed("square", cafe("pay-6", "SHUFFLED"))
    stop = accounting("Stop", "s6", "shuffled", "Mar  2 2026 10:00:00 CET", Acct_Session_Time=3600)
    await site.signed("freeradius", stop)
    await site.signed("freeradius", accounting("Start", "s6", "shuffled", "Mar  2 2026 09:00:00 CET"))
    interim = accounting("Interim-Update", "s6", "shuffled", "Mar  2 2026 09:30:00 CET", Acct_Session_Time=1800)
    await site.signed("freeradius", interim)
    # All of the sale is given back, and the session ended once.
    assert await site.bill("shuffled") == {"wifi-time": 1}


async def test_7_one_act_is_told_in_many_events(site: Site) -> None:
    for second, stage in enumerate(("entry.authenticated", "entry.authorized", "entry.unlocked")):
        await site.signed(
            "alta",
            {
                "type": stage,
                "id": f"alta-{stage}",
                "time": f"2026-03-02T08:00:0{second}Z",
                "entry": {"id": "e1", "name": "Main"},
                "user": {"id": 7},
            },
        )
    assert await site.bill("pulses") == {"visits": 1}
    # A badge held to the reader is read every second; each reading has an id of its own.
    pulses = [
        {
            "specversion": "1.0",
            "id": f"pulse-{second}",
            "source": "berlin/door/main",
            "type": "door.access",
            "subject": "badge:04AA01",
            "time": f"2026-03-03T08:00:0{second}Z",
            "data": {"door": "main", "direction": "in", "granted": True},
        }
        for second in (3, 0, 4, 1, 2)
    ]
    for pulse in pulses:
        await site.publish("spaces/berlin/door/main", json.dumps(pulse))
    await site.until("pulses", {"visits": Decimal(2)})


async def test_8_neither_an_id_nor_a_time(site: Site) -> None:
    body = {
        "event": "access.door.unlock",
        "event_object_id": "0f0f0f0f-0000-4000-8000-000000000001",
        "data": {
            "location": {"id": "door-1", "name": "Main", "location_type": "door"},
            "device": {"name": "UAH", "id": "f4e2c6000001", "device_type": "UAH"},
            "actor": {"id": "unifi-8", "name": "N.", "type": "user"},
            "object": {"authentication_type": "NFC", "result": "Access Granted"},
        },
    }
    await site.signed("unifi-access", body)
    assert [result["status"] for result in await site.signed("unifi-access", body)] == ["duplicate"]
    await site.publish("rc522/tag", "74-10-37-94")
    await site.publish("rc522/tag", "74-10-37-94")
    await site.until("numbered", {"visits": Decimal(1)})
    assert await site.bill("nameless") == {"visits": 1}


async def test_9_nobody_is_invented(site: Site) -> None:
    before = await site.unresolved()
    await site.signed("kisi", unlock("uuid-exit", None))
    await site.signed("kisi", unlock("uuid-key", 77, actor_type="ApiKey"))
    await site.signed("kisi", unlock("uuid-exit-9", 9))
    assert await site.bill("exits") == {"visits": 1}
    assert await site.unresolved() == before


async def test_10_a_phone_changes_its_address_and_roams(site: Site) -> None:
    """The user's name is in the first packet only; later ones come from another access point and another address."""
    start = accounting("Start", "s10", "roamer", "Mar  2 2026 09:00:00 CET", mac="DA-A1-19-00-00-01")
    named = {"nas": "ap-1", "mac": "DA-A1-19-00-00-01"}
    nameless = accounting(
        "Stop", "s10", None, "Mar  2 2026 10:00:00 CET", **named, Acct_Output_Octets=3_000_000, Acct_Session_Time=3600
    )
    roamed = accounting("Start", "s10b", "roamer", "Mar  2 2026 09:30:00 CET", nas="ap-2", mac="DA-A1-19-00-00-02")
    left = accounting(
        "Stop",
        "s10b",
        "roamer",
        "Mar  2 2026 10:30:00 CET",
        nas="ap-2",
        mac="DA-A1-19-00-00-02",
        Acct_Output_Octets=2_000_000,
        Acct_Session_Time=3600,
    )
    for packet in (nameless, start, left, roamed):
        await site.signed("freeradius", packet)
    await site.until("roamer", {"wifi-data": Decimal(5), "wifi-time": Decimal(2)})


async def test_11_clocks_lie(site: Site) -> None:
    """A reader that has just started, one that counts local seconds, and a server in the hour that comes twice."""
    read = {"type": "access", "isKnown": "true", "access": "Always", "uid": "04aa11", "doorName": "Main"}
    await site.publish("rfid/send", json.dumps({**read, "time": 12, "hostname": "fresh"}))
    local = 1772438487 + 3600  # 2026-03-02T09:01:27 on a wall in Berlin
    await site.publish("rfid-local/send", json.dumps({**read, "time": local, "hostname": "local"}))
    await site.until("clocks", {"visits": Decimal(2)})
    told = await site.running.rows(
        "SELECT attributes ->> 'timeflag', timed, time FROM events WHERE subject = 'badge:04AA11' ORDER BY timed, time"
    )
    (fresh, local_row) = told
    assert fresh[:2] == ("unset_clock", False)
    assert local_row[1:] == (True, datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC))
    first = accounting("Start", "s11", "clocks", "Oct 26 2025 02:30:00 CEST")
    second = accounting("Stop", "s11", "clocks", "Oct 26 2025 02:30:00 CET", Acct_Session_Time=3600)
    await site.signed("freeradius", first)
    await site.signed("freeradius", second)
    await site.until("clocks", {"visits": Decimal(2), "wifi-time": Decimal(1)})


async def test_12_a_panel_uploads_after_the_period_has_closed(site: Site) -> None:
    def access(uuid: str, occurred: str) -> dict[str, Any]:
        return {
            "uuid": uuid,
            "occurred": occurred,
            "actor": {"id": 12, "name": "N."},
            "eventData": {"actionAllowed": True, "objectName": "Main", "credentials": [{"id": 5, "disabled": False}]},
        }

    await site.signed("brivo", access("b-1", "2026-03-02T08:00:00Z"))
    assert await site.bill("offline") == {"visits": 1}
    code, out, err = await run(site.running, "close", "offline", "--period", "2026-03", "--force", "--reason", "test")
    assert code == 0, (out, err)
    async with asyncio.timeout(SETTLE_TIMEOUT_S):  # what is rated together with the closing is still in the period
        while not all(booked for (booked,) in await site.running.rows("SELECT booked FROM closes")):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.05)
    status, _, answered = await site.post("brivo/main", access("b-2", "2026-03-05T08:00:00Z"), query={"token": KEY})
    assert (status, answered) == (200, b"")
    assert await site.bill("offline") == {"visits": 2}
    (late,) = [charge for charge in await site.charges("offline") if charge["event"]["id"] == "b-2"]
    assert late["kind"] == "adjustment"
    assert late["period"]["start"].startswith("2026-02-28")
    assert late["invoice_period"]["start"] > late["period"]["start"]


async def test_13_what_is_retained_is_no_usage(site: Site) -> None:
    event = {
        "specversion": "1.0",
        "id": "kept",
        "source": "berlin/door/side",
        "type": "door.access",
        "subject": "badge:04AA13",
        "time": "2026-03-02T08:00:00Z",
        "data": {"door": "side", "granted": True},
    }
    await site.publish("spaces/berlin/door/side", json.dumps(event))
    await site.until("retained", {"visits": Decimal(1)})
    await site.publish("spaces/berlin/door/side", json.dumps({**event, "id": "state"}), retain=True)
    # Whoever subscribes again is told again what was retained: so does the gateway when it comes back.
    await site.running.stop()
    await site.running.start()
    await site.publish("spaces/berlin/door/side", json.dumps({**event, "id": "new", "time": "2026-03-03T08:00:00Z"}))
    await site.until("retained", {"visits": Decimal(2)})


async def test_14_prints_are_cancelled_repeated_and_refunded(site: Site) -> None:
    header = (
        "printer_usage_log_id,usage_date,printer_name,user_name,total_pages,total_color_pages,copies,"
        "usage_allowed,printed,refunded"
    )
    rows = [
        "1,2026-03-02 09:00:00,LOUNGE,printing,10,0,1,Y,Y,N",
        "2,2026-03-02 09:05:00,LOUNGE,printing,4,0,1,Y,Y,N",
    ]
    table = "\n".join([header, *rows]).encode()
    await site.signed("papercut", table)
    assert await site.bill("printing") == {"pages": 14}
    # The row is changed in place a week later; the whole table is exported again, twice.
    refunded = table.replace(b"1,2026-03-02 09:00:00,LOUNGE,printing,10,0,1,Y,Y,N", rows[0][:-1].encode() + b"Y")
    for _ in range(2):
        await site.signed("papercut", refunded)
        assert await site.bill("printing") == {"pages": 4}
    # CUPS logs a job when it stops and again when it is retried: the last count is the job's.
    line = "lounge printing {job} [02/Mar/2026:09:14:{second:02} +0100] total {pages} - localhost plan - one-sided"
    await site.signed("cups", line.format(job=7, second=0, pages=3).encode())
    await site.signed("cups", line.format(job=7, second=40, pages=5).encode())
    await site.signed("cups", line.format(job=7, second=0, pages=3).encode())
    assert await site.bill("printing") == {"pages": 9}


async def test_15_refunds_come_in_parts_and_are_rejected(site: Site) -> None:
    await site.signed(
        "square", cafe("pay-15", "REFUNDED", tip_money=None, total_money={"amount": 420, "currency": "EUR"})
    )
    await site.signed("square", refund("re-a", "pay-15", 100, "PENDING", "2026-03-02T09:00:01Z"))
    assert await site.bill("refunded") == {"cafe": Decimal("4.20")}
    await site.signed("square", refund("re-a", "pay-15", 100, "REJECTED", "2026-03-02T09:00:02Z"))
    await site.signed("square", refund("re-b", "pay-15", 120, "COMPLETED", "2026-03-02T09:10:00Z"))
    await site.signed("square", refund("re-b", "pay-15", 120, "PENDING", "2026-03-02T09:09:00Z"))
    total = sum((await site.bill("refunded")).values())
    assert total == Decimal("3.00")
    # More than was left is never given back.
    await site.signed("square", refund("re-c", "pay-15", 900, "COMPLETED", "2026-03-02T09:20:00Z"))
    assert await site.bill("refunded") == {}
