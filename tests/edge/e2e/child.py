"""`meter-edge run` with a fault of ours planted: python -m tests.edge.e2e.child JSON.

The JSON: `release_on_puback` (the broker's acknowledgement is taken for the gateway's); `no_resend` (what was not
acknowledged is sent again on another connection only); `no_recall` (what the gateway lost after its word is not found
missing by comparing); `kill` and `at` (as in tests.edge.spool.child, together with
`full_after_syncs`); `clock` (the machine's, as tests.edge.e2e.machines says).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from edge import app
from edge.__main__ import main
from edge.spool.records import Place
from edge.uplink.mqtt import MqttChannel, MqttUplink, Told
from edge.uplink.recall import Recall
from edge.uplink.window import Message, Window
from tests.edge.e2e.machines import WrongClock
from tests.edge.spool.child import arm, spoiler_of
from tests.edge.spool.vfs import watched


def release_on_puback() -> None:
    """Tell the pump what the broker has acknowledged as if the gateway had."""
    connect = MqttUplink.connect
    sent: dict[int, Sequence[Place]] = {}

    async def connected(self: MqttUplink) -> MqttChannel:
        channel = await connect(self)
        sent.clear()

        def acknowledged(_client: Any, _data: Any, mid: int, *_: Any) -> None:
            for boot, sequence in sent.pop(mid, ()):
                self._acknowledged(Told(boot=boot, up_to=0, also=[sequence]))

        channel._session._client.on_publish = acknowledged
        return channel

    async def send(self: MqttChannel, body: bytes, places: Sequence[Place]) -> None:
        published = self._session._client.publish(self._topic, body, qos=1)
        sent[published.mid] = places

    MqttUplink.connect = connected  # type: ignore[method-assign]
    MqttChannel.send = send  # type: ignore[method-assign, assignment]


def no_resend() -> None:
    """Find nothing overdue, ever."""

    def overdue(_self: Window, _at_s: float) -> Sequence[Message]:
        return ()

    Window.overdue = overdue  # type: ignore[method-assign, assignment]


def no_recall() -> None:
    """Believe the gateway that it has what it said it has."""

    async def compare(_self: Recall, _told: Any, _held: Any) -> None:
        return

    Recall.compare = compare  # type: ignore[method-assign, assignment]


def run(plan: dict[str, Any]) -> int:
    if plan.get("release_on_puback"):
        release_on_puback()
    if plan.get("no_resend"):
        no_resend()
    if plan.get("no_recall"):
        no_recall()
    if "clock" in plan:
        vars(app)["SystemClock"] = partial(WrongClock, **plan["clock"])
    if "kill" in plan:
        arm(plan)
    with watched(spoiler_of(plan)) if "full_after_syncs" in plan else nullcontext():
        return main(["run"])


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[1])))
