"""Whether what the system holds is what the journal says: nothing lost, nothing doubled, no cent off.

It is given plain rows and computes what they should be with a rater of its own. Neither knows any code of the product.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from chaos.journal import Intent
from chaos.rater import drawn, due, rated
from chaos.world import ACCOUNTS, FREE_PAGES, PACK_PAGES, Pack, Priced, Use, customer_of, month_of

ZERO: Final = Decimal(0)
_LISTED_MAX: Final = 10
_METERS: Final = {"doors": "door.access", "pages": "print.job"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was read at the end: rows as dictionaries, and what the targets hold.

    `invoiced` are net and tax by customer at Stripe, `pulled` the charges as a billing system pulls them, `hooked` and
    `journalled` what came to the receivers of webhooks, each message once.
    """

    events: Sequence[Mapping[str, Any]]
    charges: Sequence[Mapping[str, Any]]
    draws: Sequence[Mapping[str, Any]]
    postings: Sequence[Mapping[str, Any]]
    outbox: Mapping[str, int]
    rejections: Sequence[str]
    balances: Sequence[Mapping[str, Any]]
    pulled: Sequence[Mapping[str, Any]]
    invoiced: Mapping[str, tuple[Decimal, Decimal]]
    hooked: Sequence[Mapping[str, Any]]
    journalled: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, by kind; nothing is exact. `cents_off` adds up every difference of money, without its sign."""

    events: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    wrong: tuple[str, ...]
    cents_off: Decimal

    @property
    def exact(self) -> bool:
        """Tell whether nothing is wrong."""
        return not (self.lost or self.doubled or self.wrong or self.cents_off)

    def first(self) -> dict[str, Any]:
        """Return how many of each there are, with the first of them."""
        found = {"lost": self.lost, "doubled": self.doubled, "wrong": self.wrong}
        counted = {name: [len(ones), list(ones[:_LISTED_MAX])] for name, ones in found.items() if ones}
        return {**counted, "cents_off": str(self.cents_off * 100)}


@dataclass
class _Notes:
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    off: Decimal = ZERO

    def money(self, what: str, held: Decimal, wanted: Decimal) -> None:
        if held != wanted:
            self.off += abs(held - wanted)
            self.wrong.append(f"{what}: {held} is held, {wanted} is right")

    def once(self, what: str, held: Iterable[str], wanted: Iterable[str]) -> None:
        """Have everything wanted there once, and nothing else."""
        counts, right = Counter(held), set(wanted)
        self.lost += sorted(f"{what} {id}" for id in right - counts.keys())
        self.doubled += sorted(f"{what} {id}" for id, count in counts.items() if count > 1)
        self.wrong += sorted(f"{what} {id}: nobody meant it" for id in counts.keys() - right)


def judged(intents: Mapping[str, Intent], told: Mapping[str, int], held: Held, pack: Pack) -> Verdict:
    """Return what is wrong."""
    notes = _Notes()
    for id in intents.keys() - told.keys():
        notes.wrong.append(f"{id} was never told to be safe: the run did not drain")
    notes.once("stored", (event["id"] for event in held.events), intents)
    uses = _uses(intents, held.events, notes)
    priced = rated(uses, pack)
    _charged(priced, held, notes)
    _credit(priced, held, notes)
    _booked(held, notes)
    _told(priced, held, notes)
    return Verdict(
        events=len(held.events),
        lost=tuple(notes.lost),
        doubled=tuple(notes.doubled),
        wrong=tuple(notes.wrong),
        cents_off=notes.off,
    )


def _uses(intents: Mapping[str, Intent], events: Sequence[Mapping[str, Any]], notes: _Notes) -> list[Use]:
    """Return what was meant, at the time at which it is stored where the device gave none."""
    stored = {event["id"]: event for event in events}
    uses = []
    for id, intent in intents.items():
        if (event := stored.get(id)) is None:
            continue
        at: datetime = event["time"]
        said = (event["type"], event["subject"], _quantity(event))
        if said != (_METERS[intent.meter], intent.subject, intent.quantity) or intent.at not in {None, at}:
            notes.wrong.append(f"stored {id}: {said} at {at}, {intent} was meant")
        uses.append(
            Use(id=id, account=intent.account, meter=intent.meter, quantity=intent.quantity, at=intent.at or at)
        )
    return uses


def _quantity(event: Mapping[str, Any]) -> Decimal:
    return Decimal(event["data"].get("impressions", 1))


def _charged(priced: Mapping[str, Priced], held: Held, notes: _Notes) -> None:
    """Hold the lines that are left of each event, after all corrections, to what it costs."""
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    quantities: dict[str, Decimal] = defaultdict(Decimal)
    covered: dict[str, Decimal] = defaultdict(Decimal)
    standing: Counter[str] = Counter()
    whose: dict[str, tuple[str, str]] = {}
    for charge in held.charges:
        id = charge["event_id"]
        amounts[id] += charge["amount"]
        quantities[id] += charge["quantity"]
        covered[id] += charge["covered"]
        standing[id] += -1 if charge["role"] == "reversal" else 1
        whose[id] = charge["account"], charge["meter"]
    notes.once("rated", standing.elements(), priced)
    for id, one in priced.items():
        if id not in whose:
            continue
        told = (whose[id], quantities[id], covered[id])
        if told != ((one.account, one.meter), one.quantity, sum(one.draws.values(), ZERO)):
            notes.wrong.append(f"rated {id}: {told}, {one} is right")
        notes.money(f"rated {id}", amounts[id], one.amount)
    owed = due(priced.values())
    for account in sorted(owed.keys() | {charge["account"] for charge in held.charges}):
        mine = [charge for charge in held.charges if charge["account"] == account]
        net, tax = owed.get(account, (ZERO, ZERO))
        notes.money(f"{account} net", sum((charge["rounded"] for charge in mine), ZERO), net)
        notes.money(f"{account} tax", sum((charge["tax_amount"] for charge in mine), ZERO), tax)


def _credit(priced: Mapping[str, Priced], held: Held, notes: _Notes) -> None:
    """Granted is drawn, remaining and expired: as drawn, as shown, and as it should be."""
    wanted = {f"a{n}": {"pack": ZERO, "free": ZERO} for n in range(ACCOUNTS)}
    for (account, grant), amount in drawn(priced.values()).items():
        wanted[account]["pack" if grant == "pack" else "free"] += amount
    told: dict[str, dict[str, Decimal]] = {name: {"pack": ZERO, "free": ZERO} for name in wanted}
    for draw in held.draws:
        told[draw["account"]]["pack" if draw["grant"].startswith("pack-") else "free"] += draw["amount"]
    for account, grants in wanted.items():
        for grant, amount in grants.items():
            if told[account][grant] != amount:
                notes.wrong.append(f"{account} {grant}: {told[account][grant]} drawn, {amount} is right")
    _shown(priced, held, notes)


def _shown(priced: Mapping[str, Priced], held: Held, notes: _Notes) -> None:
    """Hold the balances of today to what is drawn: nothing is given twice, and nothing is left below nothing."""
    wanted = drawn(priced.values())
    for shown in held.balances:
        given = PACK_PAGES if shown["origin"] == "given" else FREE_PAGES
        amount, used, remaining = (Decimal(shown[name]) for name in ("amount", "used", "remaining"))
        name = "pack" if shown["origin"] == "given" else f"free {month_of(datetime.fromisoformat(shown['effective']))}"
        right = wanted.get((shown["account"], name), ZERO)
        # What is left of a pack that has expired is nobody's.
        left = given - right if shown["origin"] == "plan" else remaining
        if (amount, used, remaining) != (given, right, left) or remaining not in {given - right, ZERO}:
            notes.wrong.append(
                f"{shown['account']} {name}: {used} used, {remaining} left of {amount}; {right} is right"
            )


def _booked(held: Held, notes: _Notes) -> None:
    """Every entry sums to nothing, and receivables are what charges come to, net and tax."""
    entries: dict[str, Decimal] = defaultdict(Decimal)
    income = ZERO
    for posting in held.postings:
        entries[posting["entry"]] += posting["amount"]
        if posting["ledger_account"].startswith("income:"):
            income -= posting["amount"]
    notes.wrong += [f"entry {id} does not balance by {left}" for id, left in entries.items() if left]
    notes.money("income in the books", income, sum((charge["rounded"] for charge in held.charges), ZERO))


def _told(priced: Mapping[str, Priced], held: Held, notes: _Notes) -> None:
    """Charges are what is pulled, journal and outbox what targets hold."""
    ids = {charge["id"]: charge for charge in held.charges}
    notes.once("pulled", (charge["id"] for charge in held.pulled), ids)
    notes.once("webhook", (charge["id"] for charge in held.hooked), ids)
    for way, charges in (("pulled", held.pulled), ("webhook", held.hooked)):
        for charge in charges:
            if (mine := ids.get(charge["id"])) is not None:
                notes.money(f"{way} {charge['id']}", Decimal(charge["rounded"]), mine["rounded"])
    entries = {posting["entry"] for posting in held.postings}
    notes.once("webhook entry", (entry["id"] for entry in held.journalled), entries)
    for customer, (net, tax) in held.invoiced.items():
        notes.money(f"Stripe {customer} net and tax", net + tax, _owed(priced, customer))
    for customer in {customer_of(one.account) for one in priced.values()} - held.invoiced.keys():
        notes.money(f"Stripe {customer} net and tax", ZERO, _owed(priced, customer))
    for state, count in held.outbox.items():
        if state not in {"delivered", "verified", "superseded"} and count:
            notes.wrong.append(f"{count} deliveries are {state}")
    notes.wrong += [f"rejected: {code}" for code in held.rejections]


def _owed(priced: Mapping[str, Priced], customer: str) -> Decimal:
    mine = [one for one in priced.values() if customer_of(one.account) == customer]
    return sum((net + tax for net, tax in due(mine).values()), ZERO)
