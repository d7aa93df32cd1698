"""docker-compose.yml, as far as it can be held to something without a container engine."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from meter.config import load_settings
from tests.deploy.parts import REPOSITORY, block, compose, interpolated

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yml").read_text()
# Of variables: `${NAME:-default}`, the only form in use.
VARIABLES = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE_TEXT))


def _schema_accepts(file: Path) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_file_satisfies_the_compose_schema(tmp_path: Path) -> None:
    assert _schema_accepts(REPOSITORY / "docker-compose.yml")
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(block("yaml", containing="8883"))
    assert _schema_accepts(override)
    misspelt = tmp_path / "docker-compose.yml"
    misspelt.write_text(COMPOSE_TEXT.replace("stop_grace_period", "stop_grace_time"))
    assert not _schema_accepts(misspelt)


def test_nothing_is_published_beyond_loopback_unless_a_variable_says_so() -> None:
    published = [interpolated(port) for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert "ports" not in SERVICES["timescaledb"]
    assert not any("network_mode" in service for service in SERVICES.values())


def test_the_example_environment_holds_every_variable_with_its_default() -> None:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert example == VARIABLES


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_an_image_has_a_tag_that_stays(service: str) -> None:
    image = interpolated(SERVICES[service]["image"])
    assert re.fullmatch(r"[a-z0-9./-]+:[\w.-]+", image)
    assert not image.endswith(":latest")


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"timescaledb"}))
def test_a_service_has_no_rights_that_it_does_not_need(service: str) -> None:
    settings = SERVICES[service]
    assert settings["read_only"]
    assert settings["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in settings["security_opt"]


def test_secrets_are_files_that_the_document_makes_and_git_ignores(secrets_dir: Path) -> None:
    declared = {Path(secret["file"]) for secret in compose()["secrets"].values()}
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    made = {path.name for path in secrets_dir.iterdir() if path.read_text().strip()}
    assert used == compose()["secrets"].keys() == made
    assert {path.parent for path in declared} == {Path("deploy/secrets")}
    ignored = (REPOSITORY / "deploy" / "secrets" / ".gitignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!.gitignore"]


def test_no_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("password|secret|key|url", name, re.IGNORECASE):
                assert value.startswith("/run/secrets/"), name


def test_what_is_mounted_is_there() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    sources = [interpolated(volume).partition(":")[0] for volume in volumes]
    files = [source for source in sources if source.startswith("./")]
    assert len(files) >= 5
    assert all((REPOSITORY / file).exists() for file in files)
    assert {source for source in sources if not source.startswith("./")} == compose()["volumes"].keys()


@pytest.fixture
def in_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No setting of this machine: neither its environment nor its meter.toml."""
    for name in [name for name in os.environ if name.startswith("METER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize("service", ["gateway", "migrate"])
def test_the_gateways_environment_is_read_as_its_settings(
    service: str, in_container: pytest.MonkeyPatch, secrets_dir: Path
) -> None:
    given = SERVICES[service]["environment"]
    for name, value in given.items():
        secret = value.removeprefix("/run/secrets/")
        if name.endswith("_FILE"):
            assert secret in SERVICES[service]["secrets"]
        in_container.setenv(name, str(secrets_dir / secret) if name.endswith("_FILE") else value)
    settings = load_settings()
    assert settings.data_dir == Path("/var/lib/meter")
    assert settings.database_url is not None
    password = (secrets_dir / "database_password").read_text()
    assert settings.database_url.get_secret_value() == f"postgresql://meter:{password}@timescaledb:5432/meter"
    if service == "gateway":
        assert settings.http == "0.0.0.0:8080"
        assert settings.mqtt_url is not None
        users = (secrets_dir / "mqtt_users").read_text()
        user_and_password = settings.mqtt_url.get_secret_value().removeprefix("mqtt://").partition("@")[0]
        assert user_and_password in users.splitlines()


@pytest.mark.parametrize("status", [200, 503])
async def test_the_gateways_health_check_follows_its_readiness(status: int) -> None:
    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/health/ready", ready)
    check = SERVICES["gateway"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]
    async with TestServer(app) as server:
        code = check[3].replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        assert code != check[3]
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        assert (await child.wait() == 0) == (status == 200)
