"""ezeep Blue: fields by option, failed jobs, credentials."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Parsed
from meter.sources.hooks import hook_of
from meter.sources.registry import VENDORS
from tests.sources.case import delivery, events, setup
from tests.sources.cases.ezeep import job
from tests.sources.printing import billed

HOOK = hook_of(VENDORS["ezeep"])


def read(body: bytes, **options: Any) -> list[Parsed]:
    return list(HOOK.read(setup("ezeep", options=options), delivery(body)).items)


def test_a_job_is_read_from_the_paths_that_are_set() -> None:
    [event] = events(read(job()))
    assert (event.time, event.data["impressions"]) == (datetime(2026, 3, 2, 8, 14, 2, tzinfo=UTC), 8)
    assert (event.data["color"], event.data["duplex"], event.data["paper"]) == (True, False, "A4")
    other_body = {"event": {"type": "printjob_succeeded"}, "id": 7, "printer": "P", "n": "3", "who": "u17"}
    fields = {"topic": "event.type", "job": "id", "printer": "printer", "pages": "n", "user": "who", "time": "at"}
    [other] = events(read(json.dumps(other_body).encode(), fields=fields, pages_of="all copies"))
    assert (other.subject, other.data["job"], other.data["impressions"]) == ("ezeep:u17", "7", 3)
    assert (other.time, other.attributes) == (None, {"timeflag": "fallback"})


def test_a_path_that_leads_nowhere_is_named() -> None:
    with pytest.raises(BadInput, match=r"data\.sheet_count is missing"):
        read(job(), fields={"pages": "data.sheet_count"})
    with pytest.raises(BadInput, match="sheets; there are topic, job"):
        read(job(), fields={"sheets": "data.sheet_count"})


@pytest.mark.parametrize("number", range(8))
def test_a_job_that_failed_first_and_then_succeeded_is_printed_once(number: int) -> None:
    """Also where both have one time, whatever the digests are."""
    failed, succeeded = read(job("printjob_failed", job_id=number)), read(job(job_id=number))
    assert billed(failed) == 0
    assert billed(failed + succeeded) == billed(succeeded + failed) == 8


@pytest.mark.parametrize("pages", [-1, "many", 2.5, 10**30])
def test_a_count_that_is_none_is_no_job(pages: Any) -> None:
    try:
        items = read(job(pages=pages))
    except BadInput:
        return
    assert not any(hasattr(item, "data") for item in items)


def test_credentials_are_compared_whole() -> None:
    configured = setup("ezeep", secrets=("meter:secret",))
    good = b64encode(b"meter:secret").decode()
    for header in (f"Basic {good}", f"basic {good}"):
        HOOK.check(configured, delivery(job(), headers={"authorization": header}))
    for header in ("", "Basic ", f"Bearer {good}", "Basic meter:secret", f"Basic {good} x", good):
        with pytest.raises(BadInput, match="signature"):
            HOOK.check(configured, delivery(job(), headers={"authorization": header}))
