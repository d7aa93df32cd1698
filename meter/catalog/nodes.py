"""Text to a tree in which every value knows its file and line.

YAML without its surprises: `true`, `false`, `null`, numbers and quoted or plain text are all there is. `on`, `off`,
`yes`, `no`, `12:30`, `0x1F`, `1_000` and `007` are text; a date is text that a field may read as a date. Numbers are
kept as they are written. Duplicate keys, tags and further documents are refused; aliases count as what they stand for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from meter.catalog.issues import CatalogError, Faults, Issue, Place
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.money import parse_decimal

# A hundred thousand members with two identities each, written out.
TEXT_BYTES_MAX: Final = 32 * 1024 * 1024
NODES_MAX: Final = 2_000_000
# The deepest field of the catalog lies at 8 (plans, plan, prices, meter, price, tiers, tier, unit_price).
DEPTH_MAX: Final = 24

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TEXT_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Number:
    """A number and how it was written."""

    text: str
    value: int | Decimal


Scalar: TypeAlias = "str | bool | Number | None"


class Item(NamedTuple):
    """An entry of a map or a list: the line where it begins (a map's: its key's) and its part of the path."""

    line: int | None
    label: str
    node: Node


@dataclass(slots=True)
class Node:
    """A value. `size` counts the values in it, itself included, and `height` the levels below it."""

    file: str
    value: Scalar | list[Item] | dict[str, Item]
    size: int = 1
    height: int = 0


class _Fatal(Exception):
    """Reading cannot go on; the fault has been recorded."""


@dataclass(slots=True)
class _Open:
    """A map or a list whose end has not come yet."""

    node: Node
    line: int
    anchor: str | None
    key: str | None = None
    key_line: int = 0


def read_yaml(text: str, *, file: str, faults: Faults) -> Node | None:
    """Return the tree of the one document in `text`; None, with faults recorded, where there is none."""
    if (fault := _unreadable(text)) is not None:
        faults.add(Place(file, None, ""), fault)
        return None
    builder = _Builder(file, faults)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except _Fatal:
        return None
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        faults.add(Place(file, line, ""), f"is not YAML: {error.problem or error.context or 'cannot be read'}")
        return None
    except (yaml.YAMLError, ValueError) as error:
        faults.add(Place(file, None, ""), f"is not YAML: {str(error).splitlines()[0]}")
        return None
    if builder.root is None:
        faults.add(Place(file, None, ""), "is empty; a catalog begins with `operator: NAME`")
    return builder.root


def read_json(text: str, *, file: str, faults: Faults) -> Node:
    """Return the tree of a JSON text, without lines. Raises CatalogError (`bad_json`) where it is none."""
    if (fault := _unreadable(text)) is not None:
        raise _no_json(file, fault)
    try:
        value = json.loads(
            text, parse_int=_number, parse_float=_number, parse_constant=_constant, object_pairs_hook=_Pairs
        )
        return node_of(value, file=file, faults=faults)
    except _Fatal as fatal:
        raise CatalogError(faults.issues, code="bad_json") from fatal
    except RecursionError as error:
        raise _no_json(file, f"is nested deeper than {DEPTH_MAX} levels") from error
    except ValueError as error:
        raise _no_json(file, f"is not JSON: {error}") from error


def _no_json(file: str, fault: str) -> CatalogError:
    return CatalogError([Issue(file, None, "", fault)], code="bad_json")


def node_of(value: Any, *, file: str, faults: Faults, path: str = "", depth: int = 0) -> Node:
    """Return the tree of decoded JSON. Raises nothing for values that `plain_value` gives."""
    if depth > DEPTH_MAX:
        faults.add(Place(file, None, path), f"is nested deeper than {DEPTH_MAX} levels")
        raise _Fatal
    if isinstance(value, dict | _Pairs):
        entries: dict[str, Item] = {}
        for key, inner in value.items():
            label = f".{key}" if path else str(key)
            if key in entries:
                faults.add(Place(file, None, path + label), "is given twice; keep one")
                continue
            _check_text(key, Place(file, None, path), faults)
            entries[key] = Item(
                None, label, node_of(inner, file=file, faults=faults, path=path + label, depth=depth + 1)
            )
        return Node(file, entries)
    if isinstance(value, list | tuple):
        parts = [
            Item(None, f"[{i}]", node_of(inner, file=file, faults=faults, path=f"{path}[{i}]", depth=depth + 1))
            for i, inner in enumerate(value)
        ]
        return Node(file, parts)
    if isinstance(value, str):
        _check_text(value, Place(file, None, path), faults)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = Number(format(value, "f") if isinstance(value, Decimal) else str(value), value)
    return Node(file, value)


def plain_value(node: Node) -> Json:
    """Return the tree as decoded JSON: numbers as int or Decimal, keys without a value left out."""
    if isinstance(node.value, dict):
        return {key: plain_value(item.node) for key, item in node.value.items() if item.node.value is not None}
    if isinstance(node.value, list):
        return [plain_value(item.node) for item in node.value]
    return node.value.value if isinstance(node.value, Number) else node.value


def texts_in(node: Node) -> Iterator[str]:
    """Give every text in the tree, numbers as they were written; not the keys."""
    if isinstance(node.value, dict | list):
        for item in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from texts_in(item.node)
    elif isinstance(node.value, str):
        yield node.value
    elif isinstance(node.value, Number):
        yield node.value.text


class _Pairs:
    """A JSON object as written, so that a key given twice can be told."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        self._pairs = pairs

    def items(self) -> Iterator[tuple[str, Any]]:
        return iter(self._pairs)


@dataclass(slots=True)
class _Builder:
    """Builds the tree from parser events with a stack of its own, so that depth is bounded by us."""

    file: str
    faults: Faults
    root: Node | None = None
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(line, "holds a second document; give it a file of its own")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self.stack.pop()
            if done.anchor is not None:
                self.anchors[done.anchor] = done.node
            self._place(done.node, done.line)

    def _stop(self, line: int, message: str) -> None:
        self.faults.add(Place(self.file, line, ""), message)
        raise _Fatal

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text = event.value
        _check_text(text, Place(self.file, line, ""), self.faults)
        tagged = event.tag is not None and event.tag not in _TEXT_TAGS
        if tagged:
            self.faults.add(Place(self.file, line, ""), f"carries the tag {event.tag!r}; tags are not read")
        if self._expects_key():
            self.stack[-1].key, self.stack[-1].key_line = text, line
            return
        plain = event.implicit[0]
        node = Node(self.file, _resolve(text) if plain else text)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self._place(node, line)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        node = self.anchors.get(event.anchor or "")
        if node is None:
            self._stop(line, f"uses *{event.anchor} before its anchor &{event.anchor} is complete")
            return
        if self._expects_key():
            self._stop(line, f"uses *{event.anchor} as a key; write the key out")
        self._place(node, line)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        if self._expects_key():
            self._stop(line, "has a list or a map as a key; keys are plain text")
        if event.tag is not None:
            self.faults.add(Place(self.file, line, ""), f"carries the tag {event.tag!r}; tags are not read")
        value: dict[str, Item] | list[Item] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(Node(self.file, value), line, event.anchor))
        if len(self.stack) > DEPTH_MAX:
            self._stop(line, f"is nested deeper than {DEPTH_MAX} levels")

    def _place(self, node: Node, line: int) -> None:
        """Put a complete node where it belongs: into the innermost open map or list, or at the root."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if len(self.stack) + node.height > DEPTH_MAX:
            self._stop(line, f"is nested deeper than {DEPTH_MAX} levels")
        parent.node.size += node.size
        parent.node.height = max(parent.node.height, node.height + 1)
        if parent.node.size > NODES_MAX:
            self._stop(line, f"holds more than {NODES_MAX} values, aliases counted as what they stand for")
        if isinstance(parent.node.value, list):
            parent.node.value.append(Item(line, f"[{len(parent.node.value)}]", node))
        elif isinstance(parent.node.value, dict) and parent.key is not None:
            entries, key = parent.node.value, parent.key
            if key in entries:
                path = "".join(self._labels()) + ("." if len(self.stack) > 1 else "") + key
                self.faults.add(
                    Place(self.file, parent.key_line, path),
                    f"is given twice (first on line {entries[key].line}); keep one",
                )
            else:
                entries[key] = Item(parent.key_line, f".{key}" if len(self.stack) > 1 else key, node)
            parent.key = None

    def _labels(self) -> Iterator[str]:
        """Give the parts of the path to the innermost open map or list."""
        for i, outer in enumerate(self.stack[:-1]):
            if isinstance(outer.node.value, list):
                yield f"[{len(outer.node.value)}]"
            else:
                yield f"{'.' if i else ''}{outer.key}"


def _resolve(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if _NUMBER.fullmatch(text) else text


def _number(text: str) -> Number | str:
    """Return the number; the text itself where it has more digits than are kept, of which a field may complain."""
    try:
        number = parse_decimal(text, what="it")
    except BadInput:
        return text
    return Number(text, int(text) if _INTEGER.fullmatch(text) else number)


def _constant(name: str) -> Scalar:
    message = f"{name} is no JSON number"
    raise ValueError(message)


def _unreadable(text: str) -> str | None:
    """Return what forbids to read `text` at all: its size, or characters that UTF-8 cannot carry."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "holds lone surrogates; save it as UTF-8"
    if size > TEXT_BYTES_MAX:
        return f"is {size} bytes long; at most {TEXT_BYTES_MAX} are read"
    return None


def _check_text(text: str, place: Place, faults: Faults) -> None:
    """Record a fault for text that the database cannot hold: NUL, lone surrogates."""
    if _UNSTORABLE.search(text):
        faults.add(place, "holds a NUL or a lone surrogate; remove it")
