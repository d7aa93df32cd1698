import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from meter.embedded.partdir import LOOPBACK, choose_port, is_free
from meter.store.engine import Database
from meter.store.tables import events
from meter.transport.mqtt_address import broker_address
from tests.ingest.bodies import body
from tests.ingest.gateway import gateway, message, new_site, publish, until
from tests.ingest.rows import rows
from tests.tools import need_tool


@pytest_asyncio.fixture
async def tls_url(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A Mosquitto that speaks TLS only and asks for a password, with a certificate that this process trusts."""
    mosquitto, openssl, passwords = need_tool("mosquitto"), need_tool("openssl"), need_tool("mosquitto_passwd")
    key, certificate, users = data_dir / "key.pem", data_dir / "cert.pem", data_dir / "users"
    made = ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-nodes", "-newkey", "ec"]
    named = ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([openssl, "req", "-x509", *made, *named], check=True, capture_output=True)  # noqa: ASYNC221 -- brief
    subprocess.run([passwords, "-c", "-b", str(users), "ada", "p@ss"], check=True)  # noqa: ASYNC221 -- brief
    port = choose_port(LOOPBACK, given=None, remembered=None)
    config = data_dir / "mosquitto.conf"
    config.write_text(
        f"listener {port} {LOOPBACK}\nallow_anonymous false\npassword_file {users}\ncertfile {certificate}\n"
        f"keyfile {key}\nmax_inflight_messages 0\n" + ("user root\n" if os.geteuid() == 0 else "")
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    broker = await asyncio.create_subprocess_exec(
        mosquitto, "-c", str(config), stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: not is_free(LOOPBACK, port))
        yield f"mqtts://ada:p%40ss@localhost:{port}"
    finally:
        broker.terminate()
        await broker.wait()


async def test_events_come_in_encrypted(tls_url: str, database: Database) -> None:
    site = new_site()
    address = broker_address(tls_url)
    async with gateway(tls_url, database, operator=site) as gate:
        sent = [
            message(site, body(id=str(n), source=f"{site}/x", data={"door": "x" * 200, "granted": True}))
            for n in range(300)
        ]
        await publish(tls_url, sent, tls={}, auth={"username": address.user, "password": address.password})
        await until(lambda: len(gate.statuses) == 300)
    assert len(await rows(database, events)) == 300


async def test_a_certificate_that_is_not_trusted_is_refused(
    tls_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(OSError, match="certificate"):
        broker_address(tls_url).open_socket(5)
