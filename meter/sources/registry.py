"""Every vendor, by the name that routes, settings and catalogs use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from meter.sources import cloudevents
from meter.sources.billing.stripe import STRIPE
from meter.sources.doors.alta import ALTA
from meter.sources.doors.brivo import BRIVO
from meter.sources.doors.esp_rfid import ESP_RFID
from meter.sources.doors.esphome import ESPHOME_TAG
from meter.sources.doors.home_assistant import HOME_ASSISTANT_TAG
from meter.sources.doors.kisi import KISI
from meter.sources.doors.salto_ks import SALTO_KS
from meter.sources.doors.tasmota import TASMOTA_RFID
from meter.sources.doors.unifi_access import UNIFI_ACCESS
from meter.sources.doors.zigbee2mqtt import ZIGBEE2MQTT
from meter.sources.pos.square import SQUARE
from meter.sources.printers.cups import CUPS
from meter.sources.printers.ezeep import EZEEP
from meter.sources.printers.ipp import IPP
from meter.sources.printers.papercut import PAPERCUT
from meter.sources.printers.snmp import SNMP
from meter.sources.spaces.cobot import COBOT
from meter.sources.spaces.hubspot import HUBSPOT
from meter.sources.spaces.nexudus import NEXUDUS
from meter.sources.spaces.officernd import OFFICERND
from meter.sources.spaces.optix import OPTIX
from meter.sources.spec import Message, Reading, Setup, Vendor
from meter.sources.wifi.freeradius import FREERADIUS
from meter.sources.wifi.ironwifi import IRONWIFI
from meter.sources.wifi.meraki import MERAKI
from meter.sources.wifi.opennds import OPENNDS
from meter.sources.wifi.radius import RADIUS

VENDORS: Final[Mapping[str, Vendor]] = {
    "alta": ALTA,
    "brivo": BRIVO,
    "cobot": COBOT,
    "cups": CUPS,
    "esp-rfid": ESP_RFID,
    "esphome-tag": ESPHOME_TAG,
    "ezeep": EZEEP,
    "freeradius": FREERADIUS,
    "home-assistant-tag": HOME_ASSISTANT_TAG,
    "hubspot": HUBSPOT,
    "ipp": IPP,
    "ironwifi": IRONWIFI,
    "kisi": KISI,
    "meraki": MERAKI,
    "nexudus": NEXUDUS,
    "officernd": OFFICERND,
    "opennds": OPENNDS,
    "optix": OPTIX,
    "papercut": PAPERCUT,
    "radius": RADIUS,
    "salto-ks": SALTO_KS,
    "snmp": SNMP,
    "square": SQUARE,
    "stripe": STRIPE,
    "tasmota-rfid": TASMOTA_RFID,
    "unifi-access": UNIFI_ACCESS,
    "zigbee2mqtt": ZIGBEE2MQTT,
}

# By the name that a catalog's `mqtt:` section uses.
DECODERS: Final[Mapping[str, Callable[[Setup, Message], Reading]]] = {
    "cloudevents": cloudevents.read,
    **{name: read for vendor in VENDORS.values() for name, read in vendor.decoders.items()},
}


def vendor_of_decoder(name: str) -> str:
    """Return the vendor that a decoder belongs to; the decoder's own name where it is nobody's."""
    return next((vendor for vendor, described in VENDORS.items() if name in described.decoders), name)
