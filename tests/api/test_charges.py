import asyncio
import csv
import io
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import pytest

from meter.api import charges as charges_module
from meter.model.charge import Draw, LineTax, Share, Shared, changed
from meter.model.errors import Unavailable
from meter.model.event import EventKey
from meter.store.readers import charges_after
from tests.api.conftest import Api
from tests.booked import MARCH, a_charge, a_fee, a_line, book

# What a charge has, in this order (docs/api.md).
FIELDS = (
    "id account member site meter plan kind time event period invoice_period quantity unit covered billable dimensions "
    "price amount rounded currency tax draws settlement estimated unpriced corrects reason booked_at explain"
).split()


def _ids(answer: Any) -> list[str]:
    return [charge["id"] for charge in answer.json["charges"]]


async def test_a_charge_has_every_field_of_the_contract_numbers_as_strings_times_in_utc(api: Api) -> None:
    line = a_line(
        1,
        events=(EventKey("berlin/print/hall", "job-1"), EventKey("berlin/print/hall", "job-0")),
        dimensions={"color": True, "rate": Decimal("0.10")},
        quantity=Decimal("1E+1"),
        covered=Decimal(4),
        billable=Decimal("6.000000"),
        amount=Decimal("0.300000000001"),
        tax=LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False),
        draws=(Draw(grant="acme-flex/pages/2026-03", unit="page", amount=Decimal("4.000")),),
        shares=(Share(party="landlord", share=Decimal("0.120"), role="agent"),),
        earned_until=MARCH.end,
    )
    shared = Shared(party="landlord", role="agent", amount=Decimal("0.040"))
    charge = a_charge(line, rounded=Decimal("0.30"), tax_amount=Decimal("0.06"), shared=(shared,))
    await api.book(charge)
    [got] = (await api.get("/v1/charges")).json["charges"]
    assert set(FIELDS) <= set(got)
    assert got == {
        "id": charge.id,
        "account": "acme",
        "member": "ada",
        "site": "berlin",
        "meter": "print-pages",
        "plan": "flex-10",
        "kind": "usage",
        "role": "original",
        "time": "2026-03-02T12:00:01Z",
        "event": {
            "source": "berlin/print/hall",
            "id": "job-1",
            "type": "print.job",
            "time": "2026-03-02T12:00:01Z",
        },
        "events": [{"source": "berlin/print/hall", "id": "job-1"}, {"source": "berlin/print/hall", "id": "job-0"}],
        "period": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
        "invoice_period": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
        "quantity": "10",
        "unit": "page",
        "covered": "4",
        "billable": "6",
        "dimensions": {"color": True, "rate": 0.1},
        "price": "mono",
        "amount": "0.300000000001",
        "rounded": "0.3",
        "currency": "EUR",
        "tax": {"name": "vat19", "rate": "0.19", "inclusive": False, "amount": "0.06"},
        "draws": [{"grant": "acme-flex/pages/2026-03", "unit": "page", "amount": "4"}],
        "settlement": "account",
        "estimated": False,
        "unpriced": False,
        "tip": None,
        "total": None,
        "shares": [{"party": "landlord", "share": "0.12", "role": "agent", "amount": "0.04"}],
        "earned_until": "2026-04-01T00:00:00Z",
        "corrects": None,
        "reason": None,
        "booked_at": "2026-03-02T12:00:02Z",
        "explain": got["explain"],
        "grant": None,
    }
    assert "10 page" in got["explain"]


async def test_a_sale_of_credit_names_what_was_sold(api: Api) -> None:
    fee = a_fee()
    key = fee.line.key._replace(id="pack-1/bought", meter="credit")
    await api.book(replace(fee, line=changed(fee.line, key=key, meter="credit")))
    [got] = (await api.get("/v1/charges")).json["charges"]
    assert got["grant"] == "pack-1"
    [row] = csv.DictReader(io.StringIO((await api.get("/v1/charges", headers={"Accept": "text/csv"})).text))
    assert row["grant"] == "pack-1"


async def test_a_line_without_an_event_has_a_time_and_leaves_in_every_form(api: Api) -> None:
    await api.book(a_fee())
    [got] = (await api.get("/v1/charges?from=2026-03-02T12:00:00Z&to=2026-03-02T12:00:01Z")).json["charges"]
    assert (got["event"], got["events"], got["site"], got["time"]) == (None, [], None, "2026-03-02T12:00:00Z")
    assert (await api.get("/v1/charges?from=2026-03-02T12:00:01Z")).json["charges"] == []
    streamed = await api.get("/v1/charges", headers={"Accept": "application/x-ndjson"})
    line = msgspec.json.decode(streamed.body)
    assert {name: line[name] for name in got} == got
    [row] = csv.DictReader(io.StringIO((await api.get("/v1/charges", headers={"Accept": "text/csv"})).text))
    assert row["time"] == "2026-03-02T12:00:00Z"
    empty = {"event_source", "event_id", "event_type", "event_time", "site", "member"}
    assert {row[column] for column in empty} == {""}
    of_site = await api.key("usage:read", site="berlin")
    assert (await api.get("/v1/charges", key=of_site)).json["charges"] == []


async def test_pages_follow_each_other_by_next_and_by_link(api: Api) -> None:
    charges = [a_charge(a_line(n)) for n in range(5)]
    await api.book(*charges)
    first = await api.get("/v1/charges?limit=2&account=acme")
    assert _ids(first) == [charge.id for charge in charges[:2]]
    link = first.headers["Link"]
    assert link.endswith('>; rel="next"')
    second = await api.get(link[1 : link.index(">")])
    assert _ids(second) == [charge.id for charge in charges[2:4]]
    last = await api.get(f"/v1/charges?limit=2&account=acme&cursor={second.json['next']}")
    assert _ids(last) == [charges[4].id]
    assert "Link" not in last.headers
    assert _ids(await api.get(f"/v1/charges?limit=2&cursor={last.json['next']}")) == []


async def test_next_is_a_cursor_where_there_is_nothing_yet(api: Api) -> None:
    empty = await api.get("/v1/charges")
    assert empty.json["charges"] == []
    charge = a_charge(a_line())
    await api.book(charge)
    assert _ids(await api.get(f"/v1/charges?cursor={empty.json['next']}")) == [charge.id]
    assert _ids(await api.get("/v1/charges?cursor=")) == [charge.id]


async def test_a_line_that_commits_late_reaches_the_reader(api: Api) -> None:
    slow, fast = a_charge(a_line(0)), a_charge(a_line(1))
    async with api.db.engine.connect() as writer:
        transaction = await writer.begin()
        await book(writer, slow)
        await api.book(fast)
        early = await api.get("/v1/charges")
        await transaction.commit()
    late = await api.get(f"/v1/charges?cursor={early.json['next']}")
    assert _ids(early) + _ids(late) == [slow.id, fast.id]


async def test_filters_reach_the_query(api: Api) -> None:
    lines = [
        a_line(0),
        a_line(1, account="beta"),
        a_line(2, site="hamburg"),
        a_line(3, meter="cafe"),
        a_line(4, member="bob"),
    ]
    charges = [a_charge(line) for line in lines]
    await api.book(*charges)

    async def got(query: str) -> list[int]:
        answer = await api.get(f"/v1/charges?{query}")
        return [[charge.id for charge in charges].index(found) for found in _ids(answer)]

    assert await got("account=beta") == [1]
    assert await got("member=bob") == [4]
    assert await got("site=hamburg") == [2]
    assert await got("meter=cafe&account=acme") == [3]
    assert await got("from=2026-03-02T12:00:01Z&to=2026-03-02T13:00:03%2B01:00") == [1, 2]
    assert await got("from=2026-03-02T13:00:03+01:00") == [3, 4]  # a plus sign in a query means a space


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("cursor=xyz", "xyz"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("from=yesterday", "from"),
        ("from=2026-03-02T12:00:00", "from"),
        ("acount=acme", "acount"),
        ("account=a&account=b", "account"),
        ("account=%00", "account"),
    ],
)
async def test_what_cannot_be_meant_is_named(api: Api, query: str, named: str) -> None:
    answer = await api.get(f"/v1/charges?{query}")
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert named in answer.json["detail"]
    assert answer.json["status"] == 400


async def test_wait_answers_as_soon_as_something_is_booked(api: Api) -> None:
    charge = a_charge(a_line())
    held = asyncio.create_task(api.get("/v1/charges?wait=30"))
    await api.get("/v1/charges")  # the held request came first and is under way
    assert not held.done()
    await api.book(charge)
    assert _ids(await asyncio.wait_for(held, 20)) == [charge.id]


async def test_wait_sees_what_another_process_booked(api: Api) -> None:
    """Without the hint."""
    charge = a_charge(a_line())
    held = asyncio.create_task(api.get("/v1/charges?wait=30"))
    await api.get("/v1/charges")
    async with api.db.begin() as conn:
        await book(conn, charge)
    assert _ids(await asyncio.wait_for(held, 20)) == [charge.id]


async def test_wait_ends_empty_with_a_cursor_and_counts_only_what_is_wanted(api: Api) -> None:
    held = asyncio.create_task(api.get("/v1/charges?wait=1&account=beta"))
    await api.get("/v1/charges")
    await api.book(a_charge(a_line()))
    answer = await held
    assert (answer.status, _ids(answer)) == (200, [])
    assert answer.json["next"]


async def test_those_who_wait_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charges_module, "WAITING_MAX", 1)
    held = asyncio.create_task(api.get("/v1/charges?wait=30"))
    await api.get("/v1/charges")
    refused = await api.get("/v1/charges?wait=30")
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert (await api.get("/v1/charges")).status == 200
    await api.book(a_charge(a_line()))
    assert (await held).status == 200
    assert (await api.get("/v1/charges?wait=1")).status == 200


async def test_ndjson_streams_everything_and_each_line_knows_where_to_go_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charges_module, "STREAM_PAGE_CHARGES", 3)
    charges = [a_charge(a_line(n)) for n in range(8)]
    await api.book(*charges)
    accept = {"Accept": "application/x-ndjson"}
    answer = await api.get("/v1/charges", headers=accept)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [msgspec.json.decode(line) for line in answer.body.splitlines()]
    assert [line["id"] for line in lines] == [charge.id for charge in charges]
    assert set(FIELDS) <= set(lines[0])
    for n, line in enumerate(lines):
        rest = await api.get(f"/v1/charges?cursor={line['cursor']}", headers=accept)
        assert [msgspec.json.decode(later)["id"] for later in rest.body.splitlines()] == [
            c.id for c in charges[n + 1 :]
        ]
    page = await api.get("/v1/charges?limit=2", headers=accept)
    assert len(page.body.splitlines()) == 2
    assert 'rel="next"' in page.headers["Link"]


async def test_a_stream_that_fails_halfway_never_looks_whole(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charges_module, "STREAM_PAGE_CHARGES", 2)
    await api.book(*(a_charge(a_line(n)) for n in range(4)))
    pages_read = 0

    async def fail_later(*arguments: Any, **options: Any) -> Any:
        nonlocal pages_read
        pages_read += 1
        if pages_read > 1:
            raise Unavailable("the database went away", code="database_unavailable")
        return await charges_after(*arguments, **options)

    monkeypatch.setattr(charges_module, "charges_after", fail_later)
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.get("/v1/charges", headers={"Accept": "application/x-ndjson"})
    assert (await api.get("/v1/charges")).status == 503


async def test_csv_is_plain_rfc_4180_that_no_spreadsheet_runs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charges_module, "STREAM_PAGE_CHARGES", 2)
    hostile = ['=HYPERLINK("http://x","y")', "+1", "-2", "@SUM(A1)", "\tx", 'a,b\r\n"c"', "\uff1d1", "plain"]
    lines = [a_line(n, member=member, amount=Decimal("-1E-7"), draws=()) for n, member in enumerate(hostile)]
    await api.book(*(a_charge(line) for line in lines))
    answer = await api.get("/v1/charges", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert answer.body.count(b"\n") == answer.body.count(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
    assert [row["member"] for row in rows] == [
        f"'{member}" if member[0] in "=+-@\t\uff1d" else member for member in hostile
    ]
    assert {row["amount"] for row in rows} == {"-0.0000001"}
    assert rows[0]["dimensions"] == '{"color":false}'
    assert rows[0]["event_time"] == "2026-03-02T12:00:00Z"
    assert rows[0]["estimated"] == "false"
    assert rows[0]["tax_name"] == ""
    again = await api.get(f"/v1/charges?cursor={rows[5]['cursor']}", headers={"Accept": "text/csv"})
    assert [row["id"] for row in csv.DictReader(io.StringIO(again.text, newline=""))] == [row["id"] for row in rows[6:]]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/json"),
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/*, */*;q=0.1", "text/csv"),
        ("application/json;q=0, */*", "application/x-ndjson"),
        ("TEXT/CSV", "text/csv"),
    ],
)
async def test_the_caller_chooses_the_representation(api: Api, accept: str, media: str) -> None:
    answer = await api.get("/v1/charges", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(media)


async def test_what_is_not_offered_is_406(api: Api) -> None:
    answer = await api.get("/v1/charges", headers={"Accept": "text/html"})
    assert answer.status == 406
    assert "text/csv" in answer.json["detail"]


async def test_a_restricted_key_sees_only_its_own(api: Api) -> None:
    mine, other_site, other_account = (
        a_charge(a_line(0)),
        a_charge(a_line(1, site="hamburg")),
        a_charge(a_line(2, account="beta")),
    )
    await api.book(mine, other_site, other_account)
    of_site = await api.key("usage:read", site="berlin")
    of_account = await api.key("usage:read", account="acme")
    assert _ids(await api.get("/v1/charges", key=of_site)) == [mine.id, other_account.id]
    assert _ids(await api.get("/v1/charges", key=of_account)) == [mine.id, other_site.id]
    assert _ids(await api.get("/v1/charges?site=hamburg", key=of_account)) == [other_site.id]
    assert (await api.get("/v1/charges?site=hamburg", key=of_site)).status == 403
    assert (await api.get("/v1/charges?account=beta", key=of_account)).status == 403
    stream = await api.get("/v1/charges", key=of_account, headers={"Accept": "application/x-ndjson"})
    assert other_account.id not in stream.text


async def test_a_reader_under_writers_gets_every_line_once(api: Api) -> None:
    """Eight writers with transactions of uneven length, one reader that keeps up with `wait`."""
    charges = [[a_charge(a_line(writer * 100 + n)) for n in range(25)] for writer in range(8)]

    async def write(mine: list[Any]) -> None:
        for n, charge in enumerate(mine):
            async with api.db.begin() as conn:
                await book(conn, charge)
                for _ in range(n % 4):
                    await asyncio.sleep(0)
                    await conn.exec_driver_sql("SELECT 1")
            api.services.booked.notify()

    async def read() -> list[str]:
        seen: list[str] = []
        cursor = ""
        while len(seen) < 200:
            answer = await api.get(f"/v1/charges?wait=5&limit=7&cursor={cursor}")
            got = _ids(answer)
            assert got, "nothing came in five seconds"
            seen += got
            cursor = answer.json["next"]
        return seen

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(mine) for mine in charges))
    seen = await reader
    assert len(seen) == len(set(seen))
    assert set(seen) == {charge.id for mine in charges for charge in mine}
