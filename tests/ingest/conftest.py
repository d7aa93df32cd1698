import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest_asyncio
from pydantic import SecretStr

from meter.config import WebhookSettings
from meter.ingest.batcher import Batcher
from meter.ingest.http import event_receiver
from meter.ingest.retry import retry_rejection
from meter.ingest.setups import Sources
from meter.ingest.status import source_states
from meter.ingest.webhook import hook_receiver
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.api.conftest import Api, serving, the_services
from tests.ingest.bodies import NOW, OPERATOR, acceptor, northside
from tests.ingest.square import KEYS, URL


@pytest_asyncio.fixture
async def batcher(database: Database) -> AsyncIterator[Batcher]:
    made = Batcher(acceptor(database).accept)
    running = asyncio.create_task(made.run())
    yield made
    made.stop()
    await running


@pytest_asyncio.fixture
async def door(database_url: str, database: Database, batcher: Batcher) -> AsyncIterator[Api]:
    """The HTTP interface with the doors of ingest open."""
    telemetry = Telemetry()
    till = WebhookSettings(secrets=[SecretStr(key) for key in KEYS], url=URL, site="berlin")
    sources = Sources(
        {
            "square": {"till": till, "unfinished": WebhookSettings(url=URL)},
            "nobody": {"till": till},
            "nexudus": {"main": till},
        }
    )
    services = the_services(
        database_url,
        telemetry=telemetry,
        receive_events=event_receiver(batcher, operator=northside, clock=lambda: NOW),
        receive_hook=hook_receiver(
            batcher,
            sources=sources,
            operator=northside,
            telemetry=telemetry,
            clock=lambda: NOW,
        ),
        source_states=partial(source_states, sources=sources),
        retry_rejection=partial(
            retry_rejection, database, acceptor(database, max_age_days=10_000), OPERATOR, sources=sources
        ),
    )
    async with serving(services) as served:
        yield served
