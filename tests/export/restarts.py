"""A database that is restarted now and then, at a commit: what was not committed is gone; that it was, nobody hears."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import Unavailable
from meter.store.engine import Database
from tests.booked import OPERATOR

At = Literal["before the commit", "after the commit"]
RESTARTED_AT: Final[tuple[At, ...]] = ("before the commit", "after the commit")


class Restarted(Database):
    """The database of `url`; a transaction meets a restart by these odds, or if its number, from 1, is in `those`.

    `restart` restarts the server; where there is none the connection is ended by the server, which looks the same.
    """

    def __init__(
        self,
        url: str,
        *,
        seed: int = 0,
        odds: float = 0.0,
        those: Mapping[int, At] = MappingProxyType({}),
        restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(url, operator=OPERATOR)
        self.transactions = 0
        self.restarts: Counter[At] = Counter()
        self._dice = random.Random(seed)  # noqa: S311  a test is repeated by its seed
        self._odds, self._those, self._restart = odds, those, restart

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        self.transactions += 1
        at = self._at(self.transactions)
        async with super().begin() as connection:
            yield connection
            if at == "before the commit":
                self.restarts[at] += 1
                if self._restart is None:
                    # A gateway's role may end nobody, not even itself.
                    await connection.execute(text("SET LOCAL ROLE NONE"))
                    await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
                else:
                    await self._restart()
        if at == "after the commit":
            self.restarts[at] += 1
            if self._restart is not None:
                await self._restart()
            raise Unavailable("PostgreSQL does not answer: the connection was closed", code="database_unavailable")

    def _at(self, number: int) -> At | None:
        if number in self._those:
            return self._those[number]
        return self._dice.choice(RESTARTED_AT) if self._dice.random() < self._odds else None
