"""A client on its own thread that waits for what the broker answers. Acknowledges by hand, as the gateway does."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

# Far beyond what any answer takes here; a test that waits so long has failed.
_ANSWER_S = 20


@dataclass(kw_only=True)
class Peer:
    """`with Peer(...) as peer`: connected, or `refused` says why not."""

    port: int
    user: str | None = None
    password: str | None = None
    client_id: str = ""
    keep: bool = False  # the session, for an hour
    version_5: bool = True
    authority: Path | None = None  # speak TLS, and trust this certificate only
    host: str = "127.0.0.1"
    context: ssl.SSLContext | None = None  # speak TLS, with a certificate of one's own
    will: str | None = None  # the topic of a last will
    refused: str | None = None
    messages: "Queue[MQTTMessage]" = field(default_factory=Queue)
    disconnects: "Queue[str]" = field(default_factory=Queue)
    _connects: "Queue[ReasonCode]" = field(default_factory=Queue)
    _answers: "Queue[str]" = field(default_factory=Queue)

    def __enter__(self) -> Self:
        protocol: Any = MQTTv5 if self.version_5 else MQTTv311
        self.client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=protocol,
            manual_ack=True,
            reconnect_on_failure=False,
            clean_session=None if self.version_5 else not self.keep,
        )
        client.username_pw_set(self.user, self.password)
        if self.authority is not None:
            client.tls_set(str(self.authority))
        if self.context is not None:
            client.tls_set_context(self.context)
        if self.will is not None:
            client.will_set(self.will, b"{}", qos=1)
        client.max_inflight_messages_set(1000)
        client.on_connect = lambda _c, _u, _f, reason, _p: self._connects.put(reason)
        client.on_publish = lambda _c, _u, _m, reason, _p: self._answers.put(str(reason))
        client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._answers.put(str(reasons[0]))
        client.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnects.put(str(reason))
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        if self.version_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho has no type for it
            properties.SessionExpiryInterval = 3600 if self.keep else 0
            client.connect(self.host, self.port, clean_start=not self.keep, properties=properties)
        else:
            client.connect(self.host, self.port)
        client.loop_start()
        reason = self._connects.get(timeout=_ANSWER_S)
        self.refused = str(reason) if reason.is_failure else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        self._answers.get(timeout=_ANSWER_S)

    def publish(self, topic: str, payload: str | bytes = b"{}", *, count: int = 1, qos: int = 1) -> list[str]:
        """Publish `count` times; return the broker's answer to each (MQTT 3.1.1 has one answer only)."""
        for _ in range(count):
            self.client.publish(topic, payload, qos=qos)
        return [self._answers.get(timeout=_ANSWER_S) for _ in range(count)]

    def next(self) -> MQTTMessage:
        """The next message, acknowledged."""
        message = self.peek()
        self.client.ack(message.mid, message.qos)
        return message

    def peek(self) -> MQTTMessage:
        """The next message, kept unacknowledged."""
        return self.messages.get(timeout=_ANSWER_S)

    def heard(self) -> list[MQTTMessage]:
        """Every message that has come."""
        return [self.messages.get() for _ in range(self.messages.qsize())]

    def vanish(self) -> None:
        """Go without a word, as with the power."""
        raw = self.client.socket()
        assert isinstance(raw, socket.socket)
        raw.shutdown(socket.SHUT_RDWR)
        self.disconnects.get(timeout=_ANSWER_S)
