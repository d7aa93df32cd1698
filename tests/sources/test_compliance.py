"""The one suite that every source passes (decision 0011)."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Refusal
from meter.sources.registry import VENDORS
from meter.sources.spec import Delivery
from tests.sources.case import KEYS, RECEIVED, Asked, Case, Sample, delivery, events
from tests.sources.suite import (
    ANSWERS,
    CASES,
    SAMPLES,
    answered,
    each,
    each_answer,
    each_sample,
    hook,
    is_json,
    read,
    refused_or_read,
    spoilt,
)

# Nothing can be told of the events of a sample that has none.
each_telling = each("sample", [(case, sample) for case, sample in SAMPLES if sample.becomes])
each_json = each("sample", [(case, sample) for case, sample in SAMPLES if is_json(sample.body)])
_HOOKED = [case for case in CASES.values() if case.sign is not None]
each_hook = pytest.mark.parametrize("case", _HOOKED, ids=[case.vendor for case in _HOOKED])
# A token in the address signs no body, and most signatures hold no time.
_TAMPERED = [case for case in _HOOKED if case.tamper]
_TIMED = [case for case in _HOOKED if case.signed_time]


def accepts(case: Case, sent: Delivery) -> bool:
    try:
        hook(case).check(case.setup, sent)
    except BadInput as error:
        if error.code not in {"bad_signature", "stale"}:
            raise
        return False
    return True


def shows_secret(case: Case, text: str) -> bool:
    return any(secret in text for secret in (*case.setup.secrets, case.setup.api_key) if secret)


# --- what comes of it -------------------------------------------------------------------------------------------------


@each_sample
def test_a_sample_becomes_what_is_documented(case: Case, sample: Sample) -> None:
    assert [(event.type, event.subject) for event in events(read(case, sample, sample.body))] == list(sample.becomes)


@each_sample
def test_the_same_fact_has_the_same_id_and_content(case: Case, sample: Sample) -> None:
    first = events(read(case, sample, sample.body))
    for body in (sample.body, sample.again):
        if body is None:
            continue
        again = events(read(case, sample, body, after=sample.again_after))
        assert [(e.source, e.id, e.content_hash) for e in again] == [(e.source, e.id, e.content_hash) for e in first]


@each("sample", [(case, sample) for case, sample in SAMPLES if sample.topic is None and not sample.lines])
def test_a_body_that_is_handed_in_again_needs_no_headers(case: Case, sample: Sample) -> None:
    """Of what is refused only the bytes are kept."""
    first = events(read(case, sample, sample.body))
    again = events(hook(case).read(case.setup, delivery(sample.body)).items)
    assert [(e.source, e.id, e.content_hash) for e in again] == [(e.source, e.id, e.content_hash) for e in first]


@each_telling
def test_events_belong_to_the_sources_site(case: Case, sample: Sample) -> None:
    for event in events(read(case, sample, sample.body)):
        assert event.site == case.setup.site
        assert event.source.startswith(f"{case.setup.site}/")


@each_telling
def test_what_is_sent_shows_no_secret(case: Case, sample: Sample) -> None:
    for event in events(read(case, sample, sample.body)):
        assert not shows_secret(case, event.body.decode())


# --- what is spoilt ---------------------------------------------------------------------------------------------------


def _without(value: Any, path: str) -> bytes:
    made = json.loads(json.dumps(value))
    *parents, last = path.split(".")
    place = made
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if isinstance(place, list):
        place.pop(int(last))
    else:
        del place[last]
    return json.dumps(made).encode()


_REQUIRED = [(case, sample, path) for case, sample in SAMPLES for path in sample.required]


@pytest.mark.parametrize(
    ("case", "sample", "path"),
    _REQUIRED,
    ids=[f"{case.vendor}-{sample.name}-{path}" for case, sample, path in _REQUIRED],
)
def test_a_required_field_that_is_missing_is_refused(case: Case, sample: Sample, path: str) -> None:
    items = refused_or_read(case, sample, _without(json.loads(sample.body), path))
    assert any(isinstance(item, Refusal) for item in items), items


def _with_unknown(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{name: _with_unknown(part) for name, part in value.items()}, "added_by_the_vendor": {"x": [1, None]}}
    return [_with_unknown(part) for part in value] if isinstance(value, list) else value


@each_json
def test_unknown_fields_change_nothing(case: Case, sample: Sample) -> None:
    value = json.loads(sample.body)
    first = events(read(case, sample, sample.body))
    again = events(read(case, sample, json.dumps(_with_unknown(value)).encode()))
    told = [(event.type, event.subject, event.time, event.data) for event in first]
    assert [(event.type, event.subject, event.time, event.data) for event in again] == told


_GARBAGE = {
    "empty": b"",
    "blank": b" \n",
    "text": b"hello",
    "null": b"null",
    "number": b"17",
    "string": b'"text"',
    "array": b"[]",
    "object": b"{}",
    "half": b'{"type":',
    "not UTF-8": b'{"type":"\xff\xfe"}',
    "latin-1": "Käffchen".encode("latin-1"),
    "NUL": b'{"type":"a\\u0000b"}',
    "lone surrogate": b'{"type":"\\ud800"}',
    "NaN": b'{"type":NaN}',
    "huge number": b'{"type":1e400}',
    "twice": b'{"type":1,"type":2}',
    "deep": b'{"data":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
    "oversize": b'{"type":"' + b"x" * 1_000_000 + b'"}',
    "binary": bytes(range(256)),
}


# Two samples that are read by one way are the same once their bodies are garbage.
_WAYS = {
    (case.vendor, sample.topic, sample.lines, sample.by, *sorted(sample.headers.items())): (case, sample)
    for case, sample in SAMPLES
}


@each("sample", list(_WAYS.values()))
@pytest.mark.parametrize("garbage", _GARBAGE.values(), ids=_GARBAGE.keys())
def test_garbage_is_refused_and_never_fails(case: Case, sample: Sample, garbage: bytes) -> None:
    for item in refused_or_read(case, sample, garbage):
        assert isinstance(item, Refusal) or sample.topic is not None, item


@each_json
def test_any_field_may_hold_anything(case: Case, sample: Sample) -> None:
    """Each field in turn becomes something else; what comes of it is an event or a refusal, and no failure."""
    for value in spoilt(json.loads(sample.body)):
        refused_or_read(case, sample, json.dumps(value).encode())


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_everything_that_is_asked_for_has_an_answer_here() -> None:
    for name, vendor in VENDORS.items():
        told = {(asked.by, asked.wanted is not None) for asked in CASES[name].answers}
        asked_for = {(fetch, True) for fetch in vendor.fetches} | {(feed, False) for feed in vendor.feeds}
        assert told == asked_for, name


@each_answer
def test_an_answer_becomes_what_is_documented_every_time(case: Case, asked: Asked) -> None:
    first = events(answered(case, asked, asked.body, status=asked.status))
    assert [(event.type, event.subject) for event in first] == list(asked.becomes)
    again = events(answered(case, asked, asked.body, status=asked.status))
    assert [(e.source, e.id, e.content_hash) for e in again] == [(e.source, e.id, e.content_hash) for e in first]
    for event in first:
        assert event.site == case.setup.site


@each_answer
@pytest.mark.parametrize("garbage", _GARBAGE.values(), ids=_GARBAGE.keys())
def test_a_garbled_answer_is_refused_and_never_fails(case: Case, asked: Asked, garbage: bytes) -> None:
    assert all(isinstance(item, Refusal) for item in answered(case, asked, garbage))


@each("asked", [(case, asked) for case, asked in ANSWERS if is_json(asked.body)])
def test_any_field_of_an_answer_may_hold_anything(case: Case, asked: Asked) -> None:
    for value in spoilt(json.loads(asked.body)):
        answered(case, asked, json.dumps(value).encode())


@each_answer
def test_a_request_is_one_that_can_be_asked(case: Case, asked: Asked) -> None:
    vendor = VENDORS[case.vendor]
    if asked.wanted is not None:
        request = vendor.fetches[asked.by].request(case.setup, asked.wanted)
    else:
        request = vendor.feeds[asked.by].request(case.setup, asked.cursor, RECEIVED)
        vendor.feeds[asked.by].request(case.setup, None, RECEIVED)
    assert not shows_secret(case, repr(request)), "a log would show it"
    assert request.over != "http" or request.url.startswith(("http://", "https://")), request.url
    assert request.over != "square" or request.call


# --- who may send it --------------------------------------------------------------------------------------------------


def test_whoever_may_post_is_held_to_the_laws_of_signatures() -> None:
    posting = {name for name, vendor in VENDORS.items() if vendor.hook is not None or vendor.lines is not None}
    # Meraki's secret stands in the body: its own tests hold it.
    assert posting - {case.vendor for case in _HOOKED} == {"meraki"}


@each_hook
def test_the_right_signature_passes_with_either_key(case: Case) -> None:
    for sample in case.samples:
        if sample.topic is None:
            for key in KEYS:
                assert accepts(case, case.signed(sample, key=key)), sample.name


@each_hook
def test_a_wrong_or_missing_signature_is_refused(case: Case) -> None:
    for sample in case.samples:
        if sample.topic is not None:
            continue
        assert not accepts(case, case.signed(sample, key="another-key"))
        right = case.signed(sample)
        assert not accepts(case, replace(right, headers={}, query={}))
        for name in set(right.headers) - set(sample.headers):
            for wrong in ("", "x", "=", "\u00e4", "\udc80", right.headers[name][:-1], right.headers[name] + "0"):
                assert not accepts(case, replace(right, headers={**right.headers, name: wrong})), (name, wrong)


@pytest.mark.parametrize("case", _TAMPERED, ids=[case.vendor for case in _TAMPERED])
def test_a_flipped_byte_is_refused(case: Case) -> None:
    for sample in case.samples:
        right = case.signed(sample)
        for place in {0, len(right.body) // 2, len(right.body) - 1}:
            flipped = bytearray(right.body)
            flipped[place] ^= 1
            assert not accepts(case, replace(right, body=bytes(flipped)))


@pytest.mark.parametrize("case", _TIMED, ids=[case.vendor for case in _TIMED])
def test_an_old_signature_is_refused_where_it_holds_a_time(case: Case) -> None:
    for sample in case.samples:
        old = case.signed(sample, at=RECEIVED)
        assert not accepts(case, replace(old, received_at=RECEIVED + timedelta(hours=1)))


@each_hook
def test_without_a_secret_nothing_passes(case: Case) -> None:
    """A source that was set up without one, or with an empty one, is open to nobody."""
    for secrets in ((), ("",)):
        unguarded = replace(case, setup=replace(case.setup, secrets=secrets))
        for sample in unguarded.samples:
            if sample.topic is None:
                assert not accepts(unguarded, unguarded.signed(sample, key=""))
