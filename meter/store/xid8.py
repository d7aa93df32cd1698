"""PostgreSQL's `xid8` for SQLAlchemy: what the tables and their migrations share."""

from __future__ import annotations

from typing import Any

from sqlalchemy.types import UserDefinedType


class Xid8(UserDefinedType[int]):
    """A PostgreSQL transaction id that never wraps (`xid8`), as int."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        """Return the type's name in DDL."""
        return "xid8"
