"""The catalog's entries for the simulated people, as data and as YAML: what a gateway needs to rate their events."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from meter.simulate.population import Account, Member, Space, population

# Since when the people of the example catalog are members.
SINCE: Final = date(2026, 10, 1)
# Words that YAML takes for text as they stand; everything else is quoted.
_PLAIN: Final = re.compile(r"[^\W\d_][\w .@-]*", re.UNICODE)
_NOT_TEXT: Final = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})


def directory(*, sites: int, members: int, since: date = SINCE) -> dict[str, Any]:
    """Return the sections `sites`, `accounts`, `members` and `grants` of a catalog for `sites` x `members` people.

    They are members from `since` on: fees are due from then, and what happens before has no plan.
    """
    spaces = population(sites=sites, members=members)
    return {
        "sites": {space.site.id: _site(space) for space in spaces},
        "accounts": dict(entry for space in spaces for entry in _accounts(space, since)),
        "members": {member.id: _member(member, since) for space in spaces for member in space.members},
        "grants": [grant for space in spaces for grant in _grants(space, since)],
    }


def directory_text(*, sites: int, members: int, since: date = SINCE) -> str:
    """Return `directory` as YAML, one line an entry, that any catalog with the example's plans can end with."""
    lines = []
    for section, entries in directory(sites=sites, members=members, since=since).items():
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


def _accounts(space: Space, since: date) -> Iterable[tuple[str, dict[str, Any]]]:
    seats = Counter(member.account for member in space.members if not member.own_plan)
    teams = [account.id for account in space.accounts if account.plan == "team"]
    for account in space.accounts:
        founder = account.id in teams[::2]
        yield account.id, _account(account, space, since, seats=seats[account.id], founder=founder)
    yield space.site.walk_in, {"name": f"Walk-ins {space.site.name}", "timezone": space.site.zone}


def _account(account: Account, space: Space, since: date, *, seats: int, founder: bool) -> dict[str, Any]:
    subscription: dict[str, Any] = {"id": f"{account.id}-{account.plan}", "plan": account.plan, "from": since}
    if seats > 1:
        subscription["seats"] = seats
    if founder:
        subscription["discounts"] = [{"id": "founders", "rate": "0.10", "on": ["fees"]}]
    return {
        "name": account.name,
        "timezone": space.site.zone,
        "anchor_day": account.anchor_day,
        "subscriptions": [subscription],
    }


def _member(member: Member, since: date) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "account": member.account,
        "name": member.name,
        "email": member.email.partition(":")[2],
        "identities": [member.badge, *member.macs, member.user, member.email, member.square],
    }
    if member.own_plan:
        entry["subscriptions"] = [{"id": f"{member.id}-own-{member.plan}", "plan": member.plan, "from": since}]
    return entry


def _grants(space: Space, since: date) -> Iterable[dict[str, Any]]:
    """Yield credit outside the plans: days that a few who come on day passes buy, pages given to every second team."""
    bought = (since.replace(day=1) + timedelta(days=31)).replace(day=1)
    for number, account in enumerate(account for account in space.accounts if account.plan == "day-pass"):
        if number % 4 == 0:
            member = next(member for member in space.members if member.account == account.id)
            days = {"id": f"days-{account.id}", "account": account.id, "member": member.id}
            five = {"unit": "day", "amount": "5", "meters": ["day-passes"]}
            yield days | five | {"effective": bought, "bought": {"price": "125.00", "tax": "vat19"}}
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
