"""A server on loopback that behaves as Square documents it: objects by id, lists by time and page, errors as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aiohttp import web

from meter.model.instant import parse_instant
from tests.ingest.loopback import served
from tests.sources.square_objects import Square
from tests.specs import Spec, spec_or_none

TOKEN = "the-token"
LOCATION = "FPYCBCHYMXFK1"
UNAUTHORIZED = {"errors": [{"category": "AUTHENTICATION_ERROR", "code": "UNAUTHORIZED", "detail": "no such token"}]}
NOT_FOUND = {"errors": [{"category": "INVALID_REQUEST_ERROR", "code": "NOT_FOUND"}]}


class SquareServer:
    """Serves the objects of an account. Every exchange is held against Square's document where that is at hand.

    `page`: so many objects a page at most. `asked`: method and path of each request.
    """

    def __init__(self, square: Square, *, page: int = 100) -> None:
        self.square = square
        self.page = page
        self.asked: list[str] = []
        self.base = ""
        self._spec: Spec | None = spec_or_none("square")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response(UNAUTHORIZED, status=401)
        content = self._content(request, body or {})
        if content is None:
            return web.json_response(NOT_FOUND, status=404)
        if self._spec is not None:
            self._spec.validate_call(request.method, request.path, dict(request.query), body, content)
        return web.Response(text=json.dumps(content), content_type="application/json")

    def _content(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any] | None:
        square, query = self.square, request.query
        match request.path.split("/")[2:]:
            case ["locations"]:
                return {"locations": [{"id": LOCATION, "status": "ACTIVE"}]}
            case ["orders", "batch-retrieve"]:
                return {"orders": [square.orders[one] for one in body["order_ids"] if one in square.orders]}
            case ["orders", "search"]:
                assert body["location_ids"] == [LOCATION]
                window = body["query"]["filter"]["date_time_filter"]["updated_at"]
                states = body["query"]["filter"]["state_filter"]["states"]
                held = [one for one in square.orders.values() if one["state"] in states]
                found = self._listed(held, window["start_at"], window["end_at"], body)
                entries = [{"order_id": one["id"], "version": one["version"]} for one in found["page"]]
                return {"order_entries": entries, **found["more"]}
            case ["payments" | "refunds" as kind]:
                assert query["location_id"] == LOCATION
                objects = list((square.payments if kind == "payments" else square.refunds).values())
                window_of = (query["updated_at_begin_time"], query["updated_at_end_time"])
                found = self._listed(objects, *window_of, {**query, "limit": int(query["limit"])})
                return {kind: found["page"], **found["more"]}
            case [kind, object_id]:
                of_kind = {"orders": square.orders, "payments": square.payments, "refunds": square.refunds}[kind]
                one = of_kind.get(object_id)
                return None if one is None else {kind[:-1]: one}
            case _:
                raise AssertionError(request.path)

    def _listed(
        self, objects: Sequence[dict[str, Any]], since: str, until: str, asked: dict[str, Any]
    ) -> dict[str, Any]:
        first, last = parse_instant(since), parse_instant(until)

        def updated(one: dict[str, Any]) -> datetime:
            return parse_instant(one["updated_at"])

        found = sorted((one for one in objects if first <= updated(one) <= last), key=updated)
        size, skipped = min(self.page, asked["limit"]), int(asked.get("cursor", 0))
        more = {"cursor": str(skipped + size)} if len(found) > skipped + size else {}
        return {"page": found[skipped : skipped + size], "more": more}


@asynccontextmanager
async def serving(square: Square, *, page: int = 100) -> AsyncIterator[SquareServer]:
    made = SquareServer(square, page=page)
    async with served(made.answer) as made.base:
        yield made
