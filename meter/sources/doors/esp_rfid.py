"""esp-rfid (firmware 1.x and dev): access messages become door accesses, one for each door.

    {"type": "access", ...} on TOPIC/send, {"uid", "username", "access", "time"} on TOPIC/tag ─▶ door.access
    boot, heartbeat, INFO, WARN, lists of users ─▶ nothing, counted

- `access` says why: Admin and Always open, anything else is denied. A board with several relays sends arrays, an
  element for each of `doorName`.
- A tag that the board does not know is denied, and `badge:`. The WARN beside it tells the same and is left out.
- The answer to an `opendoor` command has the user MQTT and a blank uid: nobody came.
- `time` counts from 1970, in UTC or, as some versions keep the board's clock, in local time: a setting. Before the
  clock is set it stands near zero: the receipt time stands in. What cannot be sent while offline the firmware drops.

Facts: the MQTT guide and src/mqtt.esp of esprfid/esp-rfid, November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.clocks import Timed, from_epoch, from_local_epoch
from meter.sources.doors.access import badge_subject, hint
from meter.sources.doors.tags import READERS, UNTIMED, tag_read
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import refused
from meter.sources.spec import NOTHING, Covers, Message, Option, Reading, Setup, Vendor

_OPENING: Final = frozenset(("Admin", "Always"))
# The user of a door that was opened by command, and that of a tag nobody has.
_NOBODY: Final = frozenset(("MQTT", "Unknown"))
# A board has four relays at most.
_DOORS_MAX: Final = 16


def read(setup: Setup, message: Message) -> Reading:
    """Return an access for each door. Raises BadInput (`bad_payload`, `bad_identity`, or as `strict_json` does)."""
    shown = Fields.of_json(message.payload)
    kind = shown.opt_text("type")
    if kind is None and shown.raw("access") is None:
        return NOTHING  # a user of the board's list
    if kind not in {None, "access"}:
        return NOTHING
    subject, board = _badge(setup, shown), shown.opt_text("hostname") or _board(message)
    known = shown.raw("isKnown") is None or shown.flag("isKnown")
    user = shown.opt_text("username")
    timed, told = _time(setup, shown)
    items: list[Parsed] = []
    for door, state in _doors(shown, board):
        if not isinstance(door, str) or not door or not isinstance(state, str):
            fault = f"a door is {str(door)[:40]!r} and its access {str(state)[:40]!r}; strings are documented here"
            items.append(refused(bad_payload(fault), message.payload))
            continue
        granted = known and state in _OPENING
        items.append(
            tag_read(
                setup,
                message,
                door=door,
                subject=subject,
                timed=timed,
                granted=granted,
                told=[board, told],
                reason=None if granted else state if known else "unknown tag",
                by="command" if subject is None else None,
                hint=None if subject is None or user in _NOBODY else hint(name=user),
            )
        )
    return Reading(items)


def _badge(setup: Setup, shown: Fields) -> str | None:
    uid = shown.opt_text("uid") or ""
    return badge_subject(setup, uid) if uid.strip() else None


def _doors(shown: Fields, board: str) -> Iterator[tuple[Json, Json]]:
    """Yield each door with what was decided there. Raises BadInput (`bad_payload`)."""
    states, doors = shown.raw("access"), shown.raw("doorName") or shown.raw("door") or board
    doors = doors if isinstance(doors, list) else [doors]
    states = states if isinstance(states, list) else [shown.text("access")] * len(doors)
    if len(states) != len(doors) or not 0 < len(doors) <= _DOORS_MAX:
        raise bad_payload(f"access has {len(states)} elements and doorName {len(doors)}; one each is documented here")
    yield from zip(doors, states, strict=True)


def _time(setup: Setup, shown: Fields) -> tuple[Timed, int | None]:
    """Return the board's time, and the number that tells two reads apart."""
    seconds = shown.opt_integer("time")
    if seconds is None:
        return UNTIMED, None
    if setup.options["clock"] == "local":
        timed = from_local_epoch(seconds, setup.timezone, what="time")
    else:
        timed = from_epoch(seconds, what="time")
    # A clock that was never set shows the same moments after each start.
    return timed, seconds if timed.time is not None else None


def _board(message: Message) -> str:
    """Return the topic without its last level, where the board's messages carry no name."""
    return message.topic.rpartition("/")[0].strip("/") or message.topic


ESP_RFID: Final = Vendor(
    title="esp-rfid",
    area="doors",
    options={
        "clock": Option(default="utc", about="What the board's clock shows.", choices=("utc", "local")),
        **READERS,
    },
    decoders={"esp-rfid": read},
    covers=(
        Covers(what="access", state="done", becomes="door.access", note="one for each door"),
        Covers(what="Home Assistant's TOPIC/tag", state="done", becomes="door.access"),
        Covers(what="boot, heartbeat, INFO, WARN, user lists", state="not"),
        Covers(what="what happened while the board was offline", state="not", note="the firmware does not send it"),
    ),
    facts="the MQTT guide and src/mqtt.esp of esprfid/esp-rfid, November 2026",
)
