"""Notices may come from a client that writes events itself, and a vendor may answer nothing: neither may fail."""

from collections.abc import Callable
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.sources.pos.square import SQUARE
from meter.sources.spec import Answer
from tests.sources.case import RECEIVED, Asked
from tests.sources.cases.square import CASE
from tests.sources.square_objects import FETCHED
from tests.sources.suite import spoilt

FETCHED_ANSWERS = [asked for asked in CASE.answers if asked.wanted is not None]
each = pytest.mark.parametrize("asked", FETCHED_ANSWERS, ids=[asked.name for asked in FETCHED_ANSWERS])


def fault(use: Callable[..., Any], *given: Any) -> str | None:
    """The code of the refusal; None where there is none."""
    try:
        use(*given)
    except BadInput as error:
        return error.code
    return None


@each
def test_what_a_notice_says_is_not_trusted(asked: Asked) -> None:
    answer = Answer(status=200, body=asked.body, received_at=RECEIVED)
    for wanted in ({}, *spoilt(dict(asked.wanted or {}))):
        assert fault(SQUARE.fetches[asked.by].request, FETCHED, wanted) != BadInput.default_code
        assert fault(SQUARE.fetches[asked.by].read, FETCHED, wanted, answer) != BadInput.default_code


@each
@pytest.mark.parametrize("status", [204, 404, 410])
def test_an_answer_without_a_body_is_refused(asked: Asked, status: int) -> None:
    answer = Answer(status=status, body=b"", received_at=RECEIVED)
    (refusal,) = SQUARE.fetches[asked.by].read(FETCHED, asked.wanted or {}, answer).items
    assert getattr(refusal, "code", None) in {"bad_payload", "not_json"}
