"""What a batch says of the agents that sent it, and what they are told in turn; decided without I/O (decision 0015)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from meter.ingest.arrival import Arrival, ClockQuestion, Receipt
from meter.model.event import HEARTBEAT, Json
from meter.model.instant import parse_instant
from meter.model.wire import WireEvent
from meter.store.edge_revocations import Agent
from meter.store.edges import NO_BOOT, EdgeProgress, EdgeReport, Heartbeat, Said
from meter.transport.topics import agent_of

# What is kept of a heartbeat for people.
_SAID: Final = (
    "spooled",
    "spooled_bytes",
    "oldest",
    "refused",
    "clock_offset_ms",
    "ntp",
    "version",
    "collectors",
    "faults",
    "authorizations",
)
_COLLECTOR: Final = ("state", "detail", "last")
_ANSWERS: Final = ("untold", "refused", "risk_used")


def reports_of(arrivals: Sequence[Arrival]) -> list[EdgeReport]:
    """Return what the batch says about agents: every sequence counts, whatever became of its event."""
    reports: dict[tuple[str, str, int], EdgeReport] = {}
    for arrival in arrivals:
        parsed, key = arrival.parsed, _agent(arrival)
        if key is None:
            continue
        report = reports.get(key)
        if report is None:
            report = reports[key] = EdgeReport(site=key[0], edge=key[1], boot=key[2])
        if parsed.sequence is not None:
            report.sequences.add(parsed.sequence)
        if isinstance(parsed, WireEvent) and parsed.site == report.site:
            _heed(report, parsed)
    return list(reports.values())


def _agent(arrival: Arrival) -> tuple[str, str, int] | None:
    """Return which boot of whose agent sent it; None where no agent did, or another one than its mark says.

    On a topic of its own and with a key of its own each speaks for itself: whoever could mark what another has not
    sent would have that one let go of it, and say that its site is complete.
    """
    parsed = arrival.parsed
    site = arrival.site or parsed.site
    if parsed.edge is None or site is None:
        return None
    if arrival.edge not in {None, parsed.edge}:
        return None
    if arrival.channel == "mqtt" and agent_of(arrival.origin) not in {None, (site, parsed.edge)}:
        return None
    return site, parsed.edge, NO_BOOT if parsed.boot is None else parsed.boot


def beside_their_topics(arrivals: Sequence[Arrival]) -> set[Agent]:
    """Return the agents whose marks came over MQTT on topics that are no agent's."""
    return {agent for arrival in arrivals if (agent := _beside(arrival)) is not None}


def of_themselves(arrivals: Sequence[Arrival], enrolled: Collection[Agent]) -> list[Arrival]:
    """Return the arrivals without those that bear the mark of an `enrolled` agent on a topic that is no agent's.

    Such an agent writes its own topic alone: a broker's rules let devices beside it write theirs, and never this one.
    """
    return [arrival for arrival in arrivals if _beside(arrival) not in enrolled]


def _beside(arrival: Arrival) -> Agent | None:
    parsed = arrival.parsed
    site = arrival.site or parsed.site
    if arrival.channel != "mqtt" or parsed.edge is None or site is None or agent_of(arrival.origin) is not None:
        return None
    return Agent(site, parsed.edge)


def _heed(report: EdgeReport, event: WireEvent) -> None:
    if event.offset_ms is not None:
        report.clock_offset_ms = event.offset_ms
    if event.type == HEARTBEAT:
        until = parse_instant(event.data["complete_until"], what="data.complete_until")
        report.heartbeats.append(Heartbeat(event.sequence, until))
        report.hear(Said(event.sequence, _said(event.data)))
        if event.data.get("clock_offset_ms") is not None:
            report.clock_offset_ms = event.data["clock_offset_ms"]


def _said(data: Mapping[str, Json]) -> dict[str, Json]:
    """Return what a heartbeat says for people, of each collector what is known to be brief."""
    said = _only(data, _SAID)
    if "collectors" in said:
        said["collectors"] = {name: _only(one, _COLLECTOR) for name, one in said["collectors"].items()}
    if "authorizations" in said:
        said["authorizations"] = _only(said["authorizations"], _ANSWERS)
    return said


def _only(data: Mapping[str, Json], names: Sequence[str]) -> dict[str, Json]:
    return {name: data[name] for name in names if data.get(name) is not None}


def questions_of(arrivals: Sequence[Arrival]) -> list[ClockQuestion]:
    """Return the heartbeats to which agents get an answer over MQTT, whatever became of their events."""
    return [
        ClockQuestion(
            site=arrival.parsed.site,
            edge=arrival.parsed.edge,
            asked=arrival.parsed.data.get("asked"),
            received_at=arrival.received_at,
            boots=tuple(arrival.parsed.data.get("boots") or ()),
        )
        for arrival in arrivals
        if isinstance(arrival.parsed, WireEvent)
        and arrival.parsed.type == HEARTBEAT
        and arrival.parsed.edge is not None
        and arrival.channel == "mqtt"
        and arrival.site in {None, arrival.parsed.site}
        and _agent(arrival) is not None
    ]


def told_again(
    arrivals: Sequence[Arrival], receipts: Sequence[Receipt], progress: Collection[EdgeProgress]
) -> Sequence[Receipt]:
    """Return the receipts; those of events whose sequence found no room among its agent's marks say so."""
    unmarked = {(one.site, one.edge, one.boot): one.unmarked for one in progress if one.unmarked}
    if not unmarked:
        return receipts
    return [
        replace(receipt, unmarked=True)
        if (key := _agent(arrival)) is not None and arrival.parsed.sequence in unmarked.get(key, ())
        else receipt
        for arrival, receipt in zip(arrivals, receipts, strict=True)
    ]
