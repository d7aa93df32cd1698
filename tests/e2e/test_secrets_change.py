"""Every kind of secret is replaced in its file beneath a running gateway, at real parts that refuse the former one."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.postgres import EmbeddedPostgres
from tests.e2e.test_badge_changes_hands import CATALOG, visit
from tests.gateway import RunningGateway
from tests.ingest.loopback import served

WITHIN_S = 60
BADGE = "badge:04A2991B5C6D80"
SIGNING = [f"whsec_{b64encode(bytes([number]) * 24).decode()}" for number in (1, 2)]


class Receiver:
    """Notes with which of the secrets each delivery was signed."""

    def __init__(self) -> None:
        self.signed_by: set[str] = set()

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        for secret in SIGNING:
            try:
                Webhook(secret).verify(body, dict(request.headers))
            except WebhookVerificationError:
                continue
            self.signed_by.add(secret)
        return web.Response()


class Space:
    """A running gateway, all of whose secrets stand in files."""

    def __init__(self, directory: Path, values: Mapping[str, str], given: Mapping[str, str]) -> None:
        self._directory = directory
        directory.mkdir()
        (directory.parent / "gateway").mkdir()
        for name, value in values.items():
            self.write(name, value)
        files = {f"{name}_FILE": str(directory / name) for name in values}
        catalog = directory / "catalog.yaml"
        catalog.write_text(CATALOG)
        arguments = ("--catalog", str(catalog))
        self.gateway = RunningGateway(directory.parent / "gateway", arguments=arguments, env={**files, **given})
        self.key = values["METER_ADMIN_KEY"]

    def write(self, name: str, value: str) -> None:
        path = self._directory / f"{name}.new"
        path.write_text(value)
        path.replace(self._directory / name)

    def changed(self) -> None:
        self.gateway.process.send_signal(signal.SIGHUP)

    async def status(self, method: str, path: str, *, key: str, body: Any = None) -> int:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
        async with (
            aiohttp.ClientSession(self.gateway.addresses.http, headers=headers) as client,
            client.request(method, path, data=None if body is None else json.dumps(body)) as response,
        ):
            return response.status

    async def posted(self, name: str) -> int:
        return await self.status("POST", "/v1/events", key=self.key, body=[visit(name, "02T10:00:00", BADGE)])

    async def figure(self, name: str) -> float:
        async with aiohttp.ClientSession() as client, client.get(f"{self.gateway.addresses.http}/metrics") as response:
            found = re.search(rf"^{re.escape(name)} (\S+)$", await response.text(), re.MULTILINE)
        return float(found[1]) if found else 0.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await holds():  # noqa: ASYNC110 -- another process tells nobody
            await asyncio.sleep(0.05)


async def test_secrets_change_in_their_files(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir / "server", settings={"fsync": "off"}) as server:
        owner = await asyncpg.connect(server.url)
        try:
            await _all_of_them(data_dir, server.url, owner)
        finally:
            await owner.close()


async def _all_of_them(data_dir: Path, database_url: str, owner: asyncpg.Connection) -> None:
    parts = urlsplit(database_url)
    changed = f"{parts.scheme}://{parts.username}:two@{parts.hostname}:{parts.port}{parts.path}"

    async def password() -> None:
        await owner.execute(f"ALTER ROLE \"{parts.username}\" PASSWORD 'two'")
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'meter gateway'"
        )

    receiver = Receiver()
    broker = EmbeddedBroker(data_dir / "nats", user="gateway", password="one")
    async with served(receiver.take) as hook:
        await broker.__aenter__()
        space = Space(
            data_dir / "secrets",
            {
                "METER_DATABASE_URL": database_url,
                "METER_MQTT_URL": broker.url,
                "METER_ADMIN_KEY": "a" * 32,
                "METER_WEBHOOKS__BRIVO__MAIN__SECRETS": '["first"]',
                "METER_TARGETS__HOOK__SECRETS": json.dumps(SIGNING[:1]),
            },
            {
                "METER_WEBHOOKS__BRIVO__MAIN__SITE": "berlin",
                "METER_TARGETS__HOOK__KIND": "webhook",
                "METER_TARGETS__HOOK__BASE_URL": f"{hook}/hook",
            },
        )
        try:
            async with space.gateway:
                await _api_key(space)
                await _webhook(space)
                await _target(space, receiver)
                await _database(space, password, changed)
                broker = await _broker(space, broker, data_dir / "nats")
                assert await space.figure('meter_secret_changes_total{outcome="taken"}') == 6
        finally:
            await broker.__aexit__(None, None, None)
    log = space.gateway.log.read_text()
    for secret in ("a" * 32, "b" * 32, "first", *SIGNING, database_url, changed, "gateway:one", "gateway:two"):
        assert secret not in log


async def _api_key(space: Space) -> None:
    async def kept() -> bool:
        return await space.figure("meter_secret_files_kept") == 1

    for bad in ("", " \n"):
        space.write("METER_ADMIN_KEY", bad)
        space.changed()
        await until(kept)
        assert await space.status("GET", "/v1/keys", key="a" * 32) == 200
    assert "METER_ADMIN_KEY_FILE" in space.gateway.log.read_text()
    space.write("METER_ADMIN_KEY", "b" * 32 + "\n")
    space.key = "b" * 32

    async def taken() -> bool:  # by itself: nobody sends a signal
        return await space.status("GET", "/v1/keys", key=space.key) == 200

    await until(taken)
    assert await space.status("GET", "/v1/keys", key="a" * 32) == 401
    assert await space.figure("meter_secret_files_kept") == 0


async def _webhook(space: Space) -> None:
    async def answered(secret: str) -> int:
        return await space.status("POST", "/hooks/brivo/main", key=secret, body={})

    assert (await answered("first"), await answered("second")) == (200, 401)
    for active, good in (('["first", "second"]', ("first", "second")), ('["second"]', ("second",))):
        space.write("METER_WEBHOOKS__BRIVO__MAIN__SECRETS", active)
        space.changed()

        async def taken(good: tuple[str, ...] = good) -> bool:
            return [s for s in ("first", "second") if await answered(s) == 200] == list(good)

        await until(taken)


async def _target(space: Space, receiver: Receiver) -> None:
    assert await space.posted("t1") == 200

    async def told(secret: str) -> bool:
        return secret in receiver.signed_by

    await until(lambda: told(SIGNING[0]))
    assert not await told(SIGNING[1])
    space.write("METER_TARGETS__HOOK__SECRETS", json.dumps(SIGNING[1:]))
    space.changed()

    async def taken() -> bool:
        return await space.figure('meter_secret_changes_total{outcome="taken"}') == 4

    await until(taken)
    receiver.signed_by.clear()
    assert await space.posted("t2") == 200
    await until(lambda: told(SIGNING[1]))


async def _database(space: Space, change: Callable[[], Awaitable[None]], url: str) -> None:
    assert await space.posted("d1") == 200
    await change()

    async def refused() -> bool:
        return await space.posted("d2") == 503

    await until(refused)
    assert await space.posted("d2") == 503
    space.write("METER_DATABASE_URL", url.replace("127.0.0.1", "127.0.0.2"))
    space.changed()

    async def kept() -> bool:
        return await space.figure("meter_secret_files_kept") == 1

    await until(kept)
    assert "names another server" in space.gateway.log.read_text()
    space.write("METER_DATABASE_URL", url)
    space.changed()

    async def stored() -> bool:
        return await space.posted("d3") == 200

    await until(stored)


async def _broker(space: Space, broker: EmbeddedBroker, directory: Path) -> EmbeddedBroker:
    port = broker.port
    await broker.__aexit__(None, None, None)
    other = EmbeddedBroker(directory, port=port, user="gateway", password="two")
    await other.__aenter__()

    async def refused() -> bool:
        return "refuses the connection" in space.gateway.log.read_text()

    await until(refused)
    assert await space.figure("meter_mqtt_connected") == 0
    space.write("METER_MQTT_URL", other.url)
    space.changed()

    async def connected() -> bool:
        return await space.figure("meter_mqtt_connected") == 1

    await until(connected)
    return other
