"""Sending meter events: each under its own identifier, which Stripe takes once within a day and longer.

    v1          one request an event; a second one with the identifier is refused as known, which is as good as taken
    v2          the same, as JSON
    v2-stream   a hundred events a request; what comes twice is passed over, what is wrong is reported later

Nothing is written under an idempotency key: a 500 that Stripe keeps would be repeated, and the identifier would not be
looked at. Single events cannot be asked for. What is not known for longer than identifiers are kept is told from the
sum of its minute, where nothing else was sent for that; else it stays uncertain, for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from meter.clock import Clock
from meter.export.contract import (
    Absent,
    Barred,
    Delivered,
    Finding,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
    Untried,
)
from meter.export.http import Ends
from meter.export.payload import MeterUsage, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.spec import Setup
from meter.export.targets.stripe.api import Api, NotTaken
from meter.export.targets.stripe_meters.events import barred, body, form
from meter.model.errors import BadInput
from meter.model.instant import parse_instant
from meter.model.money import ZERO
from meter.store.outbox import OutboxItem

# Four fifths of 1,000 events a second; with a test key of 25 requests.
LIVE_PER_S: Final = 800.0
TEST_PER_S: Final = 20.0
IDENTIFIERS_KEPT: Final = timedelta(hours=20)  # Stripe keeps them for 24 hours at least
STREAM_EVENTS_MAX: Final = 100
SETTLES_S: Final = 60.0
# A session is used for less long than it holds, for a request takes time.
SESSION_MARGIN: Final = timedelta(minutes=1)
_KNOWN: Final = "already exists with identifier"
_SESSION_OVER: Final = "session"


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    until: datetime


class StripeMetersTarget:
    """Meter events of one account at Stripe."""

    def __init__(self, setup: Setup, clock: Clock) -> None:
        """Connect to nothing yet."""
        self._setup = setup
        self._clock = clock
        self._way = str(setup.options["api"])
        test = "_test_" in (setup.api_key or "")
        rate = TEST_PER_S if test else LIVE_PER_S
        self._limits = Limits(
            items_max=STREAM_EVENTS_MAX,
            in_flight=8,
            rate_per_s=rate,
            burst=int(rate / 4),
            keys_kept_s=IDENTIFIERS_KEPT.total_seconds(),
            settles_s=SETTLES_S,
        )
        self._api = Api(setup.api_key or "", self._limits, base_url=setup.base_url, guard=setup.guard)
        self._session: _Session | None = None
        self._meters: dict[str, str] = {}

    @property
    def limits(self) -> Limits:
        """Return what Stripe bears."""
        return self._limits

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()

    async def check(self) -> None:
        """Return where there is a meter for every event that the settings name. Raises MeterError."""
        page = await self._api.allows("/v1/billing/meters", limit=100, status="active")
        known = {one["event_name"] for one in page["data"]}
        missing = sorted({str(name) for name in self._setup.options["events"].values() if name} - known)
        if missing and not page.get("has_more"):
            message = f"Stripe has no active meter for {', '.join(missing)}; make them, or mend options.events"
            raise BadInput(message, code="no_meter")

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Send events: those of one customer and meter after one another."""
        if self._way != "v2-stream":
            return await one_by_one(items, self._send, self._limits)
        outcomes: list[Outcome] = [Untried()] * len(items)
        taken: list[tuple[int, dict[str, Any]]] = []
        stopped: set[str] = set()
        for place, item in enumerate(items):
            usage = _usage(item)
            outcome = barred(usage, self._clock()) if isinstance(usage, MeterUsage) else usage
            if item.stream in stopped:
                continue
            if isinstance(outcome, Retry):
                stopped.add(item.stream)
            if outcome is not None:
                outcomes[place] = outcome
            elif isinstance(usage, MeterUsage):
                taken.append((place, body(item.key, usage)))
        await self._stream(taken, outcomes)
        return outcomes

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Tell of each event whether the sum of its minute shows it."""
        return await ask_each(items, self._look_up, self._limits)

    async def _send(self, item: OutboxItem) -> Outcome:
        usage = _usage(item)
        if not isinstance(usage, MeterUsage):
            return usage
        if (outcome := barred(usage, self._clock())) is not None:
            return outcome
        try:
            if self._way == "v1":
                made = await self._api.write("/v1/billing/meter_events", form(item.key, usage))
            else:
                made = await self._api.write("/v2/billing/meter_events", body(item.key, usage))
        except NotTaken as error:
            if _KNOWN not in error.reason:
                raise
            return Delivered(item.key)
        except Ends as end:
            if isinstance(end.outcome, Uncertain):  # the identifier is looked at again, whatever was answered
                return Uncertain(end.outcome.reason)
            raise
        if made.get("identifier") != item.key:
            return Uncertain("what Stripe answered does not name the event")
        return Delivered(item.key)

    async def _stream(self, taken: Sequence[tuple[int, dict[str, Any]]], outcomes: list[Outcome]) -> None:
        """Send events in one request; where one of them spoils it, those before and behind it by themselves."""
        if not taken:
            return
        try:
            outcome = await self._streamed([event for _, event in taken])
        except Ends as end:
            outcome = end.outcome
        if isinstance(outcome, Refused) and len(taken) > 1:
            half = len(taken) // 2
            await self._stream(taken[:half], outcomes)
            await self._stream(taken[half:], outcomes)
            return
        for place, event in taken:
            outcomes[place] = Delivered(event["identifier"]) if isinstance(outcome, Delivered) else outcome

    async def _streamed(self, events: Sequence[dict[str, Any]]) -> Outcome:
        for attempt in range(2):
            session = await self._current_session(renewed=attempt > 0)
            try:
                await self._api.write(
                    "/v2/billing/meter_event_stream", {"events": list(events)}, api_key=session, base="meter_events"
                )
            except Ends as end:
                if attempt or not isinstance(end.outcome, Refused | Barred) or _SESSION_OVER not in end.outcome.reason:
                    raise
            else:
                return Delivered()
        return Retry("Stripe's session ended at once")

    async def _current_session(self, *, renewed: bool) -> str:
        session = self._session
        if session is None or renewed or session.until <= self._clock():
            made = await self._api.write("/v2/billing/meter_event_session", {})
            until = parse_instant(str(made["expires_at"]), what="expires_at") - SESSION_MARGIN
            self._session = session = _Session(str(made["authentication_token"]), until)
        return session.token

    async def _look_up(self, item: OutboxItem) -> Finding:
        usage = _usage(item)
        if not isinstance(usage, MeterUsage):
            return Absent()
        unknown = (
            f"whether Stripe counted {usage.value:f} {usage.unit} of {usage.meter} cannot be told any more; "
            f"compare the meter's events of {usage.at:%Y-%m-%d %H:%M} UTC there"
        )
        if not usage.alone:
            return Uncertain(unknown)
        counted = await self._counted(usage)
        if counted is None or counted == ZERO:
            return Absent()
        return Delivered(item.key) if counted == usage.value else Uncertain(unknown)

    async def _counted(self, usage: MeterUsage) -> Decimal | None:
        """Return what the customer is counted for the minute; None where there is no such meter. Raises Ends."""
        if usage.event not in self._meters:
            async for one in self._api.listed("/v1/billing/meters"):
                self._meters[one["event_name"]] = one["id"]
        meter = self._meters.get(usage.event)
        if meter is None:
            return None
        minute = int(usage.at.timestamp()) // 60 * 60
        path = f"/v1/billing/meters/{meter}/event_summaries"
        counted = ZERO
        async for one in self._api.listed(path, customer=usage.customer, start_time=minute, end_time=minute + 60):
            counted += Decimal(str(one["aggregated_value"]))
        return counted


def _usage(item: OutboxItem) -> MeterUsage | Refused:
    content = thawed(item.operation, item.payload)
    if isinstance(content, MeterUsage):
        return content
    return Refused(f"meters take usage, not {item.operation}; check the target's kind")
