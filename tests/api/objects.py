"""A space of two sites and two accounts in which each object bears a word that nobody else may ever be told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert

from meter.config import Settings
from meter.ingest.batcher import Batcher
from meter.ingest.http import event_receiver
from meter.model.instant import instant_text
from meter.store.outbox import OutboxItem, add_items
from meter.store.tables import invoices
from tests.api.conftest import Api, serving, the_services, unthrottled
from tests.booked import OPERATOR
from tests.booking.space import LATER, Space, open_space
from tests.store.test_enrolment import request
from tests.store.vendor_news import says, tell

SITES: Final = ("berlin", "hamburg")
ACCOUNTS: Final = ("acme", "globex")
MEMBER_OF: Final = {"acme": "ada", "globex": "zoe"}
CATALOG: Final = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: kanari-name-berlin, timezone: Europe/Berlin, tax: vat19}
  hamburg: {name: kanari-name-hamburg, timezone: Europe/Berlin, tax: vat19}
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  rooms: {event: usage.reported, aggregate: sum, value: quantity, unit: hour}
plans:
  flex:
    name: Flex
    grants: [{id: pages, unit: page, amount: "10", meters: [print-pages], every: month, for: account}]
    prices:
      print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]
accounts:
  acme: {name: kanari-name-acme, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
  globex: {name: kanari-name-globex, subscriptions: [{id: globex-flex, plan: flex, from: 2026-01-01}]}
members:
  ada: {account: acme, name: kanari-name-ada, email: kanari-ada@acme.example, identities: ["badge:ADA1"]}
  zoe: {account: globex, name: kanari-name-zoe, email: kanari-zoe@globex.example, identities: ["badge:Z0E1"]}
grants:
  - {id: kanari-grant-acme, account: acme, member: ada, unit: hour, amount: "7"}
  - {id: kanari-grant-globex, account: globex, member: zoe, unit: hour, amount: "7"}
"""
BADGE: Final = {"acme": "badge:ADA1", "globex": "badge:Z0E1"}


class Of(NamedTuple):
    """Whose an object is; None: of no account, or at no site, in particular."""

    account: str | None = None
    site: str | None = None


CELLS: Final = tuple(Of(account, site) for account, site in product(ACCOUNTS, SITES))


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A key with every scope but `admin`, restricted to one site or account."""

    name: str
    key: str
    account: str | None = None
    site: str | None = None

    def owns(self, of: Of) -> bool:
        """Tell whether it may be told of an object."""
        return of.site == self.site if self.site is not None else of.account == self.account

    def compares(self, of: Of) -> bool:
        """Tell whether an object is another's by the caller's own measure."""
        return of.site is not None if self.site is not None else of.account is not None


@dataclass(kw_only=True)
class World:
    """What is served, who calls, and the words. `words`: whose each is."""

    space: Space
    api: Api
    callers: list[Caller] = field(default_factory=list)
    agents: dict[str, Caller] = field(default_factory=dict)
    words: dict[str, Of] = field(default_factory=dict)
    charges: dict[Of, str] = field(default_factory=dict)
    rejections: dict[Of, str] = field(default_factory=dict)

    def word(self, what: str, of: Of) -> str:
        """Return a new word of an object."""
        text = "-".join(["kanari", what, *(part for part in of if part is not None)])
        self.words[text] = of
        return text

    def hidden(self, caller: Caller) -> list[str]:
        """Return every word that the caller may not be told, and the ids that no list of its own names."""
        ids = [Of(account=one) for one in ACCOUNTS] if caller.account else [Of(site=one) for one in SITES]
        names = [next(part for part in of if part) for of in ids if not caller.owns(of)]
        members = [MEMBER_OF[name] for name in names if name in MEMBER_OF]
        return [*(word for word, of in self.words.items() if not caller.owns(of)), *names, *members]


def print_job(event_id: str, of: Of, **changes: Any) -> bytes:
    """A job of an account's member at a site."""
    data = {"printer": "hall", "job": event_id, "impressions": 30, "status": "completed"} | changes.pop("data", {})
    assert of.account is not None
    body = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"{of.site}/print/hall",
        "type": "print.job",
        "time": "2026-03-02T08:00:00Z",
        "subject": BADGE[of.account],
        "data": data,
    }
    return json.dumps(body | changes).encode()


@asynccontextmanager
async def planted(database_url: str, data_dir: Path) -> AsyncIterator[World]:
    """Yield the space with everything that a route could tell of."""
    async with open_space(database_url, CATALOG) as space:
        batcher = Batcher(space._acceptor.accept)
        running = asyncio.create_task(batcher.run())
        services = the_services(
            database_url,
            settings=Settings(data_dir=data_dir),
            clock=lambda: space.now,
            receive_events=event_receiver(batcher, operator=space._operator, clock=lambda: space.now),
        )
        async with serving(services) as api:
            unthrottled(api)
            world = World(space=space, api=api)
            for line in ("name", "grant"):
                world.words |= {f"kanari-{line}-{name}": Of(account=name) for name in ACCOUNTS}
            for account, member in MEMBER_OF.items():
                world.words |= dict.fromkeys((f"kanari-name-{member}", f"kanari-{member}@"), Of(account=account))
            world.words |= {f"kanari-name-{name}": Of(site=name) for name in SITES}
            await _usage(world)
            await _asks(world)
            await _agents(world)
            await _targets(world)
            await _callers(world)
            yield world
        batcher.stop()
        await running


async def _usage(world: World) -> None:
    """Charges, and everything that waits: nobody's, unread, refused, ahead of the clock."""
    ahead = instant_text(LATER + timedelta(days=1))
    bodies = []
    for of in CELLS:
        used = world.word("job", of)
        bodies += [print_job(used, of), print_job(world.word("unread", of), of, data={"impressions": None})]
        bodies += [print_job(world.word("ahead", of), of, time=ahead)]
        bodies += [print_job(used, of, data={"note": world.word("conflict", Of(site=of.site))})]
    for site in SITES:
        of = Of("acme", site)
        bodies += [print_job(f"parked-{site}", of, subject=f"kisi:kanari-{site}")]
        world.words[f"kisi:kanari-{site}"] = Of(site=site)
    await world.space.take(*bodies)
    for event_id, account, site, charge in await world.space.rows("SELECT event_id, account, site, id FROM charges"):
        if str(event_id).startswith("kanari-job"):
            world.charges[Of(account, site)] = charge
    for number, site in await world.space.rows("SELECT min(id), site FROM rejections GROUP BY site"):
        world.rejections[Of(site=site)] = str(number)
    assert set(world.charges) == set(CELLS)
    assert set(world.rejections) == {Of(site=site) for site in SITES}


async def _asks(world: World) -> None:
    for of in CELLS:
        assert of.account is not None
        ask = {"id": world.word("ask", of), "identity": BADGE[of.account], "site": of.site, "meter": "print-pages"}
        answer = await world.api.call("POST", "/v1/authorizations", json=ask | {"expires_s": 86_400})
        assert answer.status == 200, answer.text


async def _agents(world: World) -> None:
    for site in SITES:
        edge = world.word("edge", Of(site=site))
        opened = await world.api.call("POST", f"/v1/edges/{site}/{edge}/enrollment", json={})
        signed = request(ec.generate_private_key(ec.SECP256R1()))
        body = {"code": opened.json["code"], "request": signed}
        enrolled = await world.api.call("POST", "/v1/enrollments", key=None, json=body)
        assert enrolled.status == 200, enrolled.text
        world.agents[site] = Caller(name=f"agent of {site}", key=enrolled.json["api_key"], site=site)
        beat = {"id": f"beat-{site}", "source": f"{site}/edge", "type": "edge.heartbeat", "edge": edge}
        data = {"complete_until": "2026-03-01T00:00:00Z", "faults": [world.word("fault", Of(site=site))]}
        marks = {"specversion": "1.0", "time": "2026-03-02T08:00:00Z", "boot": 1, "sequence": 3}
        await world.space.accept([json.dumps(beat | marks | {"data": data}).encode()])


async def _targets(world: World) -> None:
    """What was sent, what vendors say, how invoices stand."""
    rows: list[dict[str, Any]] = []
    items = []
    for account in ACCOUNTS:
        of = Of(account=account)
        rows.append(_invoice(account, world.word("invoice", of), world.word("number", of)))
        items.append(_item(f"charge/{account}", world.word("payload", of)))
        await tell(world.space.database, says("account", {"name": world.word("draft", of)}, id=account))
    async with world.space.database.begin() as conn:
        await conn.execute(insert(invoices), rows)
        await add_items(conn, items)


def _item(batch: str, word: str) -> OutboxItem:
    payload = json.dumps({"to": word}).encode()
    return OutboxItem(operator=OPERATOR, target="books", operation="entries", batch=batch, key=batch, payload=payload)


def _invoice(account: str, remote: str, number: str) -> dict[str, Any]:
    made: dict[str, Any] = {"operator": OPERATOR, "target": "stripe", "remote_id": remote, "account": account}
    at = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
    made |= {"rank": 0, "event_id": remote}
    money = {"total": 7, "amount_due": 7, "amount_paid": 0, "currency": "EUR"}
    return made | {"number": number, "status": "open", "changed_at": at, "invoice": None, "url": None} | money


async def _callers(world: World) -> None:
    scopes = ("events:write", "authorizations:write", "usage:read", "catalog:write")
    for site in SITES:
        world.callers.append(Caller(name=f"site {site}", key=await world.api.key(*scopes, site=site), site=site))
    for account in ACCOUNTS:
        key = await world.api.key(*scopes, account=account)
        world.callers.append(Caller(name=f"account {account}", key=key, account=account))
