"""QuickBooks' query language, as far as an exporter looks things up:

    select * | count(*) from E [where F op V {and F op V}] [orderby F [asc|desc]] [startposition N] [maxresults N]

Only some properties can be asked for, as in QuickBooks: a note cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]
_FIELDS = frozenset(
    "Id DocNumber TxnDate TotalAmt Balance DueDate CustomerRef Name FullyQualifiedName DisplayName Active AcctNum "
    "AccountType MetaData.CreateTime MetaData.LastUpdatedTime".split()
)
_STATEMENT = re.compile(
    r"""\s*select\s+(?P<what>\*|count\(\*\))\s+from\s+(?P<entity>\w+)
        (?:\s+where\s+(?P<where>.+?))?(?:\s+order\s*by\s+(?P<order>[\w.]+)(?:\s+(?P<way>asc|desc))?)?
        (?:\s+startposition\s+(?P<start>\d+))?(?:\s+maxresults\s+(?P<most>\d+))?\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_TEXT = r"'(?:[^'\\]|\\.)*'"
_CONDITION = re.compile(
    rf"\s*(?P<field>[\w.]+)\s*(?P<op>=|<=|>=|<|>|like|in)\s*(?P<value>{_TEXT}|\([^)]*\)|true|false)\s*(?:and\b|$)",
    re.IGNORECASE,
)
_RESULTS_MAX, _RESULTS_DEFAULT = 1000, 100
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda is_, asked: bool(is_ == asked),
    "<": lambda is_, asked: bool(is_ < asked),
    ">": lambda is_, asked: bool(is_ > asked),
    "<=": lambda is_, asked: bool(is_ <= asked),
    ">=": lambda is_, asked: bool(is_ >= asked),
    "in": lambda is_, asked: is_ in asked,
    "like": lambda is_, asked: re.fullmatch(asked, is_, re.DOTALL) is not None,
}


class QueryFault(Exception):
    """The query is not understood, or asks for what cannot be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    entity: str
    counts: bool
    conditions: tuple[tuple[str, str, Any], ...]
    order: str
    descending: bool
    start: int
    most: int


def parse(text: str) -> Query:
    """Return what is asked. Raises QueryFault."""
    found = _STATEMENT.fullmatch(text)
    if found is None:
        raise QueryFault(f"Error parsing query: {text}")
    conditions, position, where = [], 0, found["where"] or ""
    while position < len(where):
        one = _CONDITION.match(where, position)
        if one is None:
            raise QueryFault(f"Error parsing query: {where[position:]}")
        if one["field"] not in _FIELDS:
            raise QueryFault(f"Property {one['field']} not found for Entity {found['entity']}")
        conditions.append((one["field"], one["op"].lower(), _value(one["op"].lower(), one["value"])))
        position = one.end()
    most = int(found["most"] or _RESULTS_DEFAULT)
    if most > _RESULTS_MAX:
        raise QueryFault(f"The maximum number of results is {_RESULTS_MAX}, not {most}")
    return Query(
        entity=found["entity"], counts=found["what"] != "*", conditions=tuple(conditions), order=found["order"] or "",
        descending=(found["way"] or "").lower() == "desc", start=int(found["start"] or 1), most=most,
    )  # fmt: skip


def matching(query: Query, entities: Sequence[Json]) -> list[Json]:
    """Return all that match, in the order asked for; paging is the caller's."""
    found = [one for one in entities if all(_holds(one, *condition) for condition in query.conditions)]
    if query.order:
        found.sort(key=lambda one: _comparable(query.order, _read(one, query.order)), reverse=query.descending)
    return found


def _value(op: str, text: str) -> Any:
    if op == "in":
        return tuple(_plain(one) for one in re.findall(_TEXT, text))
    plain = text.lower() if text.lower() in {"true", "false"} else _plain(text)
    return ".*".join(re.escape(part) for part in plain.split("%")) if op == "like" else plain


def _plain(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _read(entity: Json, field: str) -> str | None:
    here: Any = entity
    for step in field.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    if isinstance(here, dict):
        here = here.get("value")
    return str(here).lower() if isinstance(here, bool) else None if here is None else str(here)


def _comparable(field: str, text: str | None) -> Any:
    if field.startswith("MetaData.") and text is not None:
        return datetime.fromisoformat(text)
    return text or ""


def _holds(entity: Json, field: str, op: str, asked: Any) -> bool:
    held = _read(entity, field)
    if held is None:
        return False
    if op in {"in", "like"}:
        return _TESTS[op](held, asked)
    return _TESTS[op](_comparable(field, held), _comparable(field, asked))
