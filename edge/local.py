"""What commands beside a running agent ask of it over its own HTTP."""

from __future__ import annotations

from typing import Any, Final

import aiohttp

from edge.config.settings import EdgeSettings

# To write down that a million events go again takes seconds on an SD card.
_ANSWER_S: Final = 30.0
# Whether anybody is there shows sooner.
_CONNECT_S: Final = 5.0
# How it is an agent tells at once; whatever else has its port may say nothing.
_STATUS_S: Final = 5.0


async def running_agent(settings: EdgeSettings) -> dict[str, Any] | None:
    """Return what the running agent says of itself; None where none answers, or another one does."""
    _, told = await ask_agent(settings, "GET", "/v1/status", answer_s=_STATUS_S)
    return told if isinstance(told, dict) and told.get("edge") == settings.id else None


async def ask_agent(
    settings: EdgeSettings, method: str, path: str, body: bytes | None = None, *, answer_s: float = _ANSWER_S
) -> tuple[int | None, Any]:
    """Return the status and the decoded answer; None and None where none answers as an agent does."""
    headers = {"Authorization": f"Bearer {settings.tokens[0]}"} if settings.tokens else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    timeout = aiohttp.ClientTimeout(total=answer_s, sock_connect=_CONNECT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as client,
            client.request(method, f"http://{settings.http}{path}", data=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None, None
