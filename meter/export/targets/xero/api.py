"""Xero's accounting interface: authorised, for one tenant, slowed by what Xero says is left of its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from meter.export.authorised import Authorised
from meter.export.contract import Refused, Uncertain
from meter.export.http import Answer, Ends, Fault, outcome_of_error, outcome_of_question
from meter.export.targets.reading import objects_of, word_of
from meter.export.targets.xero.documents import Entity
from meter.export.targets.xero.replies import Json, content_of, pause_s, refusal_of

_BASE: Final = "/api.xro/2.0"
# Xero takes up to 1,000; a day's quota is worth more than the size of an answer.
PAGE_MAX: Final = 500
# Fifty thousand documents of a list: more are asked for in shorter spans of days.
PAGES_MAX: Final = 100
# What is left of a minute or a day is known for so long; after it, one request asks anew.
KNOWN_S: Final = 60.0
_LEFT: Final = ("x-minlimit-remaining", "x-daylimit-remaining")
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class Api:
    """One tenant at Xero. Close it with `close`."""

    def __init__(self, authorised: Authorised, tenant: str) -> None:
        """Ask nothing yet."""
        self._authorised = authorised
        self._headers = {"Xero-Tenant-Id": tenant, "Accept": "application/json"}

    async def authorise(self) -> None:
        """Return where an access token can be had. Raises MeterError."""
        await self._authorised.keeper.token()

    async def close(self) -> None:
        """Close every connection."""
        await self._authorised.close()

    async def read(self, path: str, **query: str | int) -> Json:
        """Return what is there. Raises Ends (Retry, Refused): nothing was changed by it."""
        asked = {name: str(value) for name, value in query.items()}
        try:
            answer = await self._request("GET", path, query=asked)
        except Fault as error:
            raise Ends(outcome_of_question(outcome_of_error(error))) from error
        content = content_of(answer)
        if not 200 <= answer.status < 300 or not content:
            outcome = Uncertain("Xero answered what cannot be read") if answer.status < 300 else refusal_of(answer)
            raise Ends(outcome_of_question(outcome))
        return content

    async def listed(self, entity: Entity, where: str) -> AsyncIterator[Json]:
        """Give every document that fits, each once, with its lines. Raises Ends."""
        seen: set[Any] = set()
        for page in range(1, PAGES_MAX + 1):
            content = await self.read(f"/{entity}", where=where, page=page, pageSize=PAGE_MAX)
            found = objects_of(content, entity, required=True)
            for one in found:
                # What changes while pages are turned may come twice.
                mark = word_of(one, f"{entity[:-1]}ID")
                if mark not in seen:
                    seen.add(mark)
                    yield one
            if len(found) < PAGE_MAX:
                return
        reason = f"Xero holds more than {PAGES_MAX * PAGE_MAX} {entity} of these days; ask for fewer days"
        raise Ends(Refused(reason))

    async def write(self, path: str, body: Json, *, key: str | None = None, **query: str | int) -> Answer:
        """Return the answer to a PUT: it creates, and changes nothing that is there. Raises Fault."""
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        asked = {name: str(value) for name, value in query.items()}
        return await self._request("PUT", path, query=asked, headers=headers, body=_ENCODER.encode(body))

    async def tenants(self) -> tuple[str, ...]:
        """Return the tenants that the app is connected to; none where Xero does not say. Raises Fault."""
        answer = await self._authorised.request("GET", "/connections", headers={"Accept": "application/json"})
        try:
            given = answer.json() if answer.status == 200 else []
        except msgspec.DecodeError:
            given = []
        listed = given if isinstance(given, list) else []
        return tuple(str(one.get("tenantId")) for one in listed if isinstance(one, dict))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        answer = await self._authorised.request(
            method, _BASE + path, query=query, headers={**self._headers, **(headers or {})}, body=body
        )
        limiter = self._authorised.channel.limiter
        if answer.status == 429:
            limiter.throttled(pause_s(answer))
            return answer
        left = [int(text) for name in _LEFT if (text := answer.headers.get(name, "")).isascii() and text.isdigit()]
        if left:
            limiter.note_remaining(min(left), KNOWN_S)
        return answer
