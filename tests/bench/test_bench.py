"""The parts of the bench on tiny sizes, and the figures of a whole run; CI runs `make bench ARGS=--short` besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench import core
from bench.__main__ import _show
from bench.exports import _Events, _lag
from bench.sound import faults
from meter.catalog.load import read_catalog_text
from meter.model.wire import WireEvent, read_message

Figures = dict[str, Any]


@pytest.fixture
def results() -> Figures:
    """What a whole run left, on some machine."""
    kept: Figures = json.loads(Path(__file__).with_name("figures.json").read_text(encoding="utf-8"))
    return kept


def test_every_way_of_the_core_makes_the_lines_of_its_events() -> None:
    runs = core.measure(members=20, events_each=30)
    assert {way: run.events for way, run in runs.items()} == {"in order": 300, "5 % late": 300, "a month again": 600}
    assert all(run.lines > 200 and run.events_per_s > 0 for run in runs.values())


def test_the_figures_of_a_whole_run_are_sound(results: Figures) -> None:
    assert faults(results) == []


def put(figure: Any, *path: str) -> Callable[[Figures], None]:
    def change(results: Figures) -> None:
        here = results
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = figure

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put(1, "rows", "events"), "rows of events: 1, not "),
        (put({"door.access": 1}, "mix"), "the data set: 1, not "),
        (put(0, "rows", "charges"), "charges: 0"),
        (put(0.0, "http", "events_per_s"), "http: 0.0"),
        (put({"gateway": 1}, "mqtt", "cpu_us_per_event"), "CPU over mqtt: no nats-server, postgres"),
        (put(0.0, "latency", "p50_ms"), "until rated: "),
        (put(0, "latency", "lines"), "until rated: "),
        (put({}, "exports", "live"), "live: no files, ledger, stripe, webhook"),
        (put({}, "exports", "slow"), "slow: no quickbooks"),
        (put(0, "exports", "live", "stripe", "items"), "stripe, live: "),
        (put(0.1, "exports", "slow", "quickbooks", "max_ms"), "quickbooks, slow: "),
        (put(0.0, "agent", "drain_per_s"), "the agent, drain_per_s: 0.0"),
        (put(0.0, "exports", "backlog", "seconds", "backlog-files"), "all that was booked, backlog-files: 0.0"),
    ],
)
def test_a_figure_that_cannot_be_is_named(results: Figures, change: Callable[[Figures], None], told: str) -> None:
    changed = deepcopy(results)
    change(changed)
    assert [fault for fault in faults(changed) if fault.startswith(told)]


def test_every_figure_is_shown(results: Figures, capsys: pytest.CaptureFixture[str]) -> None:
    _show(results)
    shown = capsys.readouterr().out
    for row in (
        "limit",
        "naive",
        "MQTT until rated",
        "HTTP until rated",
        "p99",
        "stripe + backlog",
        "quickbooks",
        "the agent",
    ):
        assert row in shown


def test_a_lag_is_told_by_its_parts() -> None:
    rows: Any = [
        {"lag_s": lag_s, "gathering_s": lag_s / 2, "queued_s": lag_s / 4, "sending_s": lag_s / 4} for lag_s in (1, 2, 6)
    ]
    lag = _lag(rows, 12)
    assert (lag.items, lag.p50_ms, lag.p99_ms, lag.max_ms) == (3, 2000, 6000, 6000)
    assert (lag.gathering_ms, lag.queued_ms, lag.sending_ms) == (1500, 750, 750)


def test_the_gateway_reads_what_is_booked_and_told(tmp_path: Path) -> None:
    events = _Events(tmp_path, 3)
    read_catalog_text([("bench.yaml", events.catalog())])
    told = [event for body in events.past(7).read_bytes().splitlines() for event in read_message(body)]
    read = [event for event in told if isinstance(event, WireEvent)]
    assert [event.id for event in read] == [f"e-{n}" for n in range(7)]
    assert all(event.time is not None and event.time < datetime.now(UTC) for event in read)
    assert events.sent == 7
