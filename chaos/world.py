"""The space that the run plays: its prices, its members, and what they do. It imports nothing of the product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

# Many enough that an account's history stays short, few enough that everybody's credit runs out.
ACCOUNTS: Final = 24
ZONE: Final = ZoneInfo("Europe/Berlin")
TAX: Final = Decimal("0.19")
# Each of the two plans has its own prices: of a door, and of pages up to a bound and beyond it.
DOOR: Final = (Decimal("0.07"), Decimal("0.11"))
PAGES_BOUND: Final = 200
PAGES: Final = ((Decimal("0.05"), Decimal("0.03")), (Decimal("0.06"), Decimal("0.04")))
# Pages that are free every month, and a pack that has been given and has expired since.
FREE_PAGES: Final = Decimal(100)
PACK_PAGES: Final = Decimal(40)
PACK_DAYS: Final = (10, 3)  # it begins and ends so many days ago
# How far back a printer that was offline tells its jobs.
LATE_DAYS: Final = 12
KISI_FIRST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """When the packs of one run begin and end, midnight to midnight in the space's zone."""

    begins: date
    ends: date

    @classmethod
    def of(cls, at: datetime) -> Pack:
        """Return the packs of a run that begins at `at`."""
        today = at.astimezone(ZONE).date()
        return cls(begins=today - timedelta(days=PACK_DAYS[0]), ends=today - timedelta(days=PACK_DAYS[1]))

    def holds(self, at: datetime) -> bool:
        """Tell whether the pack can be drawn at `at`."""
        return _midnight(self.begins) <= at < _midnight(self.ends)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ZONE)


def account_of(subject: str) -> str:
    """Return whose a badge or a Kisi user is."""
    kind, _, value = subject.partition(":")
    return f"a{int(value) - KISI_FIRST if kind == 'kisi' else int(value.removeprefix('B'))}"


def customer_of(account: str) -> str:
    """Return what the account is called at Stripe."""
    return f"cus_{account}"


def plan_of(account: str) -> int:
    """Return which of the two plans the account has."""
    return int(account.removeprefix("a")) % 2


def month_of(at: datetime) -> tuple[int, int]:
    """Return the billing period that an instant is in."""
    local = at.astimezone(ZONE)
    return local.year, local.month


def catalog(pack: Pack) -> str:
    """Return the catalog of the space."""
    plans = "".join(
        f"  plan{n}:\n    name: Plan {n}\n"
        f"    grants: [{{id: free, unit: page, amount: '{FREE_PAGES}', meters: [pages], every: month, for: account}}]\n"
        f"    prices:\n      doors: [{{id: door, model: per_unit, unit_price: '{DOOR[n]}'}}]\n"
        f"      pages: [{{id: page, model: graduated, tiers: [{{up_to: {PAGES_BOUND}, unit_price: '{PAGES[n][0]}'}},"
        f" {{unit_price: '{PAGES[n][1]}'}}]}}]\n"
        for n in range(2)
    )
    names = [f"a{n}" for n in range(ACCOUNTS)]
    accounts = "".join(
        f"  {name}: {{name: {name}, stripe: {customer_of(name)}, "
        f"subscriptions: [{{id: {name}, plan: plan{plan_of(name)}, from: 2026-01-01}}]}}\n"
        for name in names
    )
    members = "".join(
        f"  m{n}: {{account: a{n}, name: M{n}, identities: ['badge:B{n}', 'kisi:{KISI_FIRST + n}']}}\n"
        for n in range(ACCOUNTS)
    )
    packs = "".join(
        f"  - {{id: pack-{name}, account: {name}, unit: page, amount: '{PACK_PAGES}', meters: [pages], "
        f"effective: {pack.begins}, expires: {pack.ends}}}\n"
        for name in names
    )
    return (
        "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\n"
        f"taxes:\n  vat19: {{rate: '{TAX}'}}\n"
        "sites:\n  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19}\n"
        "meters:\n  doors: {event: door.access, where: {granted: true}, aggregate: count, unit: door}\n"
        "  pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}\n"
        f"plans:\n{plans}accounts:\n{accounts}members:\n{members}grants:\n{packs}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One door that opened or one job that was printed, as it counts. `id` is the event's."""

    id: str
    account: str
    meter: str
    quantity: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What one use costs: the quantity that credit covered, by grant, and the exact amount of the rest before tax."""

    account: str
    meter: str
    month: tuple[int, int]
    quantity: Decimal
    draws: Mapping[str, Decimal]
    amount: Decimal


def ordered(uses: Sequence[Use]) -> list[Use]:
    """Return uses in the order in which they count."""
    return sorted(uses, key=lambda use: (use.at, use.id))
