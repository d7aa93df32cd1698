"""Answers given and kept, each in one transaction of the spool: looked up, decided, written, and only then told.

One thread writes, so of two who ask at once for the last of what may be risked the second sees the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from edge.authorizing import rows
from edge.authorizing.answer import Answer, own_answer
from edge.authorizing.ask import Ask, conflict
from edge.authorizing.decide import Risk, Word, decide, taken_since, value_of
from edge.authorizing.rows import RELEASE, TELL, Given, Heard
from edge.spool.errors import Full
from edge.spool.transaction import Transaction
from meter.model.money import ZERO

# Some 10 MiB of the spool; a busy site's asks of a day and, where most are answered by the gateway, of weeks.
ANSWERS_MAX: Final = 10_000
# Identities times meters of those who come to one site.
WORDS_MAX: Final = 5_000
# Removed with each answer that is kept: room is made faster than it is taken.
_FORGOTTEN_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be allowed while the gateway cannot be heard: money for each account and in all, in each currency.

    A word of the gateway's counts for `known_for`.
    """

    account: Decimal = ZERO
    site: Decimal = ZERO
    known_for: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of telling the gateway: `told` of what was owed; `refusal` where it will never have it."""

    id: str
    told: int
    refusal: str | None = None


def answer_offline(work: Transaction, ask: Ask, *, limits: Limits, offset: timedelta) -> Given:
    """Return the answer to an ask that the gateway did not answer in time; to one that is known as the first time.

    `offset`: by how much the wall clock is ahead. Raises BadInput (`conflict`), Full.
    """
    known = _known(work, ask)
    if known is not None:
        return known
    word, taken, risk = None, taken_since((), 0), Risk(account_max=limits.account, site_max=limits.site)
    heard = rows.find_word(work.connection, ask.about)
    if heard is not None and rows.since(heard.at, work.now) <= limits.known_for:
        word = heard.word
        allowed = rows.of_account(work.connection, work.state, word.account, ask.meter, since=heard.order)
        taken = taken_since((one.yes(work.now) for one in allowed if one.id != heard.of), heard.order)
        if value_of(word, ask.quantity):
            risk = _risk(work, word, limits)
    decision = decide(ask.quantity, word, taken, risk)
    return _keep(
        work,
        Given(
            id=ask.id,
            digest=ask.digest,
            ask=ask.body(),
            answer=own_answer(ask, word, decision, at=work.now.wall - offset),
            account=None if word is None else word.account,
            meter=ask.meter,
            allowed=decision.allowed,
            offline=True,
            quantity=ask.quantity,
            value=decision.value,
            currency="" if word is None else word.currency,
            expires_s=ask.expires_s,
            at=work.now,
            owes=TELL,
        ),
    )


def keep_answer(work: Transaction, ask: Ask, said: Answer, raw: bytes, *, heard: int, replayed: bool) -> Given:
    """Return the answer that stands: the gateway's, kept with its word, unless another was given before.

    `heard`: how many words there were when it was asked; what was told later it may not count. `replayed`: it is an
    earlier answer, and what it says of credit is no news. Raises BadInput (`conflict`), Full.
    """
    known = _known(work, ask)
    if known is not None:
        return known
    word = said.word
    if not replayed and not said.offline:
        if word is None:
            rows.drop_word(work.connection, ask.about)
        else:
            heard_now = Heard(word, heard, ask.id, work.now)
            rows.keep_word(work.connection, ask, heard_now, rows_max=WORDS_MAX)
    return _keep(
        work,
        Given(
            id=ask.id,
            digest=ask.digest,
            ask=ask.body(),
            answer=raw,
            account=said.account,
            meter=ask.meter,
            allowed=said.allowed,
            offline=False,
            quantity=ask.quantity,
            value=ZERO if word is None else value_of(word, ask.quantity),
            currency="" if word is None else word.currency,
            expires_s=ask.expires_s,
            at=work.now,
            known=rows.next_heard(work.connection),
        ),
    )


def let_go(work: Transaction, id: str, *, owed: bool) -> Given | None:
    """Return the answer under an id, let go if it was open; `owed`: the gateway is still to be told."""
    found = rows.find(work.connection, work.state, id)
    if found is not None and found.shown(work.now)["state"] == "open":
        rows.release(work.connection, id, at=work.now.wall, owes=RELEASE if owed else 0)
        found = rows.find(work.connection, work.state, id)
    return found


def note_told(work: Transaction, told: Sequence[Told]) -> None:
    """Note what the gateway was told."""
    known = rows.next_heard(work.connection)
    for one in told:
        rows.tell(work.connection, one.id, known=known, refusal=one.refusal, told=one.told)
    close_settled(work)


def close_settled(work: Transaction) -> None:
    """Look no more at what risks nothing any more."""
    over = [one.number for one in rows.risky(work.connection, work.state) if _over(one, work)]
    rows.close(work.connection, over)


def _over(one: Given, work: Transaction) -> bool:
    return one.known is not None and not one.yes(work.now).at_risk


def _known(work: Transaction, ask: Ask) -> Given | None:
    """Return the answer that was given to the ask before. Raises BadInput (`conflict`) where it was another ask."""
    known = rows.find(work.connection, work.state, ask.id)
    if known is not None and known.digest != ask.digest:
        raise conflict(ask.id)
    return known


def _risk(work: Transaction, word: Word, limits: Limits) -> Risk:
    risky = rows.risky(work.connection, work.state)
    return Risk(
        account_max=limits.account,
        site_max=limits.site,
        account=rows.sums(risky, work.now, word.account).get(word.currency, ZERO),
        site=rows.sums(risky, work.now).get(word.currency, ZERO),
    )


def _keep(work: Transaction, new: Given) -> Given:
    work.make_room(rows.size_of(new))
    kept = rows.count(work.connection)
    if kept >= ANSWERS_MAX and not rows.forget(work.connection, rows_max=_FORGOTTEN_AT_ONCE):
        raise Full(f"{kept} answers wait to be told to the gateway: restore the way to it", bound="events")
    rows.insert(work.connection, new)
    return new
