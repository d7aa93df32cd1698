"""Stripe's metered usage: v1 events, their cancellation, and v2's stream with its reports of what it threw away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.targets.fakes.base import Handler, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.stripe_core import Json, StripeCore, error, missing, page, parameters, refuse, whole
from tests.targets.fakes.stripe_items import StripeItems

_PAST_MAX, _FUTURE_MAX = timedelta(days=35), timedelta(minutes=5)
_UNIQUE_FOR = _CANCEL_WITHIN = timedelta(hours=24)
_SESSION_FOR = timedelta(minutes=15)
_STREAM_EVENTS_MAX = 100
_DIGITS_MAX = 15


@dataclass(slots=True, kw_only=True)
class MeterEvent:
    """Usage that Stripe counted, unless it was cancelled."""

    identifier: str
    event_name: str
    customer: str
    value: Decimal
    timestamp: datetime
    received: datetime
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Thrown:
    """An event that was taken and counted nowhere; Stripe says so later."""

    identifier: str
    code: str


@dataclass(slots=True)
class _Meters:
    known: dict[str, Json] = field(default_factory=dict)
    events: list[MeterEvent] = field(default_factory=list)
    thrown: list[Thrown] = field(default_factory=list)
    sessions: dict[str, datetime] = field(default_factory=dict)
    reports: dict[str, Json] = field(default_factory=dict)


class StripeMeters(StripeItems):
    """Usage of unknown customers and of wrong values is taken and thrown away later; `report_errors` tells of it."""

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self._meters = _Meters()

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            *super().routes(),
            ("GET", "/v1/billing/meters", lambda call: page(call.path, self._meters.known.values(), parameters(call))),
            ("GET", "/v1/billing/meters/{id}/event_summaries", self._summarise),
            ("POST", "/v1/billing/meter_events", self._take_event),
            ("POST", "/v2/billing/meter_events", self._take_event),
            ("POST", "/v1/billing/meter_event_adjustments", self._cancel_event),
            ("POST", "/v2/billing/meter_event_session", self._open_session),
            ("POST", "/v2/billing/meter_event_stream", self._take_stream),
            ("GET", "/v2/core/events/{id}", self._show_report),
        ]

    def admit(self, call: Call) -> None:
        super().admit(call)
        if call.path.endswith("/meter_event_stream"):
            expires = self._meters.sessions.get(call.headers["authorization"].removeprefix("Bearer "))
            if expires is None or expires <= self.clock.now():
                raise Refuse(
                    error(401, "The session has expired.", kind="temporary_session_expired",
                          code="billing_meter_event_session_expired")
                )  # fmt: skip

    def key_of(self, call: Call) -> tuple[str, str] | None:
        # The identifier is what makes streamed usage unique; a session is new each time.
        return None if call.path.startswith("/v2/") else StripeCore.key_of(self, call)

    def add_meter(self, event_name: str) -> str:
        """Let a meter exist that sums `value` per `stripe_customer_id`; return its id."""
        id = self.new_id("mtr")
        self._meters.known[event_name] = {
            "id": id, "object": "billing.meter", "livemode": False, "created": self.clock.unix_s(), "status": "active",
            "updated": self.clock.unix_s(), "display_name": event_name, "event_name": event_name,
            "event_time_window": None, "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
            "value_settings": {"event_payload_key": "value"}, "status_transitions": {"deactivated_at": None},
        }  # fmt: skip
        return id

    @property
    def meter_events(self) -> tuple[MeterEvent, ...]:
        """What was taken and not thrown away, in the order it came; cancelled ones too."""
        return tuple(self._meters.events)

    @property
    def thrown(self) -> tuple[Thrown, ...]:
        """What was taken and thrown away."""
        return tuple(self._meters.thrown)

    def usage(self) -> dict[tuple[str, str], Decimal]:
        """Return what each customer is billed for, by customer and event name."""
        sums: dict[tuple[str, str], Decimal] = {}
        for one in self._meters.events:
            if not one.cancelled:
                pair = (one.customer, one.event_name)
                sums[pair] = sums.get(pair, Decimal(0)) + one.value
        return sums

    def report_errors(self) -> Json:
        """Return the thin event that tells of all that was thrown away; its data is served under its id."""
        id = self.new_id("evt")
        codes = sorted({one.code for one in self._meters.thrown})
        thin = {
            "id": id, "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "livemode": False,
            "created": _iso(self.clock.now()), "context": None,
            "related_object": {"id": "mtr", "type": "billing.meter", "url": "/v1/billing/meters/mtr"},
        }  # fmt: skip
        types = [
            {"code": code, "error_count": len(samples), "sample_errors": [
                {"error_message": code, "request": {"identifier": one.identifier}} for one in samples
            ]}
            for code in codes if (samples := [one for one in self._meters.thrown if one.code == code])
        ]  # fmt: skip
        data = {
            "developer_message_summary": f"{len(self._meters.thrown)} events were not counted.",
            "reason": {"error_count": len(self._meters.thrown), "error_types": types},
            "validation_start": _iso(self.clock.now()), "validation_end": _iso(self.clock.now()),
        }  # fmt: skip
        self._meters.reports[id] = thin | {"data": data}
        return thin

    def _summarise(self, call: Call) -> Answer:
        asked = parameters(call)
        start, end = whole(asked["start_time"], "start_time"), whole(asked["end_time"], "end_time")
        if start % 60 or end % 60:
            raise refuse("start_time and end_time are at the beginning of a minute.", param="start_time")
        event_name = next((name for name, one in self._meters.known.items() if one["id"] == call.parts["id"]), None)
        if event_name is None:
            raise missing("meter", call.parts["id"], "id")
        values = [
            one.value for one in self._meters.events
            if (one.event_name, one.customer, one.cancelled) == (event_name, asked["customer"], False)
            and start <= one.timestamp.timestamp() < end
        ]  # fmt: skip
        summary = {
            "id": self.new_id("mtrusg"), "object": "billing.meter_event_summary", "livemode": False,
            "aggregated_value": sum(values, Decimal(0)), "start_time": start, "end_time": end,
            "meter": call.parts["id"],
        }  # fmt: skip
        return page(call.path, [summary] if values else [], asked)

    def _take_event(self, call: Call) -> Answer:
        asked = json.loads(call.body) if call.path.startswith("/v2/") else parameters(call)
        at = self.clock.now()
        if "timestamp" in asked:
            at = datetime.fromisoformat(asked["timestamp"]) if call.path.startswith("/v2/") \
                else datetime.fromtimestamp(whole(asked["timestamp"], "timestamp"), at.tzinfo)  # fmt: skip
        identifier = asked.get("identifier") or self.new_id("identifier")
        if asked.get("event_name") not in self._meters.known:
            raise refuse(f"No active meter found for event name {asked.get('event_name')}.", param="event_name")
        if code := self._wrong_time(at):
            raise refuse(f"The timestamp {at} is out of range.", code=code, param="timestamp")
        if self._seen(identifier):
            raise refuse(f"An event already exists with identifier {identifier}.", param="identifier")
        if self._wrong_value(asked["payload"]) == "meter_event_value_too_many_digits":
            raise refuse("The value has too many digits.", code="meter_event_value_too_many_digits", param="payload")
        self._count(identifier, asked["event_name"], asked["payload"], at)
        return Answer(content={
            "object": "billing.meter_event", "created": self.clock.unix_s(), "event_name": asked["event_name"],
            "identifier": identifier, "livemode": False, "payload": asked["payload"], "timestamp": int(at.timestamp()),
        })  # fmt: skip

    def _cancel_event(self, call: Call) -> Answer:
        asked = parameters(call)
        identifier = asked.get("cancel", {}).get("identifier", "")
        wanted = (identifier, asked.get("event_name"))
        found = next((one for one in self._meters.events if (one.identifier, one.event_name) == wanted), None)
        if found is None:
            raise missing("meter event", identifier, "cancel[identifier]")
        if self.clock.now() - found.received > _CANCEL_WITHIN:
            raise refuse("An event is cancelled within 24 hours of its receipt.", param="cancel[identifier]")
        if found.cancelled:
            raise refuse(f"The event {identifier} is cancelled already.", param="cancel[identifier]")
        found.cancelled = True
        return Answer(content={
            "object": "billing.meter_event_adjustment", "cancel": {"identifier": identifier}, "livemode": False,
            "event_name": found.event_name, "status": "pending", "type": "cancel",
        })  # fmt: skip

    def _open_session(self, _: Call) -> Answer:
        token, expires = self.new_id("token"), self.clock.now() + _SESSION_FOR
        self._meters.sessions[token] = expires
        return Answer(content={
            "id": self.new_id("bmes"), "object": "v2.billing.meter_event_session", "authentication_token": token,
            "created": _iso(self.clock.now()), "expires_at": _iso(expires), "livemode": False,
        })  # fmt: skip

    def _take_stream(self, call: Call) -> Answer:
        events = json.loads(call.body)["events"]
        if not 1 <= len(events) <= _STREAM_EVENTS_MAX:
            raise refuse(f"A request has 1 to {_STREAM_EVENTS_MAX} events, not {len(events)}.", param="events")
        for one in events:
            at = datetime.fromisoformat(one["timestamp"]) if "timestamp" in one else self.clock.now()
            identifier = one.get("identifier") or self.new_id("identifier")
            code = self._wrong_time(at) or ("" if one["event_name"] in self._meters.known else "no_meter")
            if code:
                self._meters.thrown.append(Thrown(identifier=identifier, code=code))
            elif not self._seen(identifier):
                self._count(identifier, one["event_name"], one["payload"], at)
        return Answer(content={})

    def _show_report(self, call: Call) -> Answer:
        if call.parts["id"] not in self._meters.reports:
            raise missing("event", call.parts["id"], "id")
        return Answer(content=self._meters.reports[call.parts["id"]])

    def _seen(self, identifier: str) -> bool:
        since = self.clock.now() - _UNIQUE_FOR
        return any(one.identifier == identifier and one.received > since for one in self._meters.events)

    def _wrong_time(self, at: datetime) -> str:
        if at < self.clock.now() - _PAST_MAX:
            return "timestamp_too_far_in_past"
        return "timestamp_in_future" if at > self.clock.now() + _FUTURE_MAX else ""

    @staticmethod
    def _wrong_value(payload: Mapping[str, Any]) -> str:
        try:
            value = Decimal(payload["value"])
        except KeyError:
            return "meter_event_value_not_found"
        except InvalidOperation:
            return "meter_event_invalid_value"
        if not value.is_finite() or "E" in payload["value"].upper():
            return "meter_event_invalid_value"
        return "meter_event_value_too_many_digits" if len(value.as_tuple().digits) > _DIGITS_MAX else ""

    def _count(self, identifier: str, event_name: str, payload: Mapping[str, Any], at: datetime) -> None:
        customer = payload.get("stripe_customer_id")
        code = self._wrong_value(payload)
        if customer is None:
            code = code or "meter_event_no_customer_defined"
        elif customer not in self.customers.objects:
            code = code or "meter_event_customer_not_found"
        if code:
            self._meters.thrown.append(Thrown(identifier=identifier, code=code))
            return
        self._meters.events.append(
            MeterEvent(
                identifier=identifier, event_name=event_name, customer=str(customer), value=Decimal(payload["value"]),
                timestamp=at, received=self.clock.now(),
            )
        )  # fmt: skip


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
