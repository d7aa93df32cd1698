"""Answers and the gateway's words as rows of the spool's file. Every sum is made of them: no restart forgets one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from edge.authorizing.ask import Ask
from edge.authorizing.decide import Came, Word, Yes
from edge.clock import Reading
from edge.spool.errors import SpoolFailed
from edge.spool.rows import instant, microseconds
from edge.spool.spans import waiting
from edge.spool.state import State
from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.money import ZERO
from meter.model.strict_json import exact_json, strict_json

# What the gateway is still to be told.
TELL: Final = 1
RELEASE: Final = 2


class _Moment(msgspec.Struct, frozen=True, array_like=True):
    wall_us: int
    machine_boot: str
    boottime_ns: int
    synchronised: bool | None


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes of an answer."""

    digest: bytes
    ask: msgspec.Raw
    answer: msgspec.Raw
    quantity: Decimal
    value: Decimal
    currency: str
    expires_s: int
    at: _Moment


class _WordBody(msgspec.Struct, frozen=True, kw_only=True):
    word: Word
    of: str
    at: _Moment


_BODY: Final = msgspec.json.Decoder(_Body)
_WORD: Final = msgspec.json.Decoder(_WordBody)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer as it is kept. `ask` and `answer` are JSON; `settled`: the first event that named it, as JSON.

    `at`: what the clocks said when it was given. `refusal`: why the gateway will not have it.
    """

    id: str
    digest: bytes
    ask: bytes
    answer: bytes
    account: str | None
    meter: str
    allowed: bool
    offline: bool
    quantity: Decimal
    value: Decimal
    currency: str
    expires_s: int
    at: Reading
    known: int | None = None
    owes: int = 0
    refusal: str | None = None
    released: datetime | None = None
    settled: str | None = None
    came: Came = "nothing"
    number: int = 0

    def expired(self, now: Reading) -> bool:
        """Tell whether its time is over."""
        return since(self.at, now) >= timedelta(seconds=self.expires_s)

    def yes(self, now: Reading) -> Yes:
        """Return it as what it risks."""
        return Yes(
            id=self.id,
            quantity=self.quantity,
            value=self.value,
            currency=self.currency,
            offline=self.offline,
            known=self.known,
            released=self.released is not None,
            expired=self.expired(now),
            came=self.came,
        )

    def shown(self, now: Reading) -> dict[str, object]:
        """Return the answer as a device sees it now."""
        shown: dict[str, object] = strict_json(self.answer)
        state = "expired" if self.expired(now) else "open"
        if self.released is not None:
            state, shown["released_at"] = "released", instant_text(self.released)
        if self.settled is not None:
            event = strict_json(self.settled.encode())
            late = parse_instant(event["at"]) >= parse_instant(str(shown["expires_at"]))
            late = late or self.released is not None or not self.allowed
            state, shown["settled"] = "settled", event | {"late": late}
        if shown["state"] == "open":
            shown["state"] = state
        return shown

    def body(self, offline: Json) -> bytes:
        """Return the ask with its answer, as the gateway is told of it."""
        return exact_json(strict_json(self.ask) | {"offline": offline}).encode()


class Heard(NamedTuple):
    """A word, as the how manyeth it was heard, of which ask, and when."""

    word: Word
    order: int
    of: str
    at: Reading


def since(then: Reading, now: Reading) -> timedelta:
    """Return how long ago that was, never below nothing: by the clock that nobody sets while the machine runs on."""
    if then.machine_boot == now.machine_boot:
        return timedelta(microseconds=max(now.boottime_ns - then.boottime_ns, 0) // 1000)
    return max(now.wall - then.wall, timedelta(0))


# --- answers ----------------------------------------------------------------------------------------------------------

_COLUMNS: Final = (
    "number, id, account, meter, allowed, offline, crc, body, known, owes, refusal, released_us, event_place, settled"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM authorizations "  # noqa: S608  no value
_INSERT: Final = """INSERT INTO authorizations
    (id, account, meter, allowed, offline, crc, body, known, owes, closed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"""


def find(connection: sqlite3.Connection, state: State, id: str) -> Given | None:
    """Return the answer under an id."""
    return next(iter(_read(connection, state, "WHERE id = ?", id)), None)


def of_account(connection: sqlite3.Connection, state: State, account: str, meter: str, *, since: int) -> list[Given]:
    """Return what an account was allowed of a meter, but for what a word counts that was heard as the `since`th."""
    where = """WHERE account = ? AND meter = ? AND allowed
                 AND (known IS NULL OR known > ? OR (offline AND NOT closed))"""
    return _read(connection, state, where, account, meter, since)


def risky(connection: sqlite3.Connection, state: State) -> list[Given]:
    """Return what was allowed offline and may be at risk."""
    return _read(connection, state, "WHERE allowed AND offline AND NOT closed ORDER BY number")


def owed(connection: sqlite3.Connection, state: State, *, rows_max: int) -> list[Given]:
    """Return what the gateway is still to be told, the oldest first."""
    return _read(connection, state, "WHERE owes > 0 ORDER BY number LIMIT ?", rows_max)


def refused(connection: sqlite3.Connection, state: State, *, rows_max: int) -> list[Given]:
    """Return what the gateway will not have, the newest first."""
    return _read(connection, state, "WHERE refusal IS NOT NULL ORDER BY number DESC LIMIT ?", rows_max)


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many answers are still to be told or let go, and how many the gateway will not have."""
    (untold,) = connection.execute("SELECT count(*) FROM authorizations WHERE owes > 0").fetchone()
    (refusals,) = connection.execute("SELECT count(*) FROM authorizations WHERE refusal IS NOT NULL").fetchone()
    return int(untold), int(refusals)


def size_of(new: Given) -> int:
    """Return about how many bytes a new answer takes, its indexes included."""
    return len(new.ask) + len(new.answer) + 3 * len(new.id) + 512


def insert(connection: sqlite3.Connection, new: Given) -> None:
    """Keep a new answer."""
    body = _ENCODER.encode(
        _Body(
            digest=new.digest,
            ask=msgspec.Raw(new.ask),
            answer=msgspec.Raw(new.answer),
            quantity=new.quantity,
            value=new.value,
            currency=new.currency,
            expires_s=new.expires_s,
            at=_moment(new.at),
        )
    )
    row = (new.id, new.account, new.meter, new.allowed, new.offline, crc32(body), body, new.known, new.owes)
    connection.execute(_INSERT, row)


def release(connection: sqlite3.Connection, id: str, *, at: datetime, owes: int) -> None:
    """Note that the device lets it go; `owes` is added to what the gateway is to be told."""
    connection.execute(
        "UPDATE authorizations SET released_us = ?, owes = owes | ? WHERE id = ? AND released_us IS NULL",
        (microseconds(at), owes, id),
    )


def tell(connection: sqlite3.Connection, id: str, *, known: int, refusal: str | None, told: int) -> None:
    """Note what the gateway was told: it counts with it from its `known`th word on, or will not have it."""
    connection.execute(
        """UPDATE authorizations SET owes = owes & ~ ?, known = coalesce(known, ?), refusal = coalesce(?, refusal)
            WHERE id = ?""",
        (told, known, refusal, id),
    )


def close(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Note that these risk nothing any more."""
    connection.executemany("UPDATE authorizations SET closed = 1 WHERE number = ?", [(one,) for one in numbers])


def count(connection: sqlite3.Connection) -> int:
    """Return how many answers are kept."""
    (kept,) = connection.execute("SELECT count(*) FROM authorizations").fetchone()
    return int(kept)


def forget(connection: sqlite3.Connection, *, rows_max: int) -> int:
    """Remove the oldest answers that owe and risk nothing, with the words that do not count them; return how many."""
    found = connection.execute(
        """SELECT number, account, meter, known FROM authorizations
            WHERE owes = 0 AND (NOT allowed OR NOT offline OR closed) ORDER BY number LIMIT ?""",
        (rows_max,),
    ).fetchall()
    for number, account, meter, known in found:
        connection.execute(
            "DELETE FROM words WHERE account = ? AND meter = ? AND heard < ?", (account, meter, known or 0)
        )
        connection.execute("DELETE FROM authorizations WHERE number = ?", (number,))
    return len(found)


def _read(connection: sqlite3.Connection, state: State, where: str, *values: object) -> list[Given]:
    with closing(connection.execute(_SELECT + where, values)) as cursor:  # an open statement would hold the log
        return [_given(row, state) for row in cursor]


def _given(row: tuple[object, ...], state: State) -> Given:
    number, id, account, meter, allowed, offline, crc, raw, known, owes, refusal, released_us, place, settled = row
    if not isinstance(raw, bytes) or crc != crc32(raw):
        raise SpoolFailed(f"answer {number} of the spool is not as it was written", damaged=True)
    body = _BODY.decode(raw)
    came: Came = "nothing"
    if settled is not None:
        # A place that is not known any more (the file was salvaged) is taken for one that the gateway has.
        left = isinstance(place, int) and next(waiting(state.spans, place, place), None) is not None
        came = "waiting" if left else "there"
    return Given(
        number=number,  # type: ignore[arg-type]  # STRICT tables hold what their columns say
        id=id,  # type: ignore[arg-type]
        account=account,  # type: ignore[arg-type]
        meter=meter,  # type: ignore[arg-type]
        allowed=bool(allowed),
        offline=bool(offline),
        digest=body.digest,
        ask=bytes(body.ask),
        answer=bytes(body.answer),
        quantity=body.quantity,
        value=body.value,
        currency=body.currency,
        expires_s=body.expires_s,
        at=_reading(body.at),
        known=known,  # type: ignore[arg-type]
        owes=owes,  # type: ignore[arg-type]
        refusal=refusal,  # type: ignore[arg-type]
        released=instant(released_us) if isinstance(released_us, int) else None,
        settled=settled,  # type: ignore[arg-type]
        came=came,
    )


def _moment(at: Reading) -> _Moment:
    return _Moment(microseconds(at.wall), at.machine_boot, at.boottime_ns, at.synchronised)


def _reading(at: _Moment) -> Reading:
    return Reading(
        wall=instant(at.wall_us),
        boottime_ns=at.boottime_ns,
        machine_boot=at.machine_boot,
        synchronised=at.synchronised,
    )


# --- words ------------------------------------------------------------------------------------------------------------


def find_word(connection: sqlite3.Connection, about: str) -> Heard | None:
    """Return the gateway's last word on that."""
    row = connection.execute("SELECT heard, crc, body FROM words WHERE about = ?", (about,)).fetchone()
    if row is None:
        return None
    order, crc, raw = row
    if crc != crc32(raw):
        raise SpoolFailed("a word of the gateway's is not as it was written in the spool", damaged=True)
    body = _WORD.decode(raw)
    return Heard(body.word, int(order), body.of, _reading(body.at))


def keep_word(connection: sqlite3.Connection, ask: Ask, heard: Heard, *, rows_max: int) -> None:
    """Keep a word in place of an older one; beyond so many the oldest are forgotten."""
    body = _ENCODER.encode(_WordBody(word=heard.word, of=heard.of, at=_moment(heard.at)))
    row = (ask.about, heard.word.account, ask.meter, heard.order, crc32(body), body)
    connection.execute(
        """INSERT INTO words VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (about) DO UPDATE
              SET account = excluded.account, heard = excluded.heard, crc = excluded.crc, body = excluded.body
            WHERE excluded.heard >= words.heard""",
        row,
    )
    connection.execute(
        """DELETE FROM words WHERE about IN (
             SELECT about FROM words ORDER BY heard DESC, about LIMIT -1 OFFSET ?)""",
        (rows_max,),
    )


def drop_word(connection: sqlite3.Connection, about: str) -> None:
    """Forget what was heard of that."""
    connection.execute("DELETE FROM words WHERE about = ?", (about,))


def heard_so_far(connection: sqlite3.Connection) -> int:
    """Return how many words and tellings there were."""
    (heard,) = connection.execute("SELECT value FROM meta WHERE name = 'heard'").fetchone()
    return int(heard)


def next_heard(connection: sqlite3.Connection) -> int:
    """Return the number of a word or a telling that is written now."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'heard'")
    return heard_so_far(connection)


def sums(given: Iterable[Given], now: Reading, account: str | None = None) -> Mapping[str, Decimal]:
    """Return what is at risk in each currency, of one account or of all."""
    found: dict[str, Decimal] = {}
    for one in given:
        if account in {None, one.account} and one.yes(now).at_risk:
            found[one.currency] = found.get(one.currency, ZERO) + one.value
    return found
