"""A client without any knowledge of a vendor, for tests of fakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import aiohttp

Said = tuple[int, Any]


class Caller:
    """A plain client: JSON out, JSON in, numbers as Decimal."""

    def __init__(self, session: aiohttp.ClientSession, base: str, headers: Mapping[str, str]) -> None:
        self._session, self._base, self.headers = session, base, dict(headers)

    async def __call__(self, method: str, path: str, content: Any = None, **more: Any) -> Said:
        headers = {**self.headers, **more.pop("headers", {})}
        async with self._session.request(method, self._base + path, json=content, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text, parse_float=Decimal) if text else None


async def refreshed(session: aiohttp.ClientSession, url: str, token: str) -> Said:
    """Ask for tokens by a refresh token."""
    form = {"grant_type": "refresh_token", "refresh_token": token}
    async with session.post(url, data=form, headers={"Authorization": "Basic aWQ6c2VjcmV0"}) as answer:
        return answer.status, await answer.json()
