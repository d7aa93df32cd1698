from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.doors.brivo import read
from meter.sources.signature import require_token
from meter.sources.spec import Reply, Setup
from tests.sources.case import KEYS, RECEIVED, delivery, events, setup
from tests.sources.cases.brivo import CASE, event


def access(given: Setup = CASE.setup, *, received: datetime = RECEIVED, **changes: Any) -> WireEvent:
    (made,) = events(read(given, delivery(event(**changes), at=received)).items)
    return made


@pytest.mark.parametrize(
    ("secrets", "query", "told"),
    [
        (KEYS, {}, "no token came; show the source's secret"),
        (KEYS, {"token": "guess"}, "another token than the source's secret came; show the source's secret"),
        ((), {}, "no token came; set the source's secrets"),
    ],
)
def test_who_shows_no_secret_is_told_how_to(secrets: tuple[str, ...], query: Mapping[str, str], told: str) -> None:
    with pytest.raises(BadInput) as refused:
        require_token(setup("brivo", secrets=secrets), delivery(b"", query=query))
    assert refused.value.code == "bad_signature"
    assert refused.value.detail.startswith(told)


def test_the_answer_is_a_plain_200() -> None:
    """Brivo takes 202 for a failure and mails it."""
    for body in (event(), event(actor=None, data={"actionAllowed": None, "credentials": []})):
        assert read(CASE.setup, delivery(body)).reply == Reply(status=200, body=b"")


def test_what_a_panel_uploads_late_counts_when_it_happened() -> None:
    late = access(received=RECEIVED + timedelta(days=9))
    assert late.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert (late.id, late.content_hash) == (access().id, access().content_hash)


def test_an_access_names_door_and_credential() -> None:
    assert access().data == {
        "door": "Front door",
        "granted": True,
        "direction": "in",
        "credential": "5501",
        "hint": {"name": "Mira Muster"},
    }


def test_who_shows_no_credential_is_nobody() -> None:
    for credentials in ([], [{"id": 0}], None, [{"disabled": False}]):
        nobody = access(data={"credentials": credentials})
        assert nobody.subject is None
        assert "hint" not in nobody.data
    assert access(actor={"id": 0, "name": ""}).subject is None


def test_the_first_credential_that_is_one_counts() -> None:
    assert access(data={"credentials": [{"id": 0}, {"id": 7}]}).data["credential"] == "7"


def test_without_uuid_two_acts_are_told_apart() -> None:
    first = access(uuid=None)
    assert first.id == access(uuid="").id
    assert first.id != access(uuid=None, occurred="2026-03-02T08:01:28Z").id
    assert first.id != access(uuid=None, actor={"id": 890}).id
    assert first.id != access(uuid=None, data={"objectName": "Studio"}).id


def test_the_door_may_be_named_by_another_field() -> None:
    given = setup("brivo", options={"door_path": "eventData.objectId"})
    assert access(given, data={"objectId": 31}).data["door"] == "31"
