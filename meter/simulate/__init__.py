"""Believable coworking days, the same for the same seed, and ways to send them (see README.md)."""

from __future__ import annotations

from meter.simulate.day import simulate, site_day
from meter.simulate.delivery import NO_FAULTS, Faults, deliver
from meter.simulate.directory import directory, directory_text
from meter.simulate.event import Delivery, TrueEvent
from meter.simulate.file_sink import to_file
from meter.simulate.http_sink import to_http
from meter.simulate.mqtt_sink import to_mqtt
from meter.simulate.pace import Playback, Sent, SteadyRate
from meter.simulate.population import population

__all__ = [
    "NO_FAULTS",
    "Delivery",
    "Faults",
    "Playback",
    "Sent",
    "SteadyRate",
    "TrueEvent",
    "deliver",
    "directory",
    "directory_text",
    "population",
    "simulate",
    "site_day",
    "to_file",
    "to_http",
    "to_mqtt",
]
