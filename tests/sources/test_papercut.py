"""PaperCut: what the log and the table make of one another's gaps."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Page, Setup
from meter.transport.asking.files import FileTransport
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cases.papercut import LOG
from tests.sources.printing import billed, counting, files_answer, read_lines, refusals

HEADER = (
    "printer_usage_log_id,usage_date,printer_name,user_name,total_pages,total_color_pages,copies,duplex,paper_size,"
    "usage_cost,usage_allowed,printed,refunded"
)


def papercut(**options: Any) -> Setup:
    return setup("papercut", timezone="Europe/Berlin", options=options)


def row(*, number: int = 7, cost: str = "3.00", allowed: str = "Y", printed: str = "Y", refunded: str = "N") -> str:
    return f"{number},2026-03-02 09:14:02.120,LOUNGE-MFP,MIRA,12,3,1,Y,A4,{cost},{allowed},{printed},{refunded}"


def exported(*rows: str, **options: Any) -> list[Any]:
    return read_lines(papercut(read="table", **options), HEADER, *rows)


# --- the daily log ----------------------------------------------------------------------------------------------------


def test_a_row_of_the_log_is_a_job() -> None:
    first, second = events(read_lines(papercut(), *LOG))
    assert first.time == datetime(2026, 3, 2, 8, 14, 2, tzinfo=UTC)
    assert dict(first.data) == {
        "job": first.id,
        "printer": "LOUNGE-MFP",
        "server": "print01",
        "account_charged": "mira",
        "impressions": 12,
        "color": True,
        "color_impressions": 12,
        "copies": 1,
        "status": "completed",
    }
    assert (second.data["impressions"], second.data["color"], second.data["account_charged"]) == (4, False, "acme-gmbh")


def test_no_document_name_is_passed_on() -> None:
    assert not any(b"deck" in event.body or b"Invoice" in event.body for event in events(read_lines(papercut(), *LOG)))


def test_equal_rows_are_several_jobs_and_stay_so_while_the_file_grows() -> None:
    grown = [events(read_lines(papercut(), *lines)) for lines in (LOG[:1], LOG[:1] * 2, [*LOG[:1] * 2, LOG[1]])]
    assert [len({event.id for event in read}) for read in grown] == [1, 2, 3]
    assert [[event.id for event in read] for read in grown[:2]] == [
        [event.id for event in grown[2]][:1],
        [event.id for event in grown[2]][:2],
    ]


@pytest.mark.parametrize(
    ("shown", "hour"), [("12:00:00 AM", 0), ("12:59:59 PM", 12), ("1:00:00 p", 13), ("11:00:00 p.m.", 23)]
)
def test_the_clock_of_twelve_hours(shown: str, hour: int) -> None:
    [event] = events(read_lines(papercut(), LOG[0].replace("9:14:02 AM", shown)))
    assert event.time is not None
    assert event.time.hour == (hour - 1) % 24


@pytest.mark.parametrize("shown", ["13:00:00 PM", "0:10:00 AM", "14:00:00", "9:61:00 AM", "9:14 AM", ""])
def test_no_such_time_is_refused(shown: str) -> None:
    assert len(refusals(read_lines(papercut(), LOG[0].replace("9:14:02 AM", shown)))) == 1


def test_an_hour_that_comes_twice_is_flagged() -> None:
    """The clocks of Berlin show 02:30 twice on 25 October 2026: the first is taken, and the event says so."""
    twice = LOG[0].replace("2026-03-02\t9:14:02", "2026-10-25\t2:30:00")
    [event] = events(read_lines(papercut(), twice))
    assert event.time == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert event.attributes is not None
    assert event.attributes["timeflag"] == "ambiguous"


def test_the_site_decides_the_zone() -> None:
    tokyo = setup("papercut", timezone="Asia/Tokyo")
    [event] = events(read_lines(tokyo, LOG[0]))
    assert event.time == datetime(2026, 3, 2, 0, 14, 2, tzinfo=UTC)


def test_a_bad_row_is_one_refusal_among_its_neighbours() -> None:
    items = read_lines(papercut(), "Date\tTime", LOG[0], "hello", LOG[0].replace("\t12\t12\t", "\tmany\t12\t"), LOG[1])
    assert len(refusals(items)) == 2
    assert len(items) == 4


def test_pages_of_one_copy_are_multiplied_where_the_log_counts_so() -> None:
    [event] = events(read_lines(papercut(pages_of="one copy"), LOG[1]))
    assert (event.data["impressions"], event.data["copies"]) == (8, 2)


def test_other_fields_and_encodings_are_options() -> None:
    columns = ["time", "date", "user", "printer", "total_pages"]
    line = "09:14:02\t2026-03-02\tJörg\tTür\t3"
    changed = papercut(columns=columns, clock="24h", encoding="cp1252")
    [event] = events(read_lines(changed, line, encoding="cp1252"))
    assert (event.subject, event.data["printer"], event.data["impressions"]) == ("papercut:jörg", "Tür", 3)


def test_fields_without_a_user_are_refused() -> None:
    with pytest.raises(BadInput, match="user"):
        read_lines(papercut(columns=["date", "time", "printer", "total_pages"]), LOG[0])


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_row_of_the_table_is_a_job() -> None:
    [event] = events(exported(row()))
    assert event.subject == "papercut:mira"
    assert event.id.startswith("7:0:")
    assert event.time == datetime(2026, 3, 2, 8, 14, 2, 120_000, tzinfo=UTC)
    assert dict(event.data) == {
        "job": "7",
        "printer": "LOUNGE-MFP",
        "impressions": 12,
        "color": True,
        "color_impressions": 3,
        "copies": 1,
        "duplex": True,
        "paper": "A4",
        "status": "completed",
    }


@pytest.mark.parametrize("flag", [{"refunded": "Y"}, {"allowed": "N"}, {"printed": "N"}])
def test_a_job_that_is_withdrawn_later_ends_at_nothing_in_any_order(flag: dict[str, Any]) -> None:
    """The row keeps its time and its id: nothing but the event's id can order its two states."""
    before, after = exported(row()), exported(row(**flag))
    assert billed(before) == 12
    for seen in (before + after, after + before, after + before + after + before):
        assert billed(seen) == 0
        [job] = counting(seen).values()
        # Also for a meter that looks at no status.
        assert (job["impressions"], job["withdrawn_impressions"], job["status"]) == (0, 12, "cancelled")


def test_a_job_that_may_still_be_printed_is_waited_for_where_it_is_set() -> None:
    waiting, printed = exported(row(printed="N"), not_printed="pending"), exported(row(), not_printed="pending")
    assert waiting == []
    assert billed(waiting + printed) == 12
    assert billed(exported(row(refunded="Y", printed="N"), not_printed="pending")) == 0


def test_a_partial_refund_changes_nothing() -> None:
    """It lowers the cost only, which is PaperCut's and not ours: a duplicate (documented as not seen)."""
    [first], [again] = events(exported(row())), events(exported(row(cost="1.50")))
    assert (first.id, first.content_hash) == (again.id, again.content_hash)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    table = papercut(read="table")
    lines = [line.replace(",", delimiter) for line in ('"' + HEADER.replace(",", '","') + '"', row())]
    [event] = events(read_lines(table, *lines))
    assert event.data["impressions"] == 12


def test_a_table_without_joins_names_the_ids() -> None:
    header = "printer_usage_log_id,usage_date,printer_id,used_by_user_id,total_pages"
    [event] = events(read_lines(papercut(read="table"), header, "9,2026-03-02T09:14:02+02:00,1001,1031,2"))
    assert (event.subject, event.data["printer"]) == ("papercut-id:1031", "1001")
    assert event.time == datetime(2026, 3, 2, 7, 14, 2, tzinfo=UTC)


def test_a_cut_row_and_an_unknown_flag_are_refused() -> None:
    items = exported(row()[:-4], row(refunded="maybe"), row(number=8), '9,"open')
    assert len(refusals(items)) == 3
    assert len(items) == 4


def test_a_table_without_its_header_is_refused_as_a_whole() -> None:
    with pytest.raises(BadInput, match="printer_usage_log_id"):
        read_lines(papercut(read="table"), row())


# --- files ------------------------------------------------------------------------------------------------------------


def _poll(configured: Setup, files: dict[str, bytes], cursor: Any = None) -> Page:
    answer = Answer(status=200, body=files_answer(files), received_at=RECEIVED)
    return VENDORS["papercut"].feeds["file"].read(configured, cursor, answer)


def _text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_a_window_of_files_is_asked_for_without_those_that_are_known() -> None:
    configured = papercut(path="/logs/printlog_*.log")
    feed = VENDORS["papercut"].feeds["file"]
    first = feed.request(configured, None, RECEIVED)
    assert (first.over, first.url, dict(first.arguments)) == (
        "file",
        "/logs/printlog_*.log",
        {"newest": 7, "unless": {}},
    )
    body = _text(*LOG)
    page = _poll(configured, {"printlog_2026_03_02.log": body})
    assert len(events(page.items)) == 2
    again = feed.request(configured, page.cursor, RECEIVED)
    assert again.arguments["unless"] == {"printlog_2026_03_02.log": sha256(body).hexdigest()}
    nothing = _poll(configured, {}, page.cursor)
    assert (list(nothing.items), nothing.cursor) == ([], page.cursor)


def test_files_are_read_anew_once_they_are_read_in_another_way() -> None:
    page = _poll(papercut(), {"printlog_2026_03_02.log": _text(*LOG)})
    changed = VENDORS["papercut"].feeds["file"].request(papercut(pages_of="one copy"), page.cursor, RECEIVED)
    assert changed.arguments["unless"] == {}


def test_a_line_that_is_still_being_written_waits() -> None:
    whole = _text(*LOG)
    early = _poll(papercut(), {"a.log": whole[:-9]})
    assert len(events(early.items)) == 1
    later = _poll(papercut(), {"a.log": whole}, early.cursor)
    assert len({event.id for event in events([*early.items, *later.items])}) == 2


def test_an_export_that_may_be_cut_off_is_refused_at_its_end() -> None:
    page = _poll(papercut(read="table"), {"usage.csv": _text(HEADER, row()) + row(number=8).encode()})
    assert len(page.items) == 2
    assert len(refusals(page.items)) == 1


def test_a_file_that_cannot_be_read_leaves_the_others() -> None:
    page = _poll(papercut(read="table"), {"a.csv": b"hello\n", "b.csv": _text(HEADER, row())})
    assert len(refusals(page.items)) == 1
    assert len(page.items) == 2


def test_a_refund_in_a_later_reading_of_the_window_takes_the_job_back() -> None:
    configured = papercut(read="table")
    first = _poll(configured, {"usage.csv": _text(HEADER, row(), row(number=8))})
    later = _poll(configured, {"usage.csv": _text(HEADER, row(refunded="Y"), row(number=8))}, first.cursor)
    assert billed(first.items) == 24
    assert billed([*later.items, *first.items]) == 12


async def test_a_log_that_grows_is_read_from_a_folder(tmp_path: Path) -> None:
    """The gateway's own reading of files and the feed agree on what a file is, and what has changed."""
    configured = papercut(path=str(tmp_path / "printlog_*.log"))
    feed, transport = VENDORS["papercut"].feeds["file"], FileTransport(clock=lambda: RECEIVED)

    async def poll(cursor: Any) -> Page:
        return feed.read(
            configured, cursor, await transport.ask(configured, feed.request(configured, cursor, RECEIVED))
        )

    (tmp_path / "printlog_2026_03_01.log").write_bytes(_text(LOG[0].replace("2026-03-02", "2026-03-01")))
    today = tmp_path / "printlog_2026_03_02.log"
    today.write_bytes(_text(LOG[0])[:-1])
    first = await poll(None)
    assert len(events(first.items)) == 1
    today.write_bytes(_text(LOG[0], LOG[0]))
    second = await poll(first.cursor)
    assert len({event.id for event in events([*first.items, *second.items])}) == 3
    assert list((await poll(second.cursor)).items) == []


# Rows as they may be read over time: the number of the job, and whether it was refunded by then.
_READ = st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=12)


@given(_READ, st.randoms(use_true_random=False))
def test_the_bill_does_not_depend_on_when_files_are_read(read: list[tuple[int, bool]], by: Random) -> None:
    """A job that was ever seen refunded is, however often and in whatever order its row is read."""
    rows = [row(number=number, refunded="Y" if back else "N") for number, back in read]
    expected = 12 * (len({number for number, _ in read}) - len({number for number, back in read if back}))
    by.shuffle(rows)
    cut = by.randint(0, len(rows))
    assert billed([*exported(*rows[:cut]), *exported(*rows[cut:]), *exported(*rows)]) == expected
