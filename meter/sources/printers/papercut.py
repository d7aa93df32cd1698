"""PaperCut NG and MF: each row of the daily print log, or of an export of its job table, is a print.job.

    print-logs/printlog_yyyy_mm_dd.log (TAB, local time) ─▶ one print.job a row
    tbl_printer_usage_log as CSV ─────▶ <id>:0:<digest>  completed ─┐ of one job the latest in order counts, and a row
                        flags flipped ─▶ <id>:1:<digest> cancelled ─┘ keeps its time: so the withdrawn one does

- The two are alternatives (`read`): the log never learns of refunds, the table does. One job by both would count twice.
- A row of the log has no id: its job is a digest of the row, and which of the equal rows of its file it is, so that two
  equal prints within a second are two. Files only grow, so this is stable as long as a file is read from its start:
  post whole files; of two equal rows in two posts the second is a duplicate.
- The table's rows change in place: a refund, or a job that was never printed, flips a flag. A trailing window of files
  is read again whenever their content changed. Such a job has 0 impressions and status cancelled; what it had is
  `withdrawn_impressions`. A refund that is taken back is not seen, for the withdrawn state stays the later one.
  A refund of a part changes the cost only, or no row at all: it is not seen.
- Pages are sides. `total_pages` are of all copies (vendor manual, field 8); `pages_of` is for a log of one copy's.

Facts: PaperCut's manual ("Data access", fields of the print log) and its published SQL, November 2026. Not confirmed by
either, and so options: the fields after the copies, the encoding, whether the clock may show 24 hours, and whether a
row that says `printed` N may still say Y.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import Timed
from meter.sources.fields import bad_payload
from meter.sources.make import digest
from meter.sources.printers.files import file_feed, file_options
from meter.sources.printers.jobs import (
    ENCODING,
    copies_counted,
    count,
    each_line,
    identity,
    job_event,
    line_text,
    pages_of,
)
from meter.sources.printers.local_time import iso_time, us_time
from meter.sources.spec import Covers, Lines, Option, Reading, Setup, Vendor

# The fields of the log in order; the names of those that are read must not change.
_LOG: Final = (
    *("date", "time", "server", "printer", "user", "account", "client", "document", "total_pages", "color_pages"),
    *("copies", "cost"),
)
_NEEDED: Final = ("date", "time", "printer", "user", "total_pages")
_DELIMITERS: Final = ",;\t|"
_ID: Final = "printer_usage_log_id"
_NOT_PRINTED: Final = "not printed"
_YES: Final = frozenset(("y", "yes", "true", "t", "1"))
_NO: Final = frozenset(("n", "no", "false", "f", "0"))


def read(setup: Setup, lines: Lines) -> Reading:
    """Return the jobs in a whole file. Raises BadInput (`bad_payload`) where a table's header is not one."""
    return _table(setup, lines.lines) if setup.options["read"] == "table" else _log(setup, lines.lines)


def _log(setup: Setup, lines: Sequence[bytes]) -> Reading:
    columns = setup.options["columns"]
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise bad_payload(f"the option columns names no {', '.join(missing)}; jobs cannot be read without")
    seen: Counter[str] = Counter()

    def row(text: str) -> Parsed | None:
        cells = text.split("\t")
        if cells[0].strip().lower() == "date":
            return None  # a header
        # Of the named fields the last ones may be missing: which there are depends on the version.
        needed = max(columns.index(name) for name in _NEEDED) + 1
        if len(cells) < needed:
            raise bad_payload(f"a row has {len(cells)} fields; the print log has at least {needed}, by TAB")
        named = dict(zip(columns, cells, strict=False))
        timed = us_time(f"{named['date']} {named['time']}", setup.timezone, clock=setup.options["clock"])
        mark = digest(cells)
        job = f"{named['date'].strip()}:{mark}:{seen[mark]}"
        event = job_event(
            setup,
            id=job,
            timed=timed,
            subject=identity("papercut", named["user"]),
            data={"job": job, **_counted(setup, named), "status": "completed"},
        )
        seen[mark] += 1
        return event

    return Reading(each_line(lines, row, encoding=setup.options["encoding"]))


def _table(setup: Setup, lines: Sequence[bytes]) -> Reading:
    encoding = setup.options["encoding"]
    filled = [line for line in lines if line.strip()]
    if not filled:
        return Reading()
    header = line_text(filled[0], encoding)
    delimiter = max(_DELIMITERS, key=header.count)
    columns = [name.strip().lower() for name in _cells(header, delimiter)]
    if _ID not in columns:
        raise bad_payload(f"the first line names no column {_ID}; export the table with its header")
    rows = each_line(filled[1:], lambda text: _row(setup, columns, _cells(text, delimiter)), encoding=encoding)
    return Reading(rows)


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise bad_payload(f"a row is no CSV: {error}; quote fields that hold quotes or line ends") from error


def _row(setup: Setup, columns: Sequence[str], cells: Sequence[str]) -> Parsed | None:
    if len(cells) != len(columns):
        raise bad_payload(f"a row has {len(cells)} fields, the header {len(columns)}; export the table again")
    named: dict[str, str] = dict(zip(columns, cells, strict=True))
    number = count(named[_ID], what=_ID, digits_max=18)
    timed = iso_time(named.get("usage_date", ""), setup.timezone, what="usage_date")
    counted = _counted(setup, {
        "printer": named.get("printer_name") or named.get("printer_id", ""),
        "server": named.get("server_name", ""),
        "account": named.get("account_name") or named.get("charged_to_account_id", ""),
        "total_pages": named.get("total_pages", ""),
        "color_pages": named.get("total_color_pages", ""),
        "copies": named.get("copies", ""),
        "duplex": named.get("duplex", ""),
        "paper": named.get("paper_size", ""),
    })  # fmt: skip
    user = identity("papercut", named.get("user_name")) or identity("papercut-id", named.get("used_by_user_id"))
    withdrawn = _withdrawn(named)
    if withdrawn == _NOT_PRINTED and setup.options["not_printed"] == "pending":
        return None
    data: dict[str, Json] = {"job": str(number), **counted, "status": "completed"}
    if withdrawn is not None:
        data |= {"status": "cancelled", "reason": withdrawn, "withdrawn_impressions": data["impressions"]}
        data |= {"impressions": 0, "color_impressions": None}
    event_id = f"{number}:{0 if withdrawn is None else 1}:{digest(data, user, _shown(timed))}"
    return job_event(setup, id=event_id, timed=timed, subject=user, data=data)


def _withdrawn(named: Mapping[str, str]) -> str | None:
    """Return why the job is not to be paid for; None where it is. A column that is not exported says nothing."""
    if _flag(named, "refunded"):
        return "refunded"
    if _flag(named, "usage_allowed") is False:
        return "denied"
    return _NOT_PRINTED if _flag(named, "printed") is False else None


def _flag(named: Mapping[str, str], column: str) -> bool | None:
    word = named.get(column, "").strip().lower()
    if word and word not in _YES | _NO:
        raise bad_payload(f"{column} is {word[:40]!r}; Y or N is documented here")
    return word in _YES if word else None


def _counted(setup: Setup, named: Mapping[str, str]) -> dict[str, Json]:
    """Return what both tables say of a job. The names of documents are nobody's business here."""
    copies = count(named["copies"], what="copies") if named.get("copies", "").strip() else None
    color = count(named["color_pages"], what="the colour pages") if named.get("color_pages", "").strip() else None
    times = copies_counted(setup, copies)
    return {
        "printer": named["printer"].strip(),
        "server": named.get("server", "").strip() or None,
        "account_charged": named.get("account", "").strip() or None,
        "impressions": count(named["total_pages"], what="the pages") * times,
        "color": None if color is None else color > 0,
        "color_impressions": None if color is None else color * times,
        "duplex": _flag(named, "duplex"),
        "paper": named.get("paper", "").strip() or None,
        "copies": copies,
    }


def _shown(timed: Timed) -> str | None:
    return None if timed.time is None else timed.time.isoformat()


PAPERCUT: Final = Vendor(
    title="PaperCut NG/MF",
    area="printers",
    needs=frozenset({"site"}),
    lines=read,
    feeds={"file": file_feed(read, every_s=300, grows=lambda setup: setup.options["read"] == "log")},
    polls_without_key=True,
    options={
        "read": Option(
            default="log",
            about="What is read: the daily print log, or exports of tbl_printer_usage_log with a header, which know of "
            "refunds. Choose one of them for good.",
            choices=("log", "table"),
        ),
        **file_options("/papercut/print-logs/printlog_*.log"),
        "not_printed": Option(
            default="final",
            about="Whether a row with `printed` N is of a job that never comes, or of one that may still come and is "
            "waited for.",
            choices=("final", "pending"),
        ),
        "columns": Option(default=list(_LOG), about="The fields of the print log, in order."),
        "clock": Option(default="12h", about="How the print log writes the hour.", choices=("12h", "24h")),
        "pages_of": pages_of("all copies"),
        "encoding": ENCODING,
    },
    covers=(
        Covers(what="daily print log", state="done", becomes="print.job", note="without refunds"),
        Covers(what="tbl_printer_usage_log as CSV", state="done", becomes="print.job", note="refunds withdraw the job"),
        Covers(what="partial refunds, refunds taken back", state="not", note="no row tells of them"),
        Covers(what="Print Logger CSV, XML-RPC, scripting hooks", state="not"),
    ),
    facts="PaperCut's manual (data access) and published SQL, November 2026",
)
