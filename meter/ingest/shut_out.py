"""What comes from agents that are revoked: refused, kept within bounds, acknowledged to nobody (decision 0017)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from meter.ingest.arrival import Arrival
from meter.model.errors import BadInput
from meter.model.event import HEARTBEAT
from meter.model.wire import WireEvent
from meter.store.edge_revocations import Agent, Revocation
from meter.transport.topics import agent_of

REVOKED: Final = "edge_revoked"


def agents_of(arrivals: Sequence[Arrival]) -> set[Agent]:
    """Return every agent that sent some of a batch, or says so."""
    return {agent for arrival in arrivals for agent in _senders(arrival)}


def _senders(arrival: Arrival) -> list[Agent]:
    """Return whose mark it bears and whose topic it came on: of two, neither may be revoked."""
    parsed, found = arrival.parsed, []
    site = arrival.site or parsed.site
    if parsed.edge is not None and site is not None:
        found.append(Agent(site, parsed.edge))
    if arrival.channel == "mqtt" and (on_topic := agent_of(arrival.origin)) is not None:
        found.append(Agent(*on_topic))
    return found


@dataclass(slots=True, kw_only=True)
class ShutOut:
    """Which arrivals of a batch come from revoked agents, by their place, and how much of them is refused and kept."""

    by: Mapping[int, Agent]
    room: dict[Agent, int]
    refused: Counter[Agent] = field(default_factory=Counter)
    kept: dict[bytes, Agent] = field(default_factory=dict)

    @classmethod
    def of(cls, arrivals: Sequence[Arrival], revoked: Mapping[Agent, Revocation]) -> ShutOut:
        """Return what of a batch is shut out."""
        by = {
            index: agent
            for index, arrival in enumerate(arrivals)
            for agent in reversed(_senders(arrival))
            if agent in revoked
        }
        return cls(by=by, room={agent: revocation.room for agent, revocation in revoked.items()})

    def refusal(self, index: int, arrival: Arrival) -> BadInput | None:
        """Return why this arrival is refused; None where it is not, or a person hands it in."""
        agent = self.by.get(index)
        if agent is None or arrival.by_hand:
            return None
        message = (
            f"the agent {agent.edge} of {agent.site} is revoked; it keeps this event until it is enrolled again "
            "(meter edges enroll)"
        )
        return BadInput(message, code=REVOKED)

    def keeps(self, index: int, arrival: Arrival, digest: bytes) -> bool:
        """Count a refusal, and tell whether its bytes are kept: while there is room, and of heartbeats never."""
        if isinstance(arrival.parsed, WireEvent) and arrival.parsed.type == HEARTBEAT:
            return False
        agent = self.by[index]
        self.refused[agent] += 1
        if self.room[agent] <= 0:
            return False
        self.room[agent] -= 1
        self.kept[digest] = agent
        return True

    def heard(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Return the others: what agents are told, and what they have said, is by these alone."""
        return [arrival for index, arrival in enumerate(arrivals) if index not in self.by]

    def newly_kept(self, new: Collection[bytes]) -> Counter[Agent]:
        """Return how many of the refusals that are `new` (by digest) are each agent's."""
        return Counter(agent for digest, agent in self.kept.items() if digest in new)
