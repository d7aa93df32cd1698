"""Mosquitto with the configuration that docker-compose.yml mounts: rights, what is kept, limits."""

import re
import subprocess
from pathlib import Path

import pytest

from meter.embedded.partdir import LOOPBACK, choose_port
from tests.deploy.mqtt_client import Peer
from tests.deploy.parts import DEPLOY, Mosquitto, block, document
from tests.tools import need_tool

DENIED = "Not authorized"
CONFIGURATION = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()


@pytest.mark.parametrize("version_5", [True, False])
async def test_nobody_connects_without_a_password(mosquitto: Mosquitto, *, version_5: bool) -> None:
    with Peer(port=mosquitto.port, version_5=version_5) as stranger:
        assert stranger.refused == DENIED
    with Peer(port=mosquitto.port, user="berlin", password="guess", version_5=version_5) as guesser:
        assert guesser.refused == DENIED


async def test_a_site_writes_its_own_topics_and_no_others(mosquitto: Mosquitto, passwords: dict[str, str]) -> None:
    with (
        Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway,
        Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"], client_id="hamburg") as berlin,
    ):
        gateway.subscribe("spaces/#")
        theirs = ("spaces/hamburg/door/main", "spaces/hamburg/acks/agent", "spaces/hamburg/clocks/agent")
        for topic in (*theirs, "spaces/berlinx/door/main", "other"):
            assert berlin.publish(topic) == [DENIED]
        assert berlin.publish("spaces/berlin/door/main") == ["Success"]
        assert gateway.next().topic == "spaces/berlin/door/main"


async def test_a_device_of_mqtt_3_is_not_told_that_it_may_not(mosquitto: Mosquitto, passwords: dict[str, str]) -> None:
    with (
        Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway,
        Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"], version_5=False) as berlin,
    ):
        gateway.subscribe("spaces/#")
        assert berlin.publish("spaces/hamburg/door/main") == ["Success"]
        berlin.publish("spaces/berlin/door/main")
        assert gateway.next().topic == "spaces/berlin/door/main"


@pytest.mark.parametrize("kind", ["acks", "clocks"])
async def test_a_site_reads_what_its_own_agents_are_told_only(
    mosquitto: Mosquitto, passwords: dict[str, str], kind: str
) -> None:
    with (
        Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway,
        Peer(port=mosquitto.port, user="hamburg", password=passwords["hamburg"]) as hamburg,
        Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"]) as berlin,
    ):
        berlin.subscribe("#")
        hamburg.publish("spaces/hamburg/door/main")
        gateway.publish(f"spaces/hamburg/{kind}/agent")
        hamburg.publish("spaces/hamburg/till/1")
        gateway.publish(f"spaces/berlin/{kind}/agent")
        assert berlin.next().topic == f"spaces/berlin/{kind}/agent"


async def test_the_gateway_writes_acknowledgements_and_the_time_and_nothing_else(
    mosquitto: Mosquitto, passwords: dict[str, str]
) -> None:
    with Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway:
        assert gateway.publish("spaces/berlin/door/main") == [DENIED]
        assert gateway.publish("spaces/berlin/acks/agent") != [DENIED]
        assert gateway.publish("spaces/berlin/clocks/agent") != [DENIED]


async def test_what_waits_for_the_gateway_survives_a_restart(mosquitto: Mosquitto, passwords: dict[str, str]) -> None:
    gateway = Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"], client_id="ingest-0", keep=True)
    with gateway:
        gateway.subscribe("spaces/#")
    # More than Mosquitto keeps unless told (1000), so this fails without the limit that the configuration sets.
    with Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"]) as berlin:
        berlin.publish("spaces/berlin/door/main", "x", count=2500)
    await mosquitto.stop()
    await mosquitto.start()
    with gateway:
        assert [gateway.next().payload for _ in range(2500)] == [b"x"] * 2500


async def test_a_full_queue_drops_the_newest_acknowledges_them_and_counts(
    small_mosquitto: Mosquitto, passwords: dict[str, str]
) -> None:
    port = small_mosquitto.port
    gateway = Peer(port=port, user="gateway", password=passwords["gateway"], client_id="ingest-0", keep=True)
    with gateway:
        gateway.subscribe("spaces/#")
    with Peer(port=port, user="berlin", password=passwords["berlin"]) as berlin:
        for number in range(50):
            assert berlin.publish("spaces/berlin/door/main", str(number)) == ["Success"]
    with gateway:
        assert [int(gateway.next().payload) for _ in range(20)] == list(range(20))
    with Peer(port=port, user="gateway", password=passwords["gateway"]) as operator:
        operator.subscribe("$SYS/broker/publish/messages/dropped")
        while int(operator.next().payload) != 30:
            pass
    assert "Outgoing messages are being dropped for client ingest-0" in small_mosquitto.log()


async def test_a_thousand_messages_go_out_before_the_first_is_acknowledged(
    mosquitto: Mosquitto, passwords: dict[str, str]
) -> None:
    with (
        Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway,
        Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"]) as berlin,
    ):
        gateway.subscribe("spaces/#")
        berlin.publish("spaces/berlin/door/main", "counted", count=1001)
        berlin.publish("spaces/berlin/door/main", "not counted", qos=0)
        held = [gateway.peek() for _ in range(1000)]
        assert {message.payload for message in held} == {b"counted"}
        # The window is full: what needs no acknowledgement overtakes message 1001.
        assert gateway.peek().payload == b"not counted"
        gateway.client.ack(held[0].mid, 1)
        assert gateway.peek().payload == b"counted"


async def test_a_message_over_the_limit_ends_the_connection(mosquitto: Mosquitto, passwords: dict[str, str]) -> None:
    with (
        Peer(port=mosquitto.port, user="gateway", password=passwords["gateway"]) as gateway,
        Peer(port=mosquitto.port, user="berlin", password=passwords["berlin"], version_5=False) as berlin,
    ):
        gateway.subscribe("spaces/#")
        assert berlin.publish("spaces/berlin/door/main", bytes(2 * 1024 * 1024)) == ["Success"]
        assert len(gateway.next().payload) == 2 * 1024 * 1024
        berlin.client.publish("spaces/berlin/door/main", bytes(2 * 1024 * 1024 + 65 * 1024), qos=1)
        assert berlin.disconnects.get(timeout=20)


async def test_the_health_check_tells_a_broker_that_answers_from_one_that_does_not(mosquitto: Mosquitto) -> None:
    need_tool("mosquitto_sub")
    assert mosquitto.healthy()
    await mosquitto.stop()
    assert not mosquitto.healthy()


async def test_passwords_are_hashed_and_read_by_the_broker_only(
    mosquitto: Mosquitto, passwords: dict[str, str]
) -> None:
    auth = mosquitto.home / "auth"
    assert {path.name: path.stat().st_mode & 0o777 for path in auth.iterdir()} == dict.fromkeys(
        ("acl", "mosquitto_sub", "passwd"), 0o600
    )
    content = (auth / "passwd").read_text()
    assert {line.split(":")[0] for line in content.splitlines()} == {*passwords, "health"}
    assert all(password not in content for password in passwords.values())


@pytest.mark.parametrize("line", ["berlin", "a/b/c/d:x", "berlin/:x", "/door:x", "+:x", "#:x", "", "berlin:"])
async def test_a_malformed_line_of_users_stops_the_start(data_dir: Path, line: str) -> None:
    need_tool("mosquitto")
    users = data_dir / "users"
    users.write_text(f"gateway:x\n{line}\nhamburg:y\n")
    assert "must be user:password" in await Mosquitto(data_dir / "mosquitto", users).refuses_to_start()


async def test_who_takes_the_gateways_client_id_destroys_its_queue(
    mosquitto: Mosquitto, passwords: dict[str, str]
) -> None:
    """Why the ids of the gateway's sessions are secret: should this ever fail, docs/deployment.md can say less."""
    port = mosquitto.port
    gateway = Peer(port=port, user="gateway", password=passwords["gateway"], client_id="ingest-0", keep=True)
    with gateway:
        gateway.subscribe("spaces/#")
    with Peer(port=port, user="hamburg", password=passwords["hamburg"]) as hamburg:
        hamburg.publish("spaces/hamburg/door/main", "first")
        with Peer(port=port, user="berlin", password=passwords["berlin"], client_id="ingest-0", keep=True) as thief:
            assert thief.refused is None
        with gateway:
            hamburg.publish("spaces/hamburg/door/main", "second")
            assert gateway.next().payload == b"second"


async def test_the_documented_listener_speaks_tls(
    stopped_mosquitto: Mosquitto, passwords: dict[str, str], data_dir: Path
) -> None:
    key, certificate = _self_signed(data_dir)
    stopped_mosquitto.append("certs/server.key", key.read_text())
    stopped_mosquitto.append("certs/server.crt", certificate.read_text())
    port = choose_port(LOOPBACK, given=None, remembered=None)
    listener = block("conf", containing="listener 8883").replace("listener 8883", f"listener {port} {LOOPBACK}")
    stopped_mosquitto.append("config/listeners/tls.conf", listener)
    async with stopped_mosquitto as broker:
        for reached, authority in ((broker.port, None), (port, certificate)):
            peer = Peer(port=reached, user="berlin", password=passwords["berlin"], authority=authority)
            with peer:
                assert peer.refused is None
                assert peer.publish("spaces/berlin/door/main") != [DENIED]


def test_every_limit_is_documented() -> None:
    settings = re.findall(r"^(max_\w+|auto\w+|persistent_\w+) (\S+)$", CONFIGURATION, re.MULTILINE)
    assert len(settings) >= 6
    assert [name for name, _ in settings if f"`{name}`" not in document()] == []


def _self_signed(directory: Path) -> tuple[Path, Path]:
    """A key and its certificate for 127.0.0.1."""
    key, certificate = directory / "key", directory / "certificate"
    options = f"-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout {key} -out {certificate}"
    names = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([need_tool("openssl"), "req", *options.split(), *names], check=True, capture_output=True)
    return key, certificate
