"""How agents on site get keys: codes, what each was good for, and the certificates signed (decision 0017).

code: open ──used with a public key──▶ used ──the same key──▶ used (another API key)
       │                                 └──another agent's code, revoked──▶ ended
       └──a later code of the same agent──▶ gone
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.certificates import NAME_CHARS_MAX, Authority, Issued, authority_of, common_name, issue, self_signed
from meter.model.code import ALPHABET, as_drawn
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.wire import EDGE_ID
from meter.store.catalogs import load_catalogs
from meter.store.edge_revocations import Agent, Revocation, lift, shut_out
from meter.store.keys import Scope, create_key, revoke_key, secret_hash
from meter.store.tables import edge_authorities, edge_certificates, edge_enrollments, edges

EXPIRES_DEFAULT: Final = timedelta(hours=24)
EXPIRES_MAX: Final = timedelta(days=31)
# What an agent does over HTTP.
_SCOPES: Final[frozenset[Scope]] = frozenset({"events:write", "authorizations:write"})
# 100 bits: nobody guesses that in a month.
_CODE_CHARS: Final = 20
_GROUP_CHARS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """One agent's way to its keys. `used_at` None: its code is open until `expires_at`."""

    id: str
    site: str
    edge: str
    opened_at: datetime
    expires_at: datetime
    used_at: datetime | None
    certificate_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What an agent is given: the secret of its API key is nowhere else."""

    site: str
    edge: str
    secret: str
    certificate: Issued


def new_code() -> str:
    """Return a code that can be read out over the telephone."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(_CODE_CHARS))
    return "-".join(drawn[at : at + _GROUP_CHARS] for at in range(0, _CODE_CHARS, _GROUP_CHARS))


def code_hash(code: str) -> bytes:
    """Return what is kept of a code, however it was typed."""
    return secret_hash(as_drawn(code))


async def authority(conn: AsyncConnection, operator: str, key_pem: str, *, at: datetime) -> Authority:
    """Return who signs, made with the first key that is shown here. Raises BadInput (`wrong_authority`, `bad_key`)."""
    query = select(edge_authorities.c.certificate).where(edge_authorities.c.operator == operator)
    known = (await conn.execute(query)).scalar_one_or_none()
    if known is None:
        made = self_signed(key_pem, operator=operator, at=at)
        first = upsert(edge_authorities).values(operator=operator, certificate=made, made_at=at)
        await conn.execute(first.on_conflict_do_nothing())
        known = (await conn.execute(query)).scalar_one()
    return authority_of(key_pem, known)


async def replace_authority(conn: AsyncConnection, operator: str, key_pem: str, *, at: datetime) -> Authority:
    """Return a new authority with this key in place of one whose key is lost: every agent has to enrol again."""
    await conn.execute(delete(edge_authorities).where(edge_authorities.c.operator == operator))
    return await authority(conn, operator, key_pem, at=at)


async def open_enrollment(
    conn: AsyncConnection, operator: str, *, site: str, edge: str, life: timedelta, by: str, at: datetime
) -> tuple[Enrollment, str]:
    """Return a new enrolment and its code, which is nowhere else. One of the same agent that nobody has used ends.

    Raises BadInput: `not_found` (no such site), `invalid`.
    """
    await _check_names(conn, operator, site, edge)
    if not timedelta(0) < life <= EXPIRES_MAX:
        raise BadInput(f"a code lasts up to {EXPIRES_MAX.days} days, and longer than no time", code="invalid")
    code = new_code()
    open_ones = _of(operator, site, edge) & edge_enrollments.c.used_at.is_(None)
    await conn.execute(delete(edge_enrollments).where(open_ones))
    row = insert(edge_enrollments).values(
        operator=operator,
        id="enr_" + secrets.token_hex(8),
        code_hash=code_hash(code),
        site=site,
        edge=edge,
        opened_at=at,
        expires_at=at + life,
        by=by,
    )
    return _enrollment((await conn.execute(row.returning(edge_enrollments))).one()), code


async def _check_names(conn: AsyncConnection, operator: str, site: str, edge: str) -> None:
    if len(common_name(site, edge)) > NAME_CHARS_MAX:
        message = f"{common_name(site, edge)[:80]!r} has more than {NAME_CHARS_MAX} characters; take a shorter --edge"
        raise BadInput(message, code="invalid")
    if not EDGE_ID.fullmatch(edge):
        raise BadInput(f"{edge[:60]!r} is no agent's id; take letters, digits and . _ ~ : -", code="invalid")
    catalogs = await load_catalogs(conn, operator)
    known = {} if catalogs is None else catalogs.versions[-1].sites
    if site not in known:
        message = f"the catalog has no site {site[:60]!r}; it has {', '.join(sorted(known)[:20])}"
        raise BadInput(message, code="not_found")


async def use_enrollment(
    conn: AsyncConnection, operator: str, code: str, public_key: bytes, *, signer: Authority, at: datetime
) -> Enrolled:
    """Return what the agent that shows `code` and this public key (DER) is given; what it had before is revoked.

    Shown again with the same key, for an answer that was lost, it answers again, with another API key.
    Raises BadInput: `unknown_code`, `code_expired`, `conflict` (used by another machine).
    """
    query = select(edge_enrollments).where(
        edge_enrollments.c.operator == operator, edge_enrollments.c.code_hash == code_hash(code)
    )
    row = (await conn.execute(query.with_for_update())).one_or_none()
    if row is None or row.ended_at is not None:
        message = "this code is not known here, or another has taken its place; meter edges enroll makes one"
        raise BadInput(message, code="unknown_code")
    if at >= row.expires_at:
        message = f"this code was good until {instant_text(row.expires_at)}; meter edges enroll makes another"
        raise BadInput(message, code="code_expired")
    if row.used_at is None:
        await end_enrollments(conn, operator, row.site, row.edge, at=at, but=row.id)
        await lift(conn, operator, Agent(row.site, row.edge), at=at)
    elif not hmac.compare_digest(row.public_key, public_key):
        message = (
            f"this code was used at {instant_text(row.used_at)} by another machine, or before its data directory was "
            "emptied; meter edges enroll makes another, and if nobody here used it, revoke the agent"
        )
        raise BadInput(message, code="conflict")
    else:
        await revoke_key(conn, operator, row.api_key, at=at)
    key, secret = await create_key(conn, operator, scopes=_SCOPES, site=row.site)
    change = update(edge_enrollments).where(_one(operator, row.id))
    await conn.execute(change.values(used_at=row.used_at or at, public_key=public_key, api_key=key.id))
    certificate = await certify(conn, operator, row.site, row.edge, public_key, signer=signer, at=at)
    return Enrolled(site=row.site, edge=row.edge, secret=secret, certificate=certificate)


async def enrolled_agents(conn: AsyncConnection, operator: str, agents: Collection[Agent]) -> set[Agent]:
    """Return which of `agents` have enrolled, and stand."""
    columns = edge_enrollments.c
    query = select(columns.site, columns.edge).where(
        columns.operator == operator,
        tuple_(columns.site, columns.edge).in_([tuple(agent) for agent in agents]),
        columns.used_at.is_not(None),
        columns.ended_at.is_(None),
    )
    return {Agent(row.site, row.edge) for row in await conn.execute(query)}


async def enrolled_key(conn: AsyncConnection, operator: str, *, site: str, edge: str, key: str) -> bytes:
    """Return the public key (DER) that an agent enrolled with, for the API key (its id) that it was given then.

    Raises BadInput (`not_found`): this API key is not that agent's.
    """
    query = select(edge_enrollments.c.public_key).where(
        _of(operator, site, edge), edge_enrollments.c.api_key == key, edge_enrollments.c.used_at.is_not(None)
    )
    # Whoever revokes the agent now waits, and finds the certificate that is made of it.
    public_key = (await conn.execute(query.with_for_update())).scalar_one_or_none()
    if public_key is None:
        raise BadInput(f"this key is not that of {edge[:60]!r} of {site[:60]!r}; enroll it again", code="not_found")
    return bytes(public_key)


async def revoke_agent(
    conn: AsyncConnection, operator: str, agent: Agent, *, reason: str, by: str, at: datetime
) -> Revocation:
    """Shut an agent out: its API keys and certificates are taken back, and what it sends is refused from now on.

    Raises BadInput: `not_found`, `invalid` (no reason).
    """
    if not reason.strip():
        raise BadInput("say why the agent is revoked: nothing that it sends is billed any more", code="invalid")
    heard_of = select(edges.c.boot).where(
        edges.c.operator == operator, edges.c.site == agent.site, edges.c.edge == agent.edge
    )
    # Whoever stores something of the agent now is done before, or refuses it.
    heard = (await conn.execute(heard_of.order_by(edges.c.boot).with_for_update())).first()
    ever = select(edge_enrollments.c.id).where(_named(operator, *agent))
    enrolled = (await conn.execute(ever.limit(1))).first()
    if heard is None and enrolled is None:
        message = f"site {agent.site[:60]!r} has no agent {agent.edge[:60]!r}; meter edges lists them"
        raise BadInput(message, code="not_found")
    await end_enrollments(conn, operator, *agent, at=at)
    return await shut_out(conn, operator, agent, reason=reason.strip(), by=by, at=at)


async def end_enrollments(
    conn: AsyncConnection, operator: str, site: str, edge: str, *, at: datetime, but: str | None = None
) -> None:
    """Take back everything that the agent was given: its API keys, its certificates, codes that are open."""
    ended = update(edge_enrollments).where(_of(operator, site, edge), edge_enrollments.c.id.is_distinct_from(but))
    for row in await conn.execute(ended.values(ended_at=at).returning(edge_enrollments.c.api_key)):
        if row.api_key is not None:
            await revoke_key(conn, operator, row.api_key, at=at)
    certificates = edge_certificates.c
    mine = (certificates.operator == operator) & (certificates.site == site) & (certificates.edge == edge)
    taken_back = update(edge_certificates).where(mine, certificates.revoked_at.is_(None))
    await conn.execute(taken_back.values(revoked_at=at))


async def revoked_certificates(conn: AsyncConnection, operator: str, *, at: datetime) -> list[tuple[str, datetime]]:
    """Return the serial numbers that were taken back and have not run out by themselves, with since when."""
    columns = edge_certificates.c
    query = select(columns.serial, columns.revoked_at).where(
        columns.operator == operator, columns.revoked_at.is_not(None), columns.expires_at > at
    )
    return [(row.serial, row.revoked_at) for row in await conn.execute(query.order_by(columns.serial))]


async def list_enrollments(conn: AsyncConnection, operator: str, *, site: str | None = None) -> list[Enrollment]:
    """Return the enrolments that stand, by site and agent, each with when its newest certificate ends."""
    columns = edge_certificates.c
    newest = (
        select(columns.expires_at)
        .where(
            columns.operator == operator,
            columns.site == edge_enrollments.c.site,
            columns.edge == edge_enrollments.c.edge,
            columns.revoked_at.is_(None),
            edge_enrollments.c.used_at.is_not(None),
        )
        .order_by(columns.expires_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = select(edge_enrollments, newest.label("certificate_expires_at")).where(
        edge_enrollments.c.operator == operator, edge_enrollments.c.ended_at.is_(None)
    )
    if site is not None:
        query = query.where(edge_enrollments.c.site == site)
    rows = await conn.execute(query.order_by(edge_enrollments.c.site, edge_enrollments.c.edge, edge_enrollments.c.id))
    return [_enrollment(row, certificate_expires_at=row.certificate_expires_at) for row in rows]


async def certify(
    conn: AsyncConnection, operator: str, site: str, edge: str, public_key: bytes, *, signer: Authority, at: datetime
) -> Issued:
    """Return a certificate of an agent's for its public key (DER), and note it. Raises BadInput."""
    made = issue(signer, public_key, site=site, edge=edge, at=at)
    row = insert(edge_certificates).values(
        operator=operator, serial=made.serial, site=site, edge=edge, issued_at=at, expires_at=made.expires_at
    )
    await conn.execute(row)
    return made


def _named(operator: str, site: str, edge: str) -> Any:
    columns = edge_enrollments.c
    return (columns.operator == operator) & (columns.site == site) & (columns.edge == edge)


def _of(operator: str, site: str, edge: str) -> Any:
    return _named(operator, site, edge) & edge_enrollments.c.ended_at.is_(None)


def _one(operator: str, enrollment: str) -> Any:
    return (edge_enrollments.c.operator == operator) & (edge_enrollments.c.id == enrollment)


def _enrollment(row: Row[Any], *, certificate_expires_at: datetime | None = None) -> Enrollment:
    return Enrollment(
        id=row.id,
        site=row.site,
        edge=row.edge,
        opened_at=row.opened_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        certificate_expires_at=certificate_expires_at,
    )
