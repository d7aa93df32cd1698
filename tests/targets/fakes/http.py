"""A request as a fake sees it, an answer as it gives it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, read whole. `parts` are the path's parameters; names of `headers` are in lower case.

    `target`: path and query as they were sent.
    """

    method: str
    path: str
    parts: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    target: str = ""

    def parameter(self, name: str, default: str = "") -> str:
        """Return a query parameter's first value."""
        return next((value for key, value in self.query if key == name), default)

    def json(self) -> Any:
        """Return the body, numbers with a fraction as Decimal. Raises Refuse (400) where it is no JSON."""
        try:
            return json.loads(self.body or b"{}", parse_float=Decimal)
        except ValueError as fault:
            raise Refuse(Answer(status=400, content={"message": f"the body is not JSON: {fault}"})) from fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status with JSON `content` or with bytes."""

    status: int = 200
    content: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the body's bytes."""
        if self.body is not None:
            return self.body
        return b"" if self.content is None else json.dumps(self.content, default=_number).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A request that came, what it got, and when by the fake's clock."""

    call: Call
    status: int
    at: datetime


class Refuse(Exception):
    """The request is answered with this and changes nothing."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.content)
        self.answer = answer


def _number(value: object) -> float:
    # Decimal(repr(float)) is exact for the 15 digits that money in a test has.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{value!r} has no JSON form")
