"""A week offline: how it comes into the spool, what goes on while it drains, and what is looked at meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp

from edge.app import SPOOL_DIR
from edge.intake import Intake, Origin
from edge.spool.file import Spool
from edge.spool.keeper import Keeper
from edge.spool.records import Measurement
from meter.embedded.postgres import EmbeddedPostgres
from meter.model.wire import read_batch
from tests.edge.agent import RunningAgent
from tests.edge.clocks import VirtualClock
from tests.edge.e2e.week import SPAN, Happened, Moment, Week
from tests.gateway import RunningGateway

# The machine is started anew each day: its clock is held by NTP, or three hours behind until NTP comes, or left alone.
BOOTS: Final = 7
_BEHIND: Final = timedelta(hours=3)
_FRESH_PER_S: Final = 5.0
# Fewer would make no percentile, however soon the backlog is gone.
FRESH_LEAST: Final = 20
_SAMPLE_S: Final = 0.5

# When each fresh event and its line were there, by the server's own record of when their transactions were committed.
_LAGS: Final = """
    SELECT e.id, extract(epoch FROM pg_xact_commit_timestamp(e.xid::text::bigint::text::xid)) AS stored_s,
           extract(epoch FROM pg_xact_commit_timestamp(line.xid::text::bigint::text::xid)) AS rated_s
      FROM events AS e
      LEFT JOIN charges AS line
        ON line.operator = e.operator AND line.source = e.source AND line.event_id = e.id AND line.role = 'original'
     WHERE e.operator = 'northside' AND e.source = 'berlin/print/fresh'
"""
_LAST_LINE: Final = """
    SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xid::text::bigint::text::xid)))
      FROM charges WHERE source <> 'berlin/print/fresh'
"""
_RATED: Final = """
    SELECT NOT EXISTS (SELECT FROM refolds)
       AND (SELECT (xid, seq) FROM events ORDER BY xid DESC, seq DESC LIMIT 1)
         = (SELECT (xid, seq) FROM rating_cursors ORDER BY xid, seq LIMIT 1)
"""


# --- a week without a network -----------------------------------------------------------------------------------------


async def fill(directory: Path, week: Week) -> int:
    """Have a site's agent take in a week, and return how many events its spool then holds."""
    clock, held = VirtualClock(week.start), 0
    of_boot: list[list[Moment]] = [[] for _ in range(BOOTS)]
    for moment in week.moments():
        of_boot[boot_at(week, moment.time)].append(moment)
    for number, moments in enumerate(of_boot):
        clock.reboot()
        clock.synchronised = number % 3 == 0
        held = await _one_boot(directory / SPOOL_DIR, clock, moments, behind=_BEHIND * (number % 3 == 1))
    return held


def boot_at(week: Week, time: datetime) -> int:
    """Return the number of the machine's boot that runs at an instant."""
    return min(BOOTS - 1, (time - week.start) * BOOTS // SPAN)


def is_flagged(week: Week, one: Happened) -> bool:
    """Tell whether nobody knows how right the agent's clock was when it heard of the event."""
    return not one.timed and boot_at(week, one.time) % 3 == 2


async def _one_boot(directory: Path, clock: VirtualClock, moments: Iterable[Moment], *, behind: timedelta) -> int:
    """Take in what is said while the machine's clock is behind; where it is, NTP corrects it at the end."""
    true = clock.wall
    clock.set_wall(true - behind)
    origin = Origin(name="POST /v1/events", content_type="application/cloudevents-batch+json")
    async with Keeper(Spool.open(directory, clock=clock)) as keeper:
        intake = Intake(keeper, site="berlin", edge="berlin-edge", clock=clock)
        for moment in moments:
            clock.advance(moment.time - true)
            true = moment.time
            told = [read_batch(json.dumps([one.body for one in said]).encode()) for said in moment.said]
            results = await asyncio.gather(*(intake.keep(parsed, origin=origin) for parsed in told))
            assert {one.status for said in results for one in said} == {"accepted"}
        clock.set_wall(true)
        at = clock.read()
        if behind:
            measured = Measurement(
                machine_boot=at.machine_boot, boottime_ns=at.boottime_ns, true=true, error_ms=1, ntp=True
            )
            await keeper.measure(measured)
        return keeper.depth.events


# --- what is looked at ------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Figures:
    """What a drain took: seconds, events, megabytes. Lags are of what devices said while it went on."""

    events: int
    drained_s: float = 0.0
    rated_s: float = 0.0
    start_s: float = 0.0
    fresh: int = 0
    stored_s: dict[str, float] = field(default_factory=dict)
    fresh_rated_s: dict[str, float] = field(default_factory=dict)
    gateway_mb: list[int] = field(default_factory=list)
    agent_mb: list[int] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return them for people."""
        drained, rated = self.events / self.drained_s, self.events / self.rated_s
        return [
            f"{self.events:,} events drained in {self.drained_s:.1f} s ({drained:,.0f}/s)",
            f"rated after {self.rated_s:.1f} s ({rated:,.0f}/s)",
            f"the agent heard devices {self.start_s:.2f} s after its start",
            f"{self.fresh} fresh ones, from the answer until stored {_shown(self.stored_s)}",
            f"until rated {_shown(self.fresh_rated_s)}",
            f"gateway and broker, MB over time: {_course(self.gateway_mb)}",
            f"agent, MB over time: {_course(self.agent_mb)}",
        ]


def _shown(lags: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3f} s" for name, seconds in lags.items())


def _course(samples: Sequence[int]) -> str:
    """Return a tenth of the way after the other, the most of each."""
    tenths = [samples[len(samples) * n // 10 : len(samples) * (n + 1) // 10] for n in range(10)]
    return " ".join(str(max(tenth)) for tenth in tenths if tenth)


def percentiles(lags: Iterable[float]) -> dict[str, float]:
    """Return p50, p99 and the most."""
    ordered = sorted(lags)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}


@asynccontextmanager
async def watched(gateway: RunningGateway, agent: RunningAgent, figures: Figures) -> AsyncIterator[None]:
    """Take samples of resident memory: of the gateway with its broker, without PostgreSQL, and of the agent."""

    async def watch() -> None:
        while True:
            figures.gateway_mb.append(sum(map(resident_mb, gateway_processes(gateway.addresses.pid))))
            figures.agent_mb.append(resident_mb(agent.process.pid))
            await asyncio.sleep(_SAMPLE_S)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def gateway_processes(pid: int) -> list[int]:
    """Return the gateway's process and its children's, PostgreSQL's aside. Linux only."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(child for child in map(int, children) if _name(child) != "postgres")]


def resident_mb(pid: int) -> int:
    """Return the memory that a process has now; 0 for one that has gone. Linux only."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


# --- the drain --------------------------------------------------------------------------------------------------------


async def keeping_commit_times(data_dir: Path) -> None:
    """Make the gateway's database beforehand, with a record of when each transaction was committed."""
    async with EmbeddedPostgres(data_dir):
        pass
    with (data_dir / "postgres" / "home" / "cluster" / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write("track_commit_timestamp = on\n")


@dataclass
class Devices:
    """What happens while the backlog drains: print jobs at a steady rate, one post each, until `stop`."""

    agent: RunningAgent
    week: Week
    said: list[Happened] = field(default_factory=list)
    answered_s: dict[str, float] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def speak(self) -> None:
        """Post, and note when each answer came."""
        url = f"http://127.0.0.1:{self.agent.port}/v1/events"
        headers = {"Content-Type": "application/cloudevents+json"}
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with aiohttp.ClientSession(headers=headers) as client:
            while not self.stop.is_set() or len(self.said) < FRESH_LEAST:
                await asyncio.sleep(max(0.0, began_s + len(self.said) / _FRESH_PER_S - loop.time()))
                one = self.week.fresh(len(self.said), datetime.now(UTC))
                async with client.post(url, data=json.dumps(one.body)) as answer:
                    assert (await answer.json())["results"][0]["status"] == "accepted"
                self.answered_s[one.body["id"]] = time.time()
                self.said.append(one)


async def drain(gateway: RunningGateway, agent: RunningAgent, week: Week, held: int) -> tuple[Figures, list[Happened]]:
    """Start the agent, have devices speak until what it held has gone and is rated; return what else was said."""
    figures, began_s = Figures(events=held), time.time()
    async with agent:
        figures.start_s = time.time() - began_s
        devices = Devices(agent, week)
        async with watched(gateway, agent, figures), asyncio.TaskGroup() as group:
            speaking = group.create_task(devices.speak())
            while (await agent.get("/v1/status"))["spooled"] > _FRESH_PER_S * 20:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.2)
            drained_at_s = time.time()
            figures.drained_s = drained_at_s - began_s
            devices.stop.set()
            await speaking
            await agent.drained()
            while not (await gateway.rows(_RATED))[0][0]:  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(0.2)
    ((last_line_s,),) = await gateway.rows(_LAST_LINE)
    figures.rated_s = float(last_line_s) - began_s
    rows = {row[0]: row[1:] for row in await gateway.rows(_LAGS)}
    meanwhile = {id: at_s for id, at_s in devices.answered_s.items() if at_s <= drained_at_s} or devices.answered_s
    figures.fresh = len(meanwhile)
    figures.stored_s = percentiles(float(rows[id][0]) - at_s for id, at_s in meanwhile.items())
    figures.fresh_rated_s = percentiles(float(rows[id][1]) - at_s for id, at_s in meanwhile.items())
    return figures, devices.said
