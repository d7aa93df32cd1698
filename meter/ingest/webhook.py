"""`POST /hooks/{vendor}/{source}`: the vendor's signature over the raw body decides; 2xx only after the commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from meter.clock import Clock, monotonic_s, now
from meter.config import WebhookSettings, variable_of
from meter.ingest.arrival import Arrival
from meter.ingest.batcher import Batcher, QueueFull
from meter.ingest.http import OperatorName, arrivals_of, committed, refused, require_operator, results_answer
from meter.ingest.sources import VENDORS, Vendor
from meter.model.errors import BadInput
from meter.model.wire import Parsed
from meter.telemetry import Telemetry, log

# What is kept of forged webhooks for the operator to look at: enough to see who and what, too little to fill a disk.
SAMPLES_PER_HOUR_MAX: Final = 10
SAMPLE_BYTES_MAX: Final = 2_048
_HOUR_S: Final = 3600


def hook_receiver(
    batcher: Batcher,
    *,
    sources: Mapping[str, Mapping[str, WebhookSettings]],
    operator: OperatorName,
    telemetry: Telemetry,
    clock: Clock = now,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler behind `/hooks/...`. `sources` are the settings by vendor and name.

    It raises BadInput (`not_found`, `bad_signature`) and Unavailable. A body that is signed and cannot be read is kept
    among the rejections and answered 200: sending it again would not help.
    """
    samples = _Samples()

    async def receive(request: web.Request) -> web.StreamResponse:
        vendor_name, source = request.match_info["vendor"], request.match_info["source"]
        vendor, settings = _configured(sources, vendor_name, source)
        await require_operator(operator)
        body = await request.read()

        def arrivals(items: Sequence[Parsed]) -> list[Arrival]:
            return arrivals_of(request, items, channel="webhook", received_at=clock(), site=settings.site)

        if not vendor.verify(settings, request.headers, body):
            telemetry.webhook_refused(vendor=vendor_name, source=source, reason="bad_signature")
            error = BadInput("the signature does not fit the body; check the signing key and url", code="bad_signature")
            if samples.take():
                _keep_sample(batcher, arrivals([refused(error, body[:SAMPLE_BYTES_MAX])]))
            raise error
        try:
            parsed = vendor.read(body, site=settings.site or "", source=source)
        except BadInput as unreadable:
            parsed = [refused(unreadable, body)]
        if not parsed:
            telemetry.events_received(channel="webhook", outcome="ignored")
        return results_answer(await committed(batcher, arrivals(parsed)))

    return receive


def _configured(
    sources: Mapping[str, Mapping[str, WebhookSettings]], vendor_name: str, source: str
) -> tuple[Vendor, WebhookSettings]:
    settings = sources.get(vendor_name, {}).get(source)
    vendor = VENDORS.get(vendor_name)
    if settings is None or vendor is None:
        raise BadInput("no webhooks are received here; see METER_WEBHOOKS in the settings", code="not_found")
    if not vendor.configured(settings):
        log.warning("webhook_not_configured", vendor=vendor_name, source=source)
        raise BadInput("no webhooks are received here; see METER_WEBHOOKS in the settings", code="not_found")
    return vendor, settings


def source_faults(sources: Mapping[str, Mapping[str, WebhookSettings]]) -> list[str]:
    """Return a line for each source that could never receive anything, with the setting at fault."""
    faults = []
    for vendor_name, named in sources.items():
        vendor = VENDORS.get(vendor_name)
        if vendor is None:
            place, known = variable_of("webhooks", vendor_name), ", ".join(VENDORS)
            faults.append(f"{place}: no webhooks of this vendor are received; of these they are: {known}")
            continue
        for name, settings in named.items():
            if not vendor.configured(settings):
                place = variable_of("webhooks", vendor_name, name)
                faults.append(f"{place}: needs secrets, url (as registered with the vendor) and site")
    return faults


class _Samples:
    """Allows so many an hour."""

    def __init__(self) -> None:
        self._taken_at_s: deque[float] = deque(maxlen=SAMPLES_PER_HOUR_MAX)

    def take(self) -> bool:
        """Tell whether another sample may be kept."""
        moment_s = monotonic_s()
        if len(self._taken_at_s) == SAMPLES_PER_HOUR_MAX and self._taken_at_s[0] > moment_s - _HOUR_S:
            return False
        self._taken_at_s.append(moment_s)
        return True


def _keep_sample(batcher: Batcher, arrivals: Sequence[Arrival]) -> None:
    try:
        batcher.submit(arrivals, lambda _receipts: None)
    except QueueFull:
        log.info("webhook_sample_dropped")  # nobody was promised it
