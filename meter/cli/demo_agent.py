"""The demo's on-site agent: `meter-edge run` in a process of its own, as a site would have it on a small computer."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from meter.embedded.part import EmbeddedPart
from meter.embedded.partdir import LOOPBACK, write_private
from meter.embedded.runas import RunAs
from meter.model.errors import Unavailable

_CONFIG: Final = "meter-edge.toml"
_ANSWER_S: Final = 5.0
# A day of doors is some hundred kilobytes; the ballast is written at the first start.
_SPOOL: Final[Mapping[str, int]] = {"bytes_max": 64 * 1024 * 1024, "ballast_bytes": 8 * 1024 * 1024}


class DemoAgent(EmbeddedPart):
    """An agent whose files are below `agent/` in the data directory, at a free port of loopback.

    It ends with this process however that ends, and is watched and stopped as the embedded servers are.
    """

    name = "agent"
    command = "meter-edge"
    stop_signals = ((signal.SIGTERM, 20.0),)

    def __init__(self, data_dir: Path, *, site: str, mqtt_url: str) -> None:
        super().__init__(data_dir, host=LOOPBACK, port=None)
        self._site = site
        self._mqtt_url = mqtt_url
        self.token = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """Where devices post."""
        return f"http://{self.host}:{self.port}"

    @property
    def config(self) -> Path:
        """Return the file with its settings."""
        return self._dir.home / _CONFIG

    async def status(self) -> dict[str, Any]:
        """Return what it says of itself. Raises Unavailable where it does not answer."""
        headers, timeout = {"Authorization": f"Bearer {self.token}"}, aiohttp.ClientTimeout(total=_ANSWER_S)
        try:
            async with (
                aiohttp.ClientSession(self.url, headers=headers, timeout=timeout) as client,
                client.get("/v1/status") as answer,
            ):
                answer.raise_for_status()
                told: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the agent at {self.url} does not answer: {error!r}", code="demo_failed") from error
        return told

    async def crash(self) -> None:
        """End it as a power cut would, without a warning, and start it again on what its disk holds."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
        await self.stop()
        await self.start()

    def _binary(self) -> Path:
        found = shutil.which(self.command, path=sysconfig.get_path("scripts")) or shutil.which(self.command)
        if found is None:
            raise Unavailable(f"{self.command} is not installed beside this program: install the whole project")
        return Path(found).absolute()

    def _arguments(self, port: int, run_as: RunAs) -> Sequence[str]:
        write_private(self.config, self._configuration(port).encode())
        run_as.own(self.config)
        return ["run"]

    def _configuration(self, port: int) -> str:
        """Return its settings as TOML, whose strings are JSON's."""
        lines = [
            f"site = {json.dumps(self._site)}",
            f"data_dir = {json.dumps(str(self._dir.home))}",
            f"http = {json.dumps(f'{self.host}:{port}')}",
            f"tokens = [{json.dumps(self.token)}]",
            "[gateway]",
            f"mqtt_url = {json.dumps(self._mqtt_url)}",
            "[spool]",
            *(f"{name} = {value}" for name, value in _SPOOL.items()),
        ]
        return "\n".join(lines) + "\n"

    async def _answers(self) -> bool:
        try:
            await self.status()
        except Unavailable:
            return False
        return True
