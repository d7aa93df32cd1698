"""What booking systems' answers make of an item."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from meter.export.contract import Absent, Barred, Delivered, Outcome, Refused, Retry, Uncertain, Untried
from meter.export.http import Answer
from meter.model.errors import Unavailable
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import content, item, line
from tests.targets.driving import one
from tests.targets.spaces.given import Make, by_kind, vendor_of

REFUSED_BY_NEXUDUS = {
    "Status": 500,
    "Message": "CoworkerId: is not found",
    "Value": None,
    "WasSuccessful": False,
    "Errors": [{"AttemptedValue": "ada@example.com", "Message": "is not found", "PropertyName": "CoworkerId"}],
}


@pytest.mark.parametrize(
    ("kind", "status", "answered", "outcome", "words"),
    [
        ("cobot", 422, {"errors": {"amount": ["is not a number"]}}, Refused, "is not a number"),
        ("cobot", 401, {}, Barred, "check api_key"),
        ("cobot", 403, {}, Barred, "write_charges"),
        ("cobot", 404, {}, Refused, "accounts.*.cobot"),
        ("cobot", 201, {}, Uncertain, "nothing of what it has made"),
        ("cobot", 302, {}, Refused, "base_url"),
        ("cobot", 429, {}, Retry, "429"),
        ("cobot", 409, {}, Retry, "409"),
        ("cobot", 503, {}, Uncertain, "503"),
        ("officernd", 400, {"message": "price must be a number"}, Refused, "price must be a number"),
        ("officernd", 401, {}, Barred, "flex.community.fees.create and flex.community.fees.read"),
        ("officernd", 404, {}, Refused, "slug"),
        ("officernd", 200, [], Uncertain, "nothing of what it has made"),
        ("officernd", 500, {}, Uncertain, "500"),
        ("nexudus", 200, REFUSED_BY_NEXUDUS, Refused, "CoworkerId: is not found"),
        ("nexudus", 400, REFUSED_BY_NEXUDUS, Refused, "CoworkerId: is not found"),
        ("nexudus", 200, {"WasSuccessful": False, "Status": 503, "Message": "Later"}, Retry, "Later"),
        ("nexudus", 200, {"WasSuccessful": True, "Value": None}, Uncertain, "nothing of what it has made"),
        ("nexudus", 409, {}, Retry, "too often"),
        ("nexudus", 401, {}, Barred, "two-factor"),
        ("nexudus", 403, {}, Barred, "the roles"),
        ("nexudus", 403, {"WasSuccessful": False, "Message": "Not yours"}, Refused, "Not yours"),
        ("nexudus", 500, REFUSED_BY_NEXUDUS, Uncertain, "500"),
    ],
)
def test_what_an_answer_makes_of_an_item(
    kind: str, status: int, answered: Any, outcome: type[Outcome], words: str
) -> None:
    vendor = vendor_of(kind)
    assert vendor.id_of(answered) is None
    made = vendor.outcome(Answer(status=status, headers={"retry-after": "7"}, body=json.dumps(answered).encode()))
    assert isinstance(made, outcome)
    assert not isinstance(made, Delivered | Untried)
    assert words in made.reason
    if isinstance(made, Retry):
        assert made.throttled is ("too often" in words or status == 429)
        assert made.after_s == 7
    if answered is REFUSED_BY_NEXUDUS and isinstance(made, Refused):
        assert "ada@" not in made.reason


@by_kind
async def test_an_item_of_another_kind_is_refused(make: Make, case: TargetCase) -> None:
    _, target = await make(case)
    foreign = replace(item(content(line())), operation="charges", payload=b'{"charges":[]}')
    outcome = await one(target.send([foreign]))
    assert isinstance(outcome, Refused)
    assert "check the target's mode" in outcome.reason
    assert isinstance(await one(target.look_up([foreign])), Absent)


@by_kind
async def test_nobody_there_is_unavailable_and_nothing_was_sent(make: Make, case: TargetCase) -> None:
    _, target = await make(case, url="http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await target.check()
    assert isinstance(await one(target.send(case.items(1, 1))), Retry)
