"""Stripe's interface through its own client library, over our own channel: one attempt, no redirects, no telemetry.

    Api.read, Api.write ──▶ StripeClient.raw_request_async ──▶ _Http ──▶ Channel.request ──▶ Stripe

The library encodes forms, names the version of the interface that it was made for, and reads errors. Retries are the
outbox's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NoReturn

import stripe

from meter.export.contract import Limits, Outcome, Refused, Retry, Uncertain
from meter.export.http import (
    BARRING,
    REASON_CHARS_MAX,
    Channel,
    Ends,
    Fault,
    barred,
    outcome_of_question,
    retry_after_s,
)
from meter.export.http import outcome_of_error as outcome_of_fault
from meter.export.targets.reading import Unreadable, objects_of, word_of
from meter.model.errors import Unavailable
from meter.transport.outgoing import Guard

API_BASE: Final = "https://api.stripe.com"
METER_EVENTS_BASE: Final = "https://meter-events.stripe.com"
# The most that a list gives at once.
PAGE_MAX: Final = 100
# What a list may come to: ten thousand objects of one customer since a period began.
PAGES_MAX: Final = 100
# What tells Stripe about this machine is nobody's business.
_UNSENT_HEADERS: Final = ("x-stripe-client-user-agent", "x-stripe-client-telemetry")

Object = Mapping[str, Any]


class NotTaken(Ends):
    """Stripe refused a request as it stands (400, 404): certainly nothing changed."""

    def __init__(self, reason: str) -> None:
        """Keep what Stripe said."""
        super().__init__(Refused(reason))
        self.reason = reason


def endpoint_of(method: str, path: str) -> str:
    """Return Stripe's name for what a request asks: whichever object it is of, it counts to the same limit."""
    kind, _, rest = path.partition("?")[0].strip("/").removeprefix("v1/").partition("/")
    what = rest.partition("/")[2]
    return f"{method.upper()} {kind}{'/{id}' if rest else ''}{'/' if what else ''}{what}"


class _Http(stripe.HTTPClient):
    """The library's way out: a channel for each address."""

    name = "meter"

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        super().__init__()
        self._channels = channels

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        base = next(base for base in self._channels if url.startswith(base))
        body = post_data.encode() if isinstance(post_data, str) else post_data
        sent = {name: value for name, value in headers.items() if name.lower() not in _UNSENT_HEADERS}
        path = url.removeprefix(base)
        answer = await self._channels[base].request(
            method.upper(), path, headers=sent, body=body or None, endpoint=endpoint_of(method, path)
        )
        return answer.body, answer.status, answer.headers


class Api:
    """One account at Stripe. Make it inside a running loop; close it with `close`.

    `base_url` stands for every one of Stripe's addresses where it is given.
    """

    def __init__(self, api_key: str, limits: Limits, *, base_url: str | None, guard: Guard) -> None:
        """Connect to nothing yet."""
        bases = {"api": base_url or API_BASE, "meter_events": base_url or METER_EVENTS_BASE}
        bases = {name: base.rstrip("/") for name, base in bases.items()}
        self._channels = {
            base: Channel(base, limits, secrets=[api_key], guard=guard) for base in sorted(set(bases.values()))
        }
        # Its way to send what it has no method for is without types.
        self._client: Any = stripe.StripeClient(
            api_key,
            http_client=_Http(self._channels),
            max_network_retries=0,
            base_addresses={"api": bases["api"], "meter_events": bases["meter_events"]},
        )

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._channels.values():
            await channel.close()

    async def read(self, path: str, **params: Any) -> Object:
        """Return an object or a page. Raises Ends (Retry, Refused): nothing was changed by it."""
        try:
            answer = await self._client.raw_request_async("get", path, **params)
        except Fault as error:
            raise Ends(outcome_of_question(outcome_of_fault(error))) from error
        except stripe.StripeError as error:
            raise Ends(outcome_of_question(outcome_of_error(error))) from error
        return _object_in(answer)

    async def find(self, path: str) -> Object | None:
        """Return an object; None where there is none (any more). Raises Ends."""
        try:
            answer = await self._client.raw_request_async("get", path)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return None
            raise Ends(outcome_of_error(error)) from error
        except Fault as error:
            raise Ends(outcome_of_question(outcome_of_fault(error))) from error
        except stripe.StripeError as error:
            raise Ends(outcome_of_question(outcome_of_error(error))) from error
        found = _object_in(answer)
        return None if found.get("deleted") else found

    async def listed(self, path: str, **params: Any) -> AsyncIterator[Object]:
        """Give every object of a list, page by page. Raises Ends."""
        after: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = await self.read(path, limit=PAGE_MAX, **params, **after)
            found = objects_of(page, "data", required=True)
            for one in found:
                yield one
            if not page.get("has_more") or not found:
                return
            after = {"starting_after": word_of(found[-1], "id")}
        reason = f"the list {path} has more than {PAGES_MAX * PAGE_MAX} objects; that is more than one account's"
        raise Ends(Refused(reason))

    async def write(self, path: str, params: Mapping[str, Any], *, key: str | None = None, **options: Any) -> Object:
        """Return what Stripe made of it. Raises NotTaken where it certainly made nothing; Ends for all else.

        `key` None: what is written has a name by which Stripe takes it once; `options` are the library's.
        """
        given = options if key is None else {**options, "idempotency_key": key}
        try:
            answer = await self._client.raw_request_async("post", path, **params, **given)
        except Fault as error:
            raise Ends(outcome_of_fault(error)) from error
        except stripe.StripeError as error:
            _raise_unwritten(error)
        return _object_in(answer)

    async def allows(self, path: str, **params: Any) -> Object:
        """Return an object, for `check`. Raises MeterError saying why not."""
        try:
            answer = await self._client.raw_request_async("get", path, **params)
        except Fault as error:
            message = f"Stripe does not answer: {error}; check the network and the target's base_url"
            raise Unavailable(message, code="target_silent") from error
        except stripe.StripeError as error:
            raise Ends(outcome_of_error(error)).as_error() from error
        return _object_in(answer)


def _object_in(answer: Any) -> Object:
    """Return what the library read of an answer. Raises Unreadable."""
    if isinstance(answer.data, Mapping):
        return answer.data
    raise Unreadable("the answer", answer.data, "an object")


def _raise_unwritten(error: stripe.StripeError) -> NoReturn:
    outcome = outcome_of_error(error)
    if isinstance(outcome, Refused) and error.http_status in {400, 404}:
        raise NotTaken(outcome.reason) from error
    raise Ends(outcome) from error


def outcome_of_error(error: stripe.StripeError) -> Outcome:
    """Return what an error of Stripe's makes of an item.

    A 5xx is kept with the key and only repeated, unless Stripe says that trying again helps (`Stripe-Should-Retry`) and
    is not repeating it already (`Idempotent-Replayed`). A key that came with other parameters belongs to an earlier
    attempt, of which nobody knows.
    """
    status, headers = error.http_status, {name.lower(): value for name, value in (error.headers or {}).items()}
    again = headers.get("stripe-should-retry")
    said = " ".join((error.user_message or str(error) or type(error).__name__).split())[:REASON_CHARS_MAX]
    facts = ", ".join(filter(None, (str(status), error.code)))
    reason = f"answered {facts}: {said}"
    if status is None or status < 300:
        return Uncertain(reason)
    if isinstance(error, stripe.IdempotencyError) and status == 400:
        return Uncertain(reason, answered=True)
    if status == 429:
        return Retry(reason, after_s=retry_after_s(headers), throttled=error.code != "lock_timeout")
    if status >= 500:
        return Uncertain(reason, answered=again != "true" or "idempotent-replayed" in headers)
    if status in {408, 409, 425} or again == "true":
        return Retry(reason)
    if status in BARRING:
        return barred(reason, "check the target's api_key and what it may do", status)
    return Refused(reason)
