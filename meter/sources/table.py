"""Tables as people export them: CSV of any dialect, with what spreadsheets do to it; and what their cells mean.

bytes ─encoding─▶ text ─`sep=` line, delimiter─▶ rows by column name, each with its line ─▶ number, flag, time

Nothing is guessed that would change an amount or a day: a comma in a number asks for `decimal`, 02/03/2026 for a
format, a local time for a zone, bytes that are no UTF-8 for an encoding.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from meter.model.errors import BadInput
from meter.model.instant import EARLIEST, LATEST, parse_instant
from meter.model.money import parse_decimal
from meter.sources.clocks import Timed, from_local

# A year of a large space's print log is a tenth of this; beyond it a database was exported by mistake.
TABLE_BYTES_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 1_000_000
ENCODINGS: Final = ("utf-8", "utf-16", "cp1252", "iso-8859-1", "iso-8859-15", "mac-roman")
DELIMITERS: Final = (";", ",", "\t", "|")
_SAMPLE_ROWS: Final = 20
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_SEP_LINE: Final = re.compile(r"sep=(.)[ \t]*(\r\n|\r|\n|$)", re.IGNORECASE)
# With their ends. splitlines() would also cut at characters that cells may hold.
_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
# Excel's way of keeping leading zeros: ="00123".
_KEPT_TEXT: Final = re.compile(r'="(.*)"', re.DOTALL)
# What a spreadsheet makes of a long number: 4,91234E+11. The digits are gone.
_CUT: Final = re.compile(r"\d([.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)
_YES: Final = frozenset(("true", "yes", "y", "1", "x", "wahr", "ja", "j"))
_NO: Final = frozenset(("false", "no", "n", "0", "", "falsch", "nein"))
_BLANKS: Final = re.compile("[\u0020\u00a0\u202f\u2009'\u2019]")
_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d+)?|\.\d+)", re.ASCII)
_ISO_LOCAL: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d?:\d\d)(:\d\d)?(?:\.\d+)?)?", re.ASCII)
_DOTTED: Final = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})(?:,? +(\d\d?:\d\d)(:\d\d)?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a table is written; None: found out. `columns` names them where there is no header."""

    delimiter: str | None = None
    encoding: str | None = None
    skip_lines: int = 0
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its cells by column, without blanks around them; `line` is where it begins, from 1."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with a row as such."""

    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as read, with the dialect that was found."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[RowFault, ...]
    delimiter: str
    encoding: str


def bad_table(message: str) -> BadInput:
    """Return the refusal of a table as a whole."""
    return BadInput(message, code="bad_table")


def read_table(body: bytes, dialect: Dialect) -> Table:
    """Return the table in `body`; rows that are wrong as such are faults. Raises BadInput (`bad_table`)."""
    if len(body) > TABLE_BYTES_MAX:
        raise bad_table(f"has {len(body)} bytes; at most {TABLE_BYTES_MAX} are read: split it")
    text, encoding = _decoded(body, dialect.encoding)
    found = _SEP_LINE.match(text)
    skipped = dialect.skip_lines
    if found is not None:
        text, skipped = text[found.end() :], skipped + 1
    lines = _LINES.findall(text)[dialect.skip_lines :]
    delimiter = dialect.delimiter or (found[1] if found is not None else _delimiter(lines[:_SAMPLE_ROWS]))
    records = _records(lines, delimiter, skipped)
    columns = dialect.columns or _header(records)
    rows: list[Row] = []
    faults: list[RowFault] = []
    for line, cells in records:
        if not any(cells):
            continue
        if any(cells[len(columns) :]):
            faults.append(RowFault(line, f"has {len(cells)} cells, but there are {len(columns)} columns"))
            continue
        if len(rows) == ROWS_MAX:
            raise bad_table(f"has more than {ROWS_MAX} rows; split it")
        filled = [*cells, *[""] * (len(columns) - len(cells))]
        rows.append(Row(line=line, cells=dict(zip(columns, filled, strict=False))))
    return Table(columns=columns, rows=tuple(rows), faults=tuple(faults), delimiter=delimiter, encoding=encoding)


def _decoded(body: bytes, declared: str | None) -> tuple[str, str]:
    encoding = declared or ("utf-16" if body.startswith(_UTF16_MARKS) else "utf-8")
    try:
        text = body.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        remedy = "set csv.encoding, as to cp1252" if declared is None else "another csv.encoding is meant"
        raise bad_table(f"is not {encoding} at line {line} ({error.reason}); {remedy}") from error
    if "\0" in text:
        raise bad_table("holds NUL characters; set csv.encoding to utf-16, or export it as CSV")
    return text, encoding


def _records(lines: Sequence[str], delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Give each record with the line where it begins. Raises BadInput (`bad_table`)."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    before = 0
    try:
        for record in reader:
            yield skipped + before + 1, [_cell(cell) for cell in record]
            before = reader.line_num
    except csv.Error as error:
        raise bad_table(f"is no CSV at line {skipped + reader.line_num}: {error}") from error


def _cell(text: str) -> str:
    kept = _KEPT_TEXT.fullmatch(text.strip())
    return text.strip() if kept is None else kept[1]


def _header(records: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    """Return the column names of the first record that has any; empty ones at its end are none."""
    for _, cells in records:
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        twice = sorted(name for name, times in Counter(filter(None, cells)).items() if times > 1)
        if twice:
            raise bad_table(f"has the column {twice[0]!r} twice; rename one")
        # A column without a name can be named by nobody, but its cells have a place.
        return tuple(name or f"#{index + 1}" for index, name in enumerate(cells))
    raise bad_table("has no header; its first line names the columns, or csv.columns does")


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that cuts the first rows into the most cells, as many in each as possible."""

    def rank(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if any(row)]
        except csv.Error:
            return 0, 0
        if not widths or widths[0] == 1:
            return 0, 0
        return widths.count(widths[0]), widths[0]

    return max(DELIMITERS, key=rank)


# --- what cells mean --------------------------------------------------------------------------------------------------


def cell_text(text: str) -> str:
    """Return the text. Raises BadInput (`bad_cell`): a spreadsheet has cut a long number."""
    if _CUT.fullmatch(text):
        raise BadInput(
            f"is {text!r}, a number whose digits a spreadsheet has cut; format the column as text", code=_BAD
        )
    return text


def cell_number(text: str, *, decimal: str | None) -> Decimal:
    """Return the number, exactly. `decimal` is the decimal mark; the other one may group thousands.

    Raises BadInput (`bad_cell`): no number, or a mark of which nobody said what it means.
    """
    plain = _BLANKS.sub("", text)
    if decimal is None and "," in plain:
        raise BadInput(f'is {text[:40]!r}; say with csv.decimal whether "," or "." is the decimal mark', code=_BAD)
    mark, group = (",", ".") if decimal == "," else (".", ",")
    whole, _, part = plain.partition(mark)
    if group in whole:
        if not re.fullmatch(rf"[+-]?\d{{1,3}}({re.escape(group)}\d{{3}})+", whole, re.ASCII):
            raise BadInput(f"is {text[:40]!r}; {group!r} groups no thousands there: see csv.decimal", code=_BAD)
        whole = whole.replace(group, "")
    written = f"{whole}.{part}" if part else whole
    if not _DECIMAL.fullmatch(written):
        raise BadInput(f"is {text[:40]!r}; a number is meant here, without a unit or an exponent", code=_BAD)
    try:
        return parse_decimal(written.removeprefix("+"), what="it")
    except BadInput as error:
        raise BadInput(f"is {text[:40]!r}; numbers of that many digits are not kept", code=_BAD) from error


def cell_flag(text: str) -> bool:
    """Return whether the cell says yes; an empty one says no. Raises BadInput (`bad_cell`)."""
    if text.lower() in _YES or text.lower() in _NO:
        return text.lower() in _YES
    raise BadInput(f"is {text[:40]!r}; yes or no is meant here: map its words", code=_BAD)


def cell_moment(text: str, *, form: str | None, timezone: str | None) -> Timed:
    """Return the instant, a date its midnight; of a local time in `timezone`. Raises BadInput (`bad_cell`).

    `form`: strptime's format; None: RFC 3339, 2026-03-02 14:30 or 02.03.2026 14:30.
    """
    local = _local(text, form)
    if not isinstance(local, datetime):
        local = datetime(local.year, local.month, local.day)  # noqa: DTZ001 -- a local time, placed below
    if local.tzinfo is not None:
        return Timed(local)
    if timezone is None:
        raise BadInput(f"is {text[:40]!r}, a local time; say with `timezone` where it is meant", code=_BAD)
    return from_local(local, timezone)


def cell_day(text: str, *, form: str | None, timezone: str | None) -> date | datetime:
    """Return a date, or an instant where the cell has a time of day. Raises BadInput (`bad_cell`)."""
    local = _local(text, form)
    if not isinstance(local, datetime):
        return local
    read = cell_moment(text, form=form, timezone=timezone)
    if read.time is None:
        raise BadInput(f"is {text[:40]!r}; a date since 2015 is meant here", code=_BAD)
    return read.time


def _local(text: str, form: str | None) -> date | datetime:
    """Return what the cell says: a date, a local time, or a time with its offset."""
    try:
        if form is not None:
            read = datetime.strptime(text, form)  # noqa: DTZ007 -- local unless the format has %z
            dated = not re.search(r"%[HIMSTXcfzpsR]", form)
            return _kept(read.date() if dated else read, text)
        if iso := _ISO_LOCAL.fullmatch(text):
            return _kept(_joined(iso[1], iso[2], iso[3]), text)
        if dotted := _DOTTED.fullmatch(text):
            day, month, year, clock, second = dotted.groups()
            return _kept(_joined(f"{year}-{int(month):02d}-{int(day):02d}", clock, second), text)
        return parse_instant(text, what="it")
    except (ValueError, BadInput) as error:
        wanted = f"{form} is meant here" if form else "write 2026-03-02 14:30 or 02.03.2026 14:30, or give a format"
        raise BadInput(f"is {text[:40]!r}; {wanted}", code=_BAD) from error


def _joined(day: str, clock: str | None, second: str | None) -> date | datetime:
    if clock is None:
        return date.fromisoformat(day)
    return datetime.fromisoformat(f"{day}T{clock.zfill(5)}{second or ':00'}")


def _kept(read: date | datetime, text: str) -> date | datetime:
    day = read.date() if isinstance(read, datetime) else read
    if not EARLIEST.date() < day < LATEST.date():
        raise BadInput(f"is {text[:40]!r}, which no calendar here has", code=_BAD)
    return read


_BAD: Final = "bad_cell"
