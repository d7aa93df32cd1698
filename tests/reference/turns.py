"""Other terms of accounts, brought to a real gateway while everything else comes in."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta

from sqlalchemy import text

from meter.catalog.draft import AccountDraft, DirectoryDraft
from meter.catalog.issues import Place
from meter.model.directory import Account
from meter.store.apply import apply_directory
from meter.store.directory import replaced_body
from meter.store.directory_write import raise_facts_version
from tests.booking.space import Space
from tests.reference.adapter import newest, replaced
from tests.reference.dates import NEVER
from tests.reference.facts import Facts
from tests.reference.values import Doc

# Before everything that any scenario knows.
LONG_AGO = datetime.fromisoformat("2020-01-01T00:00:00Z")


class Turns:
    """The changes of terms that are to come, and the terms that every account has meanwhile.

    Terms begin with the period after the clock, once something is booked: so each change waits for a charge and is put
    at a clock in the period before its own. That is in the past of the space's clock, as it is when late events come.
    """

    def __init__(self, space: Space, facts: Facts, chance: random.Random) -> None:
        self.space = space
        self.facts = facts
        self.chance = chance
        self.terms = {name: _terms(account) for name, account in facts.accounts.items()}
        self.waiting = {name: [body for _, body in sorted(several.items())] for name, several in facts.changes.items()}

    def begins(self, account: str) -> datetime:
        """When the first of the changes still to come begins."""
        waiting = self.waiting.get(account)
        return self.facts.named(account, waiting[0]["from"]).start if waiting else NEVER

    def written(self, put: Doc) -> Doc:
        """The put with the terms that its accounts have now, so that it changes none."""
        accounts = {name: body | self.terms[name] for name, body in put.get("accounts", {}).items()}
        return put | ({"accounts": accounts} if accounts else {})

    async def step(self) -> None:
        """Put the next terms of one account that was charged."""
        charged = [name for (name,) in await self.space.rows("SELECT DISTINCT account FROM charges ORDER BY 1")]
        ready = [name for name in charged if self.waiting.get(name)]
        if ready:
            await self._put(self.chance.choice(ready))

    async def finish(self) -> None:
        """Put all that are left; those of accounts without a charge as if there had been one."""
        charged = {name for (name,) in await self.space.rows("SELECT DISTINCT account FROM charges")}
        for name in sorted(self.waiting):
            while name in charged and self.waiting[name]:
                await self._put(name)
            if self.waiting[name]:
                await self._write(name)
                self.waiting[name] = []

    async def _put(self, name: str) -> None:
        body = self.waiting[name].pop(0)
        first = self.facts.named(name, body["from"])
        before = next(period for period in self.facts.periods(name) if period.end == first.start)
        clock = self.chance.choice([
            first.start,
            before.start + timedelta(microseconds=1),
            before.start + (before.end - before.start) * self.chance.random(),
        ])  # fmt: skip
        if clock < first.start and self.chance.random() < 0.2:
            # Thought better of before they begin.
            await self._apply(name, self.terms[name] | {"anchor_day": 17, "currency": "JPY"}, clock)
            if self.chance.random() < 0.5:
                await self.space.rate()
        self.terms[name] = _terms(body)
        await self._apply(name, self.terms[name], clock)

    async def _apply(self, name: str, terms: Doc, clock: datetime) -> None:
        draft = AccountDraft(id=name, name=self.facts.accounts[name]["name"], place=Place("", None, "test"), **terms)
        async with self.space.database.begin() as connection:
            await apply_directory(connection, "northside", DirectoryDraft(accounts=(draft,)), now=clock)

    async def _write(self, name: str) -> None:
        """What cannot be put: nothing is booked yet, and so terms that are put would hold from the start."""
        calendar = self.facts.calendar(name)
        account = Account(id=name, name=name, replaced=replaced(calendar), **newest(calendar)._asdict())
        async with self.space.database.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE accounts SET currency = :currency, timezone = :timezone, anchor_day = :anchor_day,"
                    " replaced = CAST(:replaced AS jsonb) WHERE account = :account"
                ),
                {
                    "account": name,
                    "replaced": json.dumps([replaced_body(one) for one in account.replaced]),
                    **account.terms._asdict(),
                },
            )
            await connection.execute(
                text(
                    "INSERT INTO refolds (operator, account, since, reason)"
                    " VALUES ('northside', :account, :since, 'test')"
                ),
                {"account": name, "since": LONG_AGO},
            )
            await raise_facts_version(connection, "northside")


def _terms(body: Doc) -> Doc:
    return {
        "currency": body["currency"], "timezone": body["timezone"], "anchor_day": body.get("anchor_day", 1)
    }  # fmt: skip
