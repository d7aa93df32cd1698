"""What a run must have measured before its figures are kept and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_PROCESSES: Final = frozenset({"gateway", "nats-server", "postgres"})
_TARGETS: Final = frozenset({"files", "ledger", "stripe", "webhook"})


def faults(results: Mapping[str, Any]) -> list[str]:
    """Return what is missing and what cannot be; empty where everything was measured."""
    events = results["events"]
    found = [f"{name}: {figure}, not {events}" for name, figure in _totals(results) if figure != events]
    found += [f"{name}: {figure}" for name, figure in _positive(results) if not figure > 0]
    found += [f"{name}: no {', '.join(sorted(gone))}" for name, gone in _gone(results) if gone]
    for name, lag in _lags(results):
        if not (lag["items"] > 0 and 0 < lag["p50_ms"] <= lag["p99_ms"] <= lag["max_ms"]):
            found.append(f"{name}: {lag}")
    return found


def _totals(results: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    yield "rows of events", results["rows"]["events"]
    yield "the data set", sum(results["mix"].values())


def _positive(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "charges", results["rows"]["charges"]
    yield "by COPY", results["copy_events_per_s"]
    yield "naive", results["naive_events_per_s"]
    for way in ("mqtt", "http"):
        yield way, results[way]["events_per_s"]
        yield f"memory over {way}", results[way]["memory_peak_mb"]
    for way, run in results["core"].items():
        yield f"core, {way}", run["events_per_s"]
        yield f"lines of the core, {way}", run["lines"]
    yield from ((f"the agent, {name}", figure) for name, figure in results["agent"].items())
    for target, seconds in results["exports"]["backlog"]["seconds"].items():
        yield f"all that was booked, {target}", seconds


def _gone(results: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    for way in ("mqtt", "http"):
        yield f"CPU over {way}", _PROCESSES - results[way]["cpu_us_per_event"].keys()
    told = results["exports"]
    yield "live", _TARGETS - told["live"].keys()
    yield "beside the backlog", _TARGETS - told["backlog"]["others"].keys()
    yield "slow", frozenset({"quickbooks"}) - told["slow"].keys()


def _lags(results: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float]]]:
    until_rated, told = results["latency"], results["exports"]
    yield "until rated", {**until_rated, "items": until_rated["lines"]}
    for phase, lags in (("slow", told["slow"]), ("live", told["live"]), ("backlog", told["backlog"]["others"])):
        for target, lag in lags.items():
            yield f"{target}, {phase}", lag
