"""A blocking MQTT client for tests: what happens lands in queues."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

WAIT_S = 60.0


class Client:
    """Connects at once; `wait` until it is accepted."""

    def __init__(self, url: str, client_id: str, *, clean: bool = True) -> None:
        parts = urlsplit(url)
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        self.connected: queue.Queue[str] = queue.Queue()
        self.granted: queue.Queue[bool] = queue.Queue()
        self.published: queue.Queue[int] = queue.Queue()
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.paho.on_connect = lambda _c, _u, _f, reason, _p: self.connected.put(str(reason))
        self.paho.on_subscribe = lambda _c, _u, _m, codes, _p: self.granted.put(not codes[0].is_failure)
        self.paho.on_publish = lambda _c, _u, mid, _r, _p: self.published.put(mid)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        if parts.username is not None:
            self.paho.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        self.paho.connect(parts.hostname or "", parts.port or 1883)
        self.paho.loop_start()

    def subscribe(self, topic: str) -> bool:
        """Whether the broker grants it."""
        self.paho.subscribe(topic, qos=1)
        return self.granted.get(timeout=WAIT_S)

    def publish(self, topic: str, payloads: list[bytes]) -> None:
        """Publish all; return when the broker has acknowledged each."""
        for payload in payloads:
            self.paho.publish(topic, payload, qos=1)
        for _ in payloads:
            self.published.get(timeout=WAIT_S)

    def take(self, count: int, *, acknowledge: bool) -> list[bytes]:
        """The next `count` payloads."""
        taken = []
        for _ in range(count):
            message = self.messages.get(timeout=WAIT_S)
            taken.append(bytes(message.payload))
            if acknowledge:
                self.paho.ack(message.mid, message.qos)
        return taken


@contextmanager
def client(url: str, client_id: str, *, clean: bool = True) -> Iterator[Client]:
    """A connected client, disconnected at the end."""
    it = Client(url, client_id, clean=clean)
    try:
        assert it.connected.get(timeout=WAIT_S) == "Success"
        yield it
    finally:
        it.paho.disconnect()
        it.paho.loop_stop()
