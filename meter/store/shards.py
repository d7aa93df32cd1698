"""In how many shards an operator is rated, which all of its gateways must agree on (decision 0006)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import Broken, Unavailable
from meter.store.booking import read_cursors, write_cursors
from meter.store.leases import free_all


class ShardsDiffer(Broken):
    """Another gateway divides the accounts otherwise: what this one would rate is another's, too."""

    default_code = "shards_differ"


_COUNT: Final = text("SELECT rating_shards FROM operators WHERE operator = :operator")
_COUNT_ALONE: Final = text("SELECT rating_shards FROM operators WHERE operator = :operator FOR UPDATE")
_SET: Final = text("UPDATE operators SET rating_shards = :count WHERE operator = :operator")
_DROP: Final = text("DELETE FROM rating_cursors WHERE operator = :operator AND shard >= :count")


def lease_names(operator: str, count: int) -> list[str]:
    """Return the names of the leases of shards 0 to `count` - 1, in that order."""
    return [f"rating/{operator}/{shard}" for shard in range(count)]


async def rated_in(connection: AsyncConnection, operator: str) -> int | None:
    """Return in how many shards the operator is rated; None: nobody has rated yet."""
    found: int | None = (await connection.execute(_COUNT, {"operator": operator})).scalar_one_or_none()
    return found


async def settle_shards(connection: AsyncConnection, operator: str, count: int) -> int | None:
    """Have the operator rated in `count` shards from now on; return the former number where it changes, else None.

    An account may come into a shard that has read further than its own had, so all begin where the last one stood:
    what is read twice changes nothing. Raises Unavailable while a gateway rates in another number.
    """
    former: int | None = (await connection.execute(_COUNT_ALONE, {"operator": operator})).scalar_one()
    if former == count:
        return None
    if former is not None:
        if not await free_all(connection, lease_names(operator, max(former, count))):
            message = (
                f"METER_RATING_SHARDS is {count} here, and gateways at work rate in {former} shards; nothing is rated"
                f" here until they have stopped: set {former}, or stop them all and start them with {count}"
            )
            raise Unavailable(message, code="shards_differ")
        cursors = await read_cursors(connection, operator, range(former))
        await write_cursors(connection, operator, range(count), min(cursors.values()))
        await connection.execute(_DROP, {"operator": operator, "count": count})
    await connection.execute(_SET, {"operator": operator, "count": count})
    return former


async def stay_settled(connection: AsyncConnection, operator: str, count: int) -> None:
    """Return where `count` is still right, of a transaction in which it cannot change. Raises ShardsDiffer."""
    found = await rated_in(connection, operator)
    if found not in {None, count}:
        message = (
            f"METER_RATING_SHARDS is {count} here, and another gateway has taken over with {found}: all gateways of a"
            " database need the same; nothing was written"
        )
        raise ShardsDiffer(message)
