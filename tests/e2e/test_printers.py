"""Printers through a whole gateway: a real print server that is polled, a log that grows, a counter beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.contract.outside import run
from tests.e2e.vendors import SETTLE_TIMEOUT_S, Site, catalog, write_catalog
from tests.gateway import RunningGateway
from tests.sources.cups_server import print_server
from tests.sources.snmp_agent import COMMUNITY, free_udp_port, printer_agent

_EVERY_S = 5
_ROW = "2026-03-02\t{time} AM\tprint01\toffice\tmira\tmira\tPC\tplan.pdf\t{pages}\t0\t1\t0.10\n"


async def _counters(gateway: RunningGateway, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `meter counters` says of the printer at the lounge, once it is `enough`."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:  # another process tells nobody
            code, out, err = await run(gateway, "counters", "--printer", "lounge", "--json")
            assert code == 0, err
            found: list[dict[str, Any]] = json.loads(out)["printers"]
            if found and enough(found[0]):
                return found[0]
            await asyncio.sleep(0.2)


async def test_what_was_printed_is_billed_and_compared_with_the_printers_own_count(data_dir: Path) -> None:
    logs, port = data_dir / "print-logs", free_udp_port()
    logs.mkdir()
    log = logs / "printlog_2026_03_02.log"
    async with print_server(data_dir, "") as server:
        webhooks = {
            "ipp": {"server": {"site": "berlin", "api_base": f"ipp://{server.address}/", "every_s": _EVERY_S}},
            "papercut": {
                "office": {
                    "site": "berlin",
                    "timezone": "Europe/Berlin",
                    "every_s": _EVERY_S,
                    "options": {"path": str(logs / "printlog_*.log")},
                }
            },
            "snmp": {
                "lounge": {
                    "site": "berlin",
                    "api_base": f"snmp://127.0.0.1:{port}",
                    "api_key": COMMUNITY,
                    "every_s": _EVERY_S,
                }
            },
        }
        members = {"mira": ["cups:mira", "papercut:mira"], "jo": ["cups:jo"]}
        env = {
            "METER_DATA_DIR": str(data_dir / "gateway"),
            "METER_WEBHOOKS": json.dumps(webhooks),
            "METER_CATALOG": str(write_catalog(data_dir, catalog(members, []))),
        }
        (data_dir / "gateway").mkdir(mode=0o711)
        async with RunningGateway(data_dir / "gateway", env=env) as gateway:
            site = Site(gateway)
            async with printer_agent(data_dir, port, count=1_000):
                await _counters(gateway, lambda found: bool(found["notes"]))
            again = await server.print(3, "-U", "mira", "-n", "2")
            await server.run("cancel", await server.print(9, "-U", "jo", "-H", "hold"))
            log.write_text(_ROW.format(time="9:14:02", pages=4), encoding="ascii")
            await site.until("mira", {"pages": Decimal(6 + 4)})
            # The job is printed again; the log has grown by an equal row and half of another.
            await server.run("lp", "-i", again, "-H", "restart")
            log.write_text(_ROW.format(time="9:14:02", pages=4) * 2 + "2026-03-02\t9:", encoding="ascii")
            await site.until("mira", {"pages": Decimal(12 + 8)})
            assert await site.bill("jo") == {}
            # Somebody copied two pages past the server.
            async with printer_agent(data_dir, port, count=1_014):
                lounge = await _counters(gateway, lambda found: found["counted"] == 14)
            assert (lounge["metered"], lounge["difference"]) == (12, 2)
