"""Where devices ask: of the gateway while it answers in time, else of what was heard of it last (decision 0016).

ask ─▶ known here? ──yes──▶ the answer of then
         │ no
         ├─▶ gateway ── in time ──▶ its answer and its word, committed ─▶ device
         └─▶ else ──▶ decided and committed in one transaction ─────────▶ device ┄┄▶ told later
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from edge.authorizing import book, rows
from edge.authorizing.ask import Ask, conflict, read_ask
from edge.authorizing.book import Limits
from edge.authorizing.gateway import AskedGateway, Declined, NotLetIn
from edge.authorizing.rows import Given
from edge.clock import Clock
from edge.spool.keeper import Keeper
from edge.spool.state import State
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.model.strict_json import exact_json


class Desk:
    """Answers devices of one site. `gave` is called after an answer that the gateway is to be told of."""

    def __init__(
        self,
        keeper: Keeper,
        gateway: AskedGateway | None,
        *,
        site: str,
        limits: Limits,
        clock: Clock,
        offset_ms: Callable[[], int | None],
        gave: Callable[[], None],
    ) -> None:
        """Answer nothing yet. `offset_ms`: by how much the wall clock is ahead; None: not known."""
        self._keeper = keeper
        self._gateway = gateway
        self._site = site
        self._limits = limits
        self._clock = clock
        self._offset_ms = offset_ms
        self._gave = gave

    async def ask(self, body: bytes) -> bytes:
        """Return the answer to an ask, committed. Raises BadInput (also Declined), Full, Unavailable, SpoolFailed."""
        ask, gateway = read_ask(body, site=self._site), self._asked()
        known, heard = await self._keeper.read(partial(_look, ask.id))
        if known is not None:
            if known.digest != ask.digest:
                raise conflict(ask.id)
            return self._shown(known)
        try:
            said = await gateway.ask(ask.body())
        except NotLetIn:
            raise
        except Unavailable as error:
            return await self._answer(ask, error.detail)
        keep = partial(book.keep_answer, ask=ask, said=said.answer, raw=said.body, heard=heard, replayed=said.replayed)
        kept = await self._keeper.act(keep)
        return said.body if kept.answer == said.body else self._shown(kept)

    async def _answer(self, ask: Ask, why: str) -> bytes:
        """Return the answer that is given here. It is safe before anybody hears it."""
        offset = timedelta(milliseconds=self._offset_ms() or 0)
        given = await self._keeper.act(partial(book.answer_offline, ask=ask, limits=self._limits, offset=offset))
        log.info("answered_offline", allowed=given.allowed, meter=ask.meter, detail=why)
        self._gave()
        return self._shown(given)

    async def show(self, id: str) -> bytes:
        """Return an answer and what became of it. Raises BadInput (`not_found`), Unavailable."""
        gateway = self._asked()
        known, _ = await self._keeper.read(partial(_look, id))
        if known is not None and known.known is None:
            return self._shown(known)
        try:
            return (await gateway.show(id)).body
        except (Unavailable, Declined):
            if known is None:
                raise
            return self._shown(known)

    async def let_go(self, id: str) -> bytes:
        """Let a reservation go and return it. Raises BadInput (`not_found`), Full, Unavailable."""
        gateway = self._asked()
        known, _ = await self._keeper.read(partial(_look, id))
        if known is None:
            return (await gateway.let_go(id)).body
        if known.known is not None:
            try:
                said = await gateway.let_go(id)
            except (Unavailable, Declined):
                pass
            else:
                await self._keeper.act(partial(book.let_go, id=id, owed=False))
                return said.body
        # Whether it was open, nobody but the transaction can tell.
        gone = await self._keeper.act(partial(book.let_go, id=id, owed=True))
        self._gave()
        return self._shown(known if gone is None else gone)

    def _asked(self) -> AskedGateway:
        if self._gateway is None:
            message = "asking before acting needs METER_EDGE_GATEWAY__HTTP_URL and __API_KEY; this agent has MQTT only"
            raise BadInput(message, code="not_found")
        return self._gateway

    def _shown(self, given: Given) -> bytes:
        return exact_json(given.shown(self._clock.read())).encode()


def _look(id: str, connection: sqlite3.Connection, state: State) -> tuple[Given | None, int]:
    """Return what was answered under an id, and how many words there are by now."""
    return rows.find(connection, state, id), rows.heard_so_far(connection)
