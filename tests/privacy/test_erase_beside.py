"""Gateways that rate, send and answer while a member is erased bring nothing of her back, and lose nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.erasure import erase, stop_rating
from meter.store.acting import say_operator
from meter.store.authorizations import lock_account
from meter.store.engine import Database
from meter.store.erasing import Erased, erase_asked
from meter.store.tables import metadata
from tests.booked import OPERATOR
from tests.booking.asking import Asking
from tests.booking.space import LATER, Space, event, open_space, pages
from tests.e2e.test_badge_changes_hands import post, visit
from tests.export.test_gatherer import gatherer, leased
from tests.gateway import RunningGateway
from tests.owning import as_owner
from tests.privacy.test_erase import OWN, found_in
from tests.privacy.test_export import BADGE, MAIL, MEMBER, NAME, PEOPLE

WITHIN_S = 120


@asynccontextmanager
async def erasing(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction that has stopped rating, and of which the moment has come."""
    database = Database(url, as_owner=True)
    try:
        async with database.begin() as connection:
            await stop_rating(connection)
            await say_operator(connection, OPERATOR)
            yield connection
    finally:
        await database.dispose()


async def waits(connection: AsyncConnection, kind: str) -> None:
    """Return once somebody waits for a lock of that kind."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = :kind")
    async with asyncio.timeout(WITHIN_S):
        while not await connection.scalar(query, {"kind": kind}):  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.05)


async def beside(url: str, work: Awaitable[Any]) -> Erased:
    """Erase her while `work` has read and goes on to write once it may."""
    async with erasing(url) as connection:
        task = asyncio.ensure_future(work)
        await waits(connection, "relation")
        told = await erase(connection, OPERATOR, MEMBER, at=LATER)
    await task
    return told


async def left(space: Space) -> list[str]:
    async with as_owner(space.database) as owner:
        return await found_in(owner)


async def test_what_rating_read_before_is_not_booked_after(database_url: str) -> None:
    """Another's event names her, was read before she was erased, and is the first of its account to do so."""
    async with open_space(database_url, OWN + PEOPLE) as space:
        await space.take(pages("e0", "02T08:00", 30, "badge:EFE1"), pages("z0", "02T08:00", 5, f"badge:{BADGE}"))
        await space.accept([pages("e1", "03T08:00", 30, "badge:EFE1", job_owner=NAME)])
        await space.accept([pages("z1", "03T08:00", 5, f"badge:{BADGE}", job_owner=MEMBER)])
        told = await beside(database_url, space.rate())
        await space.rate()
        assert await left(space) == []
        counted = await space.rows("SELECT member, sum(quantity) FROM charges WHERE source <> '' GROUP BY 1")
        assert dict(counted) == {"eve": 60, told.member: 10}
        assert await space.rows("SELECT * FROM unresolved") == []


async def test_whose_event_names_her_is_folded_again_though_nothing_is_booked_of_it(database_url: str) -> None:
    async with open_space(database_url, OWN + PEOPLE) as space:
        denied = {"door": "main", "granted": False, "direction": "in", "note": NAME}
        await space.take(event("door.access", "e0", "02T08:00", "member:eve", "berlin/door/main", denied))
        assert await space.rows("SELECT * FROM charges") == []
        async with erasing(database_url) as connection:
            told = await erase(connection, OPERATOR, MEMBER, at=LATER)
        assert told.accounts == ("acme", "solo")


async def test_what_a_target_was_to_be_sent_is_read_again(database_url: str) -> None:
    async with open_space(database_url, OWN.replace("{name: Solo,", "{name: Solo, stripe: cus_1,") + PEOPLE) as space:
        await space.take(pages("e1", "03T08:00", 130, "badge:EFE1", job_owner=NAME))
        gathering = gatherer(space)
        async with leased(space) as lease:
            await beside(database_url, gathering.step(lease))
            assert await space.rows("SELECT * FROM export_buckets") == []
            while (await gathering.step(lease)).more:
                pass
        assert await space.rows("SELECT count(*) > 0 FROM export_buckets") == [(True,)]
        assert await left(space) == []


async def test_what_is_asked_meanwhile_names_her_no_more(database_url: str) -> None:
    """Asks wait for nobody; one that was under way all the time is answered by what holds then."""
    async with open_space(database_url, OWN + PEOPLE) as space:
        asking = Asking(space)
        async with space.database.begin() as other:
            await lock_account(other, OPERATOR, "acme")
            slow = asyncio.ensure_future(asking.ask("slow", identity=f"member:{MEMBER}"))
            async with erasing(database_url) as connection:
                await waits(connection, "advisory")
                await connection.scalar(text("SELECT count(*) FROM members"))
                offline = {"identity": f"member:{MEMBER}-2"}
                assert (await asking.ask("others", **offline)).authorization.account == "solo"
                told = await erase(connection, OPERATOR, MEMBER, at=LATER)
        answered = (await slow).authorization
        assert (answered.member, answered.account, answered.allowed) == (None, None, False)
        async with erasing(database_url) as connection:
            await erase_asked(connection, told)
        assert await space.rows("SELECT id, account FROM authorizations WHERE account IS NOT NULL") == [
            ("others", "solo")
        ]


async def test_who_asked_while_she_was_erased_is_a_pseudonym(database_url: str) -> None:
    async with open_space(database_url, OWN + PEOPLE) as space:
        async with erasing(database_url) as connection:
            await connection.scalar(text("SELECT count(*) FROM members"))
            asked = await Asking(space).ask("door", identity=f"badge:{BADGE}")
            assert asked.authorization.member == MEMBER
            told = await erase(connection, OPERATOR, MEMBER, at=LATER)
        assert await left(space) != []
        owner = Database(database_url, as_owner=True)
        try:
            async with owner.begin() as connection:
                again = await erase_asked(connection, told)
        finally:
            await owner.dispose()
        assert again.rows["authorizations"] == 1
        assert await left(space) == []
        assert await space.rows("SELECT member FROM authorizations") == [(told.member,)]


FLOW = f"""
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {{berlin: {{name: Berlin}}}}
meters:
  visits: {{event: door.access, where: {{granted: true}}, aggregate: count, unit: visit, group_by: [guest]}}
plans:
  flex: {{prices: {{visits: [{{id: visit, model: per_unit, unit_price: "3.00"}}]}}}}
accounts:
  acme: {{name: ACME, subscriptions: [{{id: acme, plan: flex, from: 2026-01-01}}]}}
  solo: {{name: "{NAME}", subscriptions: [{{id: solo, plan: flex, from: 2026-01-01}}]}}
members:
  bob: {{account: acme, identities: ["badge:B0B1"]}}
  eve: {{account: solo, identities: ["badge:EFE1"]}}
{PEOPLE}"""
PRICE = Decimal(3)


class Door:
    """Somebody's visits, one after another; those that name her do so only before she is erased."""

    def __init__(self, gateway: RunningGateway, name: str, subject: str) -> None:
        self.gateway, self.name, self.subject, self.sent = gateway, name, subject, 0

    async def open(self, times: int = 1, **more: str) -> None:
        for _ in range(times):
            self.sent += 1
            event = visit(
                f"{self.name}{self.sent}", f"02T{self.sent // 60 % 24:02}:{self.sent % 60:02}:00", self.subject
            )
            await post(self.gateway, event | {"data": event["data"] | more})

    async def open_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.open()


async def test_a_gateway_at_work_notices_nothing(data_dir: Path) -> None:
    (data_dir / "catalog.yaml").write_text(FLOW)
    env = {
        "METER_CATALOG": str(data_dir / "catalog.yaml"),
        "METER_AUDIT__SEAL_S": "1",
        "METER_TARGETS__BOOKS__KIND": "files",
        "METER_TARGETS__BOOKS__GRAIN": "charge",
        "METER_TARGETS__BOOKS__BASE_URL": str(data_dir / "files"),
    }
    async with RunningGateway(data_dir, env=env) as gateway:
        hers, bob, eve = (
            Door(gateway, "z", f"badge:{BADGE}"),
            Door(gateway, "b", "badge:B0B1"),
            Door(gateway, "e", "badge:EFE1"),
        )
        await hers.open(20, guest=MAIL)
        await eve.open(20, guest=NAME)
        await bob.open(20, guest=MEMBER)
        await gateway.settled(events=60)
        await gateway.get("/v1/accounts/acme/statement")
        over = asyncio.Event()
        flows = [asyncio.ensure_future(door.open_until(over)) for door in (hers, bob, eve)]
        told = await erased(gateway)
        await asyncio.sleep(1)
        over.set()
        await asyncio.gather(*flows)
        await bob.open(3)
        await gateway.settled(events=hers.sent + bob.sent + eve.sent)
        assert min(hers.sent, bob.sent, eve.sent) > 22
        assert await columns_with(gateway, f"{NAME}([^n]|$)|{MAIL}|{MEMBER}([^-]|$)") == set()
        # What her badge did since is nobody's, and waits.
        assert await columns_with(gateway, BADGE) == {"events.subject", "unresolved.identity"}
        [[waiting]] = await gateway.rows("SELECT count(*) FROM unresolved")
        assert 0 < waiting < hers.sent - 19
        counted = await gateway.rows(
            "SELECT account, member, event_id, sum(quantity), sum(rounded) FROM charges GROUP BY 1, 2, 3"
        )
        assert {(quantity, rounded) for *_, quantity, rounded in counted} == {(Decimal(1), PRICE)}
        assert Counter((account, member) for account, member, *_ in counted) == {
            ("acme", told["pseudonym"]): hers.sent - waiting,
            ("acme", "bob"): bob.sent,
            ("solo", "eve"): eve.sent,
        }
        assert " 0 faults" in await verified(gateway)


async def erased(gateway: RunningGateway) -> Any:
    """Erase her; what is on its way to a target is waited for."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            said = await gateway.said("privacy", "erase", MEMBER, "--yes", "--json")
            if said.startswith("{"):
                return json.JSONDecoder().raw_decode(said)[0]
            assert "deliveries_under_way" in said or "under way" in said, said
            await asyncio.sleep(0.5)


async def verified(gateway: RunningGateway) -> str:
    """What verifying says once the records of erasing are sealed."""
    async with asyncio.timeout(WITHIN_S):
        while "not sealed yet" in (said := await gateway.said("audit", "verify")):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.5)
    return said


async def columns_with(gateway: RunningGateway, words: str) -> set[str]:
    """Every column of every table that holds one of the words."""
    database = Database(gateway.addresses.database)
    found = set()
    try:
        async with as_owner(database) as owner:
            for table in metadata.sorted_tables:
                for column in table.columns:
                    told = func.encode(column, "escape") if isinstance(column.type, LargeBinary) else cast(column, Text)
                    if await owner.scalar(select(told).select_from(table).where(told.op("~")(words)).limit(1)):
                        found.add(f"{table.name}.{column.name}")
    finally:
        await database.dispose()
    return found
