"""Every user of the broker x every topic: nobody writes or reads what is not theirs, whatever they subscribe to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.deploy.mqtt_client import Peer
from tests.deploy.parts import Mosquitto, block
from tests.tools import need_tool

DENIED = "Not authorized"
SITES = ("berlin", "hamburg", "berlinx")
PLACES = (
    *("door/main", "door/side", "doors/main", "pos/till-1", "edge/desk", "edge/hut"),
    *(f"{told}/{edge}" for told in ("acks", "clocks") for edge in ("desk", "hut", "berlin")),
    *("acks", "acks/desk/x", "door", "door/main/x"),
)
TOPICS = (
    *(f"spaces/{site}/{place}" for site in SITES for place in PLACES),
    *("spaces", "spaces/berlin", "other", "berlin/door/main", "$SYS/broker/uptime"),
)
# What each may write, by the beginning of the topic, but for what the gateway says; a deployment's user each.
WRITES = {
    "berlin": "spaces/berlin",
    "hamburg": "spaces/hamburg",
    "berlin/door": "spaces/berlin/door",
    "berlin/pos/till-1": "spaces/berlin/pos/till-1",
    "berlin/edge/desk": "spaces/berlin/edge/desk",
    "hamburg/edge/desk": "spaces/hamburg/edge/desk",
}
# What each is told: site and agent.
TOLD = {
    "berlin": ("berlin", None),
    "hamburg": ("hamburg", None),
    "berlin/edge/desk": ("berlin", "desk"),
    "hamburg/edge/desk": ("hamburg", "desk"),
}


def may_write(user: str, topic: str) -> bool:
    """Tell what is meant, by the names alone."""
    levels = topic.split("/")
    said = len(levels) >= 3 and levels[2] in {"acks", "clocks"}
    if user == "gateway":
        return levels[0] == "spaces" and said and len(levels) == 4
    return (topic + "/").startswith(WRITES[user] + "/") and not said


def may_read(user: str, topic: str) -> bool:
    """Tell what is meant, by the names alone."""
    levels = topic.split("/")
    if user == "gateway":
        return levels[0] == "spaces"
    if user not in TOLD or len(levels) != 4 or levels[0] != "spaces":
        return False
    site, edge = TOLD[user]
    return levels[1] == site and levels[2] in {"acks", "clocks"} and edge in {None, levels[3]}


@pytest.fixture
def users(secrets_dir: Path, passwords: dict[str, str]) -> dict[str, str]:
    """Passwords of every kind of user, the documented ones among them."""
    added = {user: f"of {user}" for user in WRITES if user not in passwords}
    assert "berlin/pos/till-1" in block("sh", containing="berlin/door:")
    with (secrets_dir / "mqtt_users").open("a") as file:
        file.writelines(f"{user}:{password}\n" for user, password in added.items())
    return passwords | added


@contextmanager
def connected(broker: Mosquitto, users: dict[str, str]) -> Iterator[dict[str, Peer]]:
    with ExitStack() as stack:
        peers = {
            user: stack.enter_context(Peer(port=broker.port, user=user, password=users[user]))
            for user in ("gateway", *WRITES)
        }
        assert {user: peer.refused for user, peer in peers.items()} == dict.fromkeys(peers)
        yield peers


async def test_nobody_writes_what_is_not_theirs(users: dict[str, str], mosquitto: Mosquitto) -> None:
    with connected(mosquitto, users) as peers:
        for user, peer in peers.items():
            let = {topic for topic in TOPICS if peer.publish(topic) != [DENIED]}
            assert let == {topic for topic in TOPICS if may_write(user, topic)}, user
        assert sum(may_write(user, topic) for user in peers for topic in TOPICS) >= 20


async def test_nobody_reads_what_is_not_theirs(users: dict[str, str], mosquitto: Mosquitto) -> None:
    with connected(mosquitto, users) as writers, connected(mosquitto, users) as readers:
        for peer in readers.values():
            for topic in ("#", "spaces/+/+/+", "$share/all/spaces/#", *TOPICS):
                peer.subscribe(topic)
        published = set()
        for topic in TOPICS:
            writer = next((user for user in writers if may_write(user, topic)), None)
            if writer is not None:
                assert writers[writer].publish(topic) != [DENIED]
                published.add(topic)
        for user, peer in readers.items():
            peer.subscribe("behind")  # answered behind all that was sent before it
            heard = {message.topic for message in peer.heard()}
            assert heard == {topic for topic in published if may_read(user, topic)}, user


async def test_no_last_will_goes_where_its_sender_may_not_write(users: dict[str, str], mosquitto: Mosquitto) -> None:
    with Peer(port=mosquitto.port, user="gateway", password=users["gateway"]) as gateway:
        gateway.subscribe("spaces/#")
        for topic in ("spaces/berlin/acks/desk", "spaces/hamburg/door/main", "spaces/berlin/door/side"):
            with Peer(port=mosquitto.port, user="berlin/door", password=users["berlin/door"], will=topic) as door:
                door.vanish()
        assert gateway.next().topic == "spaces/berlin/door/side"


@pytest.mark.parametrize("user", ["berlin/acks", "berlin/clocks/desk", "gateway/door", "health", "health/x"])
async def test_no_user_is_named_as_what_the_gateway_says(secrets_dir: Path, data_dir: Path, user: str) -> None:
    need_tool("mosquitto")
    with (secrets_dir / "mqtt_users").open("a") as file:
        file.write(f"{user}:x\n")
    broker = Mosquitto(data_dir / "mosquitto", secrets_dir / "mqtt_users")
    assert "is the gateway's" in await broker.refuses_to_start()


async def test_the_rule_that_was_before_let_a_site_write_what_its_agents_are_told(
    users: dict[str, str], stopped_mosquitto: Mosquitto
) -> None:
    """The control: without the rules that forbid it, the matrix above fails."""
    rules = stopped_mosquitto.home / "config" / "acl"
    rules.write_text("".join(f"{line}\n" for line in rules.read_text().splitlines() if "deny" not in line))
    async with stopped_mosquitto as broker:
        with Peer(port=broker.port, user="berlin", password=users["berlin"]) as berlin:
            assert berlin.publish("spaces/berlin/acks/desk") != [DENIED]
