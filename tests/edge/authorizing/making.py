"""Asks, words and a spool for them, for tests."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from edge.authorizing import book, rows
from edge.authorizing.answer import ANSWER
from edge.authorizing.ask import Ask
from edge.authorizing.book import Limits, Told
from edge.authorizing.decide import Word
from edge.authorizing.rows import Given
from edge.spool.file import Act, Batch
from edge.spool.records import Put, Settles
from meter.model.errors import MeterError
from tests.edge.spool.making import item, open_spool

LIMITS = Limits(account=Decimal(10), site=Decimal(15))


def ask(id: str, quantity: str | int = 1, who: str = "ada", *, meter: str = "pages", **more: Any) -> Ask:
    given = {"expires_s": 300, "dimensions": {}, "data": {}, **more}
    return Ask(id=id, identity=f"member:{who}", site="berlin", meter=meter, quantity=Decimal(quantity), **given)


def word(account: str = "acme", price: str | None = "1", **changes: Any) -> Word:
    """A word of the gateway's: sold without end unless changed."""
    given = {"covered": Decimal(0), "left": None, "left_amount": None, "sold_beyond": True, **changes}
    return Word(
        account=account,
        member="ada",
        unit="page",
        currency="EUR",
        price=None if price is None else Decimal(price),
        **given,
    )


def answer_of(ask: Ask, word: Word | None, *, allowed: bool = True, offline: bool = False) -> bytes:
    """What the gateway would answer."""
    told: dict[str, Any] = {
        "id": ask.id,
        "allowed": allowed,
        "reasons": [] if allowed else ["hard_limit"],
        "state": "open" if allowed else "refused",
        "offline": offline,
        "account": None if word is None else word.account,
        "member": None if word is None else word.member,
        "unit": None if word is None else word.unit,
        "asked_at": "2026-11-22T10:00:00Z",
        "expires_at": "2026-11-22T10:05:00Z",
        "settled": None,
        "released_at": None,
        "allowance": None
        if word is None
        else {
            name: str(value) if isinstance(value, Decimal) else value
            for name in ("covered", "price", "currency", "left", "left_amount", "sold_beyond")
            for value in [getattr(word, name)]
        },
    }
    return json.dumps(told).encode()


class Site:
    """One spool with what is asked there."""

    def __init__(self, directory: Path, clock: Any, *, limits: Limits = LIMITS) -> None:
        self.directory = directory
        self.clock = clock
        self.limits = limits
        self.spool = open_spool(directory, clock=clock)

    def act(self, action: Any) -> Any:
        (result,) = self.spool.commit(Batch(acts=(Act(action=action),))).results
        if isinstance(result, MeterError):
            raise result
        return result

    def reopen(self) -> None:
        """As after a kill: what was committed is there, and nothing else."""
        self.spool.close()
        self.spool = open_spool(self.directory, clock=self.clock)

    def offline(self, ask: Ask) -> Given:
        given: Given = self.act(partial(book.answer_offline, ask=ask, limits=self.limits, offset=timedelta(0)))
        return given

    def heard(self) -> int:
        return self.spool.read(lambda connection, _: rows.heard_so_far(connection))

    def online(
        self, ask: Ask, word: Word | None, *, allowed: bool = True, heard: int | None = None, **more: Any
    ) -> Given:
        raw = answer_of(ask, word, allowed=allowed)
        heard = self.heard() if heard is None else heard
        given: Given = self.act(
            partial(
                book.keep_answer, ask=ask, said=ANSWER.decode(raw), raw=raw, heard=heard, **{"replayed": False, **more}
            )
        )
        return given

    def let_go(self, id: str, *, owed: bool = True) -> Given | None:
        given: Given | None = self.act(partial(book.let_go, id=id, owed=owed))
        return given

    def event(self, id: str, authorization: str) -> None:
        named = Settles(authorization, "berlin/print/hall", id)
        made = item(id)
        (done,) = self.spool.commit(
            Batch(puts=(Put(items=(type(made)(body=made.body, heard=self.clock.read(), settles=named),)),))
        ).outcomes
        assert not isinstance(done, Exception)

    def acknowledge(self) -> None:
        """The gateway has all events."""
        if self.spool.is_held_back:
            self.spool.allow_first()
        while found := self.spool.unsent(self.spool.boot, 0, events_max=100, bytes_max=1 << 20):
            self.spool.acknowledge(self.spool.boot, found[-1].place.sequence)

    def owed(self) -> list[Given]:
        return self.spool.read(partial(rows.owed, rows_max=1_000))

    def told(self, *given: Given, refusal: str | None = None) -> None:
        self.act(partial(book.note_told, told=[Told(id=one.id, told=one.owes, refusal=refusal) for one in given]))

    def at_risk(self, account: str | None = None) -> Decimal:
        found = self.spool.read(rows.risky)
        return rows.sums(found, self.clock.read(), account).get("EUR", Decimal(0))
