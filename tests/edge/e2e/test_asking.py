"""Devices ask a real agent before they act, with a gateway behind it that is there, dies and comes back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from meter.examples import example_catalog
from meter.rundir import admin_key
from tests.edge.agent import RunningAgent
from tests.gateway import RunningGateway
from tests.tools import need_tool

# Ada's pages cost 0.05 each, Eve's are ten and no more.
CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {name: Flex, prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]}}
  ten:
    name: Ten
    grants: [{id: pages, unit: page, amount: "10", meters: [print-pages], overage: deny}]
    prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]}
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
  solo: {name: Solo, subscriptions: [{id: solo-ten, plan: ten, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
  eve: {account: solo, name: Eve, identities: ["badge:EFE1"]}
"""
THIRTY_PAGES = "1.50"


@pytest_asyncio.fixture
async def gateway(data_dir: Path) -> AsyncIterator[RunningGateway]:
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(CATALOG)
    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as running:
        yield running


@pytest_asyncio.fixture
async def agent(gateway: RunningGateway, tmp_path: Path) -> AsyncIterator[RunningAgent]:
    env = {
        "METER_EDGE_GATEWAY__HTTP_URL": gateway.addresses.http,
        "METER_EDGE_GATEWAY__API_KEY": admin_key(gateway.data_dir),
        "METER_EDGE_OFFLINE__ACCOUNT_RISK": THIRTY_PAGES,
        "METER_EDGE_OFFLINE__SITE_RISK": "100",
    }
    async with RunningAgent(tmp_path / "edge", env=env) as running:
        yield running


async def call(agent: RunningAgent, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{agent.port}/v1/authorizations{path}"
    async with aiohttp.ClientSession() as client, client.request(method, url, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def ask(agent: RunningAgent, id: str, quantity: int = 30, badge: str = "ADA1") -> dict[str, Any]:
    body = {"id": id, "identity": f"badge:{badge}", "site": "berlin", "meter": "print-pages", "quantity": str(quantity)}
    status, told = await call(agent, "POST", "", body)
    assert status == 200, told
    answer: dict[str, Any] = told
    return answer


def printed(id: str, pages: int, authorization: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": "berlin/print/hall",
        "type": "print.job",
        "subject": "badge:ADA1",
        "authorization": authorization,
        "data": {"printer": "hall", "job": id, "impressions": pages, "status": "completed"},
    }


async def restart(gateway: RunningGateway, http: str) -> None:
    gateway.env["METER_HTTP"] = http.removeprefix("http://")
    await gateway.start()


async def everything_told(agent: RunningAgent) -> None:
    async with asyncio.timeout(60):
        while (await agent.get("/v1/status"))["authorizations"]["untold"]:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)


async def test_of_two_printers_that_ask_at_once_for_the_last_credit_one_gets_it(agent: RunningAgent) -> None:
    found = await asyncio.gather(*(ask(agent, f"a{n}", 10, badge="EFE1") for n in range(2)))
    assert sorted(one["allowed"] for one in found) == [False, True]
    assert not any(one["offline"] for one in found)
    (yes,) = [one["id"] for one in found if one["allowed"]]
    assert (await ask(agent, yes, 10, badge="EFE1"))["allowed"]
    status, let_go = await call(agent, "DELETE", f"/{yes}")
    assert (status, let_go["state"]) == (200, "released")
    assert (await ask(agent, "after", 10, badge="EFE1"))["allowed"]
    assert (await call(agent, "GET", "/nobody"))[0] == 404


async def test_without_a_gateway_no_more_than_the_risk_is_allowed_and_all_of_it_is_told(
    gateway: RunningGateway, agent: RunningAgent
) -> None:
    assert not (await ask(agent, "before", 1))["offline"]
    http = gateway.addresses.http
    await gateway.kill()
    found = await asyncio.gather(*(ask(agent, f"a{n}") for n in range(2)))
    assert all(one["offline"] for one in found)
    assert sorted(tuple(one["reasons"]) for one in found) == [(), ("risk_limit",)]
    (yes,) = [one["id"] for one in found if one["allowed"]]
    (no,) = [one["id"] for one in found if not one["allowed"]]
    await agent.kill()
    await agent.start()
    assert [one["allowed"] for one in [await ask(agent, yes), await ask(agent, no)]] == [True, False]
    assert (await ask(agent, "a2", 1))["reasons"] == ["risk_limit"]
    assert (await ask(agent, "a3", badge="EFE1"))["reasons"] == ["unknown_offline"]
    await agent.post([printed("job-1", 30, yes)])
    assert (await call(agent, "GET", f"/{yes}"))[1]["state"] == "settled"
    assert not (await ask(agent, "a4", 1))["allowed"]

    await restart(gateway, http)
    await agent.drained()
    await everything_told(agent)
    rows = await gateway.get("/v1/authorizations", offline="true")
    told = {one["id"]: one for one in rows["authorizations"]}
    assert told.keys() == {yes, no, "a2", "a3", "a4"}
    assert (told[yes]["state"], told[yes]["settled"]["id"]) == ("settled", "job-1")
    assert {one["state"] for id, one in told.items() if id != yes} == {"refused"}
    await gateway.settled(events=(await gateway.rows("SELECT count(*) FROM events"))[0][0])
    charges = (await gateway.get("/v1/charges"))["charges"]
    assert [(one["event"]["id"], Decimal(one["amount"])) for one in charges] == [("job-1", Decimal(THIRTY_PAGES))]
    assert not (await ask(agent, "again"))["offline"]
    await gateway.kill()
    assert (await ask(agent, "once more"))["allowed"]  # nothing is at risk any more


async def test_what_the_document_has_devices_ask_is_answered(data_dir: Path, tmp_path: Path) -> None:
    curl = need_tool("curl")
    text = (Path(__file__).parents[3] / "docs" / "edge.md").read_text(encoding="utf-8")
    section = text.partition("## Asking before acting")[2].partition("\n## ")[0]
    asks, follows = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(example_catalog())

    async def shell(script: str) -> list[dict[str, Any]]:
        here = script.replace("127.0.0.1:8490", f"127.0.0.1:{asked.port}").replace("\ncurl -s", "\necho\ncurl -s")
        environment = {"TOKEN": "none-is-set"}
        here = here.replace("curl -s", f"{curl} -s")
        process = await asyncio.create_subprocess_exec(
            "sh", "-eu", "-c", here, env=environment, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        return [json.loads(line) for line in printed.decode().splitlines()]

    async with RunningGateway(data_dir, env={"METER_CATALOG": str(catalog)}) as gateway:
        async with gateway.client() as client:
            body = {"scopes": ["events:write", "authorizations:write"], "site": "berlin"}
            made = await client.post("/v1/keys", json=body)
            key = (await made.json())["secret"]
        env = {
            "METER_EDGE_GATEWAY__HTTP_URL": gateway.addresses.http,
            "METER_EDGE_GATEWAY__API_KEY": key,
        }
        async with RunningAgent(tmp_path / "edge", env=env) as asked:
            found = await shell(asks)
            assert [(one["id"].partition("-")[0], one["allowed"], one["offline"]) for one in found] == [
                (who, True, False) for who in ("printer", "door", "till", "locker")
            ]
            assert {one["cost"]["currency"] for one in found} == {"EUR"}
            stored, gone = await shell(follows)
            assert [one["status"] for one in stored["results"]] == ["accepted"]
            assert (gone["id"], gone["state"]) == ("locker-0001", "released")
            await asked.drained()
            told = await gateway.get("/v1/authorizations/printer-0001")
            assert (told["state"], told["settled"]["id"]) == ("settled", "job-17")
