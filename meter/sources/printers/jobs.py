"""What printers' logs share: lines read one by one, counts, and the event of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import Timed
from meter.sources.fields import bad_payload
from meter.sources.make import refused, usage_event
from meter.sources.spec import Option, Setup

JOB: Final = "print.job"
# A job of more pages than this is a number out of another column.
_DIGITS_MAX: Final = 9
# Longer than any line a log can hold for a reason; what is kept of a refusal is bounded with it.
_LINE_BYTES_MAX: Final = 16_384
# What a print server writes in: UTF-8, or the code page of an old Windows.
ENCODING: Final = Option(default="utf-8", about="The encoding of the file.", choices=("utf-8", "cp1252", "latin-1"))

# Users as print servers know them, who do not check what a client says of itself.
USERS: Final[Mapping[str, Option]] = {
    "identity_kind": Option(default="cups", about="The kind of identity that a user's name is."),
    "nobody": Option(default=["anonymous"], about="User names, in lower case, that say nothing about who it was."),
}
_ALL_COPIES, _ONE_COPY = "all copies", "one copy"
_UUID: Final = "urn:uuid:"


def pages_of(default: str) -> Option:
    """Return the setting that `copies_counted` goes by."""
    return Option(default=default, about="What the pages are counted of.", choices=(_ALL_COPIES, _ONE_COPY))


def copies_counted(setup: Setup, copies: int | None) -> int:
    """Return by what a job's pages are to be multiplied, by the option `pages_of`."""
    return max(1, copies or 1) if setup.options["pages_of"] == _ONE_COPY else 1


def each_line(lines: Sequence[bytes], read: Callable[[str], Parsed | None], *, encoding: str = "utf-8") -> list[Parsed]:
    """Return what `read` makes of each line that is not blank; a line that it cannot read is one refusal."""
    items: list[Parsed] = []
    for line in lines:
        try:
            text = line_text(line, encoding)
            item = read(text) if text.strip() else None
        except BadInput as error:
            item = refused(error, line[:_LINE_BYTES_MAX])
        if item is not None:
            items.append(item)
    return items


def line_text(line: bytes, encoding: str = "utf-8") -> str:
    """Return the line as text, without a byte order mark. Raises BadInput (`bad_payload`)."""
    if len(line) > _LINE_BYTES_MAX:
        raise bad_payload(f"a line has {len(line)} bytes; no print log has more than {_LINE_BYTES_MAX}")
    try:
        return line.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} of a line is not {encoding}; set the source's option encoding"
        raise bad_payload(message) from error


def count(text: str, *, what: str, digits_max: int = _DIGITS_MAX) -> int:
    """Return a count written in digits. Raises BadInput (`bad_payload`)."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= digits_max):
        raise bad_payload(f"{what} is {text[:40]!r}; a whole number is documented here")
    return int(digits)


def job_event(setup: Setup, *, id: str, timed: Timed, subject: str | None, data: Mapping[str, Json]) -> Parsed:
    """Return a job's event; an identity without a value is nobody's, and what cannot be one is refused."""
    return usage_event(
        setup, kind="print", id=id, type=JOB, subject=subject, time=timed.time, flag=timed.flag, data=data
    )


def identity(kind: str, user: str | None, nobody: Sequence[Json] = ()) -> str | None:
    """Return the subject of a user's job, in lower case, for one person's machines write one name in several ways.

    None where nobody is named: "", `-`, and the names in `nobody`.
    """
    name = (user or "").strip().lower()
    return None if name in {"", "-", *nobody} else f"{kind}:{name}"


def user_of(setup: Setup, user: str | None) -> str | None:
    """Return the subject of a print server's user, as the options `USERS` say."""
    return identity(setup.options["identity_kind"], user, setup.options["nobody"])


def job_by_uuid(uuid: str) -> str:
    """Return a job's name by its `job-uuid` (PWG 5100.13), which no other job ever has."""
    return uuid.lower().removeprefix(_UUID)


def duplex(sides: str | None) -> bool | None:
    """Tell whether IPP's `sides` (RFC 8011 section 5.2.8) means both; None where it says nothing."""
    return None if sides is None or sides in {"", "-"} else sides.startswith("two-sided")


def color(mode: str | None) -> bool | None:
    """Tell whether IPP's `print-color-mode` (PWG 5100.13) means colour; None where the printer decides (`auto`)."""
    if mode == "color":
        return True
    return False if mode in {"monochrome", "bi-level", "process-monochrome", "process-bi-level", "highlight"} else None


def sheets(counted: int | None, impressions: int, *, both_sides: bool | None) -> int | None:
    """Return the sheets of a job: CUPS halves the sides and drops the odd one, which took a sheet, too."""
    if counted is None:
        return None
    return max(counted, -(-impressions // 2)) if both_sides else counted
