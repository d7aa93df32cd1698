"""Mapping files: which column of a table is which field of the directory or of an event (docs/import.md).

`FIELD: COLUMN`, or `FIELD: {column: ..., as: ..., ...}`, or `FIELD: {value: ...}` for what is the same in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from meter.catalog.entry import Entry
from meter.catalog.issues import Faults, Place
from meter.catalog.nodes import Node, read_yaml
from meter.catalog.people import EXTERNAL
from meter.model.event import Json
from meter.sources.table import ENCODINGS, Dialect

Meaning: TypeAlias = Literal["text", "number", "integer", "flag", "time", "day"]
_MEANINGS: Final[tuple[Meaning, ...]] = ("text", "number", "integer", "flag", "time", "day")
_WORDS_MAX: Final = 10_000

# The fields of each section; a * is needed. Dates of the directory are days where the column says no more.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "accounts": ("id*", "name", "currency", "timezone", "anchor_day", *EXTERNAL),
    "members": ("id*", "name", "email", "account", "from", "to"),
    "identities": ("id*", "member*", "from", "to"),
    "subscriptions": ("id*", "plan*", "account", "member", "from", "to", "seats", "deposit"),
    "grants": ("id*", "account*", "member", "unit*", "amount*", "effective", "expires", "priority"),
    "events": ("type*", "source*", "site", "id", "time", "subject"),
}
_NUMBERS: Final = frozenset(("anchor_day", "seats", "deposit", "amount", "priority"))
_DAYS: Final = frozenset(("from", "to", "effective", "expires"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where a value comes from: columns, joined by a blank, or a constant; and what is made of it.

    `words` translates what a cell says, `default` stands for an empty cell and for words that are not among `words`.
    `kind` and `prefix` stand before the value: `kind:` makes an identity. `label` names it in faults.
    """

    columns: tuple[str, ...] = ()
    constant: Json = None
    meaning: Meaning = "text"
    words: Mapping[str, Json] = field(default_factory=dict)
    default: Json = None
    format: str | None = None
    prefix: str = ""
    kind: str | None = None
    label: str
    place: Place


Shape: TypeAlias = "Cell | Mapping[str, Shape] | tuple[Shape, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one kind of thing is made of, a thing for each row that fits `only` ("*": any that is not empty).

    `identities`: of members. `data`: of events. `meters`: of grants. `ordinal`: equal rows are several events.
    """

    name: str
    fields: Mapping[str, Cell]
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    identities: tuple[Cell, ...] = ()
    data: Mapping[str, Shape] = field(default_factory=dict)
    meters: tuple[str, ...] | None = None
    ordinal: bool = False
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """A mapping file. `decimal`: the decimal mark; `timezone`: of local times."""

    dialect: Dialect
    decimal: str | None
    timezone: str | None
    sections: Mapping[str, Section]

    @property
    def columns(self) -> Mapping[str, Place]:
        """Return every column that is named, with the first place that does."""
        found: dict[str, Place] = {}
        for section in self.sections.values():
            for name in section.only:
                found.setdefault(name, section.place)
            for cell in [*section.fields.values(), *section.identities, *_cells(section.data)]:
                for name in cell.columns:
                    found.setdefault(name, cell.place)
        return found


def _cells(shape: Shape) -> list[Cell]:
    if isinstance(shape, Cell):
        return [shape]
    parts = shape.values() if isinstance(shape, Mapping) else shape
    return [cell for part in parts for cell in _cells(part)]


def read_mapping(text: str, *, file: str) -> TableMapping:
    """Return what a mapping file says. Raises CatalogError with every fault."""
    faults = Faults()
    root = read_yaml(text, file=file, faults=faults)
    faults.settle()
    entry = Entry(root or Node(file, {}), Place(file, None, ""), faults)
    dialect, decimal = _dialect(entry.entry("csv"))
    timezone = entry.timezone("timezone")
    sections = {name: _section(name, entry.entry(name)) for name in _FIELDS if name in entry}
    if not sections:
        faults.add(entry.place, f"maps nothing; have one of {', '.join(_FIELDS)}")
    entry.done()
    faults.settle()
    found = {name: section for name, section in sections.items() if section is not None}
    return TableMapping(dialect=dialect, decimal=decimal, timezone=timezone, sections=found)


def _dialect(entry: Entry | None) -> tuple[Dialect, str | None]:
    if entry is None:
        return Dialect(), None
    delimiter = entry.word("delimiter", (";", ",", "tab", "|"))
    skip = entry.integer("skip", least=0, most=1000)
    columns = tuple(name for name, _ in entry.texts("columns")) if "columns" in entry else None
    dialect = Dialect(
        delimiter="\t" if delimiter == "tab" else delimiter,
        encoding=entry.word("encoding", ENCODINGS),
        skip_lines=skip or 0,
        columns=columns,
    )
    decimal = entry.word("decimal", (",", "."))
    entry.done()
    return dialect, decimal


def _section(name: str, entry: Entry | None) -> Section | None:
    if entry is None:
        return None
    fields: dict[str, Cell] = {}
    for written in _FIELDS[name]:
        key = written.rstrip("*")
        if written.endswith("*"):
            entry.need(key, "the column that holds it, or {value: ...}")
        if key in entry:
            fields[key] = _cell(entry, key)
    if name == "subscriptions" and ("account" in fields) == ("member" in fields):
        entry.faults.add(entry.place, "must name the holder's column: either `account` or `member`")
    section = Section(
        name=name,
        fields=fields,
        only=_only(entry.entry("only")),
        identities=_identities(entry) if name == "members" else (),
        data=_data(entry) if name == "events" else {},
        meters=_meters(entry) if name == "grants" else None,
        ordinal=bool(entry.flag("ordinal")) if name == "events" else False,
        place=entry.place,
    )
    entry.done()
    return section


def _only(entry: Entry | None) -> Mapping[str, tuple[str, ...]]:
    if entry is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name in entry.keys():  # noqa: SIM118 -- an Entry is no mapping
        words = entry.texts(name) if entry.is_list(name) else [(entry.text(name) or "", entry.at(name))]
        found[name] = tuple(word for word, _ in words)
    return found


def _identities(entry: Entry) -> tuple[Cell, ...]:
    found = []
    for index, given in enumerate(entry.entries("identities")):
        given.need("kind", "what stands before the colon, like badge")
        found.append(_described(given, f"identities[{index}]"))
    return tuple(found)


def _meters(entry: Entry) -> tuple[str, ...] | None:
    return tuple(name for name, _ in entry.texts("meters")) if "meters" in entry else None


def _cell(entry: Entry, key: str) -> Cell:
    """Return the cell of a field: its column, or a map that says more."""
    meaning: Meaning = "number" if key in _NUMBERS else "day" if key in _DAYS else "time" if key == "time" else "text"
    if entry.is_map(key):
        described = entry.entry(key)
        return _described(described, key, meaning=meaning) if described is not None else _nothing(entry, key)
    column = entry.text(key)
    return Cell(columns=(column or "",), meaning=meaning, label=key, place=entry.at(key))


def _nothing(entry: Entry, key: str) -> Cell:
    return Cell(label=key, place=entry.at(key))


def _described(entry: Entry, label: str, *, meaning: Meaning = "text") -> Cell:
    columns: tuple[str, ...] = ()
    if "column" in entry:
        named = entry.texts("column") if entry.is_list("column") else [(entry.text("column") or "", entry.place)]
        columns = tuple(name for name, _ in named)
    if bool(columns) == ("value" in entry):
        entry.faults.add(entry.place, "must have one of `column` and `value`")
    given = entry.word("as", _MEANINGS)
    words = entry.entry("map")
    cell = Cell(
        columns=columns,
        constant=entry.plain("value"),
        meaning=next((known for known in _MEANINGS if known == given), meaning),
        words={} if words is None else {word: words.plain(word) for word in words.keys()[:_WORDS_MAX]},
        default=entry.plain("default"),
        format=entry.text("format"),
        prefix=entry.text("prefix") or "",
        kind=entry.text("kind"),
        label=label,
        place=entry.place,
    )
    entry.done()
    return cell


def _data(entry: Entry) -> Mapping[str, Shape]:
    data = entry.entry("data")
    return {} if data is None else {name: _shape(data, name) for name in data.keys()}  # noqa: SIM118 -- as above


def _shape(entry: Entry, key: str) -> Shape:
    """Return a value of the data: a cell, an object of values or a list of them."""
    if entry.is_list(key):
        return tuple(_object(inner) for inner in entry.entries(key))
    if not entry.is_map(key):
        return _cell_of_data(entry, key)
    inner = entry.entry(key)
    if inner is None:
        return _nothing(entry, key)
    return _described(inner, key) if "column" in inner or "value" in inner else _object(inner)


def _cell_of_data(entry: Entry, key: str) -> Cell:
    return Cell(columns=(entry.text(key) or "",), label=key, place=entry.at(key))


def _object(entry: Entry) -> Mapping[str, Shape]:
    return {name: _shape(entry, name) for name in entry.keys()}  # noqa: SIM118 -- as above
