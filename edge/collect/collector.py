"""What every collector but HTTP's is to the agent: a name, how it is, and work that goes on until it is cancelled."""

from __future__ import annotations

from typing import Protocol

from edge.heartbeat import CollectorState


class Collector(Protocol):
    """Hears or reads something of the site, and answers it after the spool's commit."""

    name: str

    @property
    def state(self) -> CollectorState:
        """Return how it is."""

    async def run(self) -> None:
        """Collect until cancelled. What passes by itself is waited for; SpoolFailed is raised."""
