"""The broker of the deployment, with the secrets that its document makes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.deploy.parts import Mosquitto, make_secrets
from tests.tools import need_tool


@pytest.fixture
def secrets_dir(data_dir: Path) -> Path:
    return make_secrets(data_dir / "checkout")


@pytest.fixture
def passwords(secrets_dir: Path) -> dict[str, str]:
    """The broker's users as the document makes them: gateway, berlin, hamburg."""
    lines = (secrets_dir / "mqtt_users").read_text().splitlines()
    return {user: password for user, _, password in (line.partition(":") for line in lines)}


@pytest_asyncio.fixture
async def mosquitto(data_dir: Path, secrets_dir: Path) -> AsyncIterator[Mosquitto]:
    """The broker with the very configuration of docker-compose.yml."""
    async with _running(data_dir, secrets_dir) as broker:
        yield broker


@pytest_asyncio.fixture
async def small_mosquitto(data_dir: Path, secrets_dir: Path) -> AsyncIterator[Mosquitto]:
    """The same with a queue of 20 messages, and counters that are published every second."""
    async with _running(data_dir, secrets_dir, added="sys_interval 1\n", max_queued_messages="20") as broker:
        yield broker


@asynccontextmanager
async def _running(data_dir: Path, secrets_dir: Path, *, added: str = "", **changes: str) -> AsyncIterator[Mosquitto]:
    for tool in ("mosquitto", "mosquitto_passwd", "mosquitto_sub"):
        need_tool(tool)
    broker = Mosquitto(data_dir / "mosquitto", secrets_dir / "mqtt_users", added=added, **changes)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
