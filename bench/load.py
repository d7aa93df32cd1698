"""The load generator, a process of its own: prepared bytes to sockets, so that the CPU is left to the servers.

    python -m bench.load mqtt FILE HOST PORT --connections N --window N [--rate EVENTS_PER_S]
    python -m bench.load http FILE HOST PORT --connections N --batch N --key KEY

It prepares, prints `prepared`, waits for a line on its standard input, sends, and prints one JSON object: when it began
and ended (Unix seconds), and how many events it sent. FILE holds one event a line. With `--rate` a marker stands for
each event's time, and becomes the moment of sending.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

# As long as what replaces it: 2026-11-22T02:41:45.123456Z.
TIME_MARKER: Final = b"@@@@@@@@@@@@@@@@@@@@@@@@@@@"
_CONNECT: Final = b"\x00\x04MQTT\x04\x02\x00\x00"  # 3.1.1, clean session, no keep-alive
_CONNACK: Final = b"\x20\x02\x00\x00"
_PUBLISH_QOS1: Final = 0x32
_PUBACK_BYTES: Final = 4
_PACKET_IDS: Final = 65_535
_ANSWER_S_MAX: Final = 60.0
_READ_BYTES: Final = 64 * 1024
# Sending less often than this would make bursts; more often costs the CPU that is measured.
_TICK_S: Final = 0.004


def remaining_length(length: int) -> bytes:
    """Return MQTT's variable length (3.1.1, section 2.2.3)."""
    digits = bytearray()
    while True:
        length, low = divmod(length, 128)
        digits.append(low | (0x80 if length else 0))
        if not length:
            return bytes(digits)


def publish_packet(topic: bytes, packet_id: int, payload: bytes) -> bytes:
    """Return a PUBLISH of QoS 1 (3.1.1, section 3.3)."""
    rest = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    return bytes([_PUBLISH_QOS1]) + remaining_length(len(rest)) + rest


def stamp(now_s: float) -> bytes:
    """Return the moment as events carry it, as long as the marker."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def topic_of(body: bytes) -> bytes:
    """Return the topic on which the event's device publishes."""
    source: str = json.loads(body)["source"]
    return b"spaces/" + source.encode()


# --- MQTT -------------------------------------------------------------------------------------------------------------


class MqttLine:
    """One connection that sends its packets, in order, with at most `window` of them unacknowledged."""

    def __init__(self, address: tuple[str, int], number: int, bodies: Sequence[bytes], window: int) -> None:
        client_id = f"bench-{number}".encode()
        body = _CONNECT + len(client_id).to_bytes(2, "big") + client_id
        self._socket = socket.create_connection(address, timeout=_ANSWER_S_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"\x10" + remaining_length(len(body)) + body)
        if self._socket.recv(_PUBACK_BYTES) != _CONNACK:
            raise SystemExit("the broker refuses the connection")
        self._packets = [
            publish_packet(topic_of(body), index % _PACKET_IDS + 1, body) for index, body in enumerate(bodies)
        ]
        self._window = window
        self._unacknowledged = 0
        self._partial = 0

    def send(self, _began_s: float) -> None:
        """Send everything as fast as it is acknowledged."""
        sent = 0
        while sent < len(self._packets):
            room = self._window - self._unacknowledged
            if room > 0:
                part = self._packets[sent : sent + room]
                self._socket.sendall(b"".join(part))
                sent += len(part)
                self._unacknowledged += len(part)
            self._acknowledged()
        while self._unacknowledged:
            self._acknowledged()

    def send_paced(self, began_s: float, per_s: float) -> None:
        """Send at a steady rate, each event stamped with the moment it leaves."""
        sent = 0
        reader = threading.Thread(target=self._drain)
        reader.start()
        while sent < len(self._packets):
            now_s = time.time()
            due = min(int((now_s - began_s) * per_s), len(self._packets))
            if due > sent:
                moment = stamp(now_s)
                packets = self._packets[sent:due]
                self._socket.sendall(b"".join(packet.replace(TIME_MARKER, moment) for packet in packets))
                sent = due
            time.sleep(_TICK_S)
        reader.join()

    def _drain(self) -> None:
        missing = len(self._packets) * _PUBACK_BYTES
        while missing:
            missing -= self._received()

    def _acknowledged(self) -> None:
        whole, self._partial = divmod(self._partial + self._received(), _PUBACK_BYTES)
        self._unacknowledged -= whole

    def _received(self) -> int:
        received = len(self._socket.recv(_READ_BYTES))
        if not received:
            raise SystemExit("the broker hung up")
        return received

    @property
    def events(self) -> int:
        """Return how many events the line sends."""
        return len(self._packets)


# --- HTTP -------------------------------------------------------------------------------------------------------------


class HttpLine:
    """One connection that posts batches, each after the answer to the one before."""

    def __init__(self, address: tuple[str, int], bodies: Sequence[bytes], batch: int, key: str) -> None:
        self._socket = socket.create_connection(address, timeout=_ANSWER_S_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = [
            _request(b"[" + b",".join(bodies[start : start + batch]) + b"]", address, key)
            for start in range(0, len(bodies), batch)
        ]
        self.events = len(bodies)
        self._read = b""

    def send(self, _began_s: float) -> None:
        """Send everything, one request after the other."""
        for request in self._requests:
            self._socket.sendall(request)
            self._answer()

    def _answer(self) -> None:
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if b" 200 " not in lines[0]:
            raise SystemExit(f"the gateway answers {lines[0].decode()}")
        length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
        while len(self._read) < length:
            self._more()
        self._read = self._read[length:]

    def _more(self) -> None:
        received = self._socket.recv(_READ_BYTES)
        if not received:
            raise SystemExit("the gateway hung up")
        self._read += received


def _request(body: bytes, address: tuple[str, int], key: str) -> bytes:
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/cloudevents-batch+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# --- both -------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Prepare, wait for the word, send, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("channel", choices=("mqtt", "http"))
    parser.add_argument("file", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    bodies = given.file.read_bytes().splitlines()
    address = (given.host, given.port)
    shares = [bodies[number :: given.connections] for number in range(given.connections)]
    works: list[Callable[[float], None]] = []
    for number, share in enumerate(shares):
        if given.channel == "http":
            works.append(HttpLine(address, share, given.batch, given.key).send)
            continue
        line = MqttLine(address, number, share, given.window)
        works.append(_paced(line, given.rate / given.connections) if given.rate else line.send)
    sys.stdout.write("prepared\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began_s = time.time()
    threads = [threading.Thread(target=work, args=(began_s,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({"began_s": began_s, "ended_s": time.time(), "events": len(bodies)}) + "\n")


def _paced(line: MqttLine, per_s: float) -> Callable[[float], None]:
    return lambda began_s: line.send_paced(began_s, per_s)


if __name__ == "__main__":
    main()
