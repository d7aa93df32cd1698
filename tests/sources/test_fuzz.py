"""Every decoder over bytes that nobody documented: nothing but a refusal may come of what cannot be read.

Hypothesis spoils the vendors' own samples, for random bytes end at the first brace. METER_TEST_FUZZ says how many a
decoder (40 unless set).
"""

import json
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.model.wire import Refusal, WireEvent
from tests.sources.case import Asked, Case, Sample
from tests.sources.suite import answered, each_answer, each_sample, refused_or_read

_EXAMPLES = int(os.environ.get("METER_TEST_FUZZ", "40"))
_fuzzed = settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12).map(float)
    | st.text(max_size=40)
    | st.sampled_from(
        ["2026-03-02T09:00:00Z", "0", "-1", "true", "EUR", "04:A2:99", "9" * 17, "Mar  2 2026 09:05:09 CET"]
    )
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        found += _places(part, (*path, name))
    return found


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(copied[path[0]], path[1:], other)
    return copied


@st.composite
def _spoilt_json(draw: st.DrawFn, value: Any) -> bytes:
    """The sample with one to three of its parts replaced by anything."""
    for _ in range(draw(st.integers(1, 3))):
        places = _places(value)
        if places:
            value = _with(value, draw(st.sampled_from(places)), draw(_values))
    return json.dumps(value).encode()


@st.composite
def _spoilt_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """The sample cut, doubled, or with some of its bytes replaced."""
    spoilt = bytearray(body)
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, max(0, len(spoilt) - 1)))
        match draw(st.sampled_from(["replace", "cut", "insert", "repeat"])):
            case "replace" if spoilt:
                spoilt[place] = draw(st.integers(0, 255))
            case "cut":
                del spoilt[place : place + draw(st.integers(1, 20))]
            case "insert":
                spoilt[place:place] = draw(st.binary(min_size=1, max_size=8))
            case _:
                spoilt[place:place] = spoilt[place : place + draw(st.integers(1, 200))]
    return bytes(spoilt)


def _bodies(body: bytes) -> st.SearchStrategy[bytes]:
    try:
        value = json.loads(body)
    except ValueError:
        return _spoilt_bytes(body) | st.binary(max_size=400)
    return _spoilt_json(value) | _spoilt_bytes(body) | _values.map(lambda other: json.dumps(other).encode())


@each_sample
def test_what_is_sent(case: Case, sample: Sample) -> None:
    @_fuzzed
    @given(_bodies(sample.body))
    def fuzz(body: bytes) -> None:
        for item in refused_or_read(case, sample, body):
            assert isinstance(item, WireEvent | Refusal)

    fuzz()


@each_answer
def test_what_is_answered(case: Case, asked: Asked) -> None:
    @_fuzzed
    @given(_bodies(asked.body))
    def fuzz(body: bytes) -> None:
        for item in answered(case, asked, body):
            assert isinstance(item, WireEvent | Refusal)

    fuzz()
