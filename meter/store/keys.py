"""API keys: who may call, kept as hashes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.tables import api_keys, edge_enrollments

Scope: TypeAlias = Literal["events:write", "authorizations:write", "usage:read", "catalog:write", "admin"]
Restriction: TypeAlias = Literal["site", "account"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

# Tells people and secret scanners what leaked; 256 random bits follow, so a plain hash is enough to keep them by.
_PREFIX: Final = "mk_"
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 8
SECRET_CHARS: Final = len(_PREFIX) + 43  # base64url of 32 bytes, unpadded

_COLUMNS: Final = (
    api_keys.c.id,
    api_keys.c.scopes,
    api_keys.c.site,
    api_keys.c.account,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: `key` names the key in logs. `site` or `account` restricts it to that one; at most one is set.

    `edge`: the agent of `site` that enrolled and was given it; None: it is nobody's in particular.
    """

    key: str
    scopes: frozenset[str]
    site: str | None = None
    account: str | None = None
    edge: str | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether the key has `scope`; admin has every one."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def restriction(self) -> Restriction | None:
        """Return what the key is restricted to: one site, one account, or nothing."""
        if self.site is not None:
            return "site"
        return "account" if self.account is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret."""

    id: str
    scopes: tuple[str, ...]
    site: str | None
    account: str | None
    created_at: datetime
    revoked_at: datetime | None


def secret_hash(secret: str) -> bytes:
    """Return what is stored of `secret`: its SHA-256."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def create_key(
    conn: AsyncConnection,
    operator: str,
    *,
    scopes: frozenset[str],
    site: str | None = None,
    account: str | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which is nowhere else and cannot be shown again.

    Raises BadInput (`invalid`): no scope, an unknown one, both restrictions, or a restricted admin.
    """
    _check(scopes, site, account)
    secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    row = (
        await conn.execute(
            insert(api_keys)
            .values(
                operator=operator,
                id="key_" + secrets.token_hex(_ID_BYTES),
                secret_hash=secret_hash(secret),
                scopes=sorted(scopes),
                site=site,
                account=account,
            )
            .returning(*_COLUMNS)
        )
    ).one()
    return _key(row), secret


def _check(scopes: frozenset[str], site: str | None, account: str | None) -> None:
    unknown = sorted(scopes - set(SCOPES))
    if unknown or not scopes:
        fault = f"there is no scope {unknown[0][:40]!r}" if unknown else "a key needs a scope"
        raise BadInput(f"{fault}; choose from {', '.join(SCOPES)}", code="invalid")
    if site is not None and account is not None:
        raise BadInput("a key is restricted to a site or to an account, not to both; make two keys", code="invalid")
    if "admin" in scopes and (site is not None or account is not None):
        raise BadInput("an admin key cannot be restricted; give it other scopes or no restriction", code="invalid")


async def find_principal(conn: AsyncConnection, operator: str, hashed: bytes) -> Principal | None:
    """Return who has the key whose secret hashes to `hashed`; None where there is none or it is revoked.

    Looked up by hash: what an attacker learns from timing is about the hash of a guess, which says nothing of a key.
    """
    whose = (edge_enrollments.c.operator == api_keys.c.operator) & (edge_enrollments.c.api_key == api_keys.c.id)
    found = await conn.execute(
        select(*_COLUMNS, edge_enrollments.c.edge)
        .join_from(api_keys, edge_enrollments, whose, isouter=True)
        .where(api_keys.c.operator == operator, api_keys.c.secret_hash == hashed, api_keys.c.revoked_at.is_(None))
    )
    row = found.one_or_none()
    if row is None:
        return None
    return Principal(key=row.id, scopes=frozenset(row.scopes), site=row.site, account=row.account, edge=row.edge)


async def list_keys(conn: AsyncConnection, operator: str) -> list[ApiKey]:
    """Return every key of the operator, revoked ones too, oldest first."""
    rows = await conn.execute(
        select(*_COLUMNS).where(api_keys.c.operator == operator).order_by(api_keys.c.created_at, api_keys.c.id)
    )
    return [_key(row) for row in rows]


async def revoke_key(conn: AsyncConnection, operator: str, key: str, *, at: datetime) -> ApiKey:
    """Return the key, revoked from `at` on or since before. Raises BadInput (`not_found`)."""
    mine = (api_keys.c.operator == operator) & (api_keys.c.id == key)
    await conn.execute(update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=at))
    row = (await conn.execute(select(*_COLUMNS).where(mine))).one_or_none()
    if row is None:
        raise BadInput(f"there is no key {key[:60]!r}; meter keys list shows them", code="not_found")
    return _key(row)


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        scopes=tuple(row.scopes),
        site=row.site,
        account=row.account,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
