"""Keeps the certificate good: asks for another one while a third of its time is left. The key stays (decision 0017)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from edge.clock import Clock
from edge.enrolment import files
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import instant_text

# Of four months that are left.
_LOOK_S: Final = 3600.0


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    certificate: str
    expires: str
    renew: str


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class CertificateKeeper:
    """Renews the certificate that `enroll` has written; one that came otherwise is its owner's to renew."""

    def __init__(self, certificate: Path, *, ask: Callable[[], Awaitable[bytes]], clock: Clock) -> None:
        """Ask for nothing yet. `ask`: the gateway's answer, or Unavailable."""
        self._certificate = certificate
        self._ask = ask
        self._clock = clock
        self._failed: str | None = None

    async def run(self) -> None:
        """Look every hour, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Renew where it is time. What fails is tried again at the next look."""
        try:
            renewal = await asyncio.to_thread(self._read)
            if renewal is None or self._clock.read().wall < renewal.renew:
                self._failed = None
                return
            answer = _ANSWER.decode(await self._ask())
            kept = msgspec.convert({"expires": answer.expires, "renew": answer.renew}, files.Renewal)
            await asyncio.to_thread(self._write, answer.certificate, kept)
        except Unavailable as error:
            self._failed = error.detail
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._failed = str(error)
        else:
            self._failed = None
            log.info("certificate_renewed", expires=instant_text(kept.expires))
            return
        log.warning("certificate_not_renewed", detail=self._failed)

    def faults(self) -> list[str]:
        """Return that the certificate cannot be renewed, for people."""
        return [] if self._failed is None else [f"the agent's certificate cannot be renewed: {self._failed}"]

    def _read(self) -> files.Renewal | None:
        try:
            content = files.renewal_beside(self._certificate).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=files.Renewal)

    def _write(self, certificate: str, renewal: files.Renewal) -> None:
        files.write(self._certificate, certificate.encode())
        files.write(files.renewal_beside(self._certificate), msgspec.json.encode(renewal))
