"""The RADIUS accounting port: who may send, what is answered and when, and what a packet may not do to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from meter.ingest.batcher import Batcher
from meter.ingest.radius import radius_port
from meter.ingest.setups import Sources
from meter.model.errors import BadInput
from meter.sources.wifi import radius as reader
from meter.store.engine import Database
from meter.store.tables import events, rejections
from meter.telemetry import Telemetry
from meter.transport import radius as port_module
from meter.transport.radius import Clients
from meter.transport.radius_packet import decode
from meter.transport.samples import SAMPLE_BYTES_MAX, SAMPLES_PER_HOUR_MAX
from tests.ingest.bodies import NOW, acceptor
from tests.ingest.gateway import Gate, until
from tests.ingest.radius_peer import SECRETS, Peer, packet, peer, radius_sources
from tests.ingest.rows import rows
from tests.sources.radius_bodies import attributes

STOP = attributes(Acct_Status_Type=2)


class Port:
    """A port before a real database, and a peer of it."""

    def __init__(self, gate: Gate, batcher: Batcher, telemetry: Telemetry, address: tuple[str, int], one: Peer) -> None:
        self.gate = gate
        self.batcher = batcher
        self.telemetry = telemetry
        self.address = address
        self.peer = one

    def counted(self, outcome: str) -> float:
        found = self.telemetry.registry.get_sample_value("meter_radius_packets_total", {"outcome": outcome})
        return 0.0 if found is None else found


@asynccontextmanager
async def open_port(database: Database, sources: Sources, *, queue_events_max: int = 20_000) -> AsyncIterator[Port]:
    telemetry = Telemetry()
    gate = Gate(acceptor(database).accept)
    batcher = Batcher(gate.accept, queue_events_max=queue_events_max)
    async with radius_port(
        "127.0.0.1:0", sources=sources, batcher=batcher, telemetry=telemetry, clock=lambda: NOW
    ) as address:
        running = asyncio.create_task(batcher.run())
        async with peer(address) as one:
            yield Port(gate, batcher, telemetry, address, one)
        gate.open()
        batcher.stop()
        await running


@pytest_asyncio.fixture
async def port(database: Database) -> AsyncIterator[Port]:
    async with open_port(database, radius_sources()) as opened:
        yield opened


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("signed", [False, True])
async def test_an_answer_says_that_it_is_stored(port: Port, database: Database, secret: str, signed: bool) -> None:  # noqa: FBT001
    sent = packet(STOP, secret=secret, number=7, signed=signed, **{"33": [b"proxy-1", b"proxy-2"]})
    port.gate.shut()
    port.peer.send(sent.RequestPacket())
    await until(lambda: bool(port.gate.entered))
    assert port.peer.heard.empty(), "answered before the commit"
    port.gate.open()
    answer = sent.CreateReply(packet=await port.peer.answer())
    assert sent.VerifyReply(answer)
    assert answer[33] == [b"proxy-1", b"proxy-2"]
    (row,) = await rows(database, events)
    assert (row["source"], row["channel"], row["subject"]) == (
        "berlin/wifi/radius-aps",
        "radius",
        "email:ada@acme.example",
    )
    assert (row["data"]["bytes_in"], row["data"]["seconds"]) == (2**32 + 5, 600)
    assert port.counted("accepted") == 1


async def test_a_repetition_is_answered_with_its_first(port: Port, database: Database) -> None:
    sent = packet(STOP).RequestPacket()
    port.gate.shut()
    port.peer.send(sent)
    await until(lambda: bool(port.gate.entered))
    for _ in range(3):
        port.peer.send(sent)
    marked = packet(STOP, number=2).RequestPacket()
    port.peer.send(marked)  # behind the repetitions
    await until(lambda: port.batcher._events == 2)
    assert len(port.gate.entered) == 1
    port.gate.open()
    answers = [await port.peer.answer() for _ in range(5)]
    assert sorted(answer[1] for answer in answers) == [1, 1, 1, 1, 2]
    assert len(await rows(database, events)) == 1


async def test_a_retransmission_with_a_delay_is_stored_once(port: Port, database: Database) -> None:
    for number, delay_s in enumerate((0, 5, 17)):
        for timestamp in (True, False):
            changes = {"Acct-Delay-Time": delay_s} | ({} if timestamp else {"Acct-Session-Id": "no-clock"})
            made = {name: value for name, value in STOP.items() if timestamp or name != "Event-Timestamp"}
            port.peer.send(packet(made | changes, number=number).RequestPacket())
            await port.peer.answer()
    stored = await rows(database, events)
    assert len(stored) == 2
    assert {row["time"] for row in stored if not row["timed"]} == {NOW}
    assert await rows(database, rejections) == []


async def test_a_late_detail_file_has_its_own_time(port: Port, database: Database) -> None:
    made = {name: value for name, value in STOP.items() if name != "Event-Timestamp"}
    port.peer.send(packet(made | {"Acct-Delay-Time": 7200}).RequestPacket())
    await port.peer.answer()
    (row,) = await rows(database, events)
    assert (row["time"], row["received_at"]) == (NOW - timedelta(hours=2), NOW)


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


async def test_what_is_not_made_with_the_secret_stays_out(port: Port, database: Database) -> None:
    good = packet(STOP, signed=True).RequestPacket()
    forged = [packet(STOP, secret="guessed").RequestPacket()]
    forged += [_flipped(good, place) for place in (1, 4, 19, 23, len(good) - 1)]
    broken = packet(STOP, signed=True)
    broken.RequestPacket()
    broken[80] = [bytes(16)]  # a Message-Authenticator of nobody, in a packet that is right otherwise
    broken.message_authenticator = None
    forged.append(broken.RequestPacket())
    for data in forged:
        port.peer.send(data)
    await until(lambda: port.counted("bad_authenticator") == len(forged))
    port.peer.send(good)
    assert (await port.peer.answer())[0] == 5
    assert port.peer.heard.empty()
    assert len(await rows(database, events)) == 1
    assert {row["code"] for row in await rows(database, rejections)} == {"bad_signature"}


MALFORMED = [
    b"\x04",
    bytes(19),
    bytes(20),
    b"\x04\x01\x00\x14" + bytes(15),
    b"\x04\x01\xff\xff" + bytes(16),
    b"\x04\x01\x00\x13" + bytes(16),
    b"\x01\x01\x00\x14" + bytes(16),
    b"\x0c\x01\x00\x14" + bytes(16),
    b"\x04\x01\x00\x15" + bytes(17),
    b"\x04\x01\x00\x16" + bytes(16) + b"\x01\x00",
    b"\x04\x01\x00\x16" + bytes(16) + b"\x01\x40",
    b"\x04\x01\x00\x18" + bytes(16) + b"\x50\x04ab",
    b"\x04\x01\x00\x1a" + bytes(16) + b"\x1a\x06\x00\x00\x00\x09",
]


async def test_malformed_packets_are_dropped_and_counted(port: Port, database: Database) -> None:
    for data in MALFORMED * 3:
        port.peer.send(data)
    sent = packet(STOP).RequestPacket()
    port.peer.send(sent + b"padding")
    assert (await port.peer.answer())[0] == 5
    assert port.counted("malformed") + port.counted("bad_authenticator") == len(MALFORMED) * 3
    assert port.counted("malformed") >= (len(MALFORMED) - 1) * 3
    await until(lambda: port.batcher._events == 0)
    kept = await rows(database, rejections)
    assert sum(row["count"] for row in kept) <= SAMPLES_PER_HOUR_MAX
    assert max(len(row["body"]) for row in kept) <= SAMPLE_BYTES_MAX


@given(st.binary(max_size=80), st.integers(0, 3))
def test_no_bytes_but_bad_input(data: bytes, form: int) -> None:
    if form:
        data = b"\x04\x01" + (len(data) + 20).to_bytes(2) + bytes(16) + data
    with suppress(BadInput):
        decoded = decode(data)
        assert sum(len(value) + 2 for _, value in decoded.attributes) + 20 == len(decoded.body)
        assert decoded.secret_of(["a", "b"]) is None


async def test_what_is_signed_and_no_accounting_is_kept_and_answered(port: Port, database: Database) -> None:
    """It would come again as it is, for days."""
    port.peer.send(packet({"Acct-Status-Type": 1, "User-Name": "ada"}).RequestPacket())
    assert (await port.peer.answer())[0] == 5
    (kept,) = await rows(database, rejections)
    assert (kept["code"], kept["channel"]) == ("bad_payload", "radius")


async def test_what_counts_nothing_is_answered(port: Port, database: Database) -> None:
    port.peer.send(packet(STOP | {"Acct-Status-Type": 9}).RequestPacket())
    assert (await port.peer.answer())[0] == 5
    assert await rows(database, events) == []
    ignored = {"channel": "radius", "outcome": "ignored"}
    assert port.telemetry.registry.get_sample_value("meter_events_total", ignored) == 1


async def test_a_full_queue_answers_nothing_and_loses_nothing(database: Database) -> None:
    async with open_port(database, radius_sources(), queue_events_max=2) as port:
        port.gate.shut()
        sent = [packet(STOP | {"Acct-Session-Id": f"s-{n}"}, number=n) for n in range(6)]
        for one in sent:
            port.peer.send(one.RequestPacket())
        await until(lambda: port.counted("overloaded") == 4)  # two fit
        port.gate.open()
        first = {(await port.peer.answer())[1] for _ in range(2)}
        for one in sent:
            if one.id not in first:
                port.peer.send(one.RequestPacket())  # as a NAS does
                assert (await port.peer.answer())[1] == one.id
        assert len(await rows(database, events)) == 6


async def test_what_waits_is_bounded(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "PENDING_MAX", 2)
    port.gate.shut()
    for number in range(5):
        port.peer.send(packet(STOP | {"Acct-Session-Id": f"s-{number}"}, number=number).RequestPacket())
    await until(lambda: port.counted("overloaded") == 3)


async def test_only_clients_may_send(database: Database) -> None:
    async with open_port(database, radius_sources(clients=["192.0.2.0/24"])) as port:
        port.peer.send(packet(STOP).RequestPacket())
        await until(lambda: port.counted("unknown_client") == 1)
        assert await rows(database, events) == []


def test_the_narrowest_network_comes_first() -> None:
    sources = {"all": radius_sources(), "site": radius_sources(clients=["192.0.2.0/24", "2001:db8::/32"])}
    sources["one"] = radius_sources(clients=["192.0.2.7"])
    clients = Clients([source.setup for made in sources.values() for source in made])
    found = {host: len(clients.at(host)) for host in ("192.0.2.7", "192.0.2.8", "::ffff:192.0.2.8", "10.1.1.1")}
    assert found == {"192.0.2.7": 3, "192.0.2.8": 2, "::ffff:192.0.2.8": 2, "10.1.1.1": 1}
    assert len(clients.at("2001:db8::1")) == 2
    assert clients.at("192.0.2.7")[0].options["clients"] == ["192.0.2.7"]
    wrong = Clients([source.setup for source in radius_sources(clients=["192.0.2.7/24", 17, "nowhere"])])
    assert [name for name, _ in wrong.faults] == ["aps"] * 3


async def test_a_port_that_is_taken_is_named(port: Port) -> None:
    with pytest.raises(BadInput, match="METER_RADIUS"):
        async with radius_port(
            f"127.0.0.1:{port.address[1]}", sources=radius_sources(), batcher=port.batcher, telemetry=port.telemetry
        ):
            pass


async def test_a_packet_that_makes_the_reader_fail_is_kept_and_answered(
    port: Port, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unanswered, its NAS would send it for ever."""

    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    sent = packet(STOP, number=9)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read", failing)
        port.peer.send(sent.RequestPacket())
        assert (await port.peer.answer())[1] == 9
    (kept,) = await rows(database, rejections)
    assert kept["code"] == "undecodable"
