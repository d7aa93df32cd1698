"""Zigbee2MQTT: keypads and tag readers become door accesses; everything else that its devices say is nothing.

    zigbee2mqtt/FRIENDLY NAME {"action": "disarm", "action_code": "+1A2B3C4D", "action_transaction": 99, ...}

- Neither time nor id: the transaction, as far as there is one, and a window of the receipt time.
- A keypad's code is a tag where it begins with `+` (another prefix, or none, by a setting). Any other code is a PIN: a
  secret that names nobody, so the event has no subject, and the PIN stands nowhere.
- The friendly name is the door; who renames a device names another door. State that is replayed is retained and never
  gets here, and actions are not kept in it.

Facts: zigbee2mqtt.io (KEYZB-110 and others) and its docs, November 2026.
"""

from __future__ import annotations

from typing import Final

from meter.sources.doors.access import badge_subject, words
from meter.sources.doors.tags import READERS, tag_read
from meter.sources.fields import Fields
from meter.sources.spec import NOTHING, Covers, Message, Option, Reading, Setup, Vendor

_BASE: Final = "zigbee2mqtt"
_NO_DEVICES: Final = ("availability", "set", "get", "action")


def read(setup: Setup, message: Message) -> Reading:
    """Return the access. Raises BadInput (`bad_payload`, `bad_identity`, or as `strict_json` does)."""
    device = _device(message.topic)
    if device is None:
        return NOTHING
    shown = Fields.of_json(message.payload)
    code, action = shown.opt_text(setup.options["field"]), shown.opt_text("action")
    if code is None or action in words(setup, "no_access"):
        return NOTHING
    prefix = setup.options["tag_prefix"]
    is_tag = code.startswith(prefix)
    way = setup.options["actions"].get(action)
    return Reading(
        [
            tag_read(
                setup,
                message,
                door=device,
                subject=badge_subject(setup, code.removeprefix(prefix)) if is_tag else None,
                direction=way,
                told=[action, shown.opt_text("action_transaction")],
                credential=None if is_tag else "PIN",
            )
        ]
    )


def _device(topic: str) -> str | None:
    """Return the friendly name in a topic, which may have levels; None for the bridge's own and for commands."""
    levels = topic.split("/")
    name = levels[levels.index(_BASE) + 1 :] if _BASE in levels[:-1] else levels[-1:]
    return None if name[0] == "bridge" or name[-1] in _NO_DEVICES else "/".join(name)


ZIGBEE2MQTT: Final = Vendor(
    title="Zigbee2MQTT",
    area="doors",
    options={
        "field": Option(default="action_code", about="The field that holds the tag."),
        "tag_prefix": Option(default="+", about="How tags begin there; anything else is a PIN and nobody's."),
        "actions": Option(default={}, about='Which way an action leads, like `{"arm_all_zones": "out"}`.'),
        "no_access": Option(
            default=["panic", "emergency", "fire"], about="Actions that are no access whatever code comes with them."
        ),
        **READERS,
    },
    decoders={"zigbee2mqtt": read},
    covers=(
        Covers(what="keypads and tag readers", state="done", becomes="door.access"),
        Covers(
            what="PINs", state="partly", becomes="door.access", note="nobody's: a PIN is a secret and names no member"
        ),
        Covers(what="occupancy, contacts, batteries, the bridge", state="not"),
    ),
    facts="zigbee2mqtt.io device pages and docs, November 2026",
)
