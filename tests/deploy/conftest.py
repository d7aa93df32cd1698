"""The broker of the deployment, with the secrets that its document makes."""

from collections.abc import AsyncIterator
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


@pytest.fixture
def stopped_mosquitto(data_dir: Path, secrets_dir: Path) -> Mosquitto:
    """The broker with the very configuration of docker-compose.yml, to be changed before it starts."""
    need_tool("mosquitto")
    return Mosquitto(data_dir / "mosquitto", secrets_dir / "mqtt_users")


@pytest_asyncio.fixture
async def mosquitto(stopped_mosquitto: Mosquitto) -> AsyncIterator[Mosquitto]:
    """The broker with the very configuration of docker-compose.yml."""
    async with stopped_mosquitto as broker:
        yield broker


@pytest_asyncio.fixture
async def small_mosquitto(data_dir: Path, secrets_dir: Path) -> AsyncIterator[Mosquitto]:
    """The same with a queue of 20 messages, and counters that are published every second."""
    need_tool("mosquitto")
    small = Mosquitto(data_dir / "small", secrets_dir / "mqtt_users", max_queued_messages="20")
    small.append("config/mosquitto.conf", "sys_interval 1\n")
    async with small as broker:
        yield broker
