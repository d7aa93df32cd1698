"""Many rows in one statement: `INSERT ... SELECT FROM unnest(...)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ARRAY, Column, Table, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import Broken
from meter.store.engine import encode_json

_DIALECT: Final = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def _array_type(column: Column[Any]) -> str:
    """Return the type of a column's values in an array; JSON travels as text, for that is how it is encoded."""
    if isinstance(column.type, ARRAY):
        message = f"{column.table.name}.{column.name} is an array, which unnest would flatten; insert it row by row"
        raise Broken(message, code="not_bulk")
    if isinstance(column.type, JSONB):
        return "text"
    # "timestamp with time zone" and the like; a collation belongs to the column, not to the array.
    return str(column.type.compile(dialect=_DIALECT)).split(" COLLATE ")[0]


@lru_cache(maxsize=64)
def insert_many(table: Table, columns: tuple[str, ...], suffix: str = "") -> TextClause:
    """Return an INSERT of `columns` from one array parameter each, named as its column; `suffix` follows it.

    `suffix` is SQL of ours: `ON CONFLICT ... RETURNING ...`.
    """
    chosen = [table.c[name] for name in columns]
    names = ", ".join(f'"{column.name}"' for column in chosen)
    values = ", ".join(
        f'given."{column.name}"::jsonb' if isinstance(column.type, JSONB) else f'given."{column.name}"'
        for column in chosen
    )
    arrays = ", ".join(f"CAST(:{column.name} AS {_array_type(column)}[])" for column in chosen)
    return text(
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS given ({names}) {suffix}"  # noqa: S608 -- names of our own tables
    )


def columns_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows (all with the same keys) turned into one list a column; JSON is encoded."""
    names = tuple(rows[0])
    turned: dict[str, list[Any]] = {}
    for name in names:
        values = [row[name] for row in rows]
        if isinstance(table.c[name].type, JSONB):
            values = [None if value is None else encode_json(value) for value in values]
        turned[name] = values
    return turned


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append `rows`, all with the same keys, in their order, where no key can be there already.

    Not by COPY, which PostgreSQL refuses where rows are walled (decision 0018).
    """
    if rows:
        await connection.execute(insert_many(table, tuple(rows[0])), columns_of(table, rows))


async def update_rows(
    connection: AsyncConnection,
    table: Table,
    columns: Sequence[str],
    changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> None:
    """Write new values of `columns` into rows: of each as it stands, by its key, and what it becomes."""
    keys = [column.name for column in table.primary_key.columns]
    chosen = [(f"old_{name}", table.c[name]) for name in keys] + [(name, table.c[name]) for name in columns]
    names = ", ".join(f'"{name}"' for name, _ in chosen)
    arrays = ", ".join(f"CAST(:{name} AS {_array_type(column)}[])" for name, column in chosen)
    values = ", ".join(
        f'"{name}" = given."{name}"' + ("::jsonb" if isinstance(table.c[name].type, JSONB) else "") for name in columns
    )
    same = " AND ".join(f't."{name}" = given."old_{name}"' for name in keys)
    old = {f"old_{name}": [row[name] for row, _ in changes] for name in keys}
    new = columns_of(table, [{name: values[name] for name in columns} for _, values in changes])
    await connection.execute(
        text(f"UPDATE {table.name} AS t SET {values} FROM unnest({arrays}) AS given ({names}) WHERE {same}"),  # noqa: S608 -- names of our own tables
        old | new,
    )
