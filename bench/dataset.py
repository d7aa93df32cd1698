"""The one data set of a run: a believable mix of events of many sites, and the catalog that knows their people."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from bench.load import TIME_MARKER
from meter.examples import example_tariff
from meter.simulate import directory_text, simulate

SITES: Final = 20
MEMBERS: Final = 40
SEED: Final = 1
# More than any bench sends; they are made only as far as they are taken.
_DAYS: Final = 100
# Interims change no line; with them two thirds of all events would be cheap, and every figure here flattering.
_LEFT_OUT: Final = re.compile(rb'"status":"interim"')
# Fees come of no event: three months of them would be booked in the time that is measured.
_FEES: Final = re.compile(r"^    fee: .*\n", re.MULTILINE)
_TIME: Final = re.compile(rb'("time":")[^"]*(")')
_ID: Final = re.compile(rb'("id":")[^"]*(")')


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Events in the order of time, as JSON; `live` are more of the same without their time."""

    catalog: str
    events: tuple[bytes, ...]
    live: tuple[bytes, ...]

    def mix(self) -> dict[str, int]:
        """Return how many events there are of each type."""
        return dict(Counter(json.loads(body)["type"] for body in self.events).most_common())


def make(*, events: int, live: int, before: date) -> DataSet:
    """Return a data set of past events, the last of them before `before`, the same for the same arguments."""
    first = before - timedelta(days=_DAYS)
    stream = _bodies(first)
    past = tuple(itertools.islice(stream, events))
    return DataSet(
        catalog=_FEES.sub("", example_tariff()) + directory_text(sites=SITES, members=MEMBERS, since=first),
        events=past,
        live=tuple(_untimed(body, number) for number, body in enumerate(itertools.islice(stream, live))),
    )


def _bodies(first: date) -> Iterator[bytes]:
    for event in simulate(start_day=first, sites=SITES, members=MEMBERS, days=_DAYS, seed=SEED):
        if not _LEFT_OUT.search(event.body):
            yield event.body


def _untimed(body: bytes, number: int) -> bytes:
    """Return an event that happens when it is sent. What it is about is unique, since all of it happens at once."""
    body = _TIME.sub(rb"\g<1>" + TIME_MARKER + rb"\g<2>", body, count=1)
    return _ID.sub(rb"\g<1>" + b"live-%d" % number + rb"\g<2>", body, count=1)
