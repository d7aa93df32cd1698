"""The gateway's services of docker-compose.yml outside a container: their commands, settings and broker."""

import asyncio
import os
import re
import sys
from pathlib import Path

import aiohttp

from meter.embedded.partdir import LOOPBACK, choose_port
from tests.deploy.parts import REPOSITORY, Mosquitto, compose, document

SERVICES = compose()["services"]
METER = Path(sys.executable).with_name("meter")


async def _meter(environment: dict[str, str], cwd: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        METER, *arguments, env=environment, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def test_the_services_start_in_their_order_and_become_healthy(
    mosquitto: Mosquitto, secrets_dir: Path, empty_database_url: str, data_dir: Path
) -> None:
    (secrets_dir / "database_url").write_text(empty_database_url)
    mqtt_url = secrets_dir / "mqtt_url"
    mqtt_url.write_text(mqtt_url.read_text().replace("mosquitto:1883", f"{LOOPBACK}:{mosquitto.port}"))
    port = choose_port(LOOPBACK, given=None, remembered=None)
    here = {"0.0.0.0:8080": f"{LOOPBACK}:{port}", "/var/lib/meter": str(data_dir / "gateway")}
    given = {
        name: here.get(value, value.replace("/run/secrets", str(secrets_dir)))
        for name, value in SERVICES["gateway"]["environment"].items()
    }
    environment = {"PATH": os.environ["PATH"], **given}
    (data_dir / "gateway").mkdir()

    catalog = str(REPOSITORY / "meter" / "examples" / "northside.yaml")
    for arguments in (SERVICES["migrate"]["command"], ["apply", catalog]):
        child = await _meter(environment, data_dir, *arguments)
        said, _ = await child.communicate()
        assert child.returncode == 0, said.decode()

    gateway = await _meter(environment, data_dir, *SERVICES["gateway"]["command"])
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            while gateway.returncode is None and not await _ready(http, port):
                pass
    finally:
        if gateway.returncode is None:
            gateway.terminate()
        said, _ = await gateway.communicate()
    assert gateway.returncode == 0, said.decode()


async def _ready(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://{LOOPBACK}:{port}/health/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        await asyncio.sleep(0.05)
        return False


async def test_the_commands_of_the_document_exist(data_dir: Path) -> None:
    named = set(re.findall(r"docker compose run --rm gateway (\w+)", document()))
    assert {"apply", "plan"} <= named
    for command in named:
        child = await _meter({"PATH": os.environ["PATH"]}, data_dir, command, "--help")
        await child.communicate()
        assert child.returncode == 0, command
