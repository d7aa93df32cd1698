"""One MQTT connection on the event loop, from opening to loss: paho without threads.

paho is driven by the loop (`add_reader`, `add_writer`, a timer for keep-alives). A connection is never revived: the
next one is another object, so an acknowledgement held over from a lost one has nowhere to go (decision 0007).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from meter.log import log
from meter.model.errors import Unavailable
from meter.transport.mqtt_address import BrokerAddress

KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 10.0
_MISC_INTERVAL_S: Final = 1.0
# Four batches: two being written, two filling (MQTT 5 only; an older broker has its own window).
RECEIVE_MAXIMUM: Final = 2_000
# How long the broker keeps a session's queue without us. Agents keep their own copy much longer.
SESSION_EXPIRY_S: Final = 7 * 86_400
# Packets handled before others on the loop have their turn.
_READS_MAX: Final = 200
# Acknowledgements of our own that a slow broker may keep waiting; an agent that misses one asks by sending again.
_PUBLISHES_MAX: Final = 1_000
_RECEIVE_BYTES: Final = 64 * 1024
_UNSUPPORTED_PROTOCOL: Final = 132  # MQTT 5, section 3.2.2.2
# Tried in turn until a broker takes one, which is then kept.
OTHER_VERSION: Final = {
    MQTTProtocolVersion.MQTTv5: MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv311: MQTTProtocolVersion.MQTTv5,
}


class ProtocolRefused(Unavailable):
    """The broker does not speak this version of MQTT."""

    default_code = "mqtt_protocol"


def _close_late(opening: asyncio.Future[socket.socket]) -> None:
    """Close a socket that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _fail(waiter: asyncio.Future[None], error: Exception) -> None:
    waiter.set_exception(error)
    waiter.exception()  # seen here, should nobody wait for it


class _Socket:
    """A socket that is read in large pieces: paho asks for single bytes, each of which would be a system call."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._read = memoryview(b"")

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes; as a socket does where there are none."""
        if not self._read:
            self._read = memoryview(self.raw.recv(_RECEIVE_BYTES))
        piece = bytes(self._read[:size])
        self._read = self._read[size:]
        return piece

    def pending(self) -> int:
        """Return the bytes that the loop cannot see waiting."""
        return len(self._read) + (self.raw.pending() if isinstance(self.raw, ssl.SSLSocket) else 0)

    def send(self, data: bytes | bytearray) -> int:
        """Send what fits."""
        return self.raw.send(data)

    def close(self) -> None:
        """Close the socket."""
        self.raw.close()

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self.raw.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 -- the signature of a socket
        """Block or not."""
        self.raw.setblocking(flag)


class _Client(Client):
    """paho on a socket that was opened outside, because paho opens it blocking."""

    given: _Socket

    def _create_socket(self) -> _Socket:
        return self.given


class MqttSession:
    """One connection. `on_message` is called for each message; `full` tells when to stop reading.

    `refused` is what the broker said where it would not take something published (MQTT 5; an older one is silent); with
    `must_publish` that ends the connection.
    `ack` and `publish` do nothing once the connection is gone.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        protocol: MQTTProtocolVersion,
        on_message: Callable[[MqttSession, MQTTMessage], None],
        full: Callable[[], bool],
        must_publish: bool = False,
    ) -> None:
        """Prepare a connection with a persistent session under `client_id`."""
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._handle = on_message
        self._full = full
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._unsubscribed: asyncio.Future[None] = self._loop.create_future()
        self.refused: str | None = None
        self._must_publish = must_publish
        self._paused = False
        self._socket: _Socket | None = None
        self._v5 = protocol == MQTTProtocolVersion.MQTTv5
        self._client = client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            clean_session=None if self._v5 else False,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.username_pw_set(address.user, address.password)
        client.max_queued_messages_set(_PUBLISHES_MAX)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.on_socket_close = self._on_socket_close

    async def open(self, filters: Sequence[str], *, leave: Sequence[str] = ()) -> None:
        """Connect, subscribe, and unsubscribe what an earlier connection of the session was subscribed to (`leave`).

        Raises Unavailable, ProtocolRefused.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._socket = self._client.given = _Socket(await self._open_socket())
                self._connect()
                await self._connected
                self._subscribe(filters)
                await self._subscribed
                if leave:
                    self._client.unsubscribe(list(leave))
                    await self._unsubscribed
        except (OSError, TimeoutError) as error:
            self.close()
            reason = str(error) or "no answer in time"
            message = f"the MQTT broker {self._address.shown} does not answer: {reason}; check {self._address.setting}"
            raise Unavailable(message, code="mqtt_unavailable") from error
        except BaseException:
            self.close()
            raise

    async def _open_socket(self) -> socket.socket:
        # The one step without an asynchronous form: a thread that ends with it.
        opening = asyncio.ensure_future(asyncio.to_thread(self._address.open_socket, CONNECT_TIMEOUT_S))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise

    def _connect(self) -> None:
        host, port = self._address.host, self._address.port
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            self._client.connect(host, port, KEEPALIVE_S, clean_start=False, properties=properties)
        else:
            self._client.connect(host, port, KEEPALIVE_S)
        self._loop.add_reader(self._client.given, self._readable)
        self._loop.call_later(_MISC_INTERVAL_S, self._misc)

    def _subscribe(self, filters: Sequence[str]) -> None:
        # Neither what is retained nor what we publish ourselves is usage.
        retained = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        options = SubscribeOptions(qos=1, noLocal=True, retainHandling=retained)
        topics: Any = [(name, options if self._v5 else 1) for name in filters]
        self._client.subscribe(topics)

    async def ended(self) -> str:
        """Wait for the connection's end and return its reason."""
        return await asyncio.shield(self._ended)

    @property
    def alive(self) -> bool:
        """Tell whether the connection is up as far as known."""
        return not self._ended.done()

    def ack(self, mid: int) -> None:
        """Acknowledge a message of this connection."""
        if self.alive:
            self._client.ack(mid, 1)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, not retained."""
        if self.alive:
            self._client.publish(topic, payload, qos=1)

    def resume(self) -> None:
        """Go on reading after `full` was true."""
        if self._paused and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket, self._readable)
            self._loop.call_soon(self._readable)

    def pause(self) -> None:
        """Stop reading: the broker keeps what follows."""
        if not self._paused and self._socket is not None:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def close(self) -> None:
        """End the connection; the broker keeps the session."""
        if self.alive and self._socket is not None:
            self._guarded(self._client.disconnect)
            self._guarded(self._client.loop_write)
        self._end("closed here")

    def _end(self, reason: str) -> None:
        if self._ended.done():
            return
        self._ended.set_result(reason)
        if not self._connected.done():
            # Some brokers hang up on a version of MQTT that they do not know, without a word.
            message = f"the MQTT broker {self._address.shown} hung up before it answered: {reason}"
            _fail(self._connected, ProtocolRefused(message) if self._socket is not None else ConnectionError(reason))
        for answer in (self._subscribed, self._unsubscribed):
            if not answer.done():
                _fail(answer, ConnectionError(reason))
        self._detach()

    def _detach(self) -> None:
        """Take the socket off the loop and close it, once: its number may soon be another's."""
        connected, self._socket = self._socket, None
        if connected is not None:
            self._loop.remove_reader(connected)
            self._loop.remove_writer(connected)
            connected.close()

    def _guarded(self, function: Callable[[], MQTTErrorCode]) -> None:
        """Call into paho; whatever fails there ends the connection instead of leaving it half alive."""
        try:
            code = function()
        except Exception as error:  # noqa: BLE001 -- see above
            log.exception("mqtt_failed")
            self._end(f"fault: {error}")
        else:
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._end(f"connection lost: {code.name}")

    def _readable(self) -> None:
        for _ in range(_READS_MAX):
            if not self.alive or self._paused:
                return
            if self._connected.done() and self._full():
                self.pause()
                return
            self._guarded(self._client.loop_read)
            if self._socket is None or not self._socket.pending():
                return
        self._loop.call_soon(self._readable)

    def _misc(self) -> None:
        if not self.alive:
            return
        # While paused the broker's pings cannot be read. Should it hang up meanwhile, that is read when there is room.
        if not self._paused:
            self._guarded(self._client.loop_misc)
        self._loop.call_later(_MISC_INTERVAL_S, self._misc)

    # --- paho's callbacks ---------------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if self._connected.done():
            return
        if not reason.is_failure:
            self._connected.set_result(None)
        elif reason.value == _UNSUPPORTED_PROTOCOL:
            message = f"the MQTT broker {self._address.shown} does not speak this version of MQTT"
            self._connected.set_exception(ProtocolRefused(message))
        else:
            message = (
                f"the MQTT broker {self._address.shown} refuses the connection: {reason}; check {self._address.setting}"
            )
            self._connected.set_exception(Unavailable(message, code="mqtt_refused"))

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if self._subscribed.done():
            return
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            message = f"the MQTT broker refuses the subscription: {refused[0]}; check the topics and its ACL"
            self._subscribed.set_exception(Unavailable(message, code="mqtt_refused"))
        else:
            self._subscribed.set_result(None)

    def _on_unsubscribe(
        self, _client: Client, _data: Any, _mid: int, _reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        # A broker that refuses was not subscribed to it, or is asked again with the next connection's filters.
        if not self._unsubscribed.done():
            self._unsubscribed.set_result(None)

    def _on_publish(
        self, _client: Client, _data: Any, _mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure and self.refused is None:
            self.refused = str(reason)
            log.warning("mqtt_publish_refused", broker=self._address.shown, reason=self.refused)
            if self._must_publish:
                self._end(f"the broker takes nothing from us ({reason}); its ACL must name this agent")

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._end(str(reason))

    def _on_register_write(self, _client: Client, _data: Any, _socket: Any) -> None:
        if self._socket is not None:
            self._loop.add_writer(self._socket, self._guarded, self._client.loop_write)

    def _on_unregister_write(self, _client: Client, _data: Any, _socket: Any) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket)

    def _on_socket_close(self, _client: Client, _data: Any, _socket: Any) -> None:
        self._detach()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._handle(self, message)
