"""From the booking to the target's answer: a whole gateway with the ledger, files, a receiver, Stripe and QuickBooks.

    ledger alone ──▶ with targets: cold ─▶ live, slow ─▶ live ─▶ a burst ──▶ two more targets, and all that was booked
    what is booked                          QuickBooks    the rest

Vendors stand in a process of their own (`standins.py`). Rates are those that each target's limits allow.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import asyncpg
from rich import box
from rich.console import Console
from rich.table import Table

from bench.load import TIME_MARKER
from bench.sending import over_http, over_mqtt
from bench.servers import Gateway
from meter.clock import now

OPERATOR: Final = "northside"
SITES: Final = 20
# QuickBooks is asked 6.5 times a second at most, and here each charge is a journal; Stripe 20 times.
SLOW_PER_S: Final = 5
LIVE_PER_S: Final = 12
_COLD_PER_S: Final = 200
_WAIT_S_MAX: Final = 1200.0
_POLL_S: Final = 0.1
# Past events are spread over so long, up to half an hour ago.
_PAST: Final = timedelta(hours=6)
_RECENT: Final = timedelta(minutes=30)
_BACKLOG: Final = ("backlog-files", "backlog-webhook")

_CATALOG: Final = """
operator: northside
currency: EUR
timezone: Europe/Berlin
taxes:
  vat19: {rate: "0.19", inclusive: false, account: "liabilities:vat"}
meters:
  print-pages: {event: print.job, aggregate: sum, value: impressions, unit: page}
plans:
  pages:
    name: Pages
    prices: {print-pages: [{id: page, model: per_unit, unit_price: "0.08"}]}
ledger:
  accounts: {receivable: "assets:receivable", unbilled: "assets:unbilled"}
  unmapped: suspense
  revenue: {print-pages: "income:print"}
"""

# Of each item that was made since: how long ago its oldest charge was booked when it was made, then when it was first
# sent, and when the answer was recorded.
_LAGS: Final = """
    SELECT target, extract(epoch FROM delivered_at - coalesce(booked_at, created_at)) AS lag_s,
           extract(epoch FROM created_at - coalesce(booked_at, created_at)) AS gathering_s,
           extract(epoch FROM first_sent_at - created_at) AS queued_s,
           extract(epoch FROM delivered_at - first_sent_at) AS sending_s
      FROM outbox
     WHERE operator = $1 AND created_at >= $2 AND state IN ('delivered', 'verified') AND target = ANY($3::text[])
     ORDER BY target, lag_s
"""
# Everything is read, nothing is open, and nothing waits that may be sent.
_SETTLED: Final = """
    SELECT bool_and(NOT EXISTS (SELECT FROM outbox AS o
                                 WHERE o.operator = $1 AND o.target = wanted.target
                                   AND o.state IN ('pending', 'sending', 'uncertain'))
                AND NOT EXISTS (SELECT FROM export_buckets AS b
                                 WHERE b.operator = $1 AND b.target = wanted.target AND b.dirty AND b.due_at <= now())
                AND EXISTS (SELECT FROM export_cursors AS e
                             WHERE e.operator = $1 AND e.target = wanted.target
                               AND NOT EXISTS (SELECT FROM charges AS c WHERE c.operator = $1 AND c.xid >= e.xid)))
      FROM unnest($2::text[]) AS wanted (target)
"""


@dataclass(kw_only=True)
class Lag:
    """What one target took from the booking to its answer, and the mean of each part of that."""

    per_s: float
    items: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    gathering_ms: float
    queued_ms: float
    sending_ms: float


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each is sent."""

    accounts: int
    live_s: int
    past: int
    burst: int


WHOLE: Final = Sizes(accounts=200, live_s=60, past=50_000, burst=10_000)
SHORT: Final = Sizes(accounts=20, live_s=10, past=1_000, burst=500)


async def measure(work: Path, sizes: Sizes) -> dict[str, Any]:
    """Return the figures of one run in the directory `work`."""
    events = _Events(work, sizes.accounts)
    catalog = work / "exports.yaml"
    catalog.write_text(events.catalog(), encoding="utf-8")
    data = work / "exports"
    data.mkdir(mode=0o711)
    results: dict[str, Any] = {"accounts": sizes.accounts, "charges_before": sizes.past}
    async with Gateway(data, catalog) as gateway:
        results["ledger_alone"] = await _burst(gateway, events, ["ledger"], sizes.past)
    async with _standins(sizes.accounts) as vendors:
        second = vendors.pop("second")
        targets: dict[str, dict[str, Any]] = {"ledger": {}, "files": {"grain": "charge"}, **vendors}
        quick = [name for name in targets if name != "quickbooks"]
        async with Gateway(data, catalog, targets=targets) as gateway:
            await gateway.subscribed()
            await _settled(gateway, list(targets))
            began = monotonic()
            await _one_each(gateway, events, sizes.accounts)
            await _settled(gateway, list(targets))
            results["cold_s"] = monotonic() - began
            slow = await _live(gateway, events, list(targets), rate=SLOW_PER_S, seconds=sizes.live_s)
            live = await _live(gateway, events, quick, rate=LIVE_PER_S, seconds=sizes.live_s)
            results["slow"], results["live"] = _shown(slow), _shown(live)
            results["all_targets"] = await _burst(gateway, events, quick, sizes.burst)
            results["memory_peak_mb"] = gateway.memory_peak_mb()
        since = (now().date() - timedelta(days=62)).isoformat()
        more = {
            "backlog-files": {"kind": "files", "grain": "charge", "start": since, "options": {"format": "parquet"}},
            "backlog-webhook": {**second, "start": since},
        }
        kept = {name: target for name, target in targets.items() if name != "quickbooks"}
        async with Gateway(data, catalog, targets=kept | more) as gateway:
            results["backlog"] = await _backlog(gateway, events, quick, sizes)
    return results


async def _one_each(gateway: Gateway, events: _Events, accounts: int) -> None:
    await over_mqtt(gateway, events.live(accounts), rate=_COLD_PER_S)
    await gateway.rated(OPERATOR, events.sent)


async def _live(
    gateway: Gateway, events: _Events, targets: Sequence[str], *, rate: float, seconds: int
) -> dict[str, Lag]:
    began = datetime.now(UTC)
    await over_mqtt(gateway, events.live(int(rate * seconds)), rate=rate)
    await gateway.rated(OPERATOR, events.sent)
    await _settled(gateway, targets)
    return await _lags(gateway, targets, began, rate)


async def _lags(gateway: Gateway, targets: Sequence[str], began: datetime, rate: float) -> dict[str, Lag]:
    async with gateway.connection() as connection:
        rows = await connection.fetch(_LAGS, OPERATOR, began, targets)
        dead = await connection.fetchval("SELECT fault FROM outbox WHERE state = 'dead' LIMIT 1")
    if dead is not None:
        raise SystemExit(f"a delivery was refused: {dead}")
    return {target: _lag([row for row in rows if row["target"] == target], rate) for target in targets}


def _lag(rows: Sequence[asyncpg.Record], rate: float) -> Lag:
    def mean_ms(name: str) -> float:
        return 1000 * float(sum(row[name] for row in rows)) / len(rows)

    return Lag(
        per_s=rate,
        items=len(rows),
        p50_ms=1000 * float(rows[len(rows) // 2]["lag_s"]),
        p99_ms=1000 * float(rows[int(len(rows) * 0.99)]["lag_s"]),
        max_ms=1000 * float(rows[-1]["lag_s"]),
        gathering_ms=mean_ms("gathering_s"),
        queued_ms=mean_ms("queued_s"),
        sending_ms=mean_ms("sending_s"),
    )


def _shown(lags: Mapping[str, Lag]) -> dict[str, dict[str, float]]:
    return {target: asdict(lag) for target, lag in lags.items()}


async def _backlog(gateway: Gateway, events: _Events, others: Sequence[str], sizes: Sizes) -> dict[str, Any]:
    """Return how long two new targets take for all that was booked, and what the others take meanwhile."""
    started = monotonic()
    done = {target: asyncio.create_task(_seconds_until_settled(gateway, target, started)) for target in _BACKLOG}
    await gateway.subscribed()
    # Rating knows nobody after a start, and reads each account's month when it hears of it first.
    await _one_each(gateway, events, sizes.accounts)
    await _settled(gateway, others)
    began = datetime.now(UTC)
    await over_mqtt(gateway, events.live(LIVE_PER_S * sizes.live_s), rate=LIVE_PER_S)
    await gateway.rated(OPERATOR, events.sent)
    await _settled(gateway, others)
    lags = await _lags(gateway, others, began, LIVE_PER_S)
    async with gateway.connection() as connection:
        charges = await connection.fetchval("SELECT count(*) FROM charges")
    return {"charges": charges, "seconds": {name: await task for name, task in done.items()}, "others": _shown(lags)}


async def _seconds_until_settled(gateway: Gateway, target: str, started: float) -> float:
    await _settled(gateway, [target])
    return monotonic() - started


async def _burst(gateway: Gateway, events: _Events, targets: Sequence[str], count: int) -> dict[str, Any]:
    """Return how many events a second are rated when they come as fast as possible, and the CPU until all is told."""
    before = gateway.cpu_s()
    sent = await over_http(gateway, events.past(count))
    await gateway.rated(OPERATOR, events.sent)
    rate = count / (now().timestamp() - sent["began_s"])
    await _settled(gateway, targets)
    used = {name: spent - before.get(name, 0.0) for name, spent in gateway.cpu_s().items()}
    cpu = {name: round(spent * 1e6 / count) for name, spent in sorted(used.items())}
    return {"events_per_s": rate, "cpu_us_per_event": cpu}


async def _settled(gateway: Gateway, targets: Sequence[str]) -> None:
    """Wait until targets have been told everything that is booked."""
    async with asyncio.timeout(_WAIT_S_MAX), gateway.connection() as connection:
        while not await connection.fetchval(_SETTLED, OPERATOR, targets):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(_POLL_S)


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print what `measure` returned."""
    title = "from the booking to the target's answer, ms"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("target", no_wrap=True)
    for name in ("/s", "items", "p50", "p99", "max", "gather", "queue", "send"):
        table.add_column(name, justify="right")
    slow, live, backlog = results["slow"], results["live"], results["backlog"]
    lags = {"quickbooks": slow["quickbooks"], **live}
    lags |= {f"{target} + backlog": lag for target, lag in backlog["others"].items()}
    for target, lag in lags.items():
        table.add_row(target, *(f"{figure:,.0f}" for figure in lag.values()))
    console.print(table)
    taken = ", ".join(f"{target} {seconds:.1f} s" for target, seconds in backlog["seconds"].items())
    console.print(
        f"first lines of {results['accounts']} accounts: {results['cold_s']:.1f} s; "
        f"all of {backlog['charges']:,} charges: {taken}; peak {results['memory_peak_mb']:.0f} MB"
    )
    for way, run in (("the ledger alone", results["ledger_alone"]), ("all targets", results["all_targets"])):
        used = ", ".join(f"{name} {micros}" for name, micros in run["cpu_us_per_event"].items())
        console.print(
            f"with {way}: {run['events_per_s']:,.0f} events/s until rated, CPU until told in us an event: {used}"
        )


@asynccontextmanager
async def _standins(accounts: int) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Yield the settings of targets that stand in for the vendors, for as long as the context is entered."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.standins",
        str(accounts),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise SystemExit("no pipes")
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


class _Events:
    """Print jobs: each is a charge, and with whole euros no sum of them has an odd cent of tax."""

    def __init__(self, work: Path, accounts: int) -> None:
        self.sent = 0
        self._work = work
        self._accounts = accounts

    def catalog(self) -> str:
        """Return the tariff with accounts, one member each, and their customers at Stripe."""
        since = (now().date() - timedelta(days=62)).isoformat()
        sites = "".join(
            f'  site-{n}: {{name: Site {n}, timezone: "Europe/Berlin", closes: "22:00", tax: vat19}}\n'
            for n in range(SITES)
        )
        accounts = "".join(
            f'  account-{n}: {{name: Account {n}, timezone: "Europe/Berlin", stripe: cus_{n}, '
            f"subscriptions: [{{id: plan-{n}, plan: pages, from: {since}}}]}}\n"
            for n in range(self._accounts)
        )
        members = "".join(
            f'  member-{n}: {{account: account-{n}, name: Member {n}, identities: ["user:member-{n}"]}}\n'
            for n in range(self._accounts)
        )
        return f"{_CATALOG}sites:\n{sites}accounts:\n{accounts}members:\n{members}"

    def past(self, count: int) -> Path:
        """Return a file of events that lie behind, in their order."""
        end = now() - _RECENT
        times = (end - _PAST + _PAST * n / count for n in range(count))
        return self._written(time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode() for time in times)

    def live(self, count: int) -> Path:
        """Return a file of events that happen when they are sent."""
        return self._written(TIME_MARKER for _ in range(count))

    def _written(self, times: Iterable[bytes]) -> Path:
        bodies = []
        for time in times:
            number = self.sent % self._accounts
            head = f'{{"specversion":"1.0","id":"e-{self.sent}","source":"site-{number % SITES}/print/main",'
            head += f'"type":"print.job","subject":"user:member-{number}","time":"'
            tail = f'","data":{{"printer":"main","job":"{self.sent}","impressions":25,"sheets":25,"color":false,'
            tail += '"copies":1,"status":"completed"}}'
            bodies.append(head.encode() + time + tail.encode())
            self.sent += 1
        file = self._work / f"exports-{self.sent}.ndjson"
        file.write_bytes(b"\n".join(bodies))
        return file
