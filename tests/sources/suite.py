"""Every vendor's case, and how what it sends or answers is read: what the suites over all vendors share."""

import importlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Parsed, Refusal
from meter.sources.hooks import hook_of
from meter.sources.registry import DECODERS, VENDORS
from meter.sources.spec import Answer, Hook, Lines, Message
from tests.sources.case import RECEIVED, Asked, Case, Sample

CASES: Mapping[str, Case] = {
    vendor: importlib.import_module(f"tests.sources.cases.{vendor.replace('-', '_')}").CASE for vendor in VENDORS
}
SAMPLES = [(case, sample) for case in CASES.values() for sample in case.samples]
ANSWERS = [(case, asked) for case in CASES.values() for asked in case.answers]


def each(name: str, found: Sequence[tuple[Case, Sample]] | Sequence[tuple[Case, Asked]]) -> pytest.MarkDecorator:
    """Run a test for each case with one of its samples or answers, as the argument `name`."""
    return pytest.mark.parametrize(("case", name), found, ids=[f"{case.vendor}-{one.name}" for case, one in found])


def is_json(body: bytes) -> bool:
    """Whether it is a JSON object or array."""
    try:
        return isinstance(json.loads(body), dict | list)
    except ValueError:
        return False


each_sample = each("sample", SAMPLES)
each_answer = each("asked", ANSWERS)


def hook(case: Case) -> Hook:
    return hook_of(VENDORS[case.vendor])


def read(case: Case, sample: Sample, body: bytes, *, after: timedelta = timedelta(0)) -> Sequence[Parsed]:
    """What comes of `body` in the sample's place, by the sample's route."""
    at = RECEIVED + after
    if sample.topic is not None:
        decode = DECODERS[sample.by or case.vendor]
        return decode(case.setup, Message(topic=sample.topic, payload=body, received_at=at)).items
    if sample.lines:
        reader = VENDORS[case.vendor].lines
        assert reader is not None
        return reader(case.setup, Lines(name=sample.name, lines=body.splitlines(), received_at=at)).items
    return hook(case).read(case.setup, case.signed(sample, body=body, at=at)).items


def refused_or_read(case: Case, sample: Sample, body: bytes) -> Sequence[Parsed]:
    """What comes of a body that may be anything: nothing but BadInput may leave a source."""
    try:
        return read(case, sample, body)
    except BadInput as error:
        return [_refusal(error, body)]


def answered(case: Case, asked: Asked, body: bytes, *, status: int = 200) -> Sequence[Parsed]:
    """What comes of `body` in the answer's place; nothing but BadInput may leave the reader."""
    answer = Answer(status=status, headers=asked.headers, body=body, received_at=RECEIVED)
    vendor = VENDORS[case.vendor]
    try:
        if asked.wanted is not None:
            return vendor.fetches[asked.by].read(case.setup, asked.wanted, answer).items
        return vendor.feeds[asked.by].read(case.setup, asked.cursor, answer).items
    except BadInput as error:
        return [_refusal(error, body)]


def _refusal(error: BadInput, body: bytes) -> Refusal:
    assert error.code != BadInput.default_code, "a source's refusals have a code of their own"
    return Refusal(code=error.code, detail=error.detail, body=body)


_INSTEAD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2.5,
    10**30,
    "",
    "x" * 300,
    "\x07",
    "2026-13-45T99:99:99Z",
    [],
    {},
    [[]],
    {"a": {}},
)


def spoilt(value: Any) -> list[Any]:
    """The value with each of its parts in turn replaced by something else."""
    made: list[Any] = []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        for other in (*_INSTEAD, *spoilt(part)):
            copied = dict(value) if isinstance(value, dict) else list(value)
            copied[name] = other
            made.append(copied)
    return made
