import json
from dataclasses import replace
from typing import Any, Final, cast

import pytest

from meter.catalog.load import read_catalog_text
from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Channel
from meter.ingest.fetching import worker as workers
from meter.model.errors import Unavailable
from meter.model.wire import BODY_BYTES_MAX
from meter.sources.spec import Feed, Fetch
from meter.store.apply import apply_catalog
from meter.store.engine import Database
from meter.store.fetching import FeedRow, save_feed
from meter.store.leases import LeaseLost
from meter.store.tables import drafts, events, feeds, fetches, identities, rejections
from meter.transport.asking.transport import TryLater
from tests.ingest.bodies import NOW, OPERATOR, acceptor, arrival
from tests.ingest.rows import rows
from tests.ingest.vendor import VENDOR, Asking, api, asking, notice

_CATALOG: Final = "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\nsites:\n  berlin: {name: Berlin}\n"
DRAFTED: Final = {"vendor": "doors", "name": "main"}


async def accept(database: Database, *bodies: bytes, by: Acceptor | None = None) -> list[str]:
    outcome = await (by or acceptor(database)).accept([arrival(body, channel="webhook") for body in bodies])
    return [receipt.status for receipt in outcome.receipts]


async def stored(database: Database) -> list[str]:
    return sorted(row["id"] for row in await rows(database, events) if row["type"] == "door.access")


def requests_by_outcome(told: Asking, outcome: str) -> float | None:
    return told.telemetry.registry.get_sample_value(
        "meter_source_requests_total", {"vendor": "doors", "outcome": outcome}
    )


async def test_what_a_notice_names_is_fetched_and_comes_in_by_the_door(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        assert await accept(database, notice(1), notice(2, door="18"), notice(3)) == ["accepted"] * 3
        assert await accept(database, notice(1)) == ["duplicate"]
        assert [(row["object"], row["notices"]) for row in await rows(database, fetches)] == [("17", 1), ("18", 1)]
        await told.turn()
        assert vendor.asked[:2] == ["/doors/17", "/doors/18"]
        assert await stored(database) == ["17", "18"]
        assert await rows(database, fetches) == []
    row = next(row for row in await rows(database, events) if row["id"] == "17")
    assert (row["channel"], row["site"]) == ("fetch", "berlin")


@pytest.mark.parametrize("channel", ["http", "mqtt", "radius", "import"])
async def test_a_notice_of_somebody_else_has_nothing_asked(database: Database, channel: Channel) -> None:
    forged = arrival(notice(1).replace(b"berlin/", b"munich/"), channel=channel, site="munich")
    async with api() as vendor, asking(database, vendor.base) as told:
        assert [one.status for one in (await acceptor(database).accept([forged])).receipts] == ["accepted"]
        assert await rows(database, fetches) == []
        await told.turn()
        assert not any("/doors/" in asked for asked in vendor.asked)


async def test_a_notice_that_comes_while_the_object_is_fetched_has_it_fetched_again(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        transport = told.worker._transports["http"]

        class Meanwhile:
            async def ask(self, setup: Any, request: Any) -> Any:
                if "doors" in request.url:
                    await accept(database, notice(2))
                return await transport.ask(setup, request)

        told.worker._transports = {"http": Meanwhile()}
        await told.turn()
        (row,) = await rows(database, fetches)
        assert (row["notices"], row["fault"]) == (2, None)
        told.worker._transports = {"http": transport}
        await told.turn()
        assert await rows(database, fetches) == []
        assert await stored(database) == ["17"]


async def test_a_vendor_that_does_not_answer_is_asked_later_and_later(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.status = 503
        pauses = []
        for _ in range(4):
            await told.turn()
            (row,) = await rows(database, fetches)
            pauses.append((row["due_at"] - told.moment).total_seconds())
            told.later(pauses[-1])
        assert all(2 * 0.75 * 2**n <= pause <= 2 * 1.25 * 2**n for n, pause in enumerate(pauses))
        (row,) = await rows(database, fetches)
        assert "503: not now" in row["fault"]
        vendor.status = 200
        await told.turn()
        assert await stored(database) == ["17"]
        assert vendor.asked.count("/doors/17") == 5
        assert (requests_by_outcome(told, "unavailable") or 0) >= 4


async def test_a_vendor_is_not_asked_before_it_wants_to_be(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.status, vendor.headers = 429, {"Retry-After": "900"}
        await told.turn()
        (row,) = await rows(database, fetches)
        assert (row["due_at"] - told.moment).total_seconds() == 900
        told.later(899)
        await told.turn()
        assert vendor.asked == ["/doors/17"]


async def test_a_vendor_that_asks_for_time_is_left_alone_with_everything(database: Database) -> None:
    """It counts questions, not objects: what else is due, or comes meanwhile, would only lengthen its pause."""
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1, door="17"), notice(2, door="18"))
        vendor.status, vendor.headers = 429, {"Retry-After": "900"}
        await told.turn()
        vendor.status = 200
        await accept(database, notice(3, door="19"))
        told.later(899)
        await told.turn()
        assert len(vendor.asked) == 1
        told.later(1)
        await told.turn()
        assert set(vendor.asked[1:]) == {"/doors/17", "/doors/18", "/doors/19", "/log?after=0"}


async def test_what_somebody_has_to_mend_is_asked_seldom_and_told(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.status = 401
        await told.turn()
        (row,) = await rows(database, fetches)
        assert (row["due_at"] - told.moment).total_seconds() >= 450
        assert "check api_key" in row["fault"]


@pytest.mark.parametrize("unset", ["key", "kind"])
async def test_a_notice_that_nothing_fetches_stays_listed_with_its_reason(database: Database, unset: str) -> None:
    api_key = None if unset == "key" else "k"
    async with api() as vendor, asking(database, vendor.base, api_key=api_key) as told:
        body = notice(1) if unset == "key" else notice(1).replace(b'"kind": "door"', b'"kind": "window"')
        await accept(database, body)
        await told.turn()
        (row,) = await rows(database, fetches)
        assert ("api_key is not set" if unset == "key" else "nothing fetches a 'window'") in row["fault"]


async def test_an_answer_that_cannot_be_read_is_kept_and_asked_for_again(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.body = b"<html>maintenance</html>"
        await told.turn()
        assert {row["origin"] for row in await rows(database, rejections)} == {"doors/main/door/17", "doors/main/log"}
        vendor.body = None
        told.later(3600)
        await told.turn()
        assert await stored(database) == ["17"]


async def test_a_kill_between_the_commit_and_the_list_bills_nothing_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.log = ["1", "2"]

        async def killed(*_: object) -> None:
            raise Unavailable("killed")

        with monkeypatch.context() as patch:
            patch.setattr(workers, "settle_fetch", killed)
            with pytest.raises(Unavailable):
                await told.turn()
        with monkeypatch.context() as patch:
            patch.setattr(workers, "save_feed", killed)
            with pytest.raises(Unavailable):
                await told.turn()
        assert await stored(database) == ["1", "17", "2"]
        assert await rows(database, feeds) == []
        await told.turn()
        assert await stored(database) == ["1", "17", "2"]


async def test_who_was_overtaken_moves_nothing(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        lease = told.leases.held([told.worker.lease_name])[0]
        await told.leases.close()
        async with asking(database, vendor.base) as other:
            with pytest.raises(LeaseLost):
                await told.worker.turn(told.source, lease)
            assert len(await rows(database, fetches)) == 1
            await other.turn()
            assert await rows(database, fetches) == []


async def test_a_poll_goes_on_where_it_was_page_by_page(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        vendor.log = ["1", "2", "3", "4", "5"]
        await told.turn()
        assert vendor.asked == ["/log?after=0", "/log?after=2", "/log?after=4"]
        assert await stored(database) == ["1", "2", "3", "4", "5"]
        vendor.log.append("6")
        await told.turn()
        assert len(vendor.asked) == 3
        told.later(60)
        await told.turn()
        assert await stored(database) == ["1", "2", "3", "4", "5", "6"]
        (row,) = await rows(database, feeds)
        assert (row["cursor"], row["failures"], row["fault"]) == (6, 0, None)
        vendor.status = 500
        told.later(60)
        await told.turn()
        (row,) = await rows(database, feeds)
        assert (row["cursor"], row["failures"]) == (6, 1)


async def test_pages_without_end_do_not_keep_a_lane(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        vendor.log = [str(number) for number in range(1, 2 * workers.PAGES_A_TURN_MAX + 10)]
        assert await told.turn() == 0
        assert len(vendor.asked) == workers.PAGES_A_TURN_MAX
        assert await told.turn() > 0
        assert len(await stored(database)) == len(vendor.log)


async def test_a_fault_in_the_transport_of_one_source_is_an_answer_that_did_not_come(database: Database) -> None:
    class Hanging:
        async def ask(self, *_: object) -> Any:
            raise TryLater("the line is dead", after_s=5000)

    async with api() as vendor, asking(database, vendor.base) as told:
        told.worker._transports = {"http": Hanging()}
        await accept(database, notice(1))
        await told.turn()
        (row,) = await rows(database, fetches)
        assert (row["due_at"] - told.moment).total_seconds() == 5000


async def test_a_reader_that_fails_holds_up_no_other_object(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1), notice(2, door="18"))
        working = VENDOR.fetches["door"].read

        def failing(setup: Any, wanted: Any, answer: Any) -> Any:
            if wanted["object"] == "17":
                raise ZeroDivisionError
            return working(setup, wanted, answer)

        monkeypatch.setitem(
            cast("dict[str, Fetch]", VENDOR.fetches), "door", replace(VENDOR.fetches["door"], read=failing)
        )
        await told.turn()
        assert await stored(database) == ["18"]
        (row,) = await rows(database, fetches)
        assert "ZeroDivisionError" in row["fault"]
        (kept,) = await rows(database, rejections)
        assert (kept["code"], kept["body"]) == ("undecodable", b'{"id": "17"}')


@pytest.mark.parametrize("where", ["request", "transport"])
async def test_asking_that_fails_holds_up_no_other_object(
    database: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1), notice(2, door="18"))
        working, transport = VENDOR.fetches["door"].request, told.worker._transports["http"]

        def failing(setup: Any, wanted: Any) -> Any:
            if wanted["object"] == "17":
                raise ZeroDivisionError
            return working(setup, wanted)

        class Failing:
            async def ask(self, setup: Any, request: Any) -> Any:
                if request.url.endswith("/17"):
                    raise ZeroDivisionError
                return await transport.ask(setup, request)

        if where == "request":
            monkeypatch.setitem(
                cast("dict[str, Fetch]", VENDOR.fetches), "door", replace(VENDOR.fetches["door"], request=failing)
            )
        else:
            told.worker._transports = {"http": Failing()}
        await told.turn()
        assert await stored(database) == ["18"]
        (row,) = await rows(database, fetches)
        assert "ZeroDivisionError" in row["fault"]
        assert row["due_at"] > told.moment


async def test_of_an_answer_that_cannot_be_read_so_much_is_kept_as_of_a_message(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        vendor.body = b"<" * (BODY_BYTES_MAX + 10)
        await told.turn()
        (kept,) = await rows(database, rejections)
        assert len(kept["body"]) == BODY_BYTES_MAX


async def test_what_a_vendor_says_of_members_is_applied_where_the_source_is_set_to(database: Database) -> None:
    async with database.begin() as conn:
        await apply_catalog(conn, read_catalog_text([("catalog.yaml", _CATALOG)]), now=NOW)
    account = {"kind": "account", "id": "acme", "body": {"name": "ACME"}}
    member = {"kind": "member", "id": "ada", "body": {"account": "acme", "identities": ["badge:04A2991B"]}}
    drafted = [
        json.loads(notice(1)) | {"id": f"d-{d['id']}", "type": "directory.draft", "data": DRAFTED | d}
        for d in (member, account)
    ]
    arrivals = [arrival(json.dumps(body).encode(), channel="fetch") for body in drafted]
    async with api() as vendor, asking(database, vendor.base, apply_drafts=True) as told:
        lease = told.leases.held([told.worker.lease_name])[0]
        await acceptor(database).accept(arrivals)
        await told.worker.apply(lease)
        assert {row["state"] for row in await rows(database, drafts)} == {"applied"}
        assert [(row["identity"], row["member"]) for row in await rows(database, identities)] == [
            ("badge:04A2991B", "ada")
        ]
        assert len(told.applied) == 1
        await told.worker.apply(lease)
        assert len(told.applied) == 1


async def test_what_a_source_is_not_set_to_is_not_polled(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(VENDOR.feeds["log"], polled=lambda _setup: False)
    monkeypatch.setitem(cast("dict[str, Feed]", VENDOR.feeds), "log", silent)
    async with api() as vendor, asking(database, vendor.base) as told:
        await told.turn()
        assert vendor.asked == []
        assert await rows(database, feeds) == []


async def test_a_source_goes_on_from_its_own_place(database: Database) -> None:
    other = FeedRow(
        vendor="doors", name="other", feed="log", cursor=99, due_at=NOW, polled_at=NOW, failures=0, fault=None
    )
    async with database.begin() as conn:
        await save_feed(conn, OPERATOR, other)
    async with api() as vendor, asking(database, vendor.base) as told:
        await told.turn()
        assert vendor.asked == ["/log?after=0"]


@pytest.mark.parametrize("back_s", [3600.0, 86_400.0])
async def test_a_clock_that_is_set_back_keeps_no_vendor_waiting(database: Database, back_s: float) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        vendor.log = ["1"]
        await told.turn()
        await accept(database, notice(1))
        vendor.log.append("2")
        vendor.asked.clear()
        told.later(-back_s)
        await told.turn()
        assert set(vendor.asked) == {"/doors/17", "/log?after=1"}
        vendor.asked.clear()
        await told.turn()
        assert vendor.asked == [], "by the clock that is now, it is not due"


async def test_an_object_that_failed_does_not_wait_for_a_clock_that_was_set_back(database: Database) -> None:
    async with api() as vendor, asking(database, vendor.base) as told:
        await accept(database, notice(1))
        vendor.status = 503
        await told.turn()
        vendor.status = 200
        told.later(-86_400.0)
        await told.turn()
        assert await stored(database) == ["17"]
