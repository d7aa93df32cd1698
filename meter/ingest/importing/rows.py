"""Rows of tables to entries of the directory and to events, by a mapping, each fault with file, line, column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from meter.catalog.issues import Faults, Place
from meter.catalog.mapping import Cell, Section, Shape, TableMapping
from meter.catalog.nodes import Item, Node, Number
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text
from meter.model.wire import Refusal, WireEvent, read_event
from meter.sources.make import digest
from meter.sources.table import Row, Table, cell_day, cell_flag, cell_moment, cell_number, cell_text, read_table

_EXACT: Final = msgspec.json.Encoder(decimal_format="number")
_ANY: Final = "*"
# The columns of a wide table would fill a screen.
_COLUMNS_CHARS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a row says of one thing of the directory; `labels` are the columns, for faults.

    `section` is the mapping's: accounts, members, identities, subscriptions, grants.
    """

    section: str
    id: str
    place: Place
    body: Mapping[str, Json]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEvent:
    """An event that a row makes."""

    event: WireEvent
    place: Place


@dataclass(slots=True, kw_only=True)
class Extract:
    """What tables say, in the order of files and rows. `faulty` rows count for nothing, whatever section saw the fault.

    `refused`: what a source's reader could not read.
    """

    entries: list[Entry] = field(default_factory=list)
    events: list[RowEvent] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    rows: int = 0
    refused: int = 0
    faulty: set[tuple[str, int | None]] = field(default_factory=set)

    def fault(self, place: Place, message: str) -> None:
        """Record a fault of a row."""
        self.faulty.add((place.file, place.line))
        self.faults.add(place, message)


def extract(files: Sequence[tuple[str, bytes]], mapping: TableMapping, *, site: str | None) -> Extract:
    """Return what files, each a name and its bytes, say by the mapping; `site` where the mapping names none."""
    found = Extract()
    for name, body in files:
        try:
            table = read_table(body, mapping.dialect)
        except BadInput as error:
            found.fault(Place(name, None, ""), error.detail)
            continue
        if not _has_columns(table, mapping, name, found):
            continue
        for fault in table.faults:
            found.fault(Place(name, fault.line, ""), fault.message)
        found.rows += len(table.rows)
        for section in mapping.sections.values():
            _section(section, table, mapping, file=name, site=site, found=found)
    _keep_first(found)
    return found


def _has_columns(table: Table, mapping: TableMapping, file: str, found: Extract) -> bool:
    """Tell whether the table has every column that the mapping names; each one that is missing is a fault."""
    good = True
    for column, place in mapping.columns.items():
        if column not in table.columns:
            hint = found.faults.suggestion(column, table.columns)
            message = f"{file} has no column {column!r}{hint}; it has {', '.join(table.columns)}"
            found.fault(place, message[:_COLUMNS_CHARS_MAX])
            good = False
    return good


def _section(
    section: Section, table: Table, mapping: TableMapping, *, file: str, site: str | None, found: Extract
) -> None:
    times: Counter[str] = Counter()
    for row in table.rows:
        if not _fits(section, row):
            continue
        reader = _RowReader(row, mapping, file)
        try:
            if section.name == "events":
                found.events.append(_event(section, reader, site, times))
            else:
                found.entries.append(_entry(section, reader))
        except _CellFault as fault:
            found.fault(fault.place, fault.message)


def _fits(section: Section, row: Row) -> bool:
    cells = ((row.cells.get(column, ""), words) for column, words in section.only.items())
    return all((bool(cell) and _ANY in words) or cell in words for cell, words in cells)


class _CellFault(Exception):
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class _RowReader:
    row: Row
    mapping: TableMapping
    file: str

    def place(self, cell: Cell | None = None) -> Place:
        return Place(self.file, self.row.line, "" if cell is None else ", ".join(cell.columns) or cell.label)

    def value(self, cell: Cell) -> Json:
        """Return what the cell says as its meaning has it; None: nothing. Raises _CellFault."""
        if not cell.columns:
            return self._named(cell, cell.constant)
        text = " ".join(filter(None, (self.row.cells.get(column, "") for column in cell.columns)))
        if cell.words:
            if text not in cell.words and cell.default is None and text:
                known = ", ".join(list(cell.words)[:10])
                raise _CellFault(self.place(cell), f"is {text[:40]!r}, which `map` does not have; it has {known}")
            return self._named(cell, cell.words.get(text, cell.default))
        if not text:
            return self._named(cell, False if cell.meaning == "flag" and cell.default is None else cell.default)
        try:
            return self._named(cell, self._meant(cell, text))
        except BadInput as error:
            raise _CellFault(self.place(cell), error.detail) from error

    def needed(self, cell: Cell) -> Json:
        """Return what the cell says. Raises _CellFault: nothing."""
        value = self.value(cell)
        if value is None:
            raise _CellFault(
                self.place(cell), f"is empty; {cell.label} is needed: fill it, or say `only` which rows count"
            )
        return value

    def _named(self, cell: Cell, value: Json) -> Json:
        if value is None:
            return None
        text = f"{cell.prefix}{value}" if cell.prefix else value
        return text if cell.kind is None else f"{cell.kind}:{text}"

    def _meant(self, cell: Cell, text: str) -> Json:
        if cell.meaning == "text":
            return cell_text(text)
        if cell.meaning == "flag":
            return cell_flag(text)
        if cell.meaning in {"number", "integer"}:
            number = cell_number(text, decimal=self.mapping.decimal)
            if cell.meaning == "integer":
                if number != number.to_integral_value():
                    raise BadInput(f"is {text[:40]!r}; a whole number is meant here", code="bad_cell")
                return int(number)
            return number
        if cell.meaning == "day":
            day = cell_day(text, form=cell.format, timezone=self.mapping.timezone)
            return instant_text(day) if isinstance(day, datetime) else day.isoformat()
        return self.instant(cell, text)[0]

    def instant(self, cell: Cell, text: str) -> tuple[str, str | None]:
        """Return an instant as text and why it is doubtful. Raises BadInput (`bad_cell`)."""
        read = cell_moment(text, form=cell.format, timezone=self.mapping.timezone)
        if read.time is None:
            raise BadInput(f"is {text[:40]!r}, a clock that was never set", code="bad_cell")
        return instant_text(read.time), read.flag


# --- entries of the directory -----------------------------------------------------------------------------------------


def _entry(section: Section, reader: _RowReader) -> Entry:
    """Return what a row says of one thing. Raises _CellFault."""
    body: dict[str, Json] = {}
    labels: dict[str, str] = {}
    needed = {name for name in ("id", "plan", "unit", "amount") if name in section.fields}
    if section.name in {"identities", "grants"}:
        needed |= {"member"} if section.name == "identities" else {"account"}
    for name, cell in section.fields.items():
        value = reader.needed(cell) if name in needed else reader.value(cell)
        if value is not None:
            body[name] = value
            labels[name] = reader.place(cell).path
    id = str(body.pop("id"))
    if section.name == "members":
        _identities(section, reader, body, labels)
    if section.name == "grants":
        body["id"] = id
        if section.meters is not None:
            body["meters"] = list(section.meters)
    return Entry(section=section.name, id=id, place=reader.place(), body=body, labels=labels)


def _identities(section: Section, reader: _RowReader, body: dict[str, Json], labels: dict[str, str]) -> None:
    """Put identities and a dated link into a member's body, as the catalog writes them."""
    named = [(cell, reader.value(cell)) for cell in section.identities]
    given = [(reader.place(cell).path, value) for cell, value in named if value is not None]
    if given:
        body["identities"] = [value for _, value in given]
        labels |= {f"identities[{index}]": label for index, (label, _) in enumerate(given)}
        labels["identities"] = ""
    dates = {name: body.pop(name) for name in ("from", "to") if name in body}
    if dates and "account" in body:
        body["accounts"] = [{"id": body.pop("account"), **dates}]
        labels |= {f"accounts[0].{name}": labels.get(name, name) for name in dates}
        labels |= {"accounts": "", "accounts[0].id": labels["account"]}


def node_of(entry: Entry, body: Mapping[str, Json]) -> Node:
    """Return a body as the catalog's readers read it: every value knows its line, and its column instead of a path."""
    return _node(entry, body, "")


def _node(entry: Entry, value: Json, path: str) -> Node:
    file, line = entry.place.file, entry.place.line
    if isinstance(value, Mapping):
        items = {}
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            items[name] = Item(line, entry.labels.get(below, f".{name}" if path else name), _node(entry, inner, below))
        return Node(file, items)
    if isinstance(value, list | tuple):
        parts = []
        for index, inner in enumerate(value):
            below = f"{path}[{index}]"
            parts.append(Item(line, entry.labels.get(below, ""), _node(entry, inner, below)))
        return Node(file, parts)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Node(file, Number(format(value, "f") if isinstance(value, Decimal) else str(value), value))
    return Node(file, value if value is None or isinstance(value, bool) else str(value))


def _keep_first(found: Extract) -> None:
    """Keep one of entries that say the same; two that say different things of one id are a fault."""
    first: dict[tuple[str, str], Entry] = {}
    kept: list[Entry] = []
    for entry in found.entries:
        # A person may have several badges, each on a row of its own.
        key = (entry.section, f"{entry.id} {entry.body.get('member')}" if entry.section == "identities" else entry.id)
        before = first.setdefault(key, entry)
        if before is entry:
            kept.append(entry)
        elif before.body != entry.body:
            at = f"line {before.place.line}" + (
                "" if before.place.file == entry.place.file else f" of {before.place.file}"
            )
            found.fault(entry.place, f"says something else of {entry.section[:-1]} {entry.id!r} than {at}; keep one")
    found.entries = kept


# --- events -----------------------------------------------------------------------------------------------------------


def _event(section: Section, reader: _RowReader, site: str | None, times: Counter[str]) -> RowEvent:
    """Return the event of a row. Raises _CellFault."""
    fields = section.fields
    given = reader.value(fields["site"]) if "site" in fields else site
    if given is None:
        raise _CellFault(reader.place(fields.get("site")), "names no site; map `site`, or give --site")
    data = _shaped(section.data, reader)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": _event_id(section, reader, times),
        "source": f"{given}/{reader.needed(fields['source'])}",
        "type": reader.needed(fields["type"]),
        "data": {} if data is None else data,
    }
    if "subject" in fields:
        envelope["subject"] = reader.value(fields["subject"])
    if "time" in fields:
        envelope |= _time(fields["time"], reader)
    parsed = read_event(_EXACT.encode({name: value for name, value in envelope.items() if value is not None}))
    if isinstance(parsed, Refusal):
        raise _CellFault(reader.place(), parsed.detail)
    return RowEvent(event=parsed, place=reader.place())


def _event_id(section: Section, reader: _RowReader, times: Counter[str]) -> str:
    """Return the id that a column holds, else a digest of the row, with `ordinal` told apart from its equals before."""
    if "id" in section.fields:
        return str(reader.needed(section.fields["id"]))
    row = digest(dict(reader.row.cells))
    if not section.ordinal:
        return row
    times[row] += 1
    return f"{row}:{times[row]}"


def _time(cell: Cell, reader: _RowReader) -> dict[str, str]:
    if cell.columns and not cell.words:
        text = " ".join(filter(None, (reader.row.cells.get(column, "") for column in cell.columns)))
        if not text:
            raise _CellFault(reader.place(cell), "is empty; an event has a time")
        try:
            time, flag = reader.instant(cell, text)
        except BadInput as error:
            raise _CellFault(reader.place(cell), error.detail) from error
        return {"time": time} if flag is None else {"time": time, "timeflag": flag}
    return {"time": str(reader.needed(cell))}


def _shaped(shape: Shape, reader: _RowReader) -> Json:
    """Return the data in a shape; what says nothing is left out."""
    if isinstance(shape, Cell):
        return reader.value(shape)
    if isinstance(shape, Mapping):
        made = {name: _shaped(inner, reader) for name, inner in shape.items()}
        return {name: value for name, value in made.items() if value is not None}
    return [value for value in (_shaped(inner, reader) for inner in shape) if value is not None]
