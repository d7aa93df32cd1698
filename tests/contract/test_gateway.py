"""The public interface to the letter, as a client of one real gateway on the interface's own example catalog."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.outside import BATCH, EXAMPLE, STRUCTURED, device, event, run
from tests.gateway import RunningGateway
from tests.ingest.square import URL, signature, webhook

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In the interface's order; then what is there beside it.
CHARGE = (
    "id account member site meter plan kind event period invoice_period quantity unit covered billable dimensions "
    "price amount rounded currency tax draws settlement estimated unpriced corrects reason booked_at explain"
).split()
BESIDE = {"earned_until", "events", "grant", "role", "shares", "time", "tip", "total"}
METRICS = {
    "meter_events_total": {"channel", "outcome"},
    "meter_event_age_seconds": set(),
    "meter_ingest_commit_seconds": set(),
    "meter_rating_lag_seconds": set(),
    "meter_publish_to_rated_seconds": set(),
    "meter_charges_total": {"meter", "kind"},
    "meter_unresolved_events": set(),
    "meter_rejections_total": {"code"},
    "meter_outbox_pending": {"target"},
    "meter_outbox_oldest_seconds": {"target"},
    "meter_deliveries_total": {"target", "outcome"},
    "meter_delivery_seconds": {"target"},
    "meter_site_complete_until_seconds": {"site"},
    "meter_mqtt_connected": set(),
    "meter_build_info": {"version"},
}


def _fresh(session_dir: Path) -> Path:
    path = Path(tempfile.mkdtemp(dir=session_dir))
    path.chmod(0o711)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_dir: Path) -> AsyncIterator[RunningGateway]:
    """A gateway that started without a catalog, said so to who came, and got the example while it ran."""
    path = _fresh(session_dir)
    hooks = "METER_WEBHOOKS__SQUARE__TILL__"
    env = {
        f"{hooks}SECRETS": '["the-active-key", "the-next-key"]',
        f"{hooks}URL": URL,
        f"{hooks}SITE": "berlin",
        "METER_DATA_DIR": str(path),
    }
    async with RunningGateway(path, env=env) as running:
        early = await post(running, event("early"))
        assert (early.status, early.code, early.headers["Retry-After"]) == (503, "no_catalog", "2")
        code, _, warnings = await run(running, "apply", str(EXAMPLE))
        assert code == 0, warnings
        # A broker keeps nothing for a session that is not there yet: devices that came earlier would not be heard.
        while "\nmeter_mqtt_connected 1.0\n" not in await exposition(running):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)
        yield running
    shutil.rmtree(path, ignore_errors=True)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body
        if status >= 400:
            assert headers["Content-Type"] == "application/problem+json"
            assert body["status"] == status
            self.code = body["code"]


async def call(gateway: RunningGateway, method: str, path: str, **request: Any) -> Answer:
    async with gateway.client() as client, client.request(method, path, **request) as response:
        return Answer(response.status, dict(response.headers), await response.json(content_type=None))


async def exposition(gateway: RunningGateway) -> str:
    async with gateway.client() as client, client.get("/metrics") as response:
        return await response.text()


async def post(gateway: RunningGateway, body: Any, *, kind: str = STRUCTURED, **headers: str) -> Answer:
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    return await call(gateway, "POST", "/v1/events", data=data, headers={"Content-Type": kind, **headers})


async def charge_of(gateway: RunningGateway, event_id: str) -> dict[str, Any]:
    cursor = ""
    while True:
        page = await gateway.get("/v1/charges", cursor=cursor, wait="30")
        assert page["charges"], "nothing more is booked"
        for charge in page["charges"]:
            if charge["event"] and charge["event"]["id"] == event_id:
                found: dict[str, Any] = charge
                return found
        cursor = page["next"]


def accepted(id: str, source: str = "berlin/door/main") -> dict[str, str]:
    return {"id": id, "source": source, "status": "accepted"}


async def test_each_mode_gives_one_result_per_event_in_order(gateway: RunningGateway) -> None:
    one = await post(gateway, event("one"))
    assert (one.status, one.body) == (200, {"results": [accepted("one")]})
    again = await post(gateway, event("one", time="2026-11-20T08:00:00Z"))
    assert again.body == {"results": [{**accepted("one"), "status": "duplicate"}]}
    batch = await post(gateway, [event("one", data={"door": "x", "granted": True}), event("two"), 5], kind=BATCH)
    conflict, two, none = batch.body["results"]
    assert (conflict["status"], conflict["code"]) == ("rejected", "conflict")
    assert two == accepted("two")
    assert (none["id"], none["status"], none["code"]) == (None, "rejected", "not_an_event")
    attributes = {f"ce-{name}": value for name, value in event("three", data=None).items()}
    binary = await post(gateway, event("three")["data"], kind="application/json", **attributes)
    assert binary.body == {"results": [accepted("three")]}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", STRUCTURED, 400),
        (b"{}", BATCH, 400),
        (b"[]", STRUCTURED, 400),
        (b"{}", "application/json", 415),
        (b" " * (1 << 20) + b"1", STRUCTURED, 413),
    ],
)
async def test_a_body_that_cannot_be_read_as_a_whole_is_a_problem(
    gateway: RunningGateway, body: bytes, kind: str, status: int
) -> None:
    assert (await post(gateway, body, kind=kind)).status == status


async def test_time_ahead_is_accepted_with_the_code_and_time_long_ago_is_not(gateway: RunningGateway) -> None:
    answer = await post(
        gateway, [event("ahead", time="2099-01-01T00:00:00Z"), event("old", time="1981-01-01T00:00:00Z")], kind=BATCH
    )
    assert [(item["status"], item["code"]) for item in answer.body["results"]] == [
        ("accepted", "future_time"),
        ("rejected", "too_old"),
    ]


async def test_a_charge_has_every_field_with_strings_and_utc(gateway: RunningGateway) -> None:
    job = {"printer": "p", "job": "1", "impressions": 120, "color": True, "status": "completed"}
    await post(gateway, event("print", source="berlin/printer/p", type="print.job", data=job))
    charge = await charge_of(gateway, "print")
    assert [name for name in charge if name not in BESIDE] == CHARGE
    assert set(charge) - set(CHARGE) == BESIDE
    assert charge["event"] == {
        "source": "berlin/printer/p",
        "id": "print",
        "type": "print.job",
        "time": "2026-11-20T08:00:00Z",
    }
    figures = {name: charge[name] for name in ("quantity", "covered", "billable", "amount", "rounded")}
    # 20 pages in colour are 5.00 EUR, which the goodwill of 20.00 EUR pays.
    assert figures == {"quantity": "120", "covered": "100", "billable": "20", "amount": "0", "rounded": "0"}
    assert charge["tax"] == {"name": "vat19", "rate": "0.19", "inclusive": False, "amount": "0"}
    assert charge["draws"] == [
        {"grant": "acme-flex/pages/2026-11", "unit": "page", "amount": "100"},
        {"grant": "goodwill", "unit": "EUR", "amount": "5"},
    ]
    assert charge["corrects"] is charge["reason"] is None
    # November, until that is closed: the gateway goes by the real clock.
    begins, ends = (datetime.fromisoformat(charge["invoice_period"][name]) for name in ("start", "end"))
    assert (begins.utcoffset(), begins >= datetime(2026, 10, 31, 23, tzinfo=UTC)) == (timedelta(0), True)
    local = [one.astimezone(ZoneInfo("Europe/Berlin")) for one in (begins, ends)]
    assert [(one.day, one.hour, one.minute) for one in local] == [(1, 0, 0)] * 2
    assert timedelta(days=27) < ends - begins < timedelta(days=32)
    explained = await gateway.get(f"/v1/charges/{charge['id']}/explain")
    assert (explained["price"]["model"], explained["recomputed"]["agrees"]) == ("graduated", True)


async def test_an_agent_is_told_what_it_may_forget(gateway: RunningGateway) -> None:
    def marked(sequence: int, **changes: Any) -> dict[str, Any]:
        return event(f"edge-{sequence}", edge="pi", boot=1, sequence=sequence, **changes)

    url = gateway.addresses.mqtt
    assert url is not None
    topic = "spaces/berlin/door/main"
    with device(url, hears="spaces/berlin/acks/pi") as pi:
        pi.tell(topic, marked(1))
        assert await asyncio.to_thread(pi.hear) == {"boot": 1, "up_to": 1, "also": []}
        pi.tell(topic, marked(3), marked(4))
        assert await asyncio.to_thread(pi.hear) == {"boot": 1, "up_to": 1, "also": [3, 4]}
        pi.tell(topic, marked(3))
        assert await asyncio.to_thread(pi.hear) == {"boot": 1, "up_to": 1, "also": [3, 4]}
        pi.tell(topic, marked(2, data={"nothing": "of a door"}))
        assert await asyncio.to_thread(pi.hear) == {"boot": 1, "up_to": 4, "also": []}
        pi.tell(topic, marked(6, source="hamburg/door/main"))
        assert await asyncio.to_thread(pi.hear) == {"boot": 1, "up_to": 4, "also": [6]}
    (edge,) = [edge for edge in (await gateway.get("/v1/edges"))["edges"] if edge["edge"] == "pi"]
    assert (edge["site"], edge["edge"], edge["last_sequence"], edge["holes"]) == ("berlin", "pi", 6, [[5, 5]])


async def test_an_agent_is_told_the_time_by_both_routes(gateway: RunningGateway) -> None:
    url = gateway.addresses.mqtt
    assert url is not None
    data = {"complete_until": "2026-11-20T08:00:00Z", "asked": 12_345}
    beat = event("beat", source="berlin/edge/watch", type="edge.heartbeat", data=data, edge="watch", boot=1, sequence=1)
    with device(url, hears="spaces/berlin/clocks/watch") as watch:
        watch.tell("spaces/berlin/edge/watch", beat)
        told = await asyncio.to_thread(watch.hear)
    assert (set(told), told["asked"]) == ({"asked", "received", "sent"}, 12_345)
    moments = [told["received"], told["sent"], (await gateway.get("/v1/clock"))["time"]]
    assert all(moment.endswith("Z") for moment in moments)
    instants = [datetime.fromisoformat(moment) for moment in moments]
    assert instants == sorted(instants)


async def test_a_webhook_is_taken_by_its_signature_alone(gateway: RunningGateway) -> None:
    async def hook(body: bytes, sign: str) -> Answer:
        headers = {"x-square-hmacsha256-signature": sign, "Content-Type": "application/json", "Authorization": ""}
        return await call(gateway, "POST", "/hooks/square/till", data=body, headers=headers)

    body = webhook(created_at="2026-11-20T08:01:27.120Z", updated_at="2026-11-20T08:01:28Z")
    for key, status in (("the-active-key", "accepted"), ("the-next-key", "duplicate")):
        (result,) = (await hook(body, signature(body, key=key))).body["results"]
        assert result["status"] == status
    flipped = bytes([*body[:-1], body[-1] ^ 1])
    assert (await hook(flipped, signature(body))).status == 401


@pytest.mark.parametrize("path", ["/v1/identities/badge:0000CAFE", "/v1/identities/badge%3A0000CAFE"])
async def test_an_identity_has_the_body_of_the_interface(gateway: RunningGateway, path: str) -> None:
    answer = await call(gateway, "PUT", path, json={"member": "ada", "from": "2026-02-01", "to": "2026-05-01"})
    assert answer.status == 200, answer.body
    claim = {"member": "ada", "from": "2026-01-31T23:00:00Z", "to": "2026-04-30T22:00:00Z"}
    assert (answer.body["identity"], answer.body["claims"]) == ("badge:0000CAFE", [claim])


async def test_the_example_is_taken_as_json_too_and_nothing_changes(gateway: RunningGateway) -> None:
    yaml = {"data": EXAMPLE.read_bytes(), "headers": {"Content-Type": "application/yaml"}}
    again = await call(gateway, "PUT", "/v1/catalog?dry_run=1", **yaml)
    assert (again.status, again.body["version"], again.body["directory"]) == (200, None, {})
    refused = await call(gateway, "PUT", "/v1/catalog", data=b"x", headers={"Content-Type": "text/plain"})
    assert refused.status == 415
    assert "application/yaml" in refused.body["detail"]


async def test_balances_have_the_shape_of_the_interface(gateway: RunningGateway) -> None:
    balances = await gateway.get("/v1/accounts/acme/balances", at="2026-11-01T00:00:00Z")
    assert balances["at"] == "2026-11-01T00:00:00Z"
    pool = next(grant for grant in balances["grants"] if grant["id"] == "acme-flex/pages/2026-11")
    assert pool == {
        "id": "acme-flex/pages/2026-11",
        "origin": "plan",
        "scope": ["print-pages"],
        "member": None,
        "unit": "page",
        "amount": "100",
        "used": "0",
        "remaining": "100",
        "effective": "2026-10-31T23:00:00Z",
        "expires": "2026-11-30T23:00:00Z",
        "priority": 10,
    }


async def test_metrics_have_the_names_and_labels_of_the_interface(gateway: RunningGateway) -> None:
    text = await exposition(gateway)
    exposed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert set(METRICS) <= exposed
    assert not [name for name in exposed if name.endswith("_created")]
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            plain_name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
            if plain_name in METRICS:
                assert set(sample.labels) - {"le"} == METRICS[plain_name]


async def test_the_description_is_valid_and_leaks_no_name_of_the_program(gateway: RunningGateway) -> None:
    document = await gateway.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    validate(document)
    assert not [name for name in document["components"]["schemas"] if "." in name]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("charges", "--json"), 0),
        (("balance", "acme", "--json"), 0),
        (("unresolved", "list", "--json"), 0),
        (("rejections", "list", "--json"), 0),
        (("deliveries", "list", "--json"), 0),
        (("migrate", "--json"), 0),
        (("check", "--json"), 0),
        (("balance", "nobody"), 2),
        (("explain", "ch_none"), 2),
        (("apply", "no-such-file.yaml"), 2),
        (("no-such-command",), 2),
    ],
)
async def test_commands_end_with_the_codes_of_the_interface(
    gateway: RunningGateway, arguments: tuple[str, ...], code: int
) -> None:
    got, out, err = await run(gateway, *arguments)
    assert got == code, err
    if code == 0:
        json.loads(out)
