"""Requests that carry an access token which may have expired unseen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from meter.clock import monotonic_s
from meter.export.http import Answer, Channel, Unauthorised, Unsent
from meter.export.oauth import TokenKeeper
from meter.model.errors import BadInput, MeterError

# A new token that is refused as well is not replaced by yet another before this.
RENEWAL_INTERVAL_S: Final = 60.0


class Authorised:
    """A channel whose requests carry the access token. One that is refused (401) goes again, once, with a new one."""

    def __init__(self, channel: Channel, keeper: TokenKeeper) -> None:
        """Ask with `keeper`'s tokens on `channel`; `close` closes both."""
        self.keeper = keeper
        self.channel = channel
        self._proven = ""
        self._newest = ""
        self._renewed_at_s: float | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Return the answer, whatever its status: a 401 has had its second chance.

        Raises Fault; where no access token can be had, Unsent, or Unauthorised if it takes a person to get one: an item
        waits for it and is not lost.
        """
        ask = partial(self.channel.request, method, path, query=query, body=body)
        token = await self._token()
        answer = await ask(headers=_bearer(headers, token))
        if answer.status == 401 and self._may_renew(token):
            self._renewed_at_s = monotonic_s()
            token = self._newest = await self._token(refused=token)
            answer = await ask(headers=_bearer(headers, token))
        if answer.status != 401:
            self._proven = token
        return answer

    async def close(self) -> None:
        """Close every connection."""
        await self.keeper.close()
        await self.channel.close()

    async def _token(self, *, refused: str | None = None) -> str:
        try:
            return await self.keeper.token() if refused is None else await self.keeper.renewed(refused)
        except BadInput as error:
            raise Unauthorised(error.detail) from error
        except MeterError as error:
            raise Unsent(error.detail) from error

    def _may_renew(self, token: str) -> bool:
        """Tell whether another token may help: not where a new one has just been refused as well.

        What left beside the request that had the token replaced came with the old one, and the new one is there for it.
        """
        if token == self._proven or token != self._newest or self._renewed_at_s is None:
            return True
        return monotonic_s() >= self._renewed_at_s + RENEWAL_INTERVAL_S


def _bearer(headers: Mapping[str, str] | None, token: str) -> dict[str, str]:
    return {**(headers or {}), "Authorization": f"Bearer {token}"}
