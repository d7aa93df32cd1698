"""IPP: a print server, or a printer, is asked for its completed jobs; each is a print.job.

    Get-Jobs which-jobs=completed ─▶ job-state 9 ───────▶ completed ─┐ impressions: what was printed
                                     job-state 7, 8 ────▶ cancelled ─┘ of states of one job the latest counts

- This or the log (`cups`), not both: each tells of every job, and what two sources tell counts twice.
- The job is its `job-uuid`; without one, what stays the same over its life. A job that is printed again ends later, and
  its count goes on. The cursor knows what was read, so that a poll brings what is new; what is listed again without it
  is the same fact.
- The time is `date-time-at-completed`. A printer without a calendar clock counts seconds since it was switched on: the
  time is then counted back from the answer by `job-printer-up-time`, and flagged as `fallback`.
- A cancelled job tells what CUPS' filters had made, whether or not the printer took it; whether it is charged is the
  meter's to say (`where: {status: completed}`).
- A CUPS hides users from those who may not see them: show it a user (`api_key`, `name:password`) or set
  `JobPrivateValues none`. Without a user a job is in nobody's bill.
- Each attribute is asked for by its name: to `all` CUPS answers without the counts of jobs that it has unloaded.

Facts: RFC 8010, RFC 8011 (Get-Jobs, job attributes), PWG 5100.13; answers of a running CUPS 2.4.2, November 2026.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import Timed, from_epoch
from meter.sources.fields import bad_payload
from meter.sources.make import digest, refused
from meter.sources.printers import ipp_message as ipp
from meter.sources.printers.jobs import USERS, color, duplex, job_by_uuid, job_event, sheets, user_of
from meter.sources.spec import Answer, Covers, Feed, Option, Page, Request, Setup, Vendor

_ATTRIBUTES: Final = (
    *("job-id", "job-uuid", "job-printer-uri", "job-printer-up-time", "job-state", "job-name", "job-billing"),
    *("job-originating-user-name", "job-originating-host-name", "job-impressions-completed"),
    *("job-media-sheets-completed", "copies", "sides", "print-color-mode", "media", "job-account-id"),
    *("date-time-at-creation", "date-time-at-completed", "time-at-creation", "time-at-completed"),
)
_CANCELED, _ABORTED, _COMPLETED = 7, 8, 9
# CUPS keeps 500 completed jobs unless it is told otherwise (MaxJobs).
_JOBS_MAX: Final = 500
_PORT: Final = 631
# Clocks whose zero is 1970 are CUPS'; others count from when they were switched on, which is under ten years ago.
_UP_TIME_MAX_S: Final = 10 * 366 * 86_400
# How far two readings of one clock may differ by the way between, before it is a clock that was set anew.
_DRIFT_MAX: Final = timedelta(minutes=5)
_REFUSED_BYTES_MAX: Final = 2_048


class _Job:
    """The attributes of a job, each with its first value."""

    def __init__(self, attributes: ipp.Attributes) -> None:
        self.named: Final = {name: values[0] for name, values in attributes.items() if values and values[0] is not None}

    def text(self, name: str) -> str | None:
        value = self.named.get(name)
        return value if isinstance(value, str) and value else None

    def integer(self, name: str) -> int | None:
        value = self.named.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def date(self, name: str) -> datetime | None:
        value = self.named.get(name)
        return value if isinstance(value, datetime) else None

    def shown(self) -> dict[str, Json]:
        """Return what of it stays the same however often it is asked for."""
        named = {name: value for name, value in self.named.items() if name != "job-printer-up-time"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in named.items()}


def request(setup: Setup, _cursor: Json, _now: datetime) -> Request:
    """Return Get-Jobs of the completed jobs (RFC 8011 section 4.2.6) at `api_base`."""
    address = urlsplit(setup.api_base or "")
    secure = address.scheme in {"https", "ipps"}
    host = address.hostname or ""
    place = f"{f'[{host}]' if ':' in host else host}:{_port(address.netloc)}{address.path or '/'}"
    body = ipp.request(
        ipp.GET_JOBS,
        (
            (ipp.CHARSET, "attributes-charset", ["utf-8"]),
            (ipp.LANGUAGE, "attributes-natural-language", ["en"]),
            (ipp.URI, "printer-uri", [f"{'ipps' if secure else 'ipp'}://{place}"]),
            (ipp.INTEGER, "limit", [_JOBS_MAX]),
            (ipp.KEYWORD, "requested-attributes", _ATTRIBUTES),
            (ipp.KEYWORD, "which-jobs", ["completed"]),
        ),
    )
    headers = {"Content-Type": "application/ipp"}
    if setup.api_key is not None:
        headers["Authorization"] = f"Basic {b64encode(setup.api_key.encode()).decode()}"
    return Request(
        method="POST",
        url=f"{'https' if secure else 'http'}://{place}",
        headers=headers,
        body=body,
        verify_tls=setup.options["verify_tls"],
    )


def _port(netloc: str) -> int:
    digits = netloc.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 5 else _PORT


def read(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return the jobs that the cursor does not know, and the cursor: {seen: marks of jobs, zero: of clocks}.

    Raises BadInput (`bad_payload`): no IPP, or the server refuses.
    """
    message = ipp.read_message(answer.body)
    if message.status >= 0x0100:
        raise bad_payload(f"the server answers status 0x{message.status:04x} (RFC 8011 appendix B) instead of jobs")
    known = cursor if isinstance(cursor, dict) else {}
    seen, zeros = set(known.get("seen", ())), dict(known.get("zeros", {}))
    items: list[Parsed] = []
    marks: list[str] = []
    for tag, attributes in message.groups:
        if tag != ipp.JOB_GROUP:
            continue
        job = _Job(attributes)
        mark = digest(job.shown())
        marks.append(mark)
        if mark in seen:
            continue
        try:
            item = _event(setup, job, _time(job, zeros, answer.received_at))
        except BadInput as error:
            item = refused(error, repr(job.shown()).encode()[:_REFUSED_BYTES_MAX])
        if item is not None:
            items.append(item)
    return Page(items=items, cursor={"seen": marks, "zeros": zeros})


def _event(setup: Setup, job: _Job, timed: Timed) -> Parsed | None:
    state = job.integer("job-state")
    if state not in {_CANCELED, _ABORTED, _COMPLETED}:
        return None
    impressions = job.integer("job-impressions-completed")
    if impressions is None:
        raise bad_payload("the job has no job-impressions-completed: the printer counts no sides")
    both_sides = duplex(job.text("sides"))
    user = user_of(setup, job.text("job-originating-user-name"))
    name = _key(job)
    data: dict[str, Json] = {
        "job": name,
        "printer": _printer(job),
        "number": job.integer("job-id"),
        "impressions": impressions,
        "sheets": sheets(job.integer("job-media-sheets-completed"), impressions, both_sides=both_sides),
        "color": color(job.text("print-color-mode")),
        "duplex": both_sides,
        "paper": job.text("media"),
        "copies": job.integer("copies"),
        "account_charged": job.text("job-billing") or job.text("job-account-id"),
        "status": "completed" if state == _COMPLETED else "cancelled",
    }
    # Of two states with one time the higher count is the later.
    event_id = f"{name}:{impressions:010d}:{digest(timed.time and timed.time.isoformat(), user, data)}"
    return job_event(setup, id=event_id, timed=timed, subject=user, data=data)


def _printer(job: _Job) -> str:
    uri = job.text("job-printer-uri") or ""
    name = uri.rstrip("/").rpartition("/")[2]
    if not name:
        raise bad_payload("the job has no job-printer-uri")
    return name


def _key(job: _Job) -> str:
    uuid = job.text("job-uuid")
    if uuid is not None:
        return job_by_uuid(uuid)
    number = job.integer("job-id")
    if number is None:
        raise bad_payload("the job has neither a job-uuid nor a job-id")
    created = job.shown()
    constant = ("job-name", "job-originating-user-name", "job-originating-host-name")
    begun = created.get("date-time-at-creation", created.get("time-at-creation"))
    return f"{_printer(job)}:{number}:{digest(begun, [created.get(name) for name in constant])}"


def _time(job: _Job, zeros: dict[str, Json], received_at: datetime) -> Timed:
    """Return when the job ended; the receipt time stands in where nothing says so.

    `zeros` remembers where a clock that counts from its start began: each reading would tell it a little differently.
    """
    shown = job.date("date-time-at-completed")
    if shown is not None:
        return Timed(shown)
    ended, up_s = job.integer("time-at-completed"), job.integer("job-printer-up-time")
    if ended is not None and ended > _UP_TIME_MAX_S:
        return from_epoch(ended, what="time-at-completed")
    if ended is None or up_s is None or ended > up_s:  # or it ended before the printer was switched off and on again
        return Timed(None, "fallback")
    printer = _printer(job)
    zero = received_at - timedelta(seconds=up_s)
    before = zeros.get(printer)
    if isinstance(before, str) and abs(datetime.fromisoformat(before) - zero) < _DRIFT_MAX:
        zero = datetime.fromisoformat(before)
    zeros[printer] = zero.isoformat()
    return Timed(zero + timedelta(seconds=ended), "fallback")


IPP: Final = Vendor(
    title="IPP (CUPS, printers)",
    area="printers",
    needs=frozenset({"site", "api_base"}),
    feeds={"jobs": Feed(every_s=60, request=request, read=read)},
    polls_without_key=True,
    options={
        **USERS,
        "verify_tls": Option(default=True, about="Whether the server's certificate must be a known one."),
    },
    covers=(
        Covers(
            what="completed jobs", state="done", becomes="print.job", note="by this or by the log (`cups`), not both"
        ),
        Covers(what="cancelled and aborted jobs", state="done", becomes="print.job", note="as cancelled, as counted"),
        Covers(what="whether a job in mode `auto` was in colour", state="not", note="no attribute tells"),
        Covers(what="subscriptions (RFC 3995)", state="not", note="polled instead"),
    ),
    facts="RFC 8010, RFC 8011, PWG 5100.13; a running CUPS 2.4.2, November 2026",
)
