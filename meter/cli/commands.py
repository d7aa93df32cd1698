"""The commands: where each is, and what the list of all says of it, so that the list loads none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Place(NamedTuple):
    """Where a command or a group of commands is, below this package; `help` begins its own help text, too."""

    module: str
    attribute: str
    help: str


COMMANDS: Final[Mapping[str, Place]] = {
    "up": Place(
        "gateway", "up", "Run the whole gateway: with its own PostgreSQL and MQTT broker, unless settings name others."
    ),
    "serve": Place(
        "gateway",
        "serve",
        "Run the gateway alone, on the database and broker that the settings name. Any number may run side by side.",
    ),
    "migrate": Place(
        "gateway",
        "migrate",
        "Bring the database to this version. Safe to run twice, and while the older version serves.",
    ),
    "check": Place(
        "gateway", "check", "Tell whether settings, database, broker and each target answer, one line each."
    ),
    "apply": Place(
        "catalog", "apply", "Load a catalog: a new version where it says something new, and the people that it names."
    ),
    "plan": Place(
        "catalog",
        "plan",
        "Show what applying the files would change, every line that it would book, and for whom. Changes nothing.",
    ),
    "import": Place(
        "importing",
        "import_files",
        "Take in members, accounts, plans, badges, credit or events from tables; the same file again changes nothing.",
    ),
    "charges": Place("reading", "charges", "List charges in the order in which they were booked."),
    "balance": Place("reading", "balance", "Show what an account's grants have left."),
    "explain": Place("reading", "explain", "Tell how a charge came about, computed again from what is stored."),
    "statement": Place("statement", "statement", "Show what a period comes to: fees, usage, credit, taxes, totals."),
    "close": Place(
        "closing", "close", "Close a billing period: what differs later becomes adjustments of the next open one."
    ),
    "rerate": Place("rerate", "rerate", "Rate again with today's catalog from an instant on, and book what differs."),
    "rejections": Place("rejections", "app", "What was refused, with its reason and bytes."),
    "unresolved": Place("unresolved", "app", "Identities that nobody has claimed."),
    "drafts": Place("drafts", "app", "What vendors say of accounts, members and subscriptions."),
    "identities": Place("identities", "app", "Whose identities are, and were."),
    "members": Place("members", "app", "Members that turn out to be one."),
    "authorizations": Place("authorizations", "app", "What devices asked before they acted."),
    "unread": Place(
        "unread",
        "unread",
        "List what no meter could count: missing values, ends without a start, refunds of more than is left.",
    ),
    "doubtful": Place(
        "doubtful",
        "doubtful",
        "List events whose time is doubtful, and sources all of whose events come late by quarters of an hour.",
    ),
    "counters": Place(
        "counters", "counters", "Compare what printers counted themselves with what was metered, in sides."
    ),
    "sources": Place("sources", "app", "Vendors' webhooks and polls."),
    "edges": Place("edges", "app", "The agents on site."),
    "journal": Place("journal", "app", "The books: entries, what waits in suspense, the trial balance."),
    "deliveries": Place("deliveries", "app", "What the export targets are sent."),
    "reconcile": Place(
        "targets",
        "show_reconciliation",
        "Compare what a target holds with what it was sent. Ends with 1 where they differ.",
    ),
    "invoices": Place(
        "invoices",
        "invoices",
        "List invoices as the targets that hold them say they stand, the one that changed last first.",
    ),
    "keys": Place("keys", "app", "Keys of the HTTP interface."),
    "backup": Place("backup", "backup", "Copy the whole database, beside the running gateway, and check the copy."),
    "restore": Place(
        "backup",
        "restore",
        "Make a data directory without a database that of a backup; of a damaged one, say what is damaged.",
    ),
    "recovered": Place(
        "backup", "recovered", "Say that a database of one's own was restored, before a gateway starts on it."
    ),
    "evidence": Place("evidence", "app", "Events, charges and journal as Parquet, with a manifest."),
    "audit": Place("audit", "app", "Who did what, and whether anything of what is kept was changed."),
    "privacy": Place("privacy", "app", "What is kept of a person."),
    "simulate": Place(
        "simulate",
        "simulate",
        "Send realistic events: doors, printers, Wi-Fi, tills and rooms of coworking days, the same for the same seed.",
    ),
}
