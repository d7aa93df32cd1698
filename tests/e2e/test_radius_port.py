"""A whole gateway with its RADIUS port: what is answered survives a kill, what is not comes again."""

import json
import socket
from pathlib import Path

from tests.gateway import RunningGateway
from tests.ingest.radius_peer import SECRETS, packet, peer
from tests.sources.radius_bodies import attributes

_CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
"""


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_what_was_answered_survives_a_kill(data_dir: Path) -> None:
    port = _free_port()
    catalog = data_dir / "catalog.yaml"
    catalog.write_text(_CATALOG)
    env = {
        "METER_RADIUS": f"127.0.0.1:{port}",
        "METER_CATALOG": str(catalog),
        "METER_WEBHOOKS__RADIUS__APS__SECRETS": json.dumps(SECRETS),
        "METER_WEBHOOKS__RADIUS__APS__SITE": "berlin",
    }
    stops = [attributes(Acct_Status_Type=2, Acct_Session_Id=f"s-{n}") for n in range(20)]
    sent = [packet(stop, number=n).RequestPacket() for n, stop in enumerate(stops)]
    running = RunningGateway(data_dir, env=env)
    await running.start()
    try:
        async with peer(("127.0.0.1", port)) as nas:
            for data in sent[:10]:
                nas.send(data)
            answered = {(await nas.answer())[1] for _ in range(10)}
            assert answered == set(range(10))
        await running.kill()
        await running.start()
        assert await running.rows("SELECT count(*) FROM events WHERE channel = 'radius'") == [(10,)]
        async with peer(("127.0.0.1", port)) as nas:
            for data in sent:  # as a NAS does that has heard nothing
                nas.send(data)
            assert {(await nas.answer())[1] for _ in sent} == set(range(20))
        assert await running.rows("SELECT count(*) FROM events WHERE channel = 'radius'") == [(20,)]
    finally:
        await running.stop()
