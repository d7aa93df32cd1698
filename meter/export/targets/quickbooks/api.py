"""One company's interface at QuickBooks: creating, asking by query, names of classes and departments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from meter.export.authorised import Authorised
from meter.export.contract import Refused
from meter.export.http import Answer, Ends, Fault
from meter.export.targets.quickbooks.entities import Entity, Json
from meter.export.targets.quickbooks.replies import (
    DUPLICATE_NAME,
    content_of,
    fault_of,
    outcome_of_answer,
)
from meter.export.targets.quickbooks.rules import Reference, Tracking
from meter.export.targets.reading import objects_of, word_of
from meter.model.errors import BadInput, Unavailable
from meter.store.engine import encode_json
from meter.store.outbox import name_of

# The oldest that Intuit serves since August 2025; its answers are those of the entities as documented.
MINOR_VERSION: Final = "75"
# A page of journals of a few hundred lines each stays below what an answer may be (http.ANSWER_BYTES_MAX).
PAGE_ENTITIES: Final = 50


class Api:
    """The company `realm`. Every method raises Fault (meter.export.http)."""

    def __init__(self, asking: Authorised, realm: str) -> None:
        """Ask by `asking`."""
        self._asking = asking
        self._realm = realm
        self._tracked: dict[tuple[Tracking, str], str] = {}

    async def create(self, entity: Entity | Tracking, body: Json, *, key: str) -> Answer:
        """Return the answer to the creation of `body`: the same again for the same `key`, as long as that is known."""
        return await self._asking.request(
            "POST",
            f"/v3/company/{self._realm}/{entity.lower()}",
            query={"minorversion": MINOR_VERSION, "requestid": key},
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=encode_json(body).encode(),
        )

    async def company(self) -> None:
        """Return where the company's record can be read. Raises Ends."""
        answer = await self._get(f"companyinfo/{self._realm}", {})
        if answer.status != 200:
            raise Ends(outcome_of_answer(answer))

    async def gone(self, kind: Reference, ids: Collection[str]) -> list[str]:
        """Return those of the ids that the company has no active entity of. Raises Ends."""
        wanted, missing = sorted(ids), []
        for start in range(0, len(wanted), PAGE_ENTITIES):
            page = wanted[start : start + PAGE_ENTITIES]
            there = await self.found(kind, f"Id in ({', '.join(map(quoted, page))})")
            missing += sorted(set(page) - {word_of(one, "Id") for one in there})
        return missing

    async def found(self, entity: str, where: str, *, start: int = 1, most: int = PAGE_ENTITIES) -> list[Json]:
        """Return the entities that the condition names. Raises Ends."""
        query = f"select * from {entity} where {where} startposition {start} maxresults {most}"  # noqa: S608 -- values are `quoted`
        answer = await self._get("query", {"query": query})
        content = content_of(answer).get("QueryResponse")
        if answer.status != 200 or not isinstance(content, dict):
            raise Ends(outcome_of_answer(answer))
        return list(objects_of(content, entity))

    async def every(self, entity: str, where: str) -> AsyncIterator[Json]:
        """Give all entities that the condition names, page by page. Raises MeterError."""
        start = 1
        while True:
            try:
                page = await self.found(entity, f"{where} orderby Id", start=start)
            except (Ends, Fault) as error:
                raise Unavailable(f"QuickBooks does not list {entity}: {error}", code="not_listed") from error
            for one in page:
                yield one
            if len(page) < PAGE_ENTITIES:
                return
            start += len(page)

    async def tracked(self, kind: Tracking, name: str, *, create: bool) -> str:
        """Return the id of a class or department, which is made where `create` allows. Raises Ends."""
        known = self._tracked.get((kind, name))
        if known is None:
            known = await self._found_id(kind, name)
        if known is None and create:
            known = await self._made(kind, name)
        if known is None:
            words = f"QuickBooks has no {kind.lower()} called {name!r}; create it, or let options.create_tracking do so"
            raise Ends(Refused(f"{words}; or set options.tracking to none, then retry the delivery"))
        self._tracked[kind, name] = known
        return known

    def forget(self) -> None:
        """Ask for every id anew: one of them may have been deleted."""
        self._tracked.clear()

    async def close(self) -> None:
        """Let go of connections."""
        await self._asking.close()

    async def authorise(self) -> None:
        """Return where an access token can be had. Raises MeterError."""
        await self._asking.keeper.token()

    async def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        return await self._asking.request(
            "GET",
            f"/v3/company/{self._realm}/{path}",
            query={"minorversion": MINOR_VERSION, **query},
            headers={"Accept": "application/json"},
        )

    async def _found_id(self, kind: Tracking, name: str) -> str | None:
        found = await self.found(kind, f"FullyQualifiedName = {quoted(name)}", most=1)
        return word_of(found[0], "Id") if found else None

    async def _made(self, kind: Tracking, name: str) -> str | None:
        if ":" in name:
            reason = f"{name!r} is the name of a {kind.lower()} below another; create it in QuickBooks"
            raise Ends(Refused(reason))
        answer = await self.create(kind, {"Name": name}, key=name_of(kind, name))
        made: Any = content_of(answer).get(kind)
        if isinstance(made, dict) and "Id" in made:
            return word_of(made, "Id")
        fault = fault_of(answer)
        if fault is not None and fault.code == DUPLICATE_NAME:
            return await self._found_id(kind, name)  # somebody else was faster
        raise Ends(outcome_of_answer(answer))


def quoted(text: str) -> str:
    """Return `text` as a string of the query language. Raises BadInput (`bad_query`) for what none can hold."""
    if not text.isprintable():
        raise BadInput(f"{text[:40]!r} cannot be asked for; take the control characters out", code="bad_query")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
