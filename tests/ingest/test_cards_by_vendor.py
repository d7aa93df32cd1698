"""A card's number in what vendors post: planted at each place of their samples, signed as the vendor signs, looked for
everywhere. And what nobody signed is not looked through."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from meter.ingest.batcher import Batcher
from meter.ingest.setups import Sources
from meter.ingest.status import source_states
from meter.ingest.webhook import hook_receiver
from meter.sources.registry import VENDORS
from meter.sources.setups import ConfiguredSource
from meter.store.engine import Database
from meter.store.tables import rejections
from meter.telemetry import Telemetry
from meter.transport.samples import SAMPLE_BYTES_MAX
from tests.api.conftest import Answer, Api, serving, the_services
from tests.ingest.bodies import northside
from tests.ingest.gateway import until
from tests.ingest.rows import rows
from tests.ingest.test_card_numbers import NUMBER, SPELLED, leaks
from tests.looks import HOSTILE, looks
from tests.sources.case import RECEIVED, Case
from tests.sources.suite import CASES

POSTED = [
    case for case in CASES.values() if VENDORS[case.vendor].hook is not None or VENDORS[case.vendor].lines is not None
]
each_vendor = pytest.mark.parametrize("case", POSTED, ids=[case.vendor for case in POSTED])
# A word of a form or a table.
_WORD = re.compile(rb"[^,;&=\" \t\n\r]+")


class _Cases(Sources):
    """Every vendor's source as its case configures it."""

    def __init__(self) -> None:
        super().__init__({})
        for case in POSTED:
            key = case.vendor, case.setup.name
            self._sources[key] = ConfiguredSource(vendor=VENDORS[case.vendor], setup=case.setup)


@pytest_asyncio.fixture
async def doors(database_url: str, batcher: Batcher) -> AsyncIterator[Api]:
    telemetry, sources = Telemetry(), _Cases()
    services = the_services(
        database_url,
        telemetry=telemetry,
        receive_hook=hook_receiver(
            batcher, sources=sources, operator=northside, telemetry=telemetry, clock=lambda: RECEIVED
        ),
        source_states=partial(source_states, sources=sources),
    )
    async with serving(services) as served:
        yield served


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each object or list of a document, with the key of a text or number in it."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(item, dict | list):
            yield from _leaves(item)
        elif not isinstance(item, bool) and item is not None:
            yield value, key


def planted(body: bytes) -> Iterator[bytes]:
    """The body with the number in the place of each of its texts and numbers in turn, and in a field of its own."""
    try:
        document = json.loads(body)
    except ValueError:
        for word in _WORD.finditer(body):
            yield body[: word.start()] + NUMBER.encode() + body[word.end() :]
        return
    for holder, key in list(_leaves(document)):
        kept, holder[key] = holder[key], SPELLED
        yield json.dumps(document).encode()
        holder[key] = kept
    if isinstance(document, dict):
        yield json.dumps({**document, "note": int(NUMBER)}).encode()


async def post(doors: Api, case: Case, number: int, body: bytes, *, signed: bool = True) -> Answer:
    sample = case.samples[number]
    sent = case.signed(sample, body=body) if signed else case.signed(sample, body=body, key="forged")
    path = f"/hooks/{case.vendor}/{case.setup.name}"
    return await doors.call("POST", path, key=None, data=body, headers=sent.headers, params=sent.query)


@each_vendor
async def test_no_vendors_post_leaves_one_anywhere(doors: Api, database: Database, case: Case) -> None:
    answers: list[Answer] = []
    tells = False
    with capture_logs() as logs:
        for number, sample in enumerate(case.samples):
            if sample.topic is None and (VENDORS[case.vendor].hook is None) == sample.lines:
                answers += [await post(doors, case, number, body) for body in planted(sample.body)]
                tells = tells or bool(sample.becomes)
    assert answers
    assert not {answer.status for answer in answers} - {200, 204, 400, 401}
    # Wherever something came of the place, it is refused for the number.
    codes = [row["code"] for row in await rows(database, rejections)]
    assert ("card_number" in codes) == tells, codes
    shown = (await doors.get("/v1/rejections?limit=1000")).text
    assert await leaks(database, logs, shown, *(answer.text for answer in answers)) == []


@each_vendor
async def test_what_is_not_signed_is_hardly_looked_at(
    doors: Api, batcher: Batcher, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = looks(monkeypatch)
    answer = await post(doors, case, 0, json.dumps({"note": HOSTILE}).encode(), signed=False)
    assert answer.status == 401
    await until(lambda: batcher._events == 0)
    assert made
    assert max(look.size for look in made) <= SAMPLE_BYTES_MAX
