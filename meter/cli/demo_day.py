"""What the demo plays: a working day of the example space that the gateway has not seen whole, and a card payment."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.examples import example_tariff
from meter.model.errors import BadInput
from meter.model.event import EventKey
from meter.model.instant import instant_text
from meter.simulate import Delivery, Faults, TrueEvent, deliver, directory_text, population, simulate
from meter.store.accept import standing_hashes
from meter.store.backlog import is_all_rated
from meter.store.directory import current_operator
from meter.store.engine import Database

# What `meter/examples/northside.yaml` knows.
EXAMPLE_OPERATOR: Final = "northside"
SITE: Final = "berlin"
_MAIN_DOOR: Final = f"{SITE}/door/main"
ZONE: Final = ZoneInfo("Europe/Berlin")
_MEMBERS: Final = 40
# The days of one working week: played from the oldest on, so that a second demo goes forward in time.
_DAYS: Final = 5
_SEEDS_MAX: Final = 1000
# A printer or two lose their line for a while; a site without any line would make a dull demo.
_FAULTS: Final = Faults(site_offline=0)
_PAID_AT: Final = time(13, 12, 30)

SIGNATURE_HEADER: Final = "x-square-hmacsha256-signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDay:
    """One simulated day at one site; the seed makes a second one of the same date another day."""

    day: date
    seed: int
    events: tuple[TrueEvent, ...]

    @property
    def start(self) -> datetime:
        """Return when the first event happens."""
        return self.events[0].time

    @property
    def end(self) -> datetime:
        """Return when the last event happens."""
        return self.events[-1].time

    def deliveries(self) -> list[Delivery]:
        """Return how its events arrive: nothing later than the end of the day, when every line is back."""
        arriving = deliver(self.events, seed=self.seed, faults=_FAULTS)
        return [replace(delivery, at=min(delivery.at, self.end)) for delivery in _by_visit(arriving, self.end)]


def _by_visit(deliveries: Iterable[Delivery], end: datetime) -> Iterator[Delivery]:
    """Yield the deliveries with each way in held back until the way out, and to `end` where the badge shows none.

    A gateway that sees a day as it happens knows the way out long before the space closes. Of a day that is over every
    deadline has passed: a way in would be booked as an estimate at once, and taken back a second later.
    """
    inside: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        swipe = _swipe(delivery)
        if swipe is None:
            yield delivery
            continue
        badge, direction = swipe
        inside.setdefault(badge, []).append(delivery)
        if direction == "out":
            yield _together(inside.pop(badge), delivery.at)
    for visit in inside.values():
        yield _together(visit, end)


def _swipe(delivery: Delivery) -> tuple[str, str] | None:
    """Return badge and direction of somebody who passes the main door; None for what a device sends after an outage."""
    if delivery.source != _MAIN_DOOR or len(delivery.events) > 1:
        return None
    event = msgspec.json.decode(delivery.events[0].body)
    if event["type"] != "door.access" or not event["data"]["granted"]:
        return None
    return event["subject"], event["data"]["direction"]


def _together(visit: Sequence[Delivery], at: datetime) -> Delivery:
    events = dict.fromkeys(event for delivery in visit for event in delivery.events)
    return Delivery(at=at, source=_MAIN_DOOR, events=tuple(events))


def demo_catalog(*, today: date) -> str:
    """Return the example's catalog, of which everybody is a member since the month before the first day that is played.

    So one month has gone by, whose unused credit rolled over, and not one for each since the example was written.
    """
    month = _working_days_before(today)[0].replace(day=1)
    since = (month - timedelta(days=1)).replace(day=1)
    return example_tariff() + directory_text(sites=1, members=_MEMBERS, since=since)


async def choose_day(connection: AsyncConnection, *, today: date) -> DemoDay:
    """Return the oldest working day of the last five that is not stored whole; after those, their like again.

    Raises BadInput where the database serves someone else's catalog.
    """
    operator = await current_operator(connection)
    if operator != EXAMPLE_OPERATOR:
        message = (
            f"the demo plays the example space {EXAMPLE_OPERATOR!r}, and this data directory serves {operator!r}; "
            "take another one: meter up --demo --data-dir DIRECTORY"
        )
        raise BadInput(message, code="not_the_example")
    for seed, day in itertools.product(range(1, _SEEDS_MAX + 1), _working_days_before(today)):
        candidate = DemoDay(day=day, seed=seed, events=_events_of(day, seed))
        if await _missing(connection, operator, candidate):
            return candidate
    message = f"{_SEEDS_MAX} weeks have been played here; take another data directory"
    raise BadInput(message, code="demo_over")


async def unfinished(database: Database, day: DemoDay) -> str | None:
    """Return what of the day is not stored or not rated yet; None: nothing is left."""
    async with database.begin() as connection:
        missing = await _missing(connection, EXAMPLE_OPERATOR, day)
        if missing:
            return f"{missing} are not stored"
        return None if await is_all_rated(connection, EXAMPLE_OPERATOR) else "not all are rated"


async def _missing(connection: AsyncConnection, operator: str, day: DemoDay) -> int:
    keys = {EventKey(event.source, event.id) for event in day.events}
    return len(keys) - len(await standing_hashes(connection, operator, keys))


def _events_of(day: date, seed: int) -> tuple[TrueEvent, ...]:
    return tuple(simulate(start_day=day, sites=1, members=_MEMBERS, seed=seed))


def _working_days_before(today: date) -> list[date]:
    return sorted(itertools.islice(_going_back(today), _DAYS))


def _going_back(today: date) -> Iterator[date]:
    day = today
    while True:
        day -= timedelta(days=1)
        if day.weekday() < 5:
            yield day


def square_payment(demo: DemoDay) -> bytes:
    """Return the webhook that Square sends when a card payment of that day's lunch is completed."""
    at = instant_text(datetime.combine(demo.day, _PAID_AT, tzinfo=ZONE).astimezone(UTC))
    payment = f"demo-{demo.day:%Y%m%d}-{demo.seed}"
    buyer = next(member for space in population(sites=1, members=_MEMBERS) for member in space.members)
    event = {
        "merchant_id": "DEMOMERCHANT",
        "type": "payment.updated",
        "event_id": str(uuid5(NAMESPACE_URL, payment)),
        "created_at": at,
        "data": {
            "type": "payment",
            "id": payment,
            "object": {
                "payment": {
                    "id": payment,
                    "status": "COMPLETED",
                    "source_type": "CARD",
                    "location_id": "DEMOLOCATION",
                    "customer_id": buyer.square.partition(":")[2],
                    "amount_money": {"amount": 1290, "currency": "EUR"},
                    "tip_money": {"amount": 110, "currency": "EUR"},
                    "total_money": {"amount": 1400, "currency": "EUR"},
                    "created_at": at,
                    "updated_at": at,
                }
            },
        },
    }
    return msgspec.json.encode(event)


def square_signature(body: bytes, *, key: str, url: str) -> str:
    """Return what Square sends in `SIGNATURE_HEADER` for a webhook registered at `url`."""
    digest = hmac.new(key.encode(), url.encode() + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()
