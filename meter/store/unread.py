"""What no meter could read or count, with the account whose fold found it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import Position
from meter.store.bulk import columns_of, insert_many
from meter.store.tables import unread

UnreadCode: TypeAlias = Literal["unread", "orphan", "refund"]


class UnreadValue(NamedTuple):
    """What `meter` could not count of the event `source`, `id`, and why; `element` is that of its array.

    `unread`: a value is missing or no number; `orphan`: an end without a start; `refund`: more than is left. It stands
    at `place`: the event's own, or that of the sale which a refund stands behind.
    """

    place: Position
    source: str
    id: str
    meter: str
    element: int
    code: UnreadCode
    reason: str

    @property
    def key(self) -> tuple[datetime, str, str, str, int]:
        """Return what tells it from everything else on its account's list."""
        return self.place.time, self.source, self.id, self.meter, self.element


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadChange:
    """What is not on an account's list any more, and what is new on it."""

    account: str
    gone: Collection[UnreadValue]
    fresh: Collection[UnreadValue]


class UnreadAt(NamedTuple):
    """A place in the list, in its order."""

    account: str
    time: datetime
    source: str
    id: str
    meter: str
    element: int


_PLACE: Final = "time, coalesce(behind_source, source), coalesce(behind_id, id)"
_COLUMNS: Final = "account, time, source, id, meter, element, behind_source, behind_id, code, reason"
_AFTER: Final = text(
    f"SELECT {_COLUMNS} FROM unread"  # noqa: S608 -- names of our own columns
    " WHERE operator = :operator AND account = ANY(CAST(:accounts AS text[]))"
    f" AND time >= :time AND ({_PLACE}) > (:time, :source, :id)"
)
_DELETE: Final = text(
    """
    DELETE FROM unread AS u
     USING unnest(CAST(:accounts AS text[]), CAST(:times AS timestamptz[]), CAST(:sources AS text[]),
                  CAST(:ids AS text[]), CAST(:meters AS text[]), CAST(:elements AS integer[]))
           AS g (account, time, source, id, meter, element)
     WHERE u.operator = :operator AND u.account = g.account AND u.time = g.time AND u.source = g.source
       AND u.id = g.id AND u.meter = g.meter AND u.element = g.element
    """
)
_PAGE: Final = text(
    f"""
    SELECT {_COLUMNS} FROM unread
     WHERE operator = :operator
       AND (CAST(:account AS text) IS NULL OR account = :account)
       AND (CAST(:meter AS text) IS NULL OR meter = :meter)
       AND (CAST(:site AS text) IS NULL OR split_part(source, '/', 1) = :site)
       AND (CAST(:from_account AS text) IS NULL OR (account, time, source, id, meter, element)
            > (:from_account, CAST(:from_time AS timestamptz), :from_source, :from_id, :from_meter,
               CAST(:from_element AS integer)))
     ORDER BY account, time, source, id, meter, element
     LIMIT :rows_max
    """  # noqa: S608 -- names of our own columns
)


async def unread_after(
    connection: AsyncConnection, operator: str, accounts: Collection[str], *, after: Position
) -> dict[str, set[UnreadValue]]:
    """Return what is listed after a position of those of the accounts that have any."""
    rows = await connection.execute(
        _AFTER,
        {"operator": operator, "accounts": sorted(accounts), **after._asdict()},
    )
    found: dict[str, set[UnreadValue]] = {}
    for row in rows:
        found.setdefault(row.account, set()).add(_value(row))
    return found


async def change_unread(connection: AsyncConnection, operator: str, changes: Sequence[UnreadChange]) -> None:
    """Bring accounts' lists up to date; nothing changed is no statement."""
    gone = [(change.account, value) for change in changes for value in sorted(change.gone)]
    if gone:
        parameters = {
            "accounts": [account for account, _ in gone],
            "times": [value.place.time for _, value in gone],
            "sources": [value.source for _, value in gone],
            "ids": [value.id for _, value in gone],
            "meters": [value.meter for _, value in gone],
            "elements": [value.element for _, value in gone],
        }
        await connection.execute(_DELETE, {"operator": operator, **parameters})
    rows = [
        {
            "operator": operator,
            "account": change.account,
            "time": value.place.time,
            "source": value.source,
            "id": value.id,
            "meter": value.meter,
            "element": value.element,
            "behind_source": None if _at_its_own(value) else value.place.source,
            "behind_id": None if _at_its_own(value) else value.place.id,
            "code": value.code,
            "reason": value.reason,
        }
        for change in changes
        for value in sorted(change.fresh)
    ]
    if rows:
        # A list holds up no bill, whatever is on it already.
        statement = insert_many(unread, tuple(rows[0]), "ON CONFLICT DO NOTHING")
        await connection.execute(statement, columns_of(unread, rows))


async def unread_values(
    connection: AsyncConnection,
    operator: str,
    *,
    account: str | None = None,
    meter: str | None = None,
    site: str | None = None,
    after: UnreadAt | None = None,
    rows_max: int,
) -> list[tuple[str, UnreadValue]]:
    """Return what is listed behind `after`, by account and time, each with its account; None: of all of them."""
    rows = await connection.execute(
        _PAGE,
        {
            "operator": operator,
            "account": account,
            "meter": meter,
            "site": site,
            **{f"from_{name}": None if after is None else getattr(after, name) for name in UnreadAt._fields},
            "rows_max": rows_max,
        },
    )
    return [(row.account, _value(row)) for row in rows]


def _at_its_own(value: UnreadValue) -> bool:
    return (value.place.source, value.place.id) == (value.source, value.id)


def _value(row: Row[tuple[object, ...]]) -> UnreadValue:
    own = row.behind_source is None
    source, id = (row.source, row.id) if own else (row.behind_source, row.behind_id)
    return UnreadValue(Position(row.time, source, id), row.source, row.id, row.meter, row.element, row.code, row.reason)
