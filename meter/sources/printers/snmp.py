"""SNMP: a printer's own counter, as printer.counter events that are in no bill.

    prtMarkerLifeCount, prtMarkerCounterUnit ─▶ printer.counter {printer, marker, count, unit} when it has changed,
                                                and once a day where it has not

- For reconciliation only (`meter counters`): the counter knows no user, no job and no colour. What was printed past the
  print server, and what its filters counted and no printer took, shows as a difference.
- What a unit means is the device's: most count sides (`impressions`), some sheets; one counts a large sheet twice.
- It may fall: by a few where the device keeps it in memory that is saved now and then, to near 0 where it rolls over or
  the board was changed. The reading is kept as it is; the report says what it takes a fall for.

Facts: Printer-MIB (RFC 3805, prtMarkerTable, prtGeneralSerialNumber), vendors' MIBs on rolling over and on memory that
is saved every ten impressions, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.strict_json import strict_json
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import usage_event
from meter.sources.spec import Answer, Covers, Feed, Option, Page, Request, Setup, Vendor

COUNTER: Final = "printer.counter"
_UNIT: Final = "1.3.6.1.2.1.43.10.2.1.3"
_LIFE_COUNT: Final = "1.3.6.1.2.1.43.10.2.1.4"
_SERIAL: Final = "1.3.6.1.2.1.43.5.1.1.17"
# PrtMarkerCounterUnitTC; others measure film, hours and characters.
_UNITS: Final[Mapping[int, str]] = {7: "impressions", 8: "sheets"}
_EVERY: Final = timedelta(days=1)


def request(setup: Setup, _cursor: Json, _now: datetime) -> Request:
    """Return the question for each marker's unit and count, and for the serial number."""
    markers = _markers(setup)
    oids = [f"{table}.{marker}" for marker in markers for table in (_UNIT, _LIFE_COUNT)]
    oids += [f"{_SERIAL}.{device}" for device in dict.fromkeys(marker.split(".")[0] for marker in markers)]
    return Request(over="snmp", url=setup.api_base or "", arguments={"oids": oids})


def read(setup: Setup, cursor: Json, answer: Answer) -> Page:
    """Return the counts that are news; the cursor has each marker's last one, and when it was told.

    Raises BadInput (`bad_payload`): the device has no such marker, or counts nothing.
    """
    found = _objects(answer.body)
    told = dict(cursor) if isinstance(cursor, dict) else {}
    items: list[Parsed] = []
    for marker in _markers(setup):
        unit = found.opt_integer(_named(f"{_UNIT}.{marker}"))
        data: dict[str, Json] = {
            "printer": setup.options["printer"] or setup.name,
            "marker": marker,
            "count": found.integer(_named(f"{_LIFE_COUNT}.{marker}")),
            "unit": "unknown" if unit is None else _UNITS.get(unit, f"unit {unit}"),
            "serial": found.opt_text(_named(f"{_SERIAL}.{marker.split('.')[0]}")),
        }
        before = told.get(marker)
        if before and before["data"] == data and answer.received_at - parse_instant(before["at"]) < _EVERY:
            continue
        at = instant_text(answer.received_at)
        event_id = f"{marker}:{at}:{data['count']}"
        items.append(usage_event(setup, kind="print", id=event_id, type=COUNTER, data=data, time=answer.received_at))
        told[marker] = {"data": data, "at": at}
    return Page(items=items, cursor=told)


def _markers(setup: Setup) -> list[str]:
    return [str(marker) for marker in setup.options["markers"]]


def _objects(body: bytes) -> Fields:
    objects = strict_json(body)
    if not isinstance(objects, dict):
        raise bad_payload("the answer is no object of OIDs")
    return Fields({_named(oid): value for oid, value in objects.items()})


def _named(oid: str) -> str:
    """Return an OID as the name of a field: dots would be a path."""
    return oid.replace(".", "-")


SNMP: Final = Vendor(
    title="Printer counters (SNMP)",
    area="printers",
    needs=frozenset({"site", "api_base"}),
    feeds={"counters": Feed(every_s=900, request=request, read=read, billed=False)},
    polls_without_key=True,
    options={
        "printer": Option(default="", about="The printer's name as its jobs have it; the source's own unless set."),
        "markers": Option(default=["1.1"], about="Which markers are read, as DEVICE.MARKER (hrDeviceIndex first)."),
    },
    covers=(
        Covers(
            what="prtMarkerLifeCount, prtMarkerCounterUnit",
            state="done",
            becomes=COUNTER,
            note="in no bill; for `meter counters`",
        ),
        Covers(what="SNMP version 3, vendors' own counters of colour", state="not", note="version 2c only"),
    ),
    facts="RFC 3805 and vendors' MIBs, November 2026; read from a running Net-SNMP agent",
)
