"""The catalog's entries for the simulated people, as data and as YAML: what a gateway needs to rate their events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from meter.simulate.population import Account, Member, Space, population

# Before any day that anyone simulates, so that every event falls into a subscription.
_SINCE: Final = date(2026, 1, 1)
# Words that YAML takes for text as they stand; everything else is quoted.
_PLAIN: Final = re.compile(r"[^\W\d_][\w .@-]*", re.UNICODE)
_NOT_TEXT: Final = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})


def directory(*, sites: int, members: int) -> dict[str, Any]:
    """Return the sections `sites`, `accounts`, `members` and `grants` of a catalog for `sites` x `members` people."""
    spaces = population(sites=sites, members=members)
    return {
        "sites": {space.site.id: _site(space) for space in spaces},
        "accounts": dict(entry for space in spaces for entry in _accounts(space)),
        "members": {member.id: _member(member) for space in spaces for member in space.members},
        "grants": [grant for space in spaces for grant in _grants(space)],
    }


def directory_text(*, sites: int, members: int) -> str:
    """Return `directory` as YAML, one line an entry, that any catalog with the example's plans can end with."""
    lines = []
    for section, entries in directory(sites=sites, members=members).items():
        lines.append(f"{section}:" if entries else f"{section}: []")
        if isinstance(entries, dict):
            lines += [f"  {_flow(key)}: {_flow(entry)}" for key, entry in entries.items()]
        else:
            lines += [f"  - {_flow(entry)}" for entry in entries]
    return "\n".join(lines) + "\n"


def _site(space: Space) -> dict[str, Any]:
    site = space.site
    return {
        "name": site.name,
        "timezone": site.zone,
        "closes": f"{site.closes // 60:02d}:{site.closes % 60:02d}",
        "ledger_class": site.name,
        "tax": "vat19",
        "walk_in": site.walk_in,
    }


def _accounts(space: Space) -> Iterable[tuple[str, dict[str, Any]]]:
    for account in space.accounts:
        yield account.id, _account(account, space)
    yield space.site.walk_in, {"name": f"Walk-ins {space.site.name}", "timezone": space.site.zone}


def _account(account: Account, space: Space) -> dict[str, Any]:
    return {
        "name": account.name,
        "timezone": space.site.zone,
        "anchor_day": account.anchor_day,
        "subscriptions": [{"id": f"{account.id}-{account.plan}", "plan": account.plan, "from": _SINCE}],
    }


def _member(member: Member) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "account": member.account,
        "name": member.name,
        "email": member.email.partition(":")[2],
        "identities": [member.badge, *member.macs, member.user, member.email, member.square],
    }
    if member.own_plan:
        entry["subscriptions"] = [{"id": f"{member.id}-own-{member.plan}", "plan": member.plan, "from": _SINCE}]
    return entry


def _grants(space: Space) -> Iterable[dict[str, Any]]:
    """Yield what was given outside the plans: day packs to a few who come on day passes, pages to every second team."""
    for number, account in enumerate(account for account in space.accounts if account.plan == "day-pass"):
        if number % 4 == 0:
            member = next(member for member in space.members if member.account == account.id)
            days = {"id": f"days-{account.id}", "account": account.id, "member": member.id}
            yield days | {"unit": "day", "amount": "5", "meters": ["day-passes"]}
    for number, account in enumerate(account for account in space.accounts if account.plan == "team"):
        if number % 2 == 1:
            pages = {"id": f"pages-{account.id}", "account": account.id}
            yield pages | {"unit": "page", "amount": "25", "meters": ["print-pages"], "priority": 50}


def _flow(value: Any) -> str:
    """Return `value` in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)
