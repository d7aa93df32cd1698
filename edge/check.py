"""What `meter-edge check` looks at: settings, spool, the way to the gateway, sources; each as one finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp
from paho.mqtt.enums import MQTTProtocolVersion

from edge.app import spool_directory, tls_of
from edge.clock import ntp_synchronised
from edge.collect.check import devices_found
from edge.config.faults import variable_of
from edge.config.settings import EdgeSettings
from edge.finding import Finding, judged
from edge.local import running_agent
from edge.sources import configured_broker, configured_sources
from edge.spool.errors import SpoolInUse
from edge.spooled import spool_figures
from meter.model.errors import MeterError
from meter.transport.mqtt_address import BrokerAddress, broker_address
from meter.transport.mqtt_session import MqttSession
from meter.transport.silence import silence

_ANSWER_S: Final = 5.0
_CLOCK: Final = {True: "NTP holds the clock", False: "nothing sets the clock: times are measured at the gateway"}


async def check(settings: EdgeSettings) -> list[Finding]:
    """Return what was found, in the order of an event's way. Nothing is raised for what is wrong."""
    findings = [Finding(about="settings", detail=f"site {settings.site}, edge {settings.id}")]
    findings.append(judged("sources", lambda: ", ".join(_names(settings)) or "none is set: devices post CloudEvents"))
    findings.extend(await devices_found(settings, await running_agent(settings)))
    findings.extend(await _broker("site's broker", settings, _site_broker))
    findings.append(await _spool(settings))
    findings.append(Finding(about="clock", detail=_CLOCK.get(ntp_synchronised() is True, "")))
    if settings.gateway.mqtt_url is not None:
        findings.extend(await _broker("broker", settings, _gateway_broker))
    if settings.gateway.http_url is not None:
        findings.append(await _gateway(settings))
    return findings


def _names(settings: EdgeSettings) -> list[str]:
    return [f"{source.setup.vendor}/{source.setup.name}" for source in configured_sources(settings)]


async def _spool(settings: EdgeSettings) -> Finding:
    try:
        figures = await spool_figures(settings)
    except SpoolInUse as error:
        message = f"{error.detail}; it does not answer at {settings.http}"
        return Finding(about="spool", good=False, detail=message)
    except MeterError as error:
        return Finding(about="spool", good=False, detail=error.detail)
    where = "kept by the running agent" if "online" in figures else str(spool_directory(settings))
    return Finding(about="spool", detail=f"{figures['spooled']} events wait, {where}")


def _gateway_broker(settings: EdgeSettings) -> BrokerAddress:
    gateway = settings.gateway
    return broker_address(
        gateway.mqtt_url or "",
        setting=variable_of("gateway", "mqtt_url"),
        ca_file=gateway.ca_file,
        cert_file=gateway.cert_file,
        key_file=gateway.key_file,
    )


def _site_broker(settings: EdgeSettings) -> BrokerAddress | None:
    found = configured_broker(settings)
    return None if found is None else found[0]


async def _broker(
    about: str, settings: EdgeSettings, find: Callable[[EdgeSettings], BrokerAddress | None]
) -> list[Finding]:
    """Look whether a broker lets us in, under a name of its own: the agent's session is the agent's.

    Subscribed to is what nobody publishes there: the broker would keep for ever what comes for a session that was left.
    """
    try:
        address = find(settings)
        if address is None:
            return []
        session = MqttSession(
            address,
            client_id=f"meter-edge-check-{settings.site}",
            protocol=MQTTProtocolVersion.MQTTv311,
            on_message=lambda _session, _message: None,
            full=lambda: False,
        )
        await session.open([f"spaces/{settings.site}/acks/{settings.id}"])
        session.close()
    except MeterError as error:
        return [Finding(about=about, good=False, detail=error.detail)]
    return [Finding(about=about, detail=f"{address.shown} lets us in")]


async def _gateway(settings: EdgeSettings) -> Finding:
    key = settings.gateway.api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    url = f"{(settings.gateway.http_url or '').rstrip('/')}/v1/clock"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S), headers=headers) as client,
            client.get(url, allow_redirects=False, ssl=tls_of(settings) or True) as answer,
        ):
            status = answer.status
    except MeterError as error:
        return Finding(about="gateway", good=False, detail=error.detail)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        message = f"{url} does not answer: {silence(error)}; check {variable_of('gateway', 'http_url')}"
        return Finding(about="gateway", good=False, detail=message)
    if status != 200:
        remedy = variable_of("gateway", "api_key" if status in {401, 403} else "http_url")
        return Finding(about="gateway", good=False, detail=f"{url} answered {status}; check {remedy}")
    return Finding(about="gateway", detail=f"{settings.gateway.http_url} answers")
