"""`make bench`: throughput and latency beside their limits, on this machine, in one run (README.md)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from bench import agent, core, dataset, exports, limits, sound
from bench.sending import over_http, over_mqtt
from bench.servers import Gateway
from meter.clock import now

OPERATOR: Final = "northside"
RESULTS: Final = Path(__file__).with_name("results.json")
NAIVE_EVENTS_MAX: Final = 2000
_BUSY: Final = 0.5

# A session's line stands at its start and is known at its end, the last of the events that it names.
_LIVE: Final = """
    SELECT extract(epoch FROM
             pg_xact_commit_timestamp(line.xid::text::bigint::text::xid) - coalesce(last.time, line.event_time))
      FROM charges AS line
      LEFT JOIN events AS last ON last.operator = line.operator
       AND last.source = line.events -> -1 ->> 0 AND last.id = line.events -> -1 ->> 1
     WHERE line.operator = $1 AND line.event_time >= $2 AND line.role = 'original' AND line.source <> ''
"""

_BILL: Final = """
    SELECT md5(string_agg(owed::text, ';' ORDER BY owed::text COLLATE "C"))
      FROM (SELECT account, meter, price, trim_scale(sum(quantity)), trim_scale(sum(covered)), trim_scale(sum(amount))
              FROM charges GROUP BY account, meter, price
            HAVING sum(quantity) <> 0 OR sum(amount) <> 0) AS owed
"""


@dataclass(kw_only=True)
class Run:
    """One way in: how fast, on what CPU, and how large the gateway became."""

    events: int
    events_per_s: float
    sent_s: float
    cpu_us_per_event: dict[str, int] = field(default_factory=dict)
    memory_peak_mb: float = 0.0


@dataclass(kw_only=True)
class Latency:
    """From publish to rated and committed, of the events that made a line."""

    rate_per_s: float
    lines: int
    p50_ms: float
    p99_ms: float
    max_ms: float


async def _measure(gateway: Gateway, channel: str, file: Path, events: int) -> Run:
    """Return how fast `events` events get through to their charges; the file holds no others."""
    before = gateway.cpu_s()
    sent = await (over_mqtt(gateway, file) if channel == "mqtt" else over_http(gateway, file))
    await gateway.rated(OPERATOR, events)
    ended_s = now().timestamp()
    used = {name: spent - before.get(name, 0.0) for name, spent in gateway.cpu_s().items()}
    return Run(
        events=events,
        events_per_s=events / (ended_s - sent["began_s"]),
        sent_s=sent["ended_s"] - sent["began_s"],
        cpu_us_per_event={name: round(spent * 1e6 / events) for name, spent in sorted(used.items())},
        memory_peak_mb=gateway.memory_peak_mb(),
    )


async def _latency(gateway: Gateway, file: Path, *, known: int, live: int, rate: float) -> Latency:
    began = datetime.now(UTC)
    await over_mqtt(gateway, file, rate=rate)
    await gateway.rated(OPERATOR, known + live)
    async with gateway.connection() as connection:
        lags = sorted(float(row[0]) for row in await connection.fetch(_LIVE, OPERATOR, began))
    return Latency(
        rate_per_s=rate,
        lines=len(lags),
        p50_ms=1000 * lags[len(lags) // 2],
        p99_ms=1000 * lags[int(len(lags) * 0.99)],
        max_ms=1000 * lags[-1],
    )


async def _bench(work: Path, *, events: int, live: int) -> dict[str, Any]:
    data = dataset.make(events=events, live=live, before=now().date())
    catalog = work / "catalog.yaml"
    catalog.write_text(data.catalog, encoding="utf-8")
    past, later = work / "past.ndjson", work / "live.ndjson"
    past.write_bytes(b"\n".join(data.events))
    later.write_bytes(b"\n".join(data.live))
    events, live = len(data.events), len(data.live)
    results: dict[str, Any] = {"events": events, "mix": data.mix()}

    async with Gateway(_directory(work, "mqtt"), catalog) as gateway:
        await gateway.subscribed()
        _say("over MQTT")
        mqtt = await _measure(gateway, "mqtt", past, events)
        results["rows"] = await _rows(gateway, events)
        bill = await _bill(gateway)
        _say("the same rows by COPY")
        url = gateway.addresses.database
        copied = await limits.copy_rate(url, await limits.fresh_database(url, "copied"), events)
        _say("one commit an event")
        naive = await limits.naive_rate(url, await limits.fresh_database(url, "naive"), min(events, NAIVE_EVENTS_MAX))
        _say("live at half the rate")
        rate = mqtt.events_per_s / 2
        latency = await _latency(gateway, later, known=events, live=live, rate=rate)
    async with Gateway(_directory(work, "http"), catalog) as gateway:
        _say("over HTTP")
        http = await _measure(gateway, "http", past, events)
        await _rows(gateway, events)
        if bill != await _bill(gateway):
            raise SystemExit("the bill over HTTP is another one than over MQTT")
    return results | {
        "copy_events_per_s": copied,
        "naive_events_per_s": naive,
        "mqtt": asdict(mqtt),
        "http": asdict(http),
        "latency": asdict(latency),
    }


async def _rows(gateway: Gateway, events: int) -> dict[str, int]:
    """Return how many rows there are of each kind. A figure about lost or refused events would be worth nothing."""
    async with gateway.connection() as connection:
        rows = {
            table: int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 -- our own names
            for table in ("events", "charges", "rejections", "unresolved")
        }
    if rows["events"] != events or rows["rejections"]:
        raise SystemExit(f"{events} events were sent, and these rows are there: {rows}")
    return rows


async def _bill(gateway: Gateway) -> str:
    """Return what everybody owes, to compare: corrections depend on the order of arrival, their sums do not."""
    async with gateway.connection() as connection:
        digest: str = await connection.fetchval(_BILL)
    return digest


def _directory(work: Path, name: str) -> Path:
    path = work / name
    path.mkdir()
    path.chmod(0o711)
    return path


def _say(what: str) -> None:
    Console(stderr=True).print(f"bench: {what}", style="dim", highlight=False)


def _show(results: dict[str, Any]) -> None:
    copied, naive = results["copy_events_per_s"], results["naive_events_per_s"]
    events, lines = results["events"], results["rows"]["charges"]
    _show_core(results["core"])
    table = Table(title=f"{events:,} events, {lines / events:.2f} lines each", title_justify="left", box=box.SIMPLE)
    table.add_column("way")
    for name in ("events/s", "of the limit", "times naive", "peak MB"):
        table.add_column(name, justify="right")
    rates = {
        "limit: the rows by COPY": copied,
        "naive: a commit an event": naive,
        "MQTT until rated": results["mqtt"]["events_per_s"],
        "HTTP until rated": results["http"]["events_per_s"],
    }
    for way, rate in rates.items():
        peak = results.get(way[:4].lower(), {}).get("memory_peak_mb")
        table.add_row(way, f"{rate:,.0f}", f"{rate / copied:.0%}", f"{rate / naive:.1f}", f"{peak:.0f}" if peak else "")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for channel in ("mqtt", "http"):
        used = ", ".join(f"{name} {micros}" for name, micros in results[channel]["cpu_us_per_event"].items())
        console.print(f"CPU over {channel.upper()}, microseconds an event: {used}")
    late = results["latency"]
    console.print(
        f"publish to rated, MQTT at {late['rate_per_s']:,.0f} events/s: p50 {late['p50_ms']:.0f} ms, "
        f"p99 {late['p99_ms']:.0f} ms, max {late['max_ms']:.0f} ms ({late['lines']:,} lines)"
    )
    exports.show(results["exports"], console)
    agent.show(results["agent"], console)


def _show_core(runs: dict[str, dict[str, float]]) -> None:
    table = Table(title="the pure core, on one core", title_justify="left", box=box.SIMPLE)
    table.add_column("way")
    for name in ("events/s", "us an event", "lines each"):
        table.add_column(name, justify="right")
    for way, run in runs.items():
        rate = run["events_per_s"]
        table.add_row(way, f"{rate:,.0f}", f"{1e6 / rate:.1f}", f"{run['lines'] / run['events']:.2f}")
    Console(highlight=False, soft_wrap=True).print(table)


def main() -> None:
    """Measure, show, and keep the figures in results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few thousand events: that it works, not how fast")
    parser.add_argument("--events", type=int, help="how many events each way carries")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are kept")
    given = parser.parse_args()
    events = given.events or (3_000 if given.short else 40_000)
    busy = os.getloadavg()[0]
    if busy > _BUSY:
        _say(f"others use this machine (load {busy:.1f}): the figures will be too low")
    work = Path(tempfile.mkdtemp(prefix="meter-bench-"))
    work.chmod(0o711)
    try:
        _say("the pure core")
        short = {"members": 20, "events_each": 100}
        whole = {"members": 500, "events_each": 1000}
        folded = core.measure(**(short if given.short else whole))
        results = asyncio.run(_bench(work, events=events, live=max(events // 4, 1000)))
        results["core"] = {way: asdict(run) for way, run in folded.items()}
        _say("from the booking to the targets' answers")
        results["exports"] = asyncio.run(exports.measure(work, exports.SHORT if given.short else exports.WHOLE))
        _say("the agent on site")
        results["agent"] = asyncio.run(agent.measure(work, agent.SHORT if given.short else agent.WHOLE))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if faults := sound.faults(results):
        raise SystemExit("this was not measured: " + "; ".join(faults))
    results |= {
        "at": now().isoformat(),
        "load_before": round(busy, 2),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
    given.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _show(results)


if __name__ == "__main__":
    main()
