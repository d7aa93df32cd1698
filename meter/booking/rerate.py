"""Re-rating: today's catalog, in force since an instant in the past (rating.md, section 5).

A re-rate is a version like any other, so every later fold follows it, too. Versions that took effect in between are
followed as well: from the instant on one catalog holds until now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.touch import Touch
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.apply import REASON_CHARS_MAX
from meter.store.catalogs import StoredVersion, in_force, read_versions, write_version
from meter.store.directory import NO_CATALOG
from meter.store.directory_write import lock_facts, raise_facts_version, write_refolds
from meter.store.tables import accounts
from meter.store.thinning import require_readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerate:
    """What a re-rate does: the versions that it adds, and the accounts that are folded again, and since when."""

    operator: str
    since: datetime
    account: str | None
    versions: tuple[StoredVersion, ...]
    touches: tuple[Touch, ...]


async def rerate(
    connection: AsyncConnection, operator: str, *, since: datetime, account: str | None, reason: str, now: datetime
) -> Rerate:
    """Put the catalog that is in force at `now` into force since `since`, for one account or all.

    Within the caller's transaction. Raises BadInput (`no_catalog`, `bad_time`, `bad_reason`, `not_found`,
    `movements_thinned`).
    """
    if not reason or len(reason) > REASON_CHARS_MAX:
        message = f"a re-rate takes a reason of 1 to {REASON_CHARS_MAX} characters, which its charges name"
        raise BadInput(message, code="bad_reason")
    if since >= now:
        raise BadInput(f"{instant_text(since)} lies ahead; re-rate from an instant in the past", code="bad_time")
    await lock_facts(connection, operator)
    stored = await read_versions(connection, operator)
    current = in_force(stored, now, account=account)
    if current is None:
        raise BadInput(NO_CATALOG, code="no_catalog")
    names = set((await connection.execute(select(accounts.c.account).where(accounts.c.operator == operator))).scalars())
    if account is not None and account not in names:
        raise BadInput(f"there is no account {account[:80]!r}; see `meter balance`", code="not_found")
    versions: list[StoredVersion] = []
    between = {
        v.effective
        for v in stored
        if v.effective is not None and since < v.effective <= now and v.account in {None, account}
    }
    for effective in sorted({since, *between}):
        standing = in_force([*stored, *versions], effective, account=account)
        if standing is None or standing.digest != current.digest:
            number = max(v.version for v in (*stored, *versions)) + 1
            version = StoredVersion(
                version=number, effective=effective, body=current.body, digest=current.digest, account=account
            )
            await require_readable(connection, operator, version, stored)
            versions.append(version)
            await write_version(connection, operator, version, reason=reason)
    folded = names if account is None else {account}
    touches = tuple(Touch(name, since, reason) for name in sorted(folded))
    await raise_facts_version(connection, operator)
    await write_refolds(connection, operator, touches)
    return Rerate(operator=operator, since=since, account=account, versions=tuple(versions), touches=touches)
