"""Versions of the catalog as stored, and which of them a new one follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.build import catalog_from_body
from meter.model.catalog import CatalogTimeline
from meter.model.directory import SINCE_ALWAYS
from meter.model.event import Json
from meter.model.money import plain
from meter.store.hints import CATALOG, tell_at_commit
from meter.store.tables import catalogs

_CANONICAL: Final = msgspec.json.Encoder(order="sorted", decimal_format="string")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version as stored; `effective` None: since always; `account` None: for every account."""

    version: int
    effective: datetime | None
    body: Mapping[str, Json]
    digest: bytes
    account: str | None = None


def body_digest(body: Mapping[str, Json]) -> bytes:
    """Return SHA-256 of what a body says: keys in any order, numbers by value."""
    return sha256(_CANONICAL.encode(_by_value(body))).digest()


def _by_value(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _by_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_by_value(inner) for inner in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        # Told from the text "3" by its wrapping, for a condition tells them apart too.
        return {"number": plain(Decimal(value))}
    return value


async def read_versions(conn: AsyncConnection, operator: str) -> list[StoredVersion]:
    """Return every version, by number."""
    table = catalogs.c
    query = (
        select(table.version, table.effective, table.body, table.digest, table.account)
        .where(table.operator == operator)
        .order_by(table.version)
    )
    rows = await conn.execute(query)
    return [
        StoredVersion(version=version, effective=effective, body=body, digest=digest, account=account)
        for version, effective, body, digest, account in rows
    ]


async def newest_version(conn: AsyncConnection, operator: str) -> int | None:
    """Return the greatest number of a version; None before the first."""
    found = await conn.execute(select(func.max(catalogs.c.version)).where(catalogs.c.operator == operator))
    newest: int | None = found.scalar_one()
    return newest


async def load_catalogs(conn: AsyncConnection, operator: str) -> CatalogTimeline | None:
    """Return the operator's catalog; None before the first version."""
    return timeline(await read_versions(conn, operator))


def in_force(versions: Sequence[StoredVersion], at: datetime, *, account: str | None = None) -> StoredVersion | None:
    """Return the version in force at `at`: the latest effective, of equals the greatest number. None: there is none.

    Versions for one account alone count for `account` only.
    """
    begun = [
        v
        for v in versions
        if (v.effective is None or v.effective <= at) and (v.account is None or v.account == account)
    ]
    return max(begun, key=lambda v: (v.effective or SINCE_ALWAYS, v.version), default=None)


def timeline(versions: Sequence[StoredVersion]) -> CatalogTimeline | None:
    """Return the versions as rating uses them."""
    if not versions:
        return None
    return CatalogTimeline(
        versions=tuple(
            catalog_from_body(v.body, version=v.version, effective=v.effective, account=v.account) for v in versions
        )
    )


async def write_version(conn: AsyncConnection, operator: str, version: StoredVersion, *, reason: str | None) -> None:
    """Add a version, and have gateways told of it."""
    row = {
        "operator": operator,
        "version": version.version,
        "effective": version.effective,
        "body": version.body,
        "digest": version.digest,
        "reason": reason,
        "account": version.account,
    }
    await conn.execute(insert(catalogs).values(row))
    await tell_at_commit(conn, CATALOG)
