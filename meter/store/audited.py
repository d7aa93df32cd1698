"""Of which tables each change is recorded, by triggers of the database, and who is said to change (decision 0020).

A trigger sees what no code path can forget to tell: the version before, an import, a statement by hand. Statements that
touch many rows write theirs at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

# Who acts where nobody said: rating, gathering, an agent's heartbeat.
SYSTEM: Final = "system"
_ACTOR: Final[ContextVar[str | None]] = ContextVar("actor", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What is recorded of a table's changes.

    `keys` name the object, of those `hashed` by a keyed hash; `left_out` is no part of the digest. `by` people: what
    the machine itself does all the time is not recorded.
    """

    keys: tuple[str, ...]
    hashed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    by: Literal["all", "people"] = "all"

    @property
    def arguments(self) -> tuple[str, str, str, str]:
        """Return what the trigger is made with."""
        return (",".join(self.keys), ",".join(self.hashed), ",".join(self.left_out), self.by)


AUDITED: Final[Mapping[str, Audited]] = MappingProxyType(
    {
        "accounts": Audited(keys=("account",), left_out=("name", "external", "replaced")),
        "api_keys": Audited(keys=("id",)),
        "catalogs": Audited(keys=("version",)),
        "closes": Audited(keys=("account", "period_start"), left_out=("booked", "booked_xid")),
        "drafts": Audited(
            keys=("vendor", "name", "kind", "id"),
            hashed=("id",),
            left_out=("body", "note", "fault", "fault_facts"),
            by="people",
        ),
        "edge_authorities": Audited(keys=("certificate",), hashed=("certificate",)),
        "edge_certificates": Audited(keys=("serial",)),
        "edge_enrollments": Audited(keys=("id",)),
        "edge_retirements": Audited(keys=("site", "edge", "heard_at")),
        "edge_revocations": Audited(keys=("site", "edge", "at"), left_out=("refused", "kept", "refused_at")),
        "grants": Audited(keys=("grant",)),
        "identities": Audited(keys=("identity", "member", "start"), hashed=("identity",)),
        "member_accounts": Audited(keys=("member", "account", "start")),
        "members": Audited(keys=("member",)),
        "outbox": Audited(keys=("id",), left_out=("payload", "booked_at", "fault"), by="people"),
        "rejections": Audited(keys=("id",), left_out=("body", "stands", "detail", "count", "last_at"), by="people"),
        "subscriptions": Audited(keys=("subscription",)),
    }
)

# Sealed row by row, and only ever inserted (`meter.store.seals`).
SEALED: Final = frozenset({"audit", "charges", "draws", "entries", "event_keys", "events", "journal"})

# Why of the others nothing is recorded.
UNRECORDED: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("doubtful_times", "refunds", "revisions", "wifi_readings"), "follows from events, which are sealed")
    | dict.fromkeys(
        ("checkpoints", "held_events", "openings", "refolds", "unread", "unresolved", "wakes", "wifi_due"),
        "follows from what is recorded: made again by a fold, gone once it is done",
    )
    | dict.fromkeys(
        (
            *("edges", "export_billers", "export_buckets", "export_cursors", "feeds", "fetches", "invoices", "lanes"),
            *("leases", "oauth_tokens", "operators", "rating_cursors", "source_receipts"),
        ),
        "how far the machine is, and what vendors said last",
    )
    | {
        "alembic_version": "the schema's own",
        "schema_revision": "the schema's own",
        "api_key_uses": "when each key was used last; what it read is recorded as a reading",
        "backups": "written by `meter backup`, which is a command that is recorded",
        "restorations": "written by `meter restore`, which is told by the chain of seals as well",
        "authorizations": "asked by devices, kept with the key that asked; no bill depends on one",
        "deferrals": "follows from charges; each entry that it makes is sealed",
        "member_keys": "made with a member; destroyed by erasing one, which is recorded",
        "seals": "the chain itself",
    }
)


@contextmanager
def acting_for(actor: str) -> Iterator[None]:
    """Have what this context changes be recorded as `actor`'s: a key's id."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


async def say_actor(connection: AsyncConnection, default: str | None) -> None:
    """Tell the transaction who acts, where somebody does: one statement more, for people only."""
    actor = _ACTOR.get() or default
    if actor is not None:
        # No query, so that a transaction can still be given its isolation level; it takes no parameters.
        quoted = actor.replace("'", "''").replace("\0", "")
        await connection.exec_driver_sql(f"SET LOCAL meter.actor = '{quoted}'")
