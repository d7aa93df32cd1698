"""What the compliance suite needs to know of a source: what it is sent, and what must come of it.

A module in `tests/sources/cases/` for each vendor has `CASE`, a `Case` whose samples the suite replays, signs, spoils
and repeats; what is particular to a vendor has tests of its own beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from meter.model.wire import Parsed, Refusal, WireEvent
from meter.sources.options import options_of
from meter.sources.registry import VENDORS
from meter.sources.spec import Delivery, Lines, Message, Setup

# When samples are received; sample bodies speak of times before it.
RECEIVED: datetime = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KEYS = ("the-active-key", "the-next-key")
FILLED: Mapping[str, Any] = {
    "secrets": KEYS,
    "url": "https://meter.example/hooks/",
    "timezone": "Europe/Berlin",
    "api_base": "https://vendor.example",
    "api_key": "the-api-key",
}


def setup(vendor: str, name: str = "main", *, options: Mapping[str, Any] | None = None, **given: Any) -> Setup:
    """A configured source with its vendor's defaults."""
    known = VENDORS[vendor].options
    filled, faults = options_of(known, options or {})
    assert not faults, faults
    return Setup(vendor=vendor, name=name, options=filled, **{"site": "berlin", **given})


def delivery(body: bytes, *, at: datetime = RECEIVED, method: str = "POST", **more: Any) -> Delivery:
    return Delivery(**{"method": method, "path": "/hooks/vendor/main", "body": body, "received_at": at, **more})


def message(topic: str, payload: bytes, *, at: datetime = RECEIVED, **more: Any) -> Message:
    return Message(topic=topic, payload=payload, received_at=at, **more)


def lines(*text: str, name: str = "", at: datetime = RECEIVED) -> Lines:
    return Lines(name=name, lines=[line.encode() for line in text], received_at=at)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One thing that a vendor sends, as bytes, and what it becomes: (type, subject) of each event in order.

    `again` is the same fact sent a second time in other bytes (None: this vendor repeats its bytes). `required` are the
    dotted paths of JSON fields without which it must be refused, not guessed. `topic`: it is an MQTT message; `lines`:
    the body is lines of a log. `by`: the decoder's name, where the vendor has several.
    """

    name: str
    body: bytes
    becomes: Sequence[tuple[str, str | None]]
    again: bytes | None = None
    required: Sequence[str] = ()
    topic: str | None = None
    lines: bool = False
    by: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    again_after: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a vendor's API answers, and what that becomes: a fetch of the object that `wanted` names, or a feed's page
    after `cursor`."""

    name: str
    by: str
    body: bytes
    becomes: Sequence[tuple[str, str | None]]
    wanted: Mapping[str, Any] | None = None
    cursor: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A vendor's samples. `sign` returns the headers (and what goes to the query) with which the vendor shows that a
    body is its own: computed here from the vendor's documents, never by the code under test.

    `tamper`: whether one flipped byte of the body must be seen (a token in the address does not sign the body).
    `signed_time`: whether the signature holds a time, so that an old one must be refused.
    """

    vendor: str
    setup: Setup
    samples: Sequence[Sample]
    sign: Callable[[Setup, str, Delivery], tuple[Mapping[str, str], Mapping[str, str]]] | None = None
    tamper: bool = True
    signed_time: bool = False
    answers: Sequence[Asked] = ()

    def signed(
        self, sample: Sample, *, key: str = KEYS[0], body: bytes | None = None, at: datetime = RECEIVED
    ) -> Delivery:
        """The sample as a webhook, signed with `key`."""
        bare = delivery(sample.body if body is None else body, at=at, headers=dict(sample.headers))
        if self.sign is None:
            return bare
        headers, query = self.sign(self.setup, key, bare)
        return delivery(bare.body, at=at, headers={**sample.headers, **headers}, query=query)


def by_token(_setup: Setup, key: str, _delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """How a vendor that signs nothing shows the secret."""
    return {}, {"token": key}


def events(items: Sequence[Parsed]) -> list[WireEvent]:
    """The events among what was read; a refusal fails the test."""
    refusals = [item for item in items if isinstance(item, Refusal)]
    assert not refusals, refusals
    return [item for item in items if isinstance(item, WireEvent)]
