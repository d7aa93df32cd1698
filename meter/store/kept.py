"""What erasing a member leaves as it is, and why. Every other searched column is rewritten, a new one from day one.

Each reason is one that a test can hold against the column: see `Why`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, Table

from meter.store.personal import NOBODY, searched

# Tables of which no row is rewritten, and why.
WHOLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "audit": "holds no values; members and identities stand by pseudonyms and keyed hashes",
        "checkpoints": "removed: folds make them again",
        "closes": "periods of accounts, and why they were closed",
        "edge_enrollments": "agents, and who of the operator's people let them in",
        "edge_retirements": "agents, and who of the operator's people said so",
        "edge_revocations": "agents, and who of the operator's people said so",
        "journal": "sums of accounts",
        "member_keys": "the key is destroyed last",
        "refunds": "keys of events",
        "revisions": "keys of events",
    }
)


class Why(StrEnum):
    """Why a column is kept: tests/privacy/test_kept.py says what must be so where a reason is given."""

    ACCOUNT = "whom invoices are written to; targets know it by that"
    EVENT = "by what its sender calls it a repetition is known, and all that came of it"
    ROW = "what our own rows are known by, made by us"
    CATALOG = "a word of the catalog, or what the operator calls a thing of its own in it"
    WORD = "one of a few words of ours"
    SETTING = "what the operator calls a thing in its settings or on its sites"
    VENDOR = "what a target calls its own object"
    SHAPE = "JSON of ours that has room for nobody"


# Of each table that has it.
EVERYWHERE: Final[Mapping[str, Why]] = MappingProxyType(
    dict.fromkeys(["account"], Why.ACCOUNT)
    | dict.fromkeys(["source", "event_id"], Why.EVENT)
    | dict.fromkeys(["api_key", "key", "stream"], Why.ROW)
    | dict.fromkeys(["currency", "event_type", "meter", "plan", "site", "type", "unit"], Why.CATALOG)
    | dict.fromkeys(["channel", "code", "kind", "role", "state", "status"], Why.WORD)
    | dict.fromkeys(["edge", "target", "vendor"], Why.SETTING)
)
_EVENT_ID: Final = {"id": Why.EVENT}
KEPT: Final[Mapping[str, Mapping[str, Why]]] = MappingProxyType(
    {
        "accounts": {"replaced": Why.SHAPE},  # earlier currencies, zones and days
        "api_keys": {"id": Why.ROW, "client": Why.ROW},
        "authorizations": {"id": Why.EVENT, "settled_source": Why.EVENT, "settled_id": Why.EVENT},
        "catalogs": {"body": Why.CATALOG},
        "charges": {
            "id": Why.ROW,
            "corrects": Why.ROW,
            "part": Why.WORD,
            "events": Why.SHAPE,  # sources and ids
            "price": Why.CATALOG,
            "tax_name": Why.CATALOG,
            "settlement": Why.WORD,
            "shares": Why.SHAPE,  # parties of the catalog
        },
        "deferrals": {"charge": Why.ROW, "chain": Why.ROW, "debit": Why.CATALOG, "credit": Why.CATALOG},
        "doubtful_times": _EVENT_ID,
        "drafts": {"name": Why.SETTING},
        "draws": {"charge": Why.ROW},
        "entries": {"id": Why.ROW},
        "events": _EVENT_ID,
        "export_buckets": {"name": Why.ROW, "closing_account": Why.ACCOUNT},
        "feeds": {"name": Why.SETTING, "feed": Why.WORD},
        "fetches": {"name": Why.SETTING},
        "grants": {"grant": Why.CATALOG, "bought_tax": Why.CATALOG, "overage": Why.WORD},
        "invoices": {"remote_id": Why.VENDOR, "invoice": Why.ROW},
        "outbox": {"operation": Why.WORD, "batch": Why.ROW, "remote_id": Why.VENDOR},
        "subscriptions": {"subscription": Why.CATALOG},
        "unread": {"id": Why.EVENT, "behind_source": Why.EVENT, "behind_id": Why.EVENT},
        "unresolved": _EVENT_ID,
        "wifi_readings": {"id": Why.EVENT, "nas": Why.SETTING},
    }
)


def kept_columns(table: Table) -> dict[str, Why]:
    """Return the searched columns of a table that are not rewritten, and why."""
    if table.name in NOBODY or table.name in WHOLE:
        return {}
    known = {**EVERYWHERE, **KEPT.get(table.name, {})}
    return {column.name: known[column.name] for column in searched(table) if column.name in known}


def erased_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that are rewritten."""
    if table.name in NOBODY or table.name in WHOLE:
        return []
    kept = kept_columns(table)
    return [column for column in searched(table) if column.name not in kept]
