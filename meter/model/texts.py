"""Instants and numbers as they leave: texts, with what JSON Schema says of them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

InstantText: TypeAlias = Annotated[
    str, msgspec.Meta(description="RFC 3339 with an offset.", extra_json_schema={"format": "date-time"})
]
DecimalText: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        description="A decimal number, without exponent.", extra_json_schema={"examples": ["12.5"], "format": "decimal"}
    ),
]
