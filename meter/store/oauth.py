"""The tokens of a target: a row, shared by every gateway. Lives are measured by the server's clock.

    lock (advisory) ──▶ read ──▶ the vendor is asked ──▶ write ──▶ commit, which unlocks

Tokens that descend from other settings have a row of their own: a gateway that still runs with the settings before
must not write over what one with the new ones lives on.

The lock is no row lock: a transaction that holds one counts as writing, and every reader of the tail would wait for the
vendor with us (decision 0005). Nothing is written before the answer is there, and the commit follows at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import Broken
from meter.store.engine import passing_fault, sqlstate


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a target's tokens are. `lasts_s`: how long the access token lasts from now, `refresh_lasts_s` the other.

    `seed` is a hash of the settings that they descend from. `previous_refresh_token` gave the present one.
    """

    seed: str
    access_token: str = field(repr=False)
    lasts_s: float
    refresh_token: str | None = field(default=None, repr=False)
    previous_refresh_token: str | None = field(default=None, repr=False)
    refresh_lasts_s: float | None = None


_READ: Final = text(
    """
    SELECT seed, access_token, refresh_token, previous_refresh_token,
           CAST(extract(epoch FROM access_until - clock_timestamp()) AS double precision) AS lasts_s,
           CAST(extract(epoch FROM refresh_until - clock_timestamp()) AS double precision) AS refresh_lasts_s
      FROM oauth_tokens WHERE operator = :operator AND target = :target AND seed = :seed
    """
)
_WRITE: Final = text(
    """
    INSERT INTO oauth_tokens AS t (operator, target, seed, access_token, access_until, refresh_token,
                                   previous_refresh_token, refresh_until)
    VALUES (:operator, :target, :seed, :access_token, clock_timestamp() + make_interval(secs => :lasts_s),
            :refresh_token, :previous_refresh_token,
            clock_timestamp() + make_interval(secs => CAST(:refresh_lasts_s AS double precision)))
    ON CONFLICT (operator, target, seed) DO UPDATE
       SET access_token = EXCLUDED.access_token, access_until = EXCLUDED.access_until,
           refresh_token = EXCLUDED.refresh_token, previous_refresh_token = EXCLUDED.previous_refresh_token,
           refresh_until = EXCLUDED.refresh_until, refreshed_at = clock_timestamp()
    """
)


_FORGET: Final = text(
    """
    DELETE FROM oauth_tokens
     WHERE operator = :operator AND target = :target AND seed <> :seed
       AND refreshed_at < clock_timestamp() - make_interval(days => :days)
    """
)
# No two gateways run with different settings for so long.
_KEPT_DAYS: Final = 30
_WRITTEN: Final = tuple(field.name for field in fields(Tokens))


async def lock_tokens(connection: AsyncConnection, operator: str, target: str) -> None:
    """Wait until nobody else refreshes the target's tokens, and keep others waiting until the transaction ends."""
    digest = sha256(json.dumps(["oauth", operator, target]).encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


async def read_tokens(connection: AsyncConnection, operator: str, target: str, seed: str) -> Tokens | None:
    """Return the target's tokens that descend from `seed`; None: there are none yet."""
    row = (await connection.execute(_READ, {"operator": operator, "target": target, "seed": seed})).one_or_none()
    return None if row is None else Tokens(**row._mapping)  # noqa: SLF001 -- public in spite of its name


async def write_tokens(connection: AsyncConnection, operator: str, target: str, tokens: Tokens) -> None:
    """Keep the target's tokens in place of those before; forget those of settings that are long gone.

    Raises Broken where the database refuses them; no error that is raised shows a token.
    """
    given = {name: getattr(tokens, name) for name in _WRITTEN}
    try:
        await connection.execute(_WRITE, {"operator": operator, "target": target, **given})
    except DBAPIError as error:
        error.hide_parameters = True
        if error.connection_invalidated or passing_fault(error):
            raise
        # What the server says of a row shows the row.
        message = f"the tokens of {target} cannot be kept (SQLSTATE {sqlstate(error)}); look at table oauth_tokens"
        raise Broken(message, code="tokens_not_kept") from None
    forgotten = {"operator": operator, "target": target, "seed": tokens.seed, "days": _KEPT_DAYS}
    await connection.execute(_FORGET, forgotten)
