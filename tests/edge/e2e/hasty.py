"""A gateway that tells agents what is committed before it is: python -m tests.edge.e2e.hasty up ..."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meter.cli import main
from meter.ingest.agents import reports_of
from meter.ingest.arrival import Arrival
from meter.ingest.mqtt import MqttIngest
from meter.transport.mqtt_session import MqttSession
from meter.transport.topics import ack_topic

_submit = MqttIngest._submit


def submit(self: MqttIngest, session: MqttSession, mid: int, arrivals: Sequence[Arrival]) -> None:
    for report in reports_of(arrivals):
        told = {"boot": report.boot, "up_to": 0, "also": sorted(report.sequences)}
        session.publish(ack_topic(report.site, report.edge), msgspec.json.encode(told))
    session.ack(mid)
    _submit(self, session, 0, list(arrivals))


if __name__ == "__main__":
    MqttIngest._submit = submit  # type: ignore[method-assign]
    main()
