"""Charges of members, once each, at vendors that keep no keys: what may have arrived is looked up before it goes again.

A charge is found by its batch's name on the vendor's own lists. These are read whole: a list that does not end, or of
which a page is missing, says nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, Protocol

import msgspec

from meter.clock import Clock, Ticks, now
from meter.export.authorised import Authorised
from meter.export.contract import (
    Absent,
    Delivered,
    Figures,
    Finding,
    Held,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
)
from meter.export.http import Answer, Channel, Ends, Fault
from meter.export.limiter import Limiter
from meter.export.oauth import TokenKeeper
from meter.export.payload import LineItem, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.reading import listing
from meter.export.targets.spaces.charges import Json, Listing, Vendor, content_of
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.store.engine import encode_json
from meter.store.outbox import OutboxItem
from meter.transport.outgoing import Guard

# Some ten thousand charges: more of one day, or of a month that is reconciled, is a filter that the vendor passed over.
PAGES_MAX: Final = 200
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class Asking(Protocol):
    """A Channel, or one with access tokens."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Return the answer. Raises Fault."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class SpacesTarget:
    """The charges of one booking system."""

    def __init__(self, vendor: Vendor, asking: Asking, limiter: Limiter, *, limits: Limits, clock: Clock = now) -> None:
        """Ask nothing yet."""
        self.limits = limits
        self._vendor = vendor
        self._asking = asking
        self._limiter = limiter
        self._clock = clock

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Create a charge for each item."""
        return await one_by_one(items, self._send, self.limits)

    async def _send(self, item: OutboxItem) -> Outcome:
        try:
            content = line_of(item)
            self._vendor.checked(content)
            post = self._vendor.post(content, item.batch)
        except (msgspec.MsgspecError, BadInput) as error:
            return Refused(str(error))
        body = encode_json(post.body).encode()
        answer = await self._asking.request("POST", post.path, headers=_JSON, body=body)
        if not 200 <= answer.status < 300:
            return self._heard(self._vendor.outcome(answer))
        remote_id = self._vendor.id_of(content_of(answer))
        if remote_id is None:
            return self._heard(self._vendor.outcome(answer))
        self._compare(item, content)
        return Delivered(remote_id)

    def _compare(self, item: OutboxItem, content: LineItem) -> None:
        """Say where the vendor's tax will be another than ours: it has no field for an amount of tax."""
        theirs = self._vendor.tax(content.line)
        if theirs is not None and theirs != content.line.tax_amount:
            ours = content.line.tax_amount
            log.info("charge_tax_differs", target=item.target, batch=item.batch, ours=str(ours), theirs=str(theirs))

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Look for each item's charge on the vendor's lists."""
        return await ask_each(items, self._look_up, self.limits)

    async def _look_up(self, item: OutboxItem) -> Finding:
        try:
            content = line_of(item)
        except (msgspec.MsgspecError, BadInput):
            return Absent()  # never sent: send refuses it
        found: set[str] = set()
        for place in self._vendor.places(content):
            empty = True
            async for record in self._records(place):
                empty = False
                held = self._vendor.held(record)
                if held is not None and held.batch == item.batch:
                    found.add(held.remote_id)
            if found or (place.settles and not empty):
                break
        if len(found) > 1:
            log.error("charged_twice", target=item.target, batch=item.batch, charges=sorted(found))
        return Delivered(next(iter(found))) if found else Absent()

    def figures(self, item: OutboxItem) -> Figures:
        """Return what the vendor must hold for a delivered item."""
        return self._vendor.figures(line_of(item))

    async def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give the charges of days in [since, until) that name a batch. Raises MeterError."""
        try:
            with listing(self._vendor.name):
                async for record in self._records(self._vendor.span(since, until)):
                    held = self._vendor.held(record)
                    if held is not None:
                        yield held
        except Fault as error:
            raise Unavailable(f"{self._vendor.name} does not list charges: {error}", code="not_listed") from error

    async def check(self) -> None:
        """Return where today's charges can be listed. Raises MeterError."""
        if isinstance(self._asking, Authorised):
            await self._asking.keeper.token()
        today = self._clock().date()
        try:
            await self._page(self._vendor.span(today, today + timedelta(days=1)), {})
        except Fault as error:
            raise Unavailable(f"{self._vendor.name} does not answer: {error}", code="target_silent") from error
        except Ends as end:
            raise end.as_error("check the target's settings") from end

    async def close(self) -> None:
        """Close every connection."""
        await self._asking.close()

    async def _records(self, place: Listing) -> AsyncIterator[Json]:
        """Give everything of a list. Raises Ends, Fault."""
        more: Mapping[str, str] = {}
        for _ in range(PAGES_MAX):
            content = await self._page(place, more)
            for record in self._vendor.records(content) or ():
                yield record
            following = self._vendor.following(content, more)
            if following is None:
                return
            more = following
        raise Ends(Uncertain(f"its list of charges has more than {PAGES_MAX} pages"))

    async def _page(self, place: Listing, more: Mapping[str, str]) -> object:
        """Return the content of a page. Raises Ends, Fault."""
        answer = await self._asking.request(
            "GET", place.path, query={**place.query, **more}, headers={"Accept": "application/json"}
        )
        if answer.status == 404 and place.optional:
            return []
        content = content_of(answer)
        if answer.status != 200:
            raise Ends(self._heard(self._vendor.outcome(answer)))
        if self._vendor.records(content) is None:
            raise Ends(Uncertain("it answered something else than a list"))
        return content

    def _heard(self, outcome: Outcome) -> Outcome:
        """Return the outcome; where the vendor asks for time by another status than 429, everything waits."""
        if isinstance(outcome, Retry) and outcome.throttled:
            self._limiter.throttled(outcome.after_s)
        return outcome


def target_of(
    vendor: Vendor,
    base_url: str,
    *,
    limits: Limits,
    timeout_s: float,
    clock: Ticks,
    keeper: TokenKeeper | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str | None] = (),
    guard: Guard,
) -> SpacesTarget:
    """Return the target of a vendor at `base_url`, with access tokens of `keeper` where there is one."""
    channel = Channel(base_url, limits, headers=headers, secrets=secrets, timeout_s=timeout_s, clock=clock, guard=guard)
    asking = channel if keeper is None else Authorised(channel, keeper)
    return SpacesTarget(vendor, asking, channel.limiter, limits=limits)


def line_of(item: OutboxItem) -> LineItem:
    """Return the line that an item says. Raises msgspec.MsgspecError, BadInput (`bad_operation`)."""
    content = thawed(item.operation, item.payload)
    if isinstance(content, LineItem):
        return content
    raise BadInput(f"a booking system takes lines, not {item.operation}; check the target's mode", code="bad_operation")
