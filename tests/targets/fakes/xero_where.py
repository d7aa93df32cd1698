"""Xero's where-clauses, as far as an exporter looks things up.

F == "text", F >= DateTime(2026, 11, 1), F.Contains("text"), F.StartsWith("text"), F == Guid("..."), F != null,
joined by AND or &&.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

Json = dict[str, Any]
_TEXT = r'"(?:[^"\\]|\\.)*"'
_TERM = re.compile(
    rf"""\s*(?P<field>\w+(?:\.(?!Contains|StartsWith|EndsWith)\w+)?)\s*
        (?:\.(?P<call>Contains|StartsWith|EndsWith)\((?P<part>{_TEXT})\)
          |(?P<op>==|!=|>=|<=|>|<)\s*
           (?:DateTime\((?P<day>[\d,\s]+)\)|Guid\((?P<id>{_TEXT})\)|(?P<plain>{_TEXT}|null|true|false)))
        \s*(?:(?:AND|&&)\s*|$)""",
    re.VERBOSE,
)
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda is_, asked: bool(is_ == asked),
    "!=": lambda is_, asked: bool(is_ != asked),
    ">=": lambda is_, asked: is_ is not None and bool(is_ >= asked),
    "<=": lambda is_, asked: is_ is not None and bool(is_ <= asked),
    ">": lambda is_, asked: is_ is not None and bool(is_ > asked),
    "<": lambda is_, asked: is_ is not None and bool(is_ < asked),
    "Contains": lambda is_, asked: is_ is not None and asked in is_,
    "StartsWith": lambda is_, asked: is_ is not None and is_.startswith(asked),
    "EndsWith": lambda is_, asked: is_ is not None and is_.endswith(asked),
}


class WhereFault(Exception):
    """The clause is not understood."""


def parse(where: str) -> Callable[[Json], bool]:
    """Return the test that the clause is. Raises WhereFault."""
    terms: list[tuple[str, str, Any]] = []
    position = 0
    while position < len(where):
        term = _TERM.match(where, position)
        if term is None:
            raise WhereFault(f"QueryParseException: {where[position:]}")
        terms.append((term["field"], term["call"] or term["op"], _asked(term)))
        position = term.end()
    return lambda one: all(_TESTS[op](_read(one, field, asked), asked) for field, op, asked in terms)


def _asked(term: re.Match[str]) -> Any:
    if term["day"]:
        return date(*(int(part) for part in term["day"].split(",")[:3]))
    text = term["part"] or term["id"] or term["plain"]
    if text in {"null", "true", "false"}:
        return {"null": None, "true": True, "false": False}[text]
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _read(one: Json, field: str, asked: Any) -> Any:
    here: Any = one
    for step in field.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    return date.fromisoformat(here[:10]) if isinstance(asked, date) and here is not None else here
