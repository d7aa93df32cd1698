"""The section of the books: accounts by role and by meter, rules of income, when it is earned, what is locked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Final, get_args

from meter.catalog.entry import Entry
from meter.catalog.prices import read_dimensions
from meter.model.catalog import Meter
from meter.model.event import Json
from meter.model.ledger import IncomeRule, Ledger, Recognition, Unmapped
from meter.rating.calendar import MEMBERSHIP
from meter.rating.sale import POS

_LEDGER_ACCOUNT: Final = re.compile(r"[^\W_][\w -]*(:[^\W_][\w -]*)+")
# By what plays them; a clearing account may be one till's, a landlord's one party's.
_ROLES: Final = frozenset(
    "receivable unbilled clearing tax tips deposits deferred landlord share breakage refunds rounding suspense".split()
)
_ROLES_OF_ONE: Final = ("clearing.", "landlord.")
_KINDS: Final = ("usage", "fee", "minimum", "refund")
# What earns income without a meter of the catalog's.
_OWN_INCOME: Final = frozenset({MEMBERSHIP, POS})


def read_ledger(root: Entry, *, meters: Mapping[str, Meter], sites: Collection[str], plans: Collection[str]) -> Ledger:
    """Return the chart of accounts and its rules."""
    section = root.entry("ledger")
    if section is None:
        return Ledger()
    accounts = _roles(section.entry("accounts")) | _revenue(section.entry("revenue"), {*meters, *_OWN_INCOME})
    rules = [_rule(entry, meters=meters, sites=sites, plans=plans) for entry in section.entries("rules")]
    unmapped: Unmapped = "suspense" if section.word("unmapped", get_args(Unmapped)) == "suspense" else "meter"
    at_once = section.word("recognition", get_args(Recognition)) == "at_once"
    locked = _day(section, "locked")
    section.done()
    return Ledger(
        accounts=accounts,
        rules=tuple(rule for rule in rules if rule is not None),
        unmapped=unmapped,
        recognition="at_once" if at_once else "daily",
        locked=locked,
    )


def _roles(section: Entry | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if section is None:
        return found
    for role in section.keys():  # noqa: SIM118 -- an Entry is no dict
        if role not in _ROLES and not role.startswith(_ROLES_OF_ONE):
            hint = section.faults.suggestion(role, sorted(_ROLES))
            section.refuse(role, f"is no role{hint}; there are {', '.join(sorted(_ROLES))}")
        account = ledger_account_at(section, role)
        if account is not None:
            found[role] = account
    return found


def _revenue(section: Entry | None, earning: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if section is None:
        return found
    for name in section.keys():  # noqa: SIM118 -- an Entry is no dict
        if name not in earning:
            hint = section.faults.suggestion(name, sorted(earning))
            section.warn(name, f"is no meter{hint}, so nothing is posted there")
        account = ledger_account_at(section, name)
        if account is not None:
            found[f"revenue.{name}"] = account
    return found


def _rule(
    entry: Entry, *, meters: Mapping[str, Meter], sites: Collection[str], plans: Collection[str]
) -> IncomeRule | None:
    entry.need("income", "the account of the lines that fit, like income:drinks")
    income = ledger_account_at(entry, "income")
    meter = site = plan = kind = None
    dimensions: Mapping[str, Json] = {}
    match = entry.entry("match")
    if match is not None:
        meter = match.reference("meter", {*meters, *_OWN_INCOME}, "meter")
        site = match.reference("site", sites, "site")
        plan = match.reference("plan", plans, "plan")
        kind = match.word("kind", _KINDS)
        wanted = match.entry("dimensions")
        if wanted is not None:
            if meter is not None and meter in meters:
                dimensions = read_dimensions(wanted, meters[meter])
            else:
                match.fault("dimensions", "are a meter's; name the meter that they belong to beside them")
        match.done()
    entry.done()
    if income is None:
        return None
    return IncomeRule(income=income, meter=meter, site=site, plan=plan, kind=kind, dimensions=dimensions)


def _day(entry: Entry, key: str) -> date | None:
    day = entry.when(key)
    if isinstance(day, datetime):
        entry.fault(key, f"is {day.isoformat()}; write the last day that is closed, like 2026-03-31")
        return None
    return day


def ledger_account_at(entry: Entry, key: str) -> str | None:
    """Return the account of the ledger at `key`: colon-separated names, like assets:receivable."""
    account = entry.text(key)
    if account is not None and not _LEDGER_ACCOUNT.fullmatch(account):
        entry.fault(key, f"is {account[:60]!r}; write an account with its parts, like assets:receivable")
    return account
