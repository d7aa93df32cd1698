"""CUPS: formats, cumulative lines, numbers that come again."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.sources.printers.cups import RECOMMENDED, STANDARD
from meter.sources.spec import Setup
from tests.sources.case import events, setup
from tests.sources.cases import cups as samples
from tests.sources.printing import billed, read_lines, refusals


def cups(**options: Any) -> Setup:
    return setup("cups", options=options)


def a_line(
    page: str = "total",
    count: int = 6,
    *,
    number: int = 7,
    day: str = "02/Mar/2026",
    clock: str = "09:14:02 +0100",
    title: str = "plan",
) -> str:
    return f"lounge mira {number} [{day}:{clock}] {page} {count} - localhost {title} A4 one-sided"


def test_lines_of_a_running_cups_are_read() -> None:
    first, second = events(read_lines(cups(), *samples.STANDARD))
    assert first.time == datetime(2026, 11, 22, 11, 30, 16, tzinfo=UTC)
    assert (first.data["printer"], first.data["number"], first.data["impressions"]) == ("lounge", 1, 6)
    assert (first.data["duplex"], "paper" in first.data) == (True, False)
    assert (second.subject, "duplex" in second.data) == ("cups:mira k", False)


def test_lines_of_the_recommended_format_are_read() -> None:
    first, second = events(read_lines(cups(format=RECOMMENDED), *samples.DELIMITED))
    assert dict(first.data) == {
        "job": "690554dd-a6d0-3a91-4beb-217016b621eb",
        "printer": "lounge",
        "number": 3,
        "impressions": 3,
        "sheets": 2,  # CUPS halves three sides to one
        "color": False,
        "duplex": True,
        "paper": "A4",
        "account_charged": "acme",
        "status": "completed",
    }
    assert second.data["sheets"] == 3


def test_the_title_is_not_passed_on() -> None:
    read = events(read_lines(cups(), *samples.STANDARD) + read_lines(cups(format=RECOMMENDED), *samples.DELIMITED))
    assert not any(b"deck" in event.body or b"plan" in event.body for event in read)


def test_the_lines_of_each_page_are_states_of_one_job_in_any_order() -> None:
    """Three pages of two copies, two of them within one second: six impressions."""
    pages = [a_line("1", 2), a_line("2", 2), a_line("3", 2, clock="09:14:03 +0100")]
    for order in permutations(pages):
        assert billed(read_lines(cups(), *order, *order)) == 6


@pytest.mark.parametrize("number", range(1, 9))
def test_of_the_pages_of_one_second_the_last_counts(number: int) -> None:
    """Whatever the digests of the states are, and although 9 comes after 10 as text."""
    pages = [a_line(str(page), 1, number=number) for page in range(1, 12)]
    assert billed(read_lines(cups(), *pages)) == billed(read_lines(cups(), *reversed(pages))) == 11


@given(st.permutations([a_line("total", 2), a_line("total", 5, clock="18:00:00 +0100")]))
def test_a_job_that_ran_again_counts_once_and_in_full(order: list[str]) -> None:
    """Out of paper after two sides, the rest after a new reel: the second line counts the first one's sides, too."""
    assert billed(read_lines(cups(), *order)) == 5


def test_a_job_that_waits_over_night_is_one() -> None:
    evening, morning = a_line(count=2, clock="23:59:58 +0100"), a_line(count=5, day="03/Mar/2026")
    assert billed(read_lines(cups(), evening, morning)) == 5
    # However the lines are cut into files and posts.
    assert billed([*read_lines(cups(), morning), *read_lines(cups(), evening)]) == 5


def test_a_number_that_comes_again_is_another_job() -> None:
    """The spool was cleared: numbers begin at 1 again."""
    again = [
        a_line(number=1),
        a_line(number=1, title="other", clock="12:00:00 +0100"),
        a_line(number=1, day="02/Apr/2026"),
    ]
    assert billed(read_lines(cups(), *again)) == 18


def test_dates_have_their_own_offset() -> None:
    winter, summer = events(read_lines(cups(), a_line(), a_line(number=8, day="02/Jul/2026", clock="09:14:02 -0730")))
    assert winter.time == datetime(2026, 3, 2, 8, 14, 2, tzinfo=UTC)
    assert summer.time == datetime(2026, 7, 2, 16, 44, 2, tzinfo=UTC)


@pytest.mark.parametrize("day", ["31/Feb/2026", "02/Mrz/2026", "00/Mar/2026", "01/Jan/0001"])
def test_a_day_that_does_not_exist_is_refused(day: str) -> None:
    assert len(refusals(read_lines(cups(), a_line(day=day), a_line()))) == 1


def test_nobody_is_invented() -> None:
    anonymous = a_line().replace("mira", "Anonymous")
    nameless = samples.DELIMITED[1].replace("|mira|", "|-|")
    read = events(read_lines(cups(), anonymous) + read_lines(cups(format=RECOMMENDED), nameless))
    assert [event.subject for event in read] == [None, None]


def test_another_format_is_an_option() -> None:
    line = "100% 12 lounge [02/Mar/2026:09:14:02 +0100] 4 color"
    configured = cups(format="100%% %j %p %T %{job-impressions-completed} %{print-color-mode}", identity_kind="user")
    [event] = events(read_lines(configured, line))
    assert (event.subject, event.data["impressions"], event.data["color"]) == (None, 4, True)


@pytest.mark.parametrize("page_log_format", ["", "%p %u", "%p %j %T %P", "%p %p %j %T %P %C"])
def test_a_format_without_what_is_needed_is_refused(page_log_format: str) -> None:
    with pytest.raises(BadInput, match="format"):
        read_lines(cups(format=page_log_format), a_line())


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from([STANDARD, RECOMMENDED]))
def test_a_title_may_be_anything(title: str, page_log_format: str) -> None:
    """Whatever stands in a title, the line is read as it was meant or refused, and never fails."""
    values = {"%p": "lounge", "%u": "mira", "%j": "7", "%T": "[02/Mar/2026:09:14:02 +0100]", "%P": "total", "%C": "6"}
    line = page_log_format.replace("%{job-name}", title.replace("\n", " ").replace("\r", " "))
    for escape, value in values.items():
        line = line.replace(escape, value)
    for name in ("job-billing", "job-originating-host-name", "job-uuid", "print-color-mode", "sides", "media"):
        line = line.replace(f"%{{{name}}}", "-")
    line = line.replace("%{job-impressions-completed}", "6").replace("%{job-media-sheets-completed}", "6")
    [item] = read_lines(cups(format=page_log_format), line)
    [event] = events([item])
    assert (event.subject, event.data["impressions"]) == ("cups:mira", 6)


_ESCAPES = ["%p", "%u", "%j", "%T", "%P", "%C", "%%", "%{job-uuid}", "%{sides}", "%{job-impressions-completed}"]
_VALUES = ["-", "lounge", "7", "[02/Mar/2026:09:14:02 +0100]", "total", "3", "%", "", "one-sided", "\u0131"]


@given(
    st.lists(st.sampled_from(_ESCAPES), unique=True, max_size=9),
    st.sampled_from([" ", "|", "", "::", "("]),
    st.lists(st.sampled_from(_VALUES), max_size=9),
)
@example(["%p", "%j", "%T", "%P", "%C"], " ", ["-", "7", "[02/Mar/2026:09:14:02 +0100]", "total", "3"])
@example(["%p", "%j", "%T", "%P", "%{job-impressions-completed}"], " ", ["x", "7", _VALUES[3], "total", "3"])
def test_whatever_the_format_is_a_line_is_read_or_refused(escapes: list[str], between: str, values: list[str]) -> None:
    try:
        items = read_lines(cups(format=between.join(escapes)), between.join(values))
    except BadInput as error:
        assert error.code == "bad_payload"  # noqa: PT017 -- most formats are none
    else:
        assert len(items) == (1 if between.join(values).strip() else 0)


def test_a_line_of_blanks_takes_no_longer_than_any_other() -> None:
    """A format that blanks separate could be tried in very many ways."""
    line = "lounge mira 7 [02/Mar/2026:09:14:02 +0100] total 6" + " " * 3_900 + "\x01\t"
    assert len(refusals(read_lines(cups(), line, line + " " * 200))) == 2


@pytest.mark.parametrize(
    "page_log_format",
    [
        "%p %u %{job-name} %{job-billing} %j %T %P %C",
        "%p %u %{job-name} %{sides} %{job-billing} %j %T %P %C",
        "%p %j %T %P %C %{job-name} %{job-billing} %{job-account-id} %{media}",
    ],
)
def test_a_format_in_which_a_title_can_be_read_in_a_million_ways_is_refused(page_log_format: str) -> None:
    """Who prints chooses the title, and a line that fits nowhere is tried in all of them."""
    with pytest.raises(BadInput, match="free text"):
        read_lines(cups(format=page_log_format), "lounge " + "a 1 " * 900 + "x")
