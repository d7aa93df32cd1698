"""What the demo shows while it plays: a table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from meter.cli.demo_day import ZONE
from meter.model.event import EventKey
from meter.model.money import plain
from meter.simulate import Delivery

# What is shown, with the simulation's name of the device and the type of its events.
_KINDS: Final = (
    ("doors", "door", "door.access"),
    ("printers", "print", "print.job"),
    ("Wi-Fi", "wifi", "wifi.session"),
    ("tills", "pos", "pos.sale"),
    ("rooms", "room", "room.booking"),
    ("(fees, passes)", "", ""),
)
_BAR_CELLS: Final = 40
# What was sent so shortly before the line was cut may have been lost on it.
_ON_THE_WAY: Final = timedelta(seconds=1)
_CREDIT_SHOWN_MAX: Final = 6


@dataclass(slots=True)
class Tally:
    """What the lines from one kind of event come to."""

    lines: int = 0
    invoiced: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)

    def add(self, charge: Mapping[str, Any]) -> None:
        """Count one charge as the API gives it, by the rounded figures that invoices and the ledger have."""
        self.lines += 1
        amount = Decimal(charge["rounded"])
        if charge["settlement"] == "paid":
            self.paid += amount
        else:
            self.invoiced += amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What the grants of one kind leave an account: `use` names the meters that draw them."""

    account: str
    unit: str
    use: str
    amount: Decimal
    remaining: Decimal


def event_type_of(charge: Mapping[str, Any]) -> str:
    """Return the type of event that a charge comes from; "" for fees and the like, which come from none."""
    event = charge["event"]
    return str(event["type"]) if event else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """When a site's line was cut and mended, and when all that had waited there was at the gateway; None: not yet."""

    cut: datetime
    mended: datetime | None = None
    drained: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Progress:
    """Everything that the demo has seen so far. `on_site` are the events that go through the site's agent."""

    clock: datetime
    ends: datetime
    starts: datetime
    published: dict[EventKey, datetime] = field(default_factory=dict)
    on_site: set[EventKey] = field(default_factory=set)
    outage: Outage | None = None
    waiting: int | None = None
    original_lines: Counter[EventKey] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    corrections: int = 0
    lags_s: list[float] = field(default_factory=list)
    credit: Sequence[Credit] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    delivered: int = 0

    def publish(self, delivery: Delivery, due: datetime, *, on_site: bool) -> None:
        """Count a delivery as sent when it is due."""
        for event in delivery.events:
            key = EventKey(event.source, event.id)
            self.published.setdefault(key, due)
            if on_site:
                self.on_site.add(key)
            self.sent[event.kind] += 1

    def book(self, charge: Mapping[str, Any]) -> None:
        """Count one charge as the API gives it."""
        self.tallies[event_type_of(charge)].add(charge)
        if charge["role"] != "original":
            self.corrections += 1
            return
        event = charge["event"]
        if not event:
            return
        key = EventKey(event["source"], event["id"])
        self.original_lines[key] += 1
        published = self.published.get(key)
        if published is not None and not self._waited(key, published):
            lag_s = (datetime.fromisoformat(charge["booked_at"]) - published).total_seconds()
            self.lags_s.append(max(lag_s, 0.0))

    def _waited(self, key: EventKey, published: datetime) -> bool:
        """Tell whether it waited on site for the line: that says nothing of how fast the gateway is."""
        outage = self.outage
        if key not in self.on_site or outage is None or published + _ON_THE_WAY < outage.cut:
            return False
        return outage.drained is None or published < outage.drained

    @property
    def held(self) -> list[EventKey]:
        """Return what devices told the agent while its line was cut."""
        outage = self.outage
        if outage is None or outage.mended is None:
            return []
        return [key for key in self.on_site if outage.cut <= self.published[key] < outage.mended]

    @property
    def lines(self) -> int:
        """Return how many lines were booked."""
        return sum(tally.lines for tally in self.tallies.values())

    @property
    def invoiced(self) -> Decimal:
        """Return what is to be invoiced, net."""
        return sum((tally.invoiced for tally in self.tallies.values()), Decimal(0))

    def lag_text(self) -> str:
        """Return the lag from publish to booked, as p50 and p99."""
        if not self.lags_s:
            return "-"
        ordered = sorted(self.lags_s)
        return " / ".join(f"{ordered[int(len(ordered) * share)] * 1000:.0f}" for share in (0.5, 0.99)) + " ms"

    def text(self) -> str:
        """Return one line for a log."""
        return (
            f"{self.clock.astimezone(ZONE):%H:%M}  {self.sent.total()} events, {self.lines} lines, "
            f"{money(self.invoiced)} EUR to invoice, lag p50/p99 {self.lag_text()}, "
            f"ledger {self.delivered} delivered, {self.pending} pending"
        )

    def __rich__(self) -> RenderableType:
        """Return the live view."""
        return Group(self._bar(), tally_table(self.sent, self.tallies), self._facts())

    def _bar(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        done_s = (self.clock - self.starts).total_seconds()
        bar = ProgressBar(total=(self.ends - self.starts).total_seconds(), completed=max(done_s, 0.0), width=_BAR_CELLS)
        grid.add_row(Text(f"{self.clock.astimezone(ZONE):%a %d %b %H:%M}", style="bold"), bar)
        return grid

    def _facts(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        seen = self.outcomes
        heartbeats = "" if self.waiting is None else " (with heartbeats)"
        stored = f"{seen['accepted']} once, {seen['duplicate']} repeats, {seen['rejected']} refused"
        grid.add_row("stored", stored + heartbeats)
        if self.waiting is not None:
            grid.add_row("agent on site", f"{self.waiting} events wait for the gateway")
        grid.add_row("publish to booked", f"p50 / p99  {self.lag_text()}")
        grid.add_row("ledger", f"{self.delivered} batches delivered, {self.pending} pending")
        grid.add_row("credit left", Text("\n").join(_credit(one) for one in self.credit[:_CREDIT_SHOWN_MAX]))
        return grid


def tally_table(
    sent: Mapping[str, int], tallies: Mapping[str, Tally], *, before: Mapping[str, Tally] | None = None
) -> Table:
    """Return events and lines by kind; with `before`, the lines of earlier runs beside them."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("events from")
    for name in ("sent", "lines", "to invoice", "paid at till", *(["lines in all"] if before else [])):
        table.add_column(name, justify="right")
    for label, kind, event_type in _KINDS:
        tally = tallies.get(event_type, Tally())
        events = str(sent.get(kind, 0)) if kind else ""
        row = [label, events, str(tally.lines), money(tally.invoiced), money(tally.paid)]
        if before:
            row.append(str(tally.lines + before.get(event_type, Tally()).lines))
        table.add_row(*row)
    return table


def money(amount: Decimal) -> str:
    """Return an amount to look at: rounded to cents."""
    return f"{amount:.2f}"


def credits_of(account: str, grants: Iterable[Mapping[str, Any]]) -> list[Credit]:
    """Return an account's credit by unit and use: what is several members', and what rolled over, is summed."""
    sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for grant in grants:
        kind = (grant["unit"], ", ".join(grant["scope"] or ["anything"]))
        amount, remaining = sums.get(kind, (Decimal(0), Decimal(0)))
        sums[kind] = (amount + Decimal(grant["amount"]), remaining + Decimal(grant["remaining"]))
    return [
        Credit(account=account, unit=unit, use=use, amount=amount, remaining=remaining)
        for (unit, use), (amount, remaining) in sums.items()
    ]


def _credit(credit: Credit) -> Text:
    style = "red" if credit.remaining == 0 else ""
    left = f"{plain(credit.remaining)} of {plain(credit.amount)} {credit.unit}s"
    return Text(f"{credit.account}: {left} for {credit.use}", style=style)
