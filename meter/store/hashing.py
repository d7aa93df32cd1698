"""How identities are stored: hashed with the key of this installation, the same for all of its gateways.

Whoever writes or looks up an identity asks here; `meter.ingest.accept` does the same for events (decision 0012).
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.draft import DirectoryDraft
from meter.model.errors import BadInput
from meter.model.hashing import PLAIN, IdentityHasher
from meter.model.identity import normalise_identity
from meter.store.engine import HASHER_OPTION


def hasher_of(conn: AsyncConnection) -> IdentityHasher:
    """Return how the connection's database stores identities."""
    found = conn.sync_connection.get_execution_options().get(HASHER_OPTION, PLAIN) if conn.sync_connection else PLAIN
    return found if isinstance(found, IdentityHasher) else PLAIN


async def stored_identity(conn: AsyncConnection, operator: str, given: str) -> str:
    """Return an identity as it is stored.

    Raises BadInput: `bad_identity`; `identity_key_mismatch`, `bad_data_dir` where it would be hashed.
    """
    identity, hasher = normalise_identity(given), hasher_of(conn)
    if hasher.concerns(identity):
        await check_key(conn, operator)
    return hasher.stored(identity)


async def stored_draft(conn: AsyncConnection, operator: str, draft: DirectoryDraft) -> DirectoryDraft:
    """Return a draft with the identities that it claims as they are stored. Raises as `stored_identity`."""
    hasher = hasher_of(conn)
    if not any(hasher.concerns(claim.identity) for claim in draft.claims):
        return draft
    await check_key(conn, operator)
    claims = tuple(replace(claim, identity=hasher.stored(claim.identity)) for claim in draft.claims)
    return replace(draft, claims=claims)


async def check_key(conn: AsyncConnection, operator: str) -> None:
    """Make sure that identities are hashed with the key that was first used for this database.

    Raises BadInput (`identity_key_mismatch`). Where nothing is hashed there is nothing to check.
    """
    fingerprint = hasher_of(conn).fingerprint
    if fingerprint is None:
        return
    read = text("SELECT identity_check FROM operators WHERE operator = :operator")
    known = (await conn.execute(read, {"operator": operator})).scalar_one_or_none()
    if known is None:
        first = text(
            "UPDATE operators SET identity_check = coalesce(identity_check, :fingerprint)"
            " WHERE operator = :operator RETURNING identity_check"
        )
        known = (await conn.execute(first, {"operator": operator, "fingerprint": fingerprint})).scalar_one_or_none()
    if known is not None and bytes(known) != fingerprint:
        message = (
            "METER_IDENTITY_KEY: the identities of this database are hashed with another key, so nobody's would be"
            " found; set the key that was first (of a gateway without one: identity.key in its data directory)"
        )
        raise BadInput(message, code="identity_key_mismatch")


async def unhashed_claims(conn: AsyncConnection, operator: str) -> int:
    """Return how many claims stand as written only, though their kind is hashed now: new events do not find them."""
    query = text(
        "SELECT identity, member, start FROM identities WHERE operator = :operator"
        ' AND split_part(identity, \':\', 1) = ANY(:kinds) AND ("end" IS NULL OR "end" > start)'
    )
    hasher = hasher_of(conn)
    rows = (await conn.execute(query, {"operator": operator, "kinds": sorted(hasher.kinds)})).all()
    claimed = {tuple(row) for row in rows}
    return sum(
        hasher.concerns(identity) and (hasher.stored(identity), member, start) not in claimed
        for identity, member, start in claimed
    )
