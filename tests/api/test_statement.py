"""The statement of a period, over charges that were really booked and over charges of every kind."""

from __future__ import annotations

import asyncio
import csv
import io
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import replace as with_

from meter.model.charge import Charge, Draw, LineTax
from meter.model.period import Period
from tests.api.conftest import Gateway, serving, the_services
from tests.booked import DUES, a_charge, a_fee, a_line
from tests.booking.space import amend, entry, open_space, pages, sale, void
from tests.tools import need_tool

STATEMENT = "/v1/accounts/acme/statement"
MARCH = "?period=2026-03"
# March as acme counts it, in Berlin.
LOCAL_MARCH = Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))
LOCAL_FEBRUARY = Period(datetime(2026, 1, 31, 23, tzinfo=UTC), LOCAL_MARCH.start)
VAT = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)
HALL = "berlin/print/hall"


def booked(charge: Charge, tax: LineTax | None = None, amount: str = "0", **line: Any) -> Charge:
    """`charge` on March's invoice, with `tax`, and whatever else of its line."""
    own = with_(charge.line, **{"period": LOCAL_MARCH, **line}, tax=tax)
    return replace(charge, line=own, invoice_period=LOCAL_MARCH, tax_amount=Decimal(amount))


async def statement(gateway: Gateway, query: str = MARCH) -> Any:
    answer = await gateway.api.get(STATEMENT + query)
    assert answer.status == 200, answer.text
    return answer.json


async def page(gateway: Gateway, path: str = STATEMENT + MARCH) -> Any:
    return await gateway.api.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})


def due(charges: list[dict[str, Any]]) -> Decimal:
    """What charges as they were exported come to on account."""
    on_top = [Decimal(c["tax"]["amount"]) for c in charges if c["tax"] and not c["tax"]["inclusive"]]
    return sum((Decimal(c["rounded"]) for c in charges), Decimal(0)) + sum(on_top, Decimal(0))


async def test_it_is_to_the_cent_what_was_exported_corrections_included(gateway: Gateway) -> None:
    await gateway.space.take(
        *(pages(f"p{n}", f"0{n}T10:00", 37 * n) for n in range(1, 8)),
        entry("e1", "02T08:00"),
        entry("e2", "03T08:00", "badge:B0B1"),
        sale("s1", "04T12:00", "3.53", "badge:ADA1"),
        sale("s2", "04T12:05", "8.47", "badge:ADA1", "account"),
    )
    await gateway.space.take(
        pages("late", "01T07:00", 77, "badge:B0B1"),
        void("v1", "20T00:00", "e2", "berlin/door/main"),
        amend("a1", "20T00:00", "p2", HALL, {"printer": "hall", "job": "p2", "impressions": 4, "status": "completed"}),
    )
    charges = [c for c in await gateway.charges("account=acme") if c["invoice_period"]["start"] < "2026-03-31"]
    assert {c["role"] for c in charges} == {"original", "reversal", "replacement"}
    own = [c for c in charges if c["settlement"] == "account"]
    paid = [c for c in charges if c["settlement"] == "paid"]
    told = await statement(gateway)
    assert Decimal(told["totals"]["due"]) == due(own) > 0
    assert Decimal(told["totals"]["tax"]) == sum(Decimal(c["tax"]["amount"]) for c in own if c["tax"])
    assert Decimal(told["till"]["totals"][0]["total"]) == due(paid) > 0
    for line in told["usage"]:
        meant = [c for c in own if c["meter"] == line["meter"]]
        for figure in ("quantity", "covered", "billable", "amount", "rounded"):
            assert Decimal(line[figure]) == sum(Decimal(c[figure]) for c in meant), (line, figure)
    assert [(line["meter"], line["lines"]) for line in told["usage"]] == [
        ("cafe", 1),
        ("day-passes", 1),
        ("print-pages", 8),
    ]
    [tax] = told["taxes"]
    assert (tax["name"], tax["rate"], Decimal(tax["net"])) == ("vat19", "0.19", Decimal(told["totals"]["net"]))
    assert (told["fees"], told["refunds"], told["adjustments"], told["other_totals"]) == ([], [], [], [])


async def test_fees_deposits_and_credit_bought_are_on_it(database_url: str) -> None:
    async with open_space(database_url, DUES) as space:
        services = the_services(database_url, clock=lambda: space.now)
        async with serving(services) as api:
            gateway = Gateway(space=space, api=api)
            await space.take(pages("1", "12T09:00", 180))
            told = await statement(gateway)
            charges = await gateway.charges("account=acme&to=2026-03-31T22:00:00Z")
    # 22 of 31 days of three seats.
    assert [(fee["meter"], fee["time"], fee["quantity"], fee["net"], fee["tax"]) for fee in told["fees"]] == [
        ("deposit", "2026-03-09T23:00:00Z", "1", "200", "0"),
        ("membership", "2026-03-09T23:00:00Z", "2.129032", "423.68", "80.5"),
        ("credit", "2026-03-11T23:00:00Z", "50", "10", "1.9"),
    ]
    assert {(c["meter"], c["site"]) for c in charges if c["event"] is None} == {
        ("deposit", None),
        ("membership", None),
        ("credit", None),
    }
    # 200.00 and 440.18 with 83.63 of tax on all of the latter.
    assert Decimal(told["totals"]["due"]) == due(charges) == Decimal("723.81")
    [pack] = told["credits"]
    assert (pack["id"], pack["used"], pack["remaining"]) == ("pack", "50", "0")


async def test_what_expired_of_credit_bought_is_on_it_for_nothing(database_url: str) -> None:
    catalog = DUES.replace("effective: 2026-03-12,", "effective: 2026-03-12, expires: 2026-03-20,")
    async with open_space(database_url, catalog) as space:
        services = the_services(database_url, clock=lambda: space.now)
        async with serving(services) as api:
            gateway = Gateway(space=space, api=api)
            await space.take(pages("1", "12T09:00", 42))
            told = await statement(gateway)
            shown = (await page(gateway)).text
            charges = await gateway.charges("account=acme&to=2026-03-31T22:00:00Z")
    credit = [fee for fee in told["fees"] if fee["meter"] == "credit"]
    assert [(fee["time"], fee["quantity"], fee["net"], fee["tax"], fee["expired"]) for fee in credit] == [
        ("2026-03-11T23:00:00Z", "50", "10", "1.9", False),
        ("2026-03-19T23:00:00Z", "8", "0", "0", True),
    ]
    assert Decimal(told["totals"]["due"]) == due(charges)
    assert shown.count("expired unused") == 1


async def test_it_says_whose_it_is_which_period_and_what_credit_there_was(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 25))
    told = await statement(gateway)
    assert (told["account"], told["name"], told["currency"], told["timezone"]) == (
        "acme",
        "ACME",
        "EUR",
        "Europe/Berlin",
    )
    assert told["period"] == {"start": "2026-02-28T23:00:00Z", "end": "2026-03-31T22:00:00Z", "name": "2026-03"}
    assert told["at"] == "2026-06-01T00:00:00Z"
    assert told["credits"] == [
        {
            "id": "acme-flex/pages/2026-03",
            "origin": "plan",
            "member": None,
            "unit": "page",
            "amount": "100",
            "used": "25",
            "remaining": "75",
            "effective": "2026-02-28T23:00:00Z",
            "expires": "2026-03-31T22:00:00Z",
        }
    ]
    now = await statement(gateway, "")
    assert (now["period"]["name"], now["usage"], now["totals"]["due"]) == ("2026-06", [], "0")


async def test_every_section_of_every_form_has_its_lines(gateway: Gateway) -> None:
    gross = with_(VAT, name="vat7", rate=Decimal("0.07"), inclusive=True)
    settled = with_(VAT, amount=Decimal("0.19"))
    draw = Draw(grant="acme-flex/pages/2026-02", unit="page", amount=Decimal(3))
    tip = a_line(3, meter="cafe", unit="EUR", amount=Decimal(2), quantity=Decimal(2))
    till = a_charge(a_line(6, meter="cafe", unit="EUR", amount=Decimal(1), currency="CHF", settlement="paid"))
    await gateway.api.book(
        booked(a_fee(rounded=Decimal(199)), VAT, "37.81"),
        booked(a_charge(a_line(1)), gross, "0.03", estimated=True),
        booked(a_charge(a_line(2, kind="minimum", amount=Decimal("0.93"))), VAT, "0.18"),
        booked(a_charge(tip), key=tip.key._replace(part="tip")),
        booked(a_charge(a_line(4, kind="refund", meter="cafe", unit="EUR", amount=Decimal(-1)))),
        booked(a_charge(a_line(5, kind="adjustment", draws=(draw,))), period=LOCAL_FEBRUARY),
        booked(till, settled, "0.19", tip=Decimal("0.50"), total=Decimal("1.70")),
    )
    told = await statement(gateway)
    assert {name: [line["net"] for line in told[name]] for name in told if name in SECTIONS} == {
        "fees": ["199"],
        "usage": ["0.47"],
        "minimums": ["0.93"],
        "tips": ["2"],
        "refunds": ["-1"],
        "adjustments": ["0.5"],
    }
    assert told["totals"] == {
        "net": "201.9",
        "tax": "38.02",
        "gross": "239.92",
        "tips": "2",
        "due": "239.92",
        "currency": "EUR",
    }
    assert [(tax["name"], tax["net"], tax["amount"], tax["inclusive"]) for tax in told["taxes"]] == [
        ("vat19", "199.93", "37.99", False),
        ("vat7", "0.47", "0.03", True),
    ]
    assert told["adjustments"][0]["period"] == {"start": "2026-01-31T23:00:00Z", "end": "2026-02-28T23:00:00Z"}
    assert told["till"]["totals"] == [
        {"net": "1", "tax": "0.19", "tips": "0.5", "total": "1.7", "currency": "CHF"},
    ]
    corrected = [credit for credit in told["credits"] if credit["amount"] is None]
    assert [(credit["id"], credit["used"]) for credit in corrected] == [("acme-flex/pages/2026-02", "3")]

    answer = await gateway.api.get(STATEMENT + MARCH, headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["section"] for row in rows if row["section"] != "credits"] == [
        *SECTIONS,
        *("taxes", "taxes", "totals", "till", "till_taxes", "till_totals"),
    ]
    [totals] = [row for row in rows if row["section"] == "totals"]
    assert (totals["net"], totals["tax"], totals["total"], totals["currency"]) == ("201.9", "38.02", "239.92", "EUR")

    answer = await page(gateway)
    read = Reader.of(answer.text)
    assert read.headings == [
        *("Statement 2026-03", "Fees", "Usage", "Minimums", "Tips", "Refunds", "Adjustments", "Taxes", "Totals"),
        *("Credit", "Paid at the till", "Taxes at the till"),
    ]
    assert "Due on account: 239.92 EUR" in read.text
    assert "2026-03-01 to 2026-03-31" in read.text
    assert "partly estimated" in read.text


SECTIONS = ("fees", "usage", "minimums", "tips", "refunds", "adjustments")


class Reader(HTMLParser):
    """What a page says, and of what it is made; every element must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.headings: list[str] = []
        self.headers: list[dict[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []

    @classmethod
    def of(cls, html: str) -> Reader:
        read = cls()
        read.feed(html)
        read.close()
        assert read._open == []
        return read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "th":
            self.headers.append(dict(attrs))
        if tag not in {"meta", "link", "br", "img", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"h1", "h2"}:
            self.headings.append(data)
        if self._open and self._open[-1] != "style":
            self.text += data


async def test_the_page_is_self_contained_accessible_and_escaped(gateway: Gateway) -> None:
    evil = '<script src="//evil">alert(1)</script>"\'&{{ 7 * 7 }}'
    known = {"currency": "EUR", "timezone": "Europe/Berlin"}
    assert (await gateway.api.call("PUT", "/v1/accounts/acme", json={"name": evil, **known})).status == 200
    await gateway.api.book(booked(a_charge(a_line(meter=evil, unit="</style>", kind="fee", price=evil)), plan=evil))
    answer = await page(gateway)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    read = Reader.of(answer.text)
    assert read.text.count(evil) >= 3
    assert "49" not in read.text
    assert {"script", "link", "img", "iframe", "form", "object", "base"} & set(read.tags) == set()
    assert {name for name, _ in read.attributes} & {"src", "href", "style", "onload", "onclick"} == set()
    assert ("lang", "en") in read.attributes
    assert {header.get("scope") for header in read.headers} == {"col", "row"}
    named = {value for name, value in read.attributes if name == "id"}
    assert {value for name, value in read.attributes if name == "aria-labelledby"} <= named
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_policy_lets_nothing_but_the_pages_own_style_in(gateway: Gateway) -> None:
    answer = await page(gateway)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    style = answer.text.split("<style>")[1].split("</style>")[0]
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{hashed}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_a_browser_shows_the_page_in_its_style(gateway: Gateway, data_dir: Path) -> None:
    chromium = need_tool("chromium")
    await gateway.space.take(pages("1", "02T09:00", 120))
    answer = await page(gateway)
    asked: list[str] = []

    async def show(request: web.Request) -> web.Response:
        asked.append(request.path)
        kept = {name: answer.headers[name] for name in ("Content-Security-Policy", "X-Content-Type-Options")}
        return web.Response(text=answer.text, content_type="text/html", headers=kept)

    app = web.Application()
    app.router.add_get("/{path:.*}", show)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        browser = await asyncio.create_subprocess_exec(
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={data_dir}"),
            *("--enable-logging=stderr", "--dump-dom", f"http://{host}:{port}/"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, said = await browser.communicate()
    finally:
        await runner.cleanup()
    assert "Due on account: 1.19 EUR" in Reader.of(shown.decode()).text
    assert "Content Security Policy" not in said.decode(errors="replace")
    assert set(asked) <= {"/", "/favicon.ico"}


async def test_names_that_a_spreadsheet_would_run_are_kept_from_it(gateway: Gateway) -> None:
    await gateway.api.book(booked(a_charge(a_line(meter="=1+1"))))
    answer = await gateway.api.get(STATEMENT + MARCH, headers={"Accept": "text/csv"})
    [row] = [row for row in csv.DictReader(io.StringIO(answer.text)) if row["section"] == "usage"]
    assert (row["meter"], row["net"]) == ("'=1+1", "0.5")


async def test_only_accounts_that_are_there_and_ones_own(gateway: Gateway) -> None:
    api = gateway.api
    mine = await api.key("usage:read", account="acme")
    assert (await api.get(STATEMENT + MARCH, key=mine)).status == 200
    others, nobodys = [await api.get(f"/v1/accounts/{name}/statement", key=mine) for name in ("solo", "nobody")]
    assert (others.status, nobodys.status) == (403, 403)  # and nothing about which of them exists
    of_site = await api.key("usage:read", site="berlin")
    assert (await api.get(STATEMENT, key=of_site)).status == 403
    assert (await api.get(STATEMENT, key=await api.key("events:write"))).status == 403
    assert (await api.get(STATEMENT, key=None)).status == 401
    assert (await api.get("/v1/accounts/nobody/statement")).status == 404
    for wrong in ("2026-13", "2026", "0000-01", "march"):
        answer = await api.get(f"{STATEMENT}?period={wrong}")
        assert (answer.status, answer.json["code"]) == (400, "bad_period")
    assert (await api.get(STATEMENT, headers={"Accept": "image/png"})).status == 406


async def test_statements_of_an_account_whose_anchor_day_moves(gateway: Gateway) -> None:
    await gateway.api.book(booked(a_charge(a_line())))
    moved = {"name": "ACME", "currency": "EUR", "timezone": "Europe/Berlin", "anchor_day": 15}
    answer = await gateway.api.call("PUT", "/v1/accounts/acme", json=moved)
    assert answer.json["terms"] == [
        {"from": None, "currency": "EUR", "timezone": "Europe/Berlin", "anchor_day": 1},
        {"from": "2026-07", "currency": "EUR", "timezone": "Europe/Berlin", "anchor_day": 15},
    ]
    assert len(answer.json["warnings"]) == 1
    found = {month: await statement(gateway, f"?period=2026-{month}") for month in ("03", "06", "07", "08")}
    assert [told["totals"]["net"] for told in found.values()] == ["0.5", "0", "0", "0"]
    assert {month: told["period"]["start"] for month, told in found.items()} == {
        "03": "2026-02-28T23:00:00Z",
        "06": "2026-05-31T22:00:00Z",
        "07": "2026-06-30T22:00:00Z",
        "08": "2026-08-14T22:00:00Z",
    }


async def test_credit_that_begins_or_ends_within_the_period_is_on_it(gateway: Gateway) -> None:
    for grant, span in {
        "early": {"expires": "2026-03-10"},
        "short": {"effective": "2026-03-10", "expires": "2026-03-12"},
        "next": {"effective": "2026-04-01"},
    }.items():
        body = {"id": grant, "unit": "page", "amount": "5", **span}
        assert (await gateway.api.call("POST", "/v1/accounts/acme/grants", json=body)).status == 200
    await gateway.space.take(pages("1", "02T09:00", 7))
    told = await statement(gateway)
    assert {credit["id"]: (credit["used"], credit["remaining"]) for credit in told["credits"]} == {
        "early": ("5", "0"),
        "acme-flex/pages/2026-03": ("2", "98"),
        "short": ("0", "5"),
    }
