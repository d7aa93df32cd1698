"""IPP: bytes of RFC 8010, states of jobs, and clocks that count from when a printer was switched on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyipp.parser import parse

from meter.model.errors import BadInput
from meter.sources.printers.ipp_message import read_message
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Page
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cases.ipp import GET_JOBS
from tests.sources.printing import billed, counting, refusals

FEED = VENDORS["ipp"].feeds["jobs"]
SETUP = setup("ipp", api_base="http://print.example:631/")


def value(tag: int, name: str, held: bytes) -> bytes:
    return bytes([tag]) + len(name).to_bytes(2) + name.encode() + len(held).to_bytes(2) + held


def integer(name: str, number: int, tag: int = 0x21) -> bytes:
    return value(tag, name, number.to_bytes(4, signed=True))


def text(name: str, words: str, tag: int = 0x42) -> bytes:
    return value(tag, name, words.encode())


def answer(*jobs: Sequence[bytes], status: int = 0, at: datetime = RECEIVED) -> Answer:
    """An answer in bytes, made by hand (RFC 8010 section 3.1)."""
    head = b"\x02\x00" + status.to_bytes(2) + b"\x00\x00\x00\x01\x01" + text("attributes-charset", "utf-8", 0x47)
    body = head + b"".join(b"\x02" + b"".join(job) for job in jobs) + b"\x03"
    return Answer(status=200, body=body, received_at=at)


def job(**changes: bytes) -> list[bytes]:
    """A completed job of four sides; `changes` replace or add an attribute, b"" takes it away."""
    made: Mapping[str, bytes] = {
        "uuid": text("job-uuid", "urn:uuid:3E1D5F27-C876-381D-4E27-41AC81136355", 0x45),
        "printer": text("job-printer-uri", "ipp://print.example/printers/lounge", 0x45),
        "number": integer("job-id", 7),
        "state": integer("job-state", 9, 0x23),
        "user": text("job-originating-user-name", "Mira"),
        "impressions": integer("job-impressions-completed", 4),
        # 2 March 2026, 09:14:02.5 at two hours east.
        "ended": value(0x31, "date-time-at-completed", bytes([0x07, 0xEA, 3, 2, 9, 14, 2, 5, 0x2B, 2, 0])),
        **changes,
    }
    return list(made.values())


def poll(given_answer: Answer, cursor: Any = None) -> Page:
    return FEED.read(SETUP, cursor, given_answer)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_a_recorded_answer_is_read_as_another_reader_does() -> None:
    groups = [dict(attributes) for tag, attributes in read_message(GET_JOBS).groups if tag == 2]
    others = parse(GET_JOBS)["jobs"]
    assert len(groups) == len(others) == 4
    for ours, theirs in zip(groups, others, strict=True):
        assert {name: values[0] for name, values in ours.items()} == theirs


def test_the_request_is_what_another_reader_understands() -> None:
    request = FEED.request(SETUP, None, RECEIVED)
    assert (request.method, request.url, request.headers["Content-Type"]) == (
        "POST",
        "http://print.example:631/",
        "application/ipp",
    )
    read = parse(request.body)
    assert (read["status-code"], read["version"]) == (0x000A, (2, 0))  # the operation stands in the status' place
    asked = read["operation-attributes"]
    assert list(asked)[:2] == ["attributes-charset", "attributes-natural-language"]
    assert (asked["which-jobs"], asked["printer-uri"]) == ("completed", "ipp://print.example:631/")
    assert {"job-uuid", "job-impressions-completed", "date-time-at-completed"} <= set(asked["requested-attributes"])


@pytest.mark.parametrize(
    ("api_base", "url", "printer"),
    [
        ("ipp://10.0.0.5/ipp/print", "http://10.0.0.5:631/ipp/print", b"ipp://10.0.0.5:631/ipp/print"),
        ("ipps://printer.local:8631/p", "https://printer.local:8631/p", b"ipps://printer.local:8631/p"),
        ("http://[fd00::5]:631", "http://[fd00::5]:631/", b"ipp://[fd00::5]:631/"),
    ],
)
def test_printers_and_servers_are_asked_at_their_address(api_base: str, url: str, printer: bytes) -> None:
    request = FEED.request(setup("ipp", api_base=api_base, api_key="meter:secret"), None, RECEIVED)
    assert request.url == url
    assert printer in request.body
    assert request.headers["Authorization"] == "Basic bWV0ZXI6c2VjcmV0"


@given(st.binary(max_size=300), st.integers(0, len(GET_JOBS)), st.integers(0, 40))
@example(b"", len(GET_JOBS) - 1, 0)
@example(b"\x34\x00\x01a\x00\x00" * 50, 60, 0)
def test_spoilt_bytes_are_refused_or_read(noise: bytes, place: int, cut: int) -> None:
    spoilt = GET_JOBS[:place] + noise + GET_JOBS[place + cut :]
    try:
        page = poll(Answer(status=200, body=spoilt, received_at=RECEIVED))
    except BadInput as error:
        assert error.code == "bad_payload"  # noqa: PT017 -- most do not raise
    else:
        assert len(page.items) <= 40


def test_every_cut_is_seen() -> None:
    for end in range(len(GET_JOBS)):
        with pytest.raises(BadInput):
            read_message(GET_JOBS[:end])


def test_collections_and_kinds_that_nobody_reads_are_left_out() -> None:
    nested = value(0x34, "media-col", b"") + text("", "media-size", 0x4A) + value(0x34, "", b"")
    nested += text("", "x-dimension", 0x4A) + integer("", 21000) + value(0x37, "", b"") + value(0x37, "", b"")
    ranged = value(0x33, "page-ranges", bytes(8)) + value(0x13, "job-name", b"")
    named = value(0x36, "job-originating-user-name", b"\x00\x02de\x00\x05J\xc3\xb6rg")
    attributes = dict(read_message(answer(job(extra=nested + ranged, user=named)).body).groups[1][1])
    # What is nested belongs to no attribute out here.
    assert {name: len(values) for name, values in attributes.items() if len(values) != 1} == {}
    [event] = events(poll(answer(job(extra=nested + ranged, user=named))).items)
    assert (event.subject, event.data["impressions"]) == ("cups:jörg", 4)


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_running_cups_tells_its_jobs() -> None:
    read = events(poll(Answer(status=200, body=GET_JOBS, received_at=RECEIVED)).items)
    assert [(e.data["printer"], e.data["impressions"], e.data["status"]) for e in read] == [
        ("jam", 3, "cancelled"),
        ("lounge", 3, "completed"),
        ("lounge", 6, "completed"),
        ("lounge", 3, "completed"),
    ]
    both_sides = dict(read[1].data)
    assert both_sides == {
        "job": "690554dd-a6d0-3a91-4beb-217016b621eb",
        "printer": "lounge",
        "number": 3,
        "impressions": 3,
        "sheets": 2,
        "color": False,
        "duplex": True,
        "paper": "A4",
        "copies": 1,
        "account_charged": "acme",
        "status": "completed",
    }
    assert read[1].time == datetime(2026, 11, 22, 11, 32, 49, tzinfo=UTC)
    assert not any(b"deck" in event.body for event in read)


def test_a_poll_brings_what_is_new_and_nothing_twice() -> None:
    first = poll(answer(job()))
    assert first.cursor["seen"]
    again = poll(answer(job(uptime=integer("job-printer-up-time", 99))), first.cursor)
    assert (list(again.items), again.cursor) == ([], first.cursor)
    assert len(poll(answer(job(), job(uuid=text("job-uuid", "urn:uuid:2", 0x45))), first.cursor).items) == 1


def test_a_job_that_is_printed_again_is_one_job_with_its_last_count() -> None:
    later = value(0x31, "date-time-at-completed", bytes([0x07, 0xEA, 3, 2, 11, 0, 0, 0, 0x2B, 2, 0]))
    first = poll(answer(job()))
    second = poll(answer(job(ended=later, impressions=integer("job-impressions-completed", 9))), first.cursor)
    assert billed([*first.items, *second.items]) == billed([*second.items, *first.items]) == 9


@pytest.mark.parametrize("number", range(8))
def test_of_two_counts_at_one_time_the_higher_is_the_later(number: int) -> None:
    """A printer that goes on counting after it called the job complete; whatever the digests are."""
    states = [
        job(uuid=text("job-uuid", f"urn:uuid:{number}", 0x45), impressions=integer("job-impressions-completed", sides))
        for sides in (9, 10, 11)
    ]
    assert billed(poll(answer(*states)).items) == billed(poll(answer(*reversed(states))).items) == 11


def test_a_cancelled_job_is_not_a_completed_one() -> None:
    cancelled = poll(answer(job(state=integer("job-state", 7, 0x23)), job(state=integer("job-state", 8, 0x23))))
    assert billed(cancelled.items) == 0
    assert [data["impressions"] for data in counting(cancelled.items).values()] == [4]


def test_a_job_that_is_still_printed_is_nothing_yet() -> None:
    assert list(poll(answer(job(state=integer("job-state", 5, 0x23)))).items) == []


def test_an_offset_of_the_printers_own_clock_is_taken() -> None:
    [event] = events(poll(answer(job())).items)
    assert event.time == datetime(2026, 3, 2, 7, 14, 2, 500_000, tzinfo=UTC)
    assert event.attributes in (None, {})


def test_a_clock_that_counts_from_the_start_is_counted_back_the_same_way_every_time() -> None:
    """It ended 600 s after the start; the printer is up for 1,000 s: 400 s ago, however long later answers take."""
    ticks = {"ended": integer("time-at-completed", 600), "up": integer("job-printer-up-time", 1_000)}
    first = poll(answer(job(**ticks)))
    [event] = events(first.items)
    assert event.time == RECEIVED - timedelta(seconds=400)
    assert event.attributes is not None
    assert event.attributes["timeflag"] == "fallback"
    other = job(**{**ticks, "up": integer("job-printer-up-time", 1_063)}, uuid=text("job-uuid", "urn:uuid:2", 0x45))
    [later] = events(poll(answer(other, at=RECEIVED + timedelta(seconds=61)), first.cursor).items)
    assert later.time == event.time


def test_a_job_of_before_a_power_cut_has_the_receipt_time() -> None:
    [event] = events(
        poll(answer(job(ended=integer("time-at-completed", 600), up=integer("job-printer-up-time", 10)))).items
    )
    assert event.time is None
    assert event.attributes is not None
    assert event.attributes["timeflag"] == "fallback"


def test_without_a_uuid_a_number_that_comes_again_is_another_job() -> None:
    one = job(uuid=integer("time-at-creation", 500))
    other = job(uuid=integer("time-at-creation", 20))
    assert billed(poll(answer(one, other, one)).items) == 8


def test_what_no_printer_counts_is_refused_once_and_its_neighbours_count() -> None:
    page = poll(answer(job(impressions=b""), job(uuid=text("job-uuid", "urn:uuid:2", 0x45))))
    assert len(refusals(page.items)) == 1
    assert len(page.items) == 2
    assert list(poll(answer(job(impressions=b"")), page.cursor).items) == []


def test_nobody_is_invented() -> None:
    anonymous, hidden = job(user=text("job-originating-user-name", "anonymous")), job(user=b"")
    assert [event.subject for event in events(poll(answer(anonymous, hidden)).items)] == [None, None]


def test_a_server_that_refuses_is_no_page() -> None:
    with pytest.raises(BadInput, match="0x0403"):
        poll(answer(status=0x0403))


def test_what_is_read_depends_on_no_secret() -> None:
    keyed = replace(SETUP, api_key="meter:secret")
    assert FEED.read(keyed, None, answer(job())).items == poll(answer(job())).items
