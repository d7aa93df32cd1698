"""Tables to the directory and to events: the same file again changes nothing, and nothing is written with a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from meter.catalog.issues import CatalogError
from meter.catalog.mapping import read_mapping
from meter.ingest.importing import run as run_module
from meter.ingest.importing.directory import Counts
from meter.ingest.importing.rows import Extract, extract
from meter.ingest.importing.run import Imported, Importer
from meter.store.directory import load_directory
from tests.booking.space import LATER, Space, open_space
from tests.ingest.bodies import acceptor

MAPPING = """
csv: {decimal: ","}
timezone: Europe/Berlin
accounts:
  id: Firmennr
  name: Firma
subscriptions:
  only: {Tarif: "*"}
  id: {column: Firmennr, prefix: sub-}
  account: Firmennr
  plan: {column: Tarif, map: {Flex 10: flex}}
  from: Seit
  seats: Plätze
  deposit: Kaution
members:
  only: {Nr: "*"}
  id: {column: Nr, prefix: m-}
  name: {column: [Vorname, Name]}
  email: Mail
  account: Firmennr
  identities:
    - {kind: badge, column: Karte}
    - {kind: email, column: Mail}
grants:
  only: {Guthaben: "*"}
  id: {column: Nr, prefix: g-}
  account: Firmennr
  unit: {value: page}
  amount: Guthaben
  meters: [print-pages]
"""
HEAD = "Nr;Vorname;Name;Mail;Firmennr;Firma;Tarif;Seit;Plätze;Kaution;Karte;Guthaben\n"
ROWS = (
    "1;Nina;Neun;nina@nine.example;nine;Nine GmbH;Flex 10;01.01.2026;3;200,00;04AA;1.000\n"
    "2;Nils;Neun;;nine;Nine GmbH;;;;;;\n"
)
EVENTS = """
timezone: Europe/Berlin
events:
  type: {value: print.job}
  source: {value: printer/hall}
  id: {column: Job, prefix: job-}
  time: {column: [Datum, Zeit]}
  subject: {kind: badge, column: Karte}
  data:
    printer: {value: hall}
    job: Job
    impressions: {column: Seiten, as: integer}
    color: {column: Farbe, as: flag}
    status: {value: completed}
"""
JOBS = "Job;Datum;Zeit;Karte;Seiten;Farbe\n17;02.03.2026;09:00;ADA1;12;ja\n18;02.03.2026;09:05;ADA1;3;nein\n"


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


def read(mapping: str, *bodies: str | bytes, site: str | None = "berlin") -> Extract:
    files = [(f"f{number}.csv", body.encode() if isinstance(body, str) else body) for number, body in enumerate(bodies)]
    return extract(files, read_mapping(mapping, file="map.yaml"), site=site)


async def take(space: Space, mapping: str, *bodies: str, now: datetime = LATER, **how: Any) -> Imported:
    given = {"dry_run": False, "skip_faults": False, **how}
    importer = Importer(
        database=space.database,
        acceptor=acceptor(space.database),
        operator="northside",
        now=now,
        max_age=timedelta(days=400),
    )
    return await importer.run(read(mapping, *bodies), origin="test", **given)


async def directory(space: Space) -> Any:
    async with space.database.begin() as conn:
        return replace(await load_directory(conn, "northside"), version=0)


async def count(space: Space, table: str) -> int:
    async with space.database.begin() as conn:
        found: int = (await conn.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608 -- of ours
        return found


# --- people -----------------------------------------------------------------------------------------------------------


async def test_a_table_of_people(space: Space) -> None:
    result = await take(space, MAPPING, HEAD + ROWS)
    assert result.faults == ()
    assert result.written
    assert result.counts == {
        "accounts": Counts(new=1),
        "members": Counts(new=2),
        "links": Counts(new=2),
        "identities": Counts(new=2),
        "subscriptions": Counts(new=1),
        "grants": Counts(new=1),
    }
    known = await directory(space)
    (held,) = known.subscriptions["account", "nine"]
    assert (held.id, held.plan, held.seats, str(held.deposit)) == ("sub-nine", "flex", 3, "200.00")
    assert held.span.start == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert known.members["m-1"].name == "Nina Neun"
    assert [claim.member for claim in known.claims["badge:04AA"]] == ["m-1"]
    assert [str(grant.amount) for grant in known.grants["nine"]] == ["1000"]


async def test_the_same_file_again_changes_nothing(space: Space) -> None:
    await take(space, MAPPING, HEAD + ROWS)
    before = await directory(space)
    again = await take(space, MAPPING, HEAD + ROWS)
    assert await directory(space) == before
    assert {kind: (counts.new, counts.changed) for kind, counts in again.counts.items()} == dict.fromkeys(
        again.counts, (0, 0)
    )
    assert again.counts["identities"].unchanged == 2
    assert not again.directory.outcome


async def test_a_preview_tells_the_same_and_writes_nothing(space: Space) -> None:
    before = await directory(space)
    foreseen = await take(space, MAPPING, HEAD + ROWS, dry_run=True)
    assert not foreseen.written
    assert await directory(space) == before
    assert (await take(space, MAPPING, HEAD + ROWS)).counts == foreseen.counts


async def test_what_a_row_does_not_say_stays_as_it_is(space: Space) -> None:
    await take(space, MAPPING, HEAD + ROWS)
    names = "members: {id: Nr, identities: [{kind: badge, column: Karte}]}"
    await take(space, names, "Nr;Karte\nm-1;04BB\n")
    known = await directory(space)
    assert (known.members["m-1"].name, known.members["m-1"].email) == ("Nina Neun", "nina@nine.example")
    assert {"badge:04AA", "badge:04BB"} <= known.claims.keys()


async def test_faults_are_told_at_once_with_line_and_column_and_nothing_is_written(space: Space) -> None:
    before = await directory(space)
    wrong = (
        "1;Nina;Neun;nina@nine.example;nine;Nine GmbH;Flex 10;2026/01/01;3;1.5;4,9E+11;1\n"
        "2;Nils;Neun;;nine;Nine GmbH;Fixed;01.01.2026;;;;\n"
        "3;Nora;Neun;;;Nine GmbH;;;;;;\n"
        "4;Nick;Neun;;nine;Nine AG;;;;;;\n"
        "5;Nele;Neun;;nine;Nine GmbH;;;;;;;;;;x\n"
    )
    result = await take(space, MAPPING, HEAD + wrong)
    assert not result.written
    assert await directory(space) == before
    told = {(fault.line, fault.path) for fault in result.faults}
    assert {(2, "Seit"), (2, "Karte"), (3, "Tarif"), (4, "Firmennr"), (5, ""), (6, "")} <= told
    assert all(fault.file == "f0.csv" for fault in result.faults)


async def test_a_fault_that_only_the_directory_can_see_names_its_row_and_column(space: Space) -> None:
    rows = "Nr;Firma;Karte\nx-1;acme;04CC\nx-2;nobody;04DD\nx-3;acme;ADA1\n"
    mapping = "members: {id: Nr, account: Firma, identities: [{kind: badge, column: Karte}]}"
    result = await take(space, mapping, rows)
    assert {(fault.line, fault.path) for fault in result.faults} >= {(4, "Karte")}
    rest = await take(space, mapping, rows.replace("ADA1", "04EE"))
    assert [(fault.line, fault.path) for fault in rest.faults] == [(3, "Firma")]


async def test_faulty_rows_are_left_out_where_that_is_asked(space: Space) -> None:
    rows = "Nr;Firma;Karte\nx-1;acme;04CC\nx-2;nobody;04DD\nx-3;acme;ADA1\n;acme;04FF\n"
    mapping = "members: {id: Nr, account: Firma, identities: [{kind: badge, column: Karte}]}"
    result = await take(space, mapping, rows, skip_faults=True)
    assert result.written
    assert result.skipped == 3
    assert {fault.line for fault in result.faults} == {3, 4, 5}
    known = await directory(space)
    assert {"x-1"} == {member for member in known.members if member.startswith("x-")}


async def test_a_badge_is_handed_on_from_a_date_on(space: Space) -> None:
    mapping = "timezone: Europe/Berlin\nidentities: {id: {kind: badge, column: Karte}, member: Nr, from: Seit}"
    undated = mapping.replace(", from: Seit", "")
    refused = await take(space, undated, "Karte;Nr\nADA1;bob\n")
    assert "claimed for ada" in refused.faults[0].message
    result = await take(space, mapping, "Karte;Nr;Seit\nADA1;bob;01.03.2026\n")
    assert result.counts["identities"] == Counts(new=1)
    assert [claim.member for claim in (await directory(space)).claims["badge:ADA1"]] == ["ada", "bob"]
    assert (await take(space, undated, "Karte;Nr\nADA1;ada\n")).counts["identities"] == Counts(unchanged=1)


async def test_a_member_moves_to_another_account_from_a_date_on(space: Space) -> None:
    undated = "members: {id: Nr, account: Firma}"
    refused = await take(space, undated, "Nr;Firma\nada;solo\n")
    assert "say since when" in refused.faults[0].message
    dated = "members: {id: Nr, account: Firma, from: Ab}"
    result = await take(space, dated, "Nr;Firma;Ab\nada;solo;2026-04-01\n")
    assert result.faults == ()
    assert [link.account for link in (await directory(space)).links["ada"]] == ["acme", "solo"]
    (fault,) = (await take(space, dated, "Nr;Firma;Ab\nada;nobody;2026-04-01\n")).faults
    assert (fault.line, fault.path) == (2, "Firma")


# --- events -----------------------------------------------------------------------------------------------------------


async def test_a_table_of_usage_is_rated(space: Space) -> None:
    result = await take(space, EVENTS, JOBS)
    assert result.faults == ()
    assert result.counts == {"events": Counts(new=2)}
    async with space.database.begin() as conn:
        rows = (await conn.execute(text("SELECT source, id, subject, channel, data FROM events ORDER BY id"))).all()
    assert [(row.source, row.id, row.subject, row.channel) for row in rows] == [
        ("berlin/printer/hall", "job-17", "badge:ADA1", "import"),
        ("berlin/printer/hall", "job-18", "badge:ADA1", "import"),
    ]
    assert rows[0].data == {"printer": "hall", "job": "17", "impressions": 12, "color": True, "status": "completed"}


async def test_the_same_usage_again_is_known_and_other_usage_under_its_id_a_fault(space: Space) -> None:
    await take(space, EVENTS, JOBS)
    again = await take(space, EVENTS, JOBS)
    assert again.counts == {"events": Counts(unchanged=2)}
    changed = await take(space, EVENTS, JOBS.replace(";12;", ";13;"))
    assert [(fault.line, changed.written) for fault in changed.faults] == [(2, False)]
    assert "stands with other content" in changed.faults[0].message
    assert await count(space, "events") == 2
    assert await count(space, "rejections") == 0


async def test_what_is_too_old_is_a_fault_before_anything_is_written(space: Space) -> None:
    result = await take(space, EVENTS, JOBS, now=datetime(2028, 1, 1, tzinfo=UTC))
    assert ["older than" in fault.message for fault in result.faults] == [True, True]
    assert await count(space, "events") == 0
    assert await count(space, "rejections") == 0


async def test_faulty_usage_is_left_out_where_that_is_asked(space: Space) -> None:
    wrong = JOBS + "19;02.03.2026;09:10;ADA1;viele;ja\n;02.03.2026;09:11;ADA1;1;ja\n20;;;ADA1;1;ja\n"
    refused = await take(space, EVENTS, wrong)
    assert [(fault.line, fault.path) for fault in refused.faults] == [(4, "Seiten"), (5, "Job"), (6, "Datum, Zeit")]
    assert await count(space, "events") == 0
    taken = await take(space, EVENTS, wrong, skip_faults=True)
    assert (taken.written, taken.skipped, taken.counts) == (True, 3, {"events": Counts(new=2)})
    assert await count(space, "events") == 2


async def test_a_row_counts_whole_or_not_at_all(space: Space) -> None:
    mapping = EVENTS + "members: {id: Karte, account: Firma}\n"
    table = "Job;Datum;Zeit;Karte;Seiten;Farbe;Firma\n"
    rows = "17;02.03.2026;09:00;ADA1;12;ja;acme\n18;02.03.2026;09:05;ADA2;3;nein;nowhere\n"
    result = await take(space, mapping, table + rows, skip_faults=True)
    assert (result.counts["events"], result.counts["members"]) == (Counts(new=1), Counts(new=1))
    assert await count(space, "events") == 1


async def test_batches_are_bounded_and_progress_is_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BATCH_EVENTS", 3)
    monkeypatch.setattr(run_module, "_LOOKUP_KEYS", 2)
    rows = "".join(f"{number};02.03.2026;09:00;ADA1;1;ja\n" for number in range(8))
    told: list[tuple[int, int]] = []
    importer = Importer(
        database=space.database,
        acceptor=acceptor(space.database),
        operator="northside",
        now=LATER,
        max_age=timedelta(days=400),
        progress=lambda done, total: told.append((done, total)),
    )
    found = read(EVENTS, JOBS.partition("\n")[0] + "\n" + rows)
    await importer.run(found, origin="test", dry_run=False, skip_faults=False)
    assert told == [(3, 8), (6, 8), (8, 8)]
    assert await count(space, "events") == 8


async def test_two_imports_of_one_file_at_a_time_are_one(space: Space) -> None:
    await asyncio.gather(*(take(space, EVENTS, JOBS) for _ in range(4)))
    assert await count(space, "events") == 2
    assert await count(space, "rejections") == 0


NO_ID = EVENTS.replace("  id: {column: Job, prefix: job-}\n", "")


def test_without_an_id_a_row_is_told_by_what_it_says() -> None:
    twice = JOBS + "17;02.03.2026;09:00;ADA1;12;ja\n"
    ids = [item.event.id for item in read(NO_ID, twice).events]
    assert ids[0] == ids[2] != ids[1]
    ordinal = NO_ID.replace("events:\n", "events:\n  ordinal: true\n")
    ids = [item.event.id for item in read(ordinal, twice).events]
    assert len(set(ids)) == 3
    assert [item.event.id for item in read(ordinal, twice).events] == ids


async def test_equal_rows_are_one_event(space: Space) -> None:
    result = await take(space, NO_ID, JOBS + "17;02.03.2026;09:00;ADA1;12;ja\n")
    assert result.counts == {"events": Counts(new=2, unchanged=1)}


def test_a_sale_has_lines() -> None:
    mapping = """
csv: {decimal: ","}
timezone: Europe/Berlin
events:
  type: {value: pos.sale}
  site: {column: Filiale, map: {Mitte: berlin}}
  source: {value: pos/front}
  id: Beleg
  time: Zeit
  data:
    order: Beleg
    currency: {value: EUR}
    total: {column: Brutto, as: number}
    settlement: {value: paid}
    lines:
      - {name: Artikel, quantity: {value: 1}, amount: {column: Netto, as: number}}
"""
    table = "Beleg;Zeit;Filiale;Artikel;Netto;Brutto\nB1;02.03.2026 10:00;Mitte;Espresso;2,10;2,50\n"
    found = read(mapping, table, site=None)
    assert found.faults.issues == []
    event = found.events[0].event
    assert event.source == "berlin/pos/front"
    assert [(line["name"], str(line["amount"])) for line in event.data["lines"]] == [("Espresso", "2.10")]


def test_a_row_that_is_no_event_names_its_fault() -> None:
    (fault,) = read(EVENTS, JOBS.replace(";12;", ";-3;"), site="berlin").faults.issues
    assert (fault.line, "impressions" in fault.message) == (2, True)
    assert "names no site" in read(EVENTS, JOBS, site=None).faults.issues[0].message


# --- mappings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("", "is empty"),
        ("timezone: Mars/Olympus\nmembers: {id: Nr}", "IANA"),
        ("member: {id: Nr}", "did you mean members?"),
        ("members: {name: Nr}", "lacks `id`"),
        ("members: {id: {column: Nr, value: 3}}", "one of `column` and `value`"),
        ("members: {id: {column: Nr, as: money}}", "is one of text, number"),
        ("subscriptions: {id: Nr, plan: P}", "either `account` or `member`"),
        ("csv: {encoding: ebcdic}\nmembers: {id: Nr}", "is one of utf-8"),
        ("csv: {delimiter: x}\nmembers: {id: Nr}", "is one of ;"),
        ("members: {id: Nr, identities: [{column: Karte}]}", "lacks `kind`"),
        ("events: {type: T}", "lacks `source`"),
        ("members: [1]", "write a map"),
        ("- 1", "write a map"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping: str, words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read_mapping(mapping, file="map.yaml")
    assert words in str(caught.value)


def test_a_column_that_is_not_there_is_named_where_the_mapping_names_it() -> None:
    (fault,) = read("members:\n  id: Nr\n  name: Nam\n", "Nr;Name\n1;Ada\n").faults.issues
    assert (fault.file, fault.line, fault.path) == ("map.yaml", 3, "members.name")
    assert "did you mean Name?" in fault.message


def test_a_needed_column_that_is_not_there_is_one_fault() -> None:
    found = read("members: {id: Nummer}", "Nr\n1\n2\n3\n")
    assert [issue.file for issue in found.faults.issues] == ["map.yaml"]
    assert found.entries == []


def test_a_file_that_is_no_table_is_a_fault_and_the_others_are_read() -> None:
    found = read("members: {id: Nr}", "Nr\n1\n", b"\xff", "Nr\n2\n")
    assert [issue.file for issue in found.faults.issues] == ["f1.csv"]
    assert [entry.id for entry in found.entries] == ["1", "2"]
