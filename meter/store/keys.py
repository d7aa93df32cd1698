"""API keys: who may call, kept as hashes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, get_args

from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.hints import KEYS, tell_at_commit
from meter.store.tables import api_key_uses, api_keys, edge_enrollments

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
    api_keys.c.label,
    api_keys.c.client,
    api_keys.c.expires_at,
)
# Two of a client's keys are good while one follows the other.
ACTIVE_MAX: Final = 2
LABEL_CHARS_MAX: Final = 200
# Long enough to put the new one in place by hand; two good keys for more than a month are no rotation.
OVERLAP_HOURS: Final = 24
OVERLAP_HOURS_MAX: Final = 31 * 24
# A use is noted so seldom: who looks wants to know of keys that nobody uses any more.
USE_NOTED_EVERY_S: Final = 60


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
    label: str | None
    client: str
    expires_at: datetime | None
    last_used_at: datetime | None = None


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
    label: str | None = None,
    expires_at: datetime | None = None,
    client: str | None = None,
    at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which is nowhere else and cannot be shown again. `client`: whose key it follows.

    Raises BadInput (`invalid`): no scope, an unknown one, both restrictions, a restricted admin, a long label, or an
    end that is not after `at`, which is needed with one.
    """
    _check(scopes, site, account)
    if expires_at is not None and (at is None or expires_at <= at):
        raise BadInput(f"the key would have ended at {instant_text(expires_at)}; name a later end", code="invalid")
    if label is not None and len(label) > LABEL_CHARS_MAX:
        raise BadInput(f"the label has {len(label)} characters; at most {LABEL_CHARS_MAX} are kept", code="invalid")
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
                label=label,
                expires_at=expires_at,
                client=client,
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


async def find_principal(
    conn: AsyncConnection, operator: str, hashed: bytes, *, at: datetime
) -> tuple[Principal, datetime | None] | None:
    """Return who has the key whose secret hashes to `hashed`, and when that ends; None: none that is good at `at`.

    Looked up by hash: what an attacker learns from timing is about the hash of a guess, which says nothing of a key.
    """
    whose = (edge_enrollments.c.operator == api_keys.c.operator) & (edge_enrollments.c.api_key == api_keys.c.id)
    found = await conn.execute(
        select(*_COLUMNS, edge_enrollments.c.edge)
        .join_from(api_keys, edge_enrollments, whose, isouter=True)
        .where(api_keys.c.operator == operator, api_keys.c.secret_hash == hashed, _good(at))
    )
    row = found.one_or_none()
    if row is None:
        return None
    who = Principal(key=row.id, scopes=frozenset(row.scopes), site=row.site, account=row.account, edge=row.edge)
    return who, row.expires_at


def _good(at: datetime) -> ColumnElement[bool]:
    return api_keys.c.revoked_at.is_(None) & (api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > at))


async def note_use(conn: AsyncConnection, operator: str, key: str, *, at: datetime) -> None:
    """Note that a key was used, unless that was noted a short while ago."""
    noted = upsert(api_key_uses).values(operator=operator, key=key, used_at=at)
    await conn.execute(
        noted.on_conflict_do_update(
            constraint=api_key_uses.primary_key,
            set_={"used_at": noted.excluded.used_at},
            where=api_key_uses.c.used_at < at - timedelta(seconds=USE_NOTED_EVERY_S),
        )
    )


async def list_keys(conn: AsyncConnection, operator: str) -> list[ApiKey]:
    """Return every key of the operator, revoked ones too, oldest first."""
    used = (api_key_uses.c.operator == api_keys.c.operator) & (api_key_uses.c.key == api_keys.c.id)
    rows = await conn.execute(
        select(*_COLUMNS, api_key_uses.c.used_at)
        .join_from(api_keys, api_key_uses, used, isouter=True)
        .where(api_keys.c.operator == operator)
        .order_by(api_keys.c.created_at, api_keys.c.id)
    )
    return [replace(_key(row), last_used_at=row.used_at) for row in rows]


async def revoke_key(conn: AsyncConnection, operator: str, key: str, *, at: datetime) -> ApiKey:
    """Return the key, revoked from `at` on or since before. Raises BadInput (`not_found`)."""
    mine = (api_keys.c.operator == operator) & (api_keys.c.id == key)
    await conn.execute(update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=at))
    await tell_at_commit(conn, KEYS)
    row = (await conn.execute(select(*_COLUMNS).where(mine))).one_or_none()
    if row is None:
        raise BadInput(f"there is no key {key[:60]!r}; meter keys list shows them", code="not_found")
    return _key(row)


async def rotate_key(
    conn: AsyncConnection, operator: str, key: str, *, overlap: timedelta, at: datetime
) -> tuple[ApiKey, str]:
    """Return a key that may what `key` may, for as long, and its secret; `key` ends after `overlap` at the latest.

    Where the key that followed it was revoked, another follows. Raises BadInput: `not_found`, or `conflict` where `key`
    is not good any more, an enrolled agent's, or where another key of its client is good besides.
    """
    mine = (api_keys.c.operator == operator) & (api_keys.c.id == key)
    old = (await conn.execute(select(*_COLUMNS).where(mine))).one_or_none()
    if old is None:
        raise BadInput(f"there is no key {key[:60]!r}; meter keys list shows them", code="not_found")
    client = old.client or old.id
    # Of two that rotate keys of one client at once, the second sees what the first has made.
    first = (api_keys.c.operator == operator) & (api_keys.c.id == client)
    await conn.execute(select(api_keys.c.id).where(first).with_for_update())
    whose = (api_keys.c.client == client) | (api_keys.c.id == client)
    good = set(
        (await conn.execute(select(api_keys.c.id).where(api_keys.c.operator == operator, whose, _good(at)))).scalars()
    )
    if key not in good:
        raise BadInput(f"{key[:60]} is not good any more; meter keys create makes another", code="conflict")
    if len(good) >= ACTIVE_MAX:
        others = ", ".join(sorted(good - {key}))
        message = f"{others} of the same client is good as well, and no more than {ACTIVE_MAX} may be; revoke one first"
        raise BadInput(message, code="conflict")
    agents = select(edge_enrollments.c.edge).where(
        edge_enrollments.c.operator == operator, edge_enrollments.c.api_key == key
    )
    if (await conn.execute(agents)).first() is not None:
        raise BadInput("an agent's key comes with its enrolment; meter edges enroll replaces it", code="conflict")
    ends = at + overlap if old.expires_at is None else min(old.expires_at, at + overlap)
    # As long as the newest was meant to: none has followed it, so its end was not brought forward.
    newest = (
        await conn.execute(
            select(api_keys.c.created_at, api_keys.c.expires_at)
            .where(api_keys.c.operator == operator, whose)
            .order_by(api_keys.c.created_at.desc())
            .limit(1)
        )
    ).one()
    lasts = None if newest.expires_at is None else newest.expires_at - newest.created_at
    await conn.execute(update(api_keys).where(mine).values(expires_at=ends))
    await tell_at_commit(conn, KEYS)
    return await create_key(
        conn,
        operator,
        scopes=frozenset(old.scopes),
        site=old.site,
        account=old.account,
        label=old.label,
        expires_at=None if lasts is None else at + lasts,
        client=client,
        at=at,
    )


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        scopes=tuple(row.scopes),
        site=row.site,
        account=row.account,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        label=row.label,
        client=row.client or row.id,
        expires_at=row.expires_at,
    )
