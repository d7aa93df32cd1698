"""CUPS' page_log: each line is a state of a print.job, read by the server's own PageLogFormat.

    total N (a run of a job ended) ─────────▶ impressions N ─────┐ of the states of one job
    page copies (old: a line for each page) ▶ page x copies ─────┘ the latest counts: counts are cumulative

- A job that is stopped and tried again, or restarted, is logged after each run, with the count so far. Cancelled and
  failed runs are logged, too, and the line does not say so: what was printed is charged.
- The job is its `job-uuid` where the format has it. Without: job numbers begin at 1 again once the spool is cleared, so
  the job is printer, number, user, host and title (as a digest), and the month of the line. One that waits for paper
  over night is one job, except over the end of a month, where its parts are two; and a number that comes again is
  another job, unless somebody prints the same title under the same number twice in a month. The key is taken from the
  line alone, so it does not depend on how lines are cut into files or posts.
- Filters count, not the printer: a run that the printer never took is logged in full, and raw and driverless queues may
  log 0 or 1 whatever was printed. Read the printer's own counter beside it (`snmp`).
- The user's name is not checked by CUPS; names in `nobody` are nobody's.

Facts: OpenPrinting CUPS 2.4 (cupsd.conf(5), cupsd-logs(5), scheduler/log.c), lines of a running CUPS 2.4.2; per-page
lines: documentation of CUPS 1.1 to 1.4. November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Final

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import MONTHS, Timed
from meter.sources.fields import bad_payload
from meter.sources.make import digest
from meter.sources.printers.files import file_feed, file_options
from meter.sources.printers.jobs import (
    ENCODING,
    USERS,
    color,
    count,
    duplex,
    each_line,
    job_by_uuid,
    job_event,
    sheets,
    user_of,
)
from meter.sources.spec import Covers, Lines, Option, Reading, Setup, Vendor

STANDARD: Final = (
    "%p %u %j %T %P %C %{job-billing} %{job-originating-host-name} %{job-name} %{media} %{sides}"  # cupsd.conf(5)
)
# What to ask for: fields that nothing in a name can shift, and an id that never comes again.
RECOMMENDED: Final = (
    "%p|%u|%j|%T|%P|%C|%{job-billing}|%{job-originating-host-name}|%{job-uuid}|%{job-impressions-completed}|"
    "%{job-media-sheets-completed}|%{print-color-mode}|%{sides}|%{media}|%{job-name}"
)
_CELL_BAR: Final = "\\|"  # in a cell of a Markdown table
_LETTERS: Final = {"p": "printer", "u": "user", "j": "id", "T": "date", "P": "page", "C": "count"}
_ESCAPE: Final = re.compile(r"%(?:([pujTPC%])|\{([A-Za-z0-9-]+)\})")
# Of fields that blanks separate, these may hold some themselves.
_FREE: Final = frozenset(("user", "job-name", "job-billing", "job-account-id", "job-originating-user-name"))
_FIXED: Final = {
    "id": r"\d{1,9}",
    "date": r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "page": r"total|\d{1,9}",
    "count": r"\d{1,9}",
}
# CUPS cuts its lines at 2,048 bytes; the bound keeps a line of blanks from being tried in every way.
_LINE_CHARS_MAX: Final = 4_096
# Where one more field of free text lies before what tells where it ends, a line of blanks is tried in a thousand times
# as many ways; two take a tenth of a second.
_FREE_MAX: Final = 2
_ANY: Final = ".*?"


def read(setup: Setup, lines: Lines) -> Reading:
    """Return the states of jobs in a page_log. Raises BadInput (`bad_payload`) where the option `format` is none."""
    pattern = _pattern(str(setup.options["format"]))

    def line(text: str) -> Parsed:
        match = pattern.fullmatch(text.rstrip()) if len(text) <= _LINE_CHARS_MAX else None
        if match is None:
            raise bad_payload(
                f"the line {text[:60]!r} is not of the option format, which is the server's PageLogFormat"
            )
        named = {_field(name): value.strip() for name, value in match.groupdict().items()}
        if not named["printer"]:
            raise bad_payload(f"the line {text[:60]!r} names no printer")
        known = {name: value for name, value in named.items() if value not in {"", "-"}}
        return _state(setup, {**known, "printer": named["printer"]})

    return Reading(each_line(lines.lines, line, encoding=setup.options["encoding"]))


@lru_cache(maxsize=64)
def _pattern(page_log_format: str) -> re.Pattern[str]:
    """Return what matches a line of the format."""
    parts: list[str] = []
    names: list[str] = []
    fields: list[str] = []
    place = 0
    for escape in _ESCAPE.finditer(page_log_format):
        parts.append(re.escape(page_log_format[place : escape.start()]))
        place = escape.end()
        if escape[1] == "%":
            parts.append("%")
            continue
        name = _LETTERS[escape[1]] if escape[1] else escape[2]
        if name in names:
            raise bad_payload(f"the option format names {name} twice")
        names.append(name)
        before, after = page_log_format[: escape.start()][-1:], page_log_format[place : place + 1]
        fields.append(_FIXED.get(name) or _open(name, before, after))
        parts.append(f"(?P<{_group(name)}>{fields[-1]})")
    counted = {"page", "count"} <= set(names) or "job-impressions-completed" in names
    if not ({"printer", "id", "date"} <= set(names) and counted):
        raise bad_payload("the option format needs %p, %j, %T, and %P %C or %{job-impressions-completed}")
    if _unbounded(fields) > _FREE_MAX:
        raise bad_payload(
            f"the option format has more than {_FREE_MAX} fields of free text between blanks; write | there"
        )
    return re.compile("".join([*parts, re.escape(page_log_format[place:])]), re.ASCII)


def _unbounded(fields: Sequence[str]) -> int:
    """Return how many fields of free text there are in a row, or before the last field that is no text."""
    fixed = [place for place, field in enumerate(fields) if field in _FIXED.values()]
    rows = (len(list(row)) for is_any, row in groupby(fields, _ANY.__eq__) if is_any)
    return max(fields[: max(fixed, default=0)].count(_ANY), *rows, 0)


def _open(name: str, before: str, after: str) -> str:
    if (after or before) == " ":
        return _ANY if name in _FREE else r"\S+"
    return f"[^{re.escape(after)}]*" if after else ".*"


def _group(name: str) -> str:
    return "f_" + name.replace("-", "_")


def _field(group: str) -> str:
    return group.removeprefix("f_").replace("_", "-")


def _state(setup: Setup, named: Mapping[str, str]) -> Parsed:
    time, month = _date(named["date"])
    impressions = _impressions(named)
    both_sides = duplex(named.get("sides"))
    counted = _opt_count(named, "job-media-sheets-completed")
    job = _job(named, month)
    user = user_of(setup, named.get("user"))
    data: dict[str, Json] = {
        "job": job,
        "printer": named["printer"],
        "number": count(named["id"], what="the job's number"),
        "impressions": impressions,
        "sheets": sheets(counted, impressions, both_sides=both_sides),
        "color": color(named.get("print-color-mode")),
        "duplex": both_sides,
        "paper": named.get("media"),
        "copies": _opt_count(named, "copies"),
        "account_charged": named.get("job-billing"),
        "status": "completed",
    }
    # Pages of one second: the higher count is the later.
    event_id = f"{job}:{impressions:010d}:{digest(time.isoformat(), user, data)}"
    return job_event(setup, id=event_id, timed=Timed(time), subject=user, data=data)


def _impressions(named: Mapping[str, str]) -> int:
    if not {"page", "count"} <= named.keys():
        return count(named.get("job-impressions-completed", "0"), what="job-impressions-completed")
    counted = count(named["count"], what="the count")
    return counted if named["page"] == "total" else count(named["page"], what="the page") * counted


def _opt_count(named: Mapping[str, str], name: str) -> int | None:
    return count(named[name], what=name) if name in named else None


def _job(named: Mapping[str, str], month: str) -> str:
    uuid = named.get("job-uuid")
    if uuid is not None:
        return job_by_uuid(uuid)
    same = digest([named.get(name) for name in ("user", "job-originating-host-name", "job-name")])
    return f"{named['printer']}:{named['id']}:{month}:{same}"


def _date(text: str) -> tuple[datetime, str]:
    """Return the instant of `[02/Mar/2026:09:14:02 +0100]`, and the month that its own clock showed."""
    day, month, year, clock, offset = re.split(r"/|(?<=\d{4}):| ", text.strip("[]"))
    try:
        number = MONTHS.index(month) + 1
        moment = datetime.fromisoformat(f"{year}-{number:02d}-{day}T{clock}{offset[:3]}:{offset[3:]}")
        return moment.astimezone(UTC), f"{year}-{number:02d}"
    except (ValueError, OverflowError) as error:
        raise bad_payload(f"the date is {text[:40]!r}: {error}") from error


CUPS: Final = Vendor(
    title="CUPS page_log",
    area="printers",
    needs=frozenset({"site"}),
    lines=read,
    feeds={"file": file_feed(read, every_s=60)},
    polls_without_key=True,
    options={
        "format": Option(
            default=STANDARD,
            about="The server's `PageLogFormat`. None is set there by default, which logs nothing. Best is "
            f"`{RECOMMENDED.replace('|', _CELL_BAR)}`.",
        ),
        **file_options("/var/log/cups/page_log*"),
        **USERS,
        "encoding": ENCODING,
    },
    covers=(
        Covers(what="lines of a run (`total`)", state="done", becomes="print.job", note="cancelled runs, too"),
        Covers(what="lines of each page", state="done", becomes="print.job", note="page x copies, the latest counts"),
        Covers(what="whether a run was cancelled", state="not", note="no line tells; poll the server (`ipp`)"),
    ),
    facts="CUPS 2.4.2 running, its manuals and scheduler/log.c, November 2026",
)
