"""`POST /hooks/{vendor}/{source}`: the vendor's signature over the raw body decides; 2xx only after the commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from meter.clock import Clock, now
from meter.ingest.arrival import Arrival
from meter.ingest.batcher import Batcher
from meter.ingest.http import OperatorName, arrivals_of, committed, require_operator, results_answer
from meter.ingest.samples import keep_sample
from meter.ingest.setups import Sources
from meter.model.errors import BadInput
from meter.model.wire import Parsed
from meter.sources.hooks import hook_of
from meter.sources.make import refused
from meter.sources.setups import ConfiguredSource
from meter.sources.spec import Delivery, Hook, Reading, Reply, Setup
from meter.telemetry import Telemetry
from meter.transport.http_body import read_body
from meter.transport.reading import guarded
from meter.transport.samples import SAMPLE_BYTES_MAX, Samples


def hook_receiver(
    batcher: Batcher, *, sources: Sources, operator: OperatorName, telemetry: Telemetry, clock: Clock = now
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler behind `/hooks/...`.

    It raises BadInput (`not_found`, `bad_signature`, `stale`) and Unavailable. A body that is signed and cannot be read
    is kept among the rejections and answered 200: sending it again would not help.
    """
    samples = Samples()

    async def receive(request: web.Request) -> web.StreamResponse:
        source = _configured(sources, request.match_info["vendor"], request.match_info["source"])
        setup, hook = source.setup, hook_of(source.vendor)
        await require_operator(operator)
        delivery = Delivery(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            query=dict(request.query),
            body=await read_body(request),
            received_at=clock(),
        )

        read_query = {name: delivery.query[name] for name in hook.reads_query if name in delivery.query}

        def arrivals(items: Sequence[Parsed], *, told_by: tuple[str, str] | None = None) -> list[Arrival]:
            return arrivals_of(
                request,
                items,
                channel="webhook",
                received_at=delivery.received_at,
                site=setup.site,
                query=read_query,
                told_by=told_by,
            )

        greeting = hook.greet(setup, delivery)
        if greeting is not None:
            return _answer(greeting)
        try:
            hook.check(setup, delivery)
        except BadInput as error:
            telemetry.webhook_refused(vendor=setup.vendor, source=setup.name, reason=error.code)
            if samples.take():
                keep_sample(batcher, arrivals([refused(error, hook.redact(setup, delivery)[:SAMPLE_BYTES_MAX])]))
            raise
        reading = _read(hook, setup, delivery)
        if not reading.items:
            telemetry.events_received(channel="webhook", outcome="ignored")
        receipts = await committed(batcher, arrivals(reading.items, told_by=(setup.vendor, setup.name)))
        return results_answer(receipts) if reading.reply is None else _answer(reading.reply)

    return receive


def _read(hook: Hook, setup: Setup, delivery: Delivery) -> Reading:
    """Return what the body holds; what cannot be read, or makes the reader fail, is a refusal with its bytes."""
    try:
        return guarded(partial(hook.read, setup, delivery), vendor=setup.vendor, source=setup.name)
    except BadInput as error:
        return Reading([refused(error, hook.redact(setup, delivery))])


def _answer(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=dict(reply.headers), body=reply.body)


def _configured(sources: Sources, vendor: str, name: str) -> ConfiguredSource:
    source = sources.get(vendor, name)
    # Its faults are told at the start and by `meter sources`: whoever posts here must not fill the log's disk.
    if source is None or source.faults:
        raise BadInput("no webhooks are received here; see METER_WEBHOOKS in the settings", code="not_found")
    return source
