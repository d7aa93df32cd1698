"""The schema. Every key is led by the operator, so that rows of one operator can live together (decision 0004).

Append-only: `event_keys`, `events`, `rejections` (but for its status), `charges`, `draws`, `entries`, `journal`,
`edge_retirements`, `audit`, `seals`. Tail reads go by (`xid`, `seq`) below the oldest running transaction, never by
`seq` alone: a later commit can carry a smaller `seq` (decision 0005).
"""

from meter.store.tables.authorizations import authorizations
from meter.store.tables.booked import charges, closes, draws, journal
from meter.store.tables.books import deferrals, entries, openings
from meter.store.tables.delivery import lanes, outbox
from meter.store.tables.directory import accounts, grants, identities, member_accounts, members, subscriptions
from meter.store.tables.enrolled import edge_authorities, edge_certificates, edge_enrollments
from meter.store.tables.evidence import audit, member_keys, seals
from meter.store.tables.gathering import export_billers, export_buckets, export_cursors
from meter.store.tables.incoming import (
    edge_retirements,
    edge_revocations,
    edges,
    event_keys,
    events,
    held_events,
    refunds,
    revisions,
)
from meter.store.tables.invoices import invoices
from meter.store.tables.oauth import oauth_tokens
from meter.store.tables.progress import checkpoints, leases, rating_cursors, refolds, wakes
from meter.store.tables.safekeeping import backups, restorations
from meter.store.tables.schema import metadata
from meter.store.tables.sources import drafts, feeds, fetches, source_receipts, wifi_due, wifi_readings
from meter.store.tables.tenant import api_key_uses, api_keys, catalogs, operators
from meter.store.tables.worklists import doubtful_times, rejections, unread, unresolved

__all__ = [
    "accounts",
    "api_key_uses",
    "api_keys",
    "audit",
    "authorizations",
    "backups",
    "catalogs",
    "charges",
    "checkpoints",
    "closes",
    "deferrals",
    "doubtful_times",
    "drafts",
    "draws",
    "edge_authorities",
    "edge_certificates",
    "edge_enrollments",
    "edge_retirements",
    "edge_revocations",
    "edges",
    "entries",
    "event_keys",
    "events",
    "export_billers",
    "export_buckets",
    "export_cursors",
    "feeds",
    "fetches",
    "grants",
    "held_events",
    "identities",
    "invoices",
    "journal",
    "lanes",
    "leases",
    "member_accounts",
    "member_keys",
    "members",
    "metadata",
    "oauth_tokens",
    "openings",
    "operators",
    "outbox",
    "rating_cursors",
    "refolds",
    "refunds",
    "rejections",
    "restorations",
    "revisions",
    "seals",
    "source_receipts",
    "subscriptions",
    "unread",
    "unresolved",
    "wakes",
    "wifi_due",
    "wifi_readings",
]
