"""`meter-edge enroll` against a real gateway: keys that stay, answers that are lost, machines that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from edge.config.faults import ConfigFault
from edge.config.loading import load_settings
from edge.enrolment import enroll as enroll_module
from edge.enrolment import files
from edge.enrolment.enroll import enroll
from edge.enrolment.files import Enrolled, enrolled_in
from edge.enrolment.keys import is_of
from edge.enrolment.renewal import CertificateKeeper
from meter.certificates import new_key, self_signed
from meter.config import EdgesSettings, Settings
from meter.model.errors import BadInput, Unavailable
from tests.api.conftest import Gateway, serving, the_services
from tests.booking.space import open_space
from tests.edge.clocks import VirtualClock

EDGES = EdgesSettings(mqtt_url="mqtts://meter.example:8883")


@pytest_asyncio.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = Settings(data_dir=tmp_path / "gateway", edges=EDGES)
    async with (
        open_space(database_url) as space,
        serving(the_services(database_url, clock=lambda: space.now, settings=settings)) as served,
    ):
        yield Gateway(space=space, api=served)


async def a_code(gateway: Gateway, edge: str = "desk") -> str:
    code: str = (await gateway.api.call("POST", f"/v1/edges/berlin/{edge}/enrollment")).json["code"]
    return code


async def enrol(gateway: Gateway, code: str, data_dir: Path, *, force: bool = False) -> Enrolled:
    return await enroll(gateway.api.base, code, data_dir=data_dir, ca_file=None, insecure=False, force=force)


def told(data_dir: Path, **more: str) -> Any:
    return load_settings(environment={"METER_EDGE_DATA_DIR": str(data_dir), **more})


def content(path: str | Path | None) -> bytes:
    return Path(path or "").read_bytes()


async def works(gateway: Gateway, data_dir: Path) -> bool:
    return (await gateway.api.get("/v1/clock", key=told(data_dir).gateway.api_key)).status == 200


async def test_a_code_makes_all_settings_that_are_needed(gateway: Gateway, tmp_path: Path) -> None:
    data_dir, code = tmp_path / "edge", await a_code(gateway)
    await enrol(gateway, code, data_dir)
    found = told(data_dir)
    assert (found.site, found.id) == ("berlin", "desk")
    assert (found.gateway.http_url, found.gateway.mqtt_url) == (gateway.api.base, EDGES.mqtt_url)
    assert await works(gateway, data_dir)
    certificate = x509.load_pem_x509_certificate(content(found.gateway.cert_file))
    assert certificate.subject.rfc4514_string() == "CN=berlin:desk"
    for path in (data_dir, *data_dir.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert code.replace("-", "") not in (data_dir / files.ENROLLED).read_text()


async def test_what_people_have_written_is_stronger_and_stays(gateway: Gateway, tmp_path: Path) -> None:
    data_dir = tmp_path / "edge"
    await enrol(gateway, await a_code(gateway), data_dir)
    own = tmp_path / "meter-edge.toml"
    own.write_text('heartbeat_s = 60\n[gateway]\nmqtt_url = "mqtts://other.example"\n')
    found = told(data_dir, METER_EDGE_CONFIG=str(own))
    assert (found.heartbeat_s, found.gateway.mqtt_url) == (60, "mqtts://other.example")
    with pytest.raises(ConfigFault, match="METER_EDGE_SITE: is 'hamburg', and this machine is enrolled as 'berlin'"):
        told(data_dir, METER_EDGE_SITE="hamburg")
    (data_dir / files.ENROLLED).write_text("{")
    with pytest.raises(BadInput, match=r"enrolled\.json cannot be read"):
        told(data_dir)


async def test_a_machine_is_enrolled_once_unless_it_is_said(gateway: Gateway, tmp_path: Path) -> None:
    data_dir, code = tmp_path / "edge", await a_code(gateway)
    first = await enrol(gateway, code, data_dir)
    assert await enrol(gateway, code.lower(), data_dir) == first
    other = await a_code(gateway, "door")
    with pytest.raises(BadInput, match=r"this machine is desk of berlin already; enroll --force"):
        await enrol(gateway, other, data_dir)
    assert told(data_dir).id == "desk"
    await enrol(gateway, other, data_dir, force=True)
    assert told(data_dir).id == "door"


async def test_another_machine_with_the_same_code_gets_nothing(gateway: Gateway, tmp_path: Path) -> None:
    code = await a_code(gateway)
    await enrol(gateway, code, tmp_path / "edge")
    with pytest.raises(BadInput, match="409: this code was used at"):
        await enrol(gateway, code, tmp_path / "thief")
    assert enrolled_in(tmp_path / "thief") is None


async def test_a_kill_at_any_write_leaves_what_the_same_command_completes(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after each file: nothing counts before the last, and the next run ends with keys that work."""

    class Killed(BaseException):
        pass

    def killed_at(step: int, *, after: bool) -> Callable[[Path, bytes], None]:
        left = [step]

        def write(path: Path, content: bytes) -> None:
            left[0] -= 1
            if left[0] == 0 and not after:
                path.with_name(f"{path.name}.new").write_bytes(content[:7])
                raise Killed
            real(path, content)
            if left[0] == 0:
                raise Killed

        return write

    real, writes = files.write, 4  # key, certificate, renewal, enrolled
    for step in range(1, writes + 1):
        for after in (False, True):
            data_dir, code = tmp_path / f"edge-{step}-{after}", await a_code(gateway, f"edge-{step}-{after}")
            monkeypatch.setattr(enroll_module, "write", killed_at(step, after=after))
            with pytest.raises(Killed):
                await enrol(gateway, code, data_dir)
            assert (enrolled_in(data_dir) is not None) == (step == writes and after)
            monkeypatch.setattr(enroll_module, "write", real)
            await enrol(gateway, code, data_dir)
            assert await works(gateway, data_dir)
            settings = told(data_dir).gateway
            assert is_of(content(settings.cert_file).decode(), content(settings.key_file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_what_root_enrols_is_the_agents(gateway: Gateway, data_dir: Path) -> None:
    edge = data_dir / "edge"
    edge.mkdir()
    os.chown(edge, 12_345, 12_346)
    await enrol(gateway, await a_code(gateway), edge)
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in edge.rglob("*")}
    assert owners == {(12_345, 12_346)}


@pytest.mark.parametrize("url", ["meter.example", "http://meter.example", "https://ada:word@meter.example", "ftp://x"])
async def test_keys_do_not_travel_in_the_open(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput) as caught:
        await enroll(url, "CODE", data_dir=tmp_path, ca_file=None, insecure=False, force=False)
    assert caught.value.code == "bad_url"
    assert not (tmp_path / "enrolled").exists()


async def test_a_gateway_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the same command goes on from here"):
        await enroll("http://127.0.0.1:9", "CODE", data_dir=tmp_path, ca_file=None, insecure=False, force=False)


@pytest.mark.parametrize("named", [False, True])
async def test_who_is_not_trusted_is_told_from_a_file_without_certificates(tmp_path: Path, named: bool) -> None:  # noqa: FBT001
    """A machine that has not heard of NTP yet takes a good certificate for one that is not valid yet."""
    key = new_key().decode()
    tomorrow = self_signed(key, operator="northside", at=datetime.now(UTC) + timedelta(days=1))
    shown = tmp_path / "shown.pem"
    shown.write_text(key + tomorrow)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shown)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BadInput, match="this machine's clock is right") as caught:
            await enroll(url, "CODE", data_dir=tmp_path, ca_file=shown if named else None, insecure=False, force=False)
    assert caught.value.code == "gateway_not_trusted"


async def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BadInput, match="--ca-file holds no certificates"):
        await enroll("https://localhost:9", "CODE", data_dir=tmp_path, ca_file=nothing, insecure=False, force=False)


async def test_the_command_says_what_it_did_and_what_is_wrong(gateway: Gateway, tmp_path: Path) -> None:
    data_dir, code = tmp_path / "edge", await a_code(gateway)

    async def typed(*arguments: str) -> tuple[int, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("METER_EDGE")}
        command = [sys.executable, "-m", "edge", "enroll", *arguments]
        env |= {"METER_EDGE_DATA_DIR": str(data_dir)}
        run = await asyncio.to_thread(
            subprocess.run, command, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        return run.returncode, run.stdout + run.stderr

    assert (await typed(gateway.api.base, "WRONG"))[0] == os.EX_CONFIG
    assert await typed(gateway.api.base, code) == (0, f"desk of berlin is enrolled; its keys are in {data_dir}\n")
    assert (await typed("http://127.0.0.1:9", "OTHER", "--force"))[0] == os.EX_UNAVAILABLE


async def test_a_certificate_is_renewed_in_time_and_not_before(gateway: Gateway, tmp_path: Path) -> None:
    await enrol(gateway, await a_code(gateway), tmp_path)
    settings = told(tmp_path).gateway
    path, clock = Path(settings.cert_file or ""), VirtualClock()
    asked: list[bool] = []
    answers = True

    async def ask() -> bytes:
        asked.append(answers)
        if not answers:
            raise Unavailable("nobody there")
        return (await gateway.api.call("POST", "/v1/edges/berlin/desk/certificate", key=settings.api_key)).body

    keeper, before = CertificateKeeper(path, ask=ask, clock=clock), content(path)
    clock.wall = gateway.space.now + timedelta(days=243)
    await keeper.look()
    assert (asked, content(path)) == ([], before)
    clock.wall = gateway.space.now = gateway.space.now + timedelta(days=244)
    answers = False
    await keeper.look()
    assert keeper.faults() == ["the agent's certificate cannot be renewed: nobody there"]
    answers = True
    for _ in range(2):
        await keeper.look()
    assert (asked, keeper.faults()) == ([False, True], [])
    old, new = (x509.load_pem_x509_certificate(pem) for pem in (before, content(path)))
    assert new.public_key() == old.public_key()
    assert new.not_valid_after_utc - old.not_valid_after_utc == timedelta(days=244)
    assert json.loads(files.renewal_beside(path).read_text())["expires"] > "2028"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("link", ["enrolled", "enrolled.json.new", "enrolled.json"])
async def test_a_link_that_the_agents_user_made_leads_root_nowhere(
    gateway: Gateway, data_dir: Path, tmp_path: Path, link: str
) -> None:
    mine, edge = tmp_path / "root", data_dir / "edge"
    mine.mkdir()
    (mine / "shadow").write_text("root's")
    edge.mkdir()
    os.chown(edge, 12_345, 12_346)
    (edge / link).symlink_to(mine if link == "enrolled" else mine / "shadow")
    os.chown(edge / link, 12_345, 12_346, follow_symlinks=False)
    with suppress(BadInput):
        await enrol(gateway, await a_code(gateway), edge)
    assert {path.name for path in mine.iterdir()} == {"shadow"}
    assert (mine / "shadow").read_text() == "root's"
    assert (mine / "shadow").stat().st_uid == 0
    assert (os.geteuid(), os.getegid()) == (0, 0)
