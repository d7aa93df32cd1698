"""One location at Square: invoices, what gives back on them, and what is held of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from meter.export.contract import Absent, Figures, Finding, Held, Limits, Outcome, Refused
from meter.export.http import Ends, Fault
from meter.export.payload import Invoice, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.books import figures_of
from meter.export.targets.reading import listing, object_of
from meter.export.targets.square.api import Api, NotTaken
from meter.export.targets.square.credits import CreditSender
from meter.export.targets.square.held import held_of, held_refund
from meter.export.targets.square.replies import content_of, outcome_of_answer
from meter.export.targets.square.sender import MADE_BEFORE, InvoiceSender
from meter.export.targets.square.wanted import SOURCE, Rules, wanted_of
from meter.model.errors import BadInput, Broken, Unavailable
from meter.store.outbox import OutboxItem

# Square names no figures; what it does not mind of one merchant is some tens a second.
RATE_PER_S: Final = 10.0
# Longer than a request is waited for: what was sent before that has been done or given up.
SETTLES_S: Final = 30.0
# Nobody says how long Square knows a key (developer forum, October 2026): what is not known is always asked for.
LIMITS: Final = Limits(items_max=50, in_flight=5, rate_per_s=RATE_PER_S, burst=10, settles_s=SETTLES_S)


class SquareTarget:
    """Orders and invoices of one location."""

    def __init__(self, api: Api, rules: Rules, limits: Limits) -> None:
        """Ask nothing yet."""
        self._api = api
        self._rules = rules
        self._limits = limits
        self._invoices = InvoiceSender(api, rules)
        self._credits = CreditSender(api, rules)

    @property
    def limits(self) -> Limits:
        """Return what Square bears."""
        return self._limits

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()

    async def check(self) -> None:
        """Return where the location can be read and is in use. Raises MeterError."""
        try:
            answer = await self._api.asked("locations.get", location_id=self._rules.location)
        except Fault as error:
            message = f"Square does not answer: {error}; check the network and base_url"
            raise Unavailable(message, code="target_silent") from error
        content = content_of(answer)
        if content is None:
            raise Ends(outcome_of_answer(answer)).as_error("check api_key, company and options.sandbox")
        if object_of(content, "location").get("status") == "INACTIVE":
            message = f"the location {self._rules.location} is inactive; activate it in Square, or set another company"
            raise BadInput(message, code="target_refuses")

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Send the items, streams side by side."""
        return await one_by_one(items, self._send_one, self._limits)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Tell of each item whether Square holds all of it, by its customer's orders."""
        return await ask_each(items, self._look_up, self._limits)

    def figures(self, item: OutboxItem) -> Figures:
        """Return what Square must hold of an item. Raises Broken where it is none of this target's."""
        content = thawed(item.operation, item.payload)
        if not isinstance(content, Invoice):
            raise Broken(f"Square takes no {item.operation}", code="foreign_item")
        return figures_of(content)

    async def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give everything of ours that the location holds of days in [since, until). Raises MeterError."""
        begin = datetime.combine(since, time(), UTC) - MADE_BEFORE
        location = self._rules.location
        with listing("Square"):
            sources = {"source_filter": {"source_names": [SOURCE]}}
            orders = [one async for one in self._api.orders(location, begin, **sources)]
            invoices = {str(one.get("order_id")): one async for one in self._api.invoices(location)}
            refunds = [one async for one in self._api.refunds(location, begin)]
            held = [*held_of(orders, invoices, since, until)]
            held += [found for one in refunds if (found := held_refund(one, since, until)) is not None]
        for one in held:
            yield one

    async def _send_one(self, item: OutboxItem) -> Outcome:
        """Bring Square to what the item says, once more where it refuses: both begin by looking how far it has come.

        An earlier attempt, whose answer was lost, may have done meanwhile what is refused now, or somebody changed it.
        """
        try:
            return await self._send(item)
        except NotTaken:
            return await self._send(item)

    async def _send(self, item: OutboxItem) -> Outcome:
        content = thawed(item.operation, item.payload)
        if not isinstance(content, Invoice):
            return Refused(f"Square takes invoices, not {item.operation}; check the target's kind")
        try:
            wanted = wanted_of(item.batch, item.payload, content, self._rules)
        except BadInput as error:
            return Refused(error.detail)
        sender = self._invoices if wanted.total >= 0 else self._credits
        return await sender.send(item.key, wanted)

    async def _look_up(self, item: OutboxItem) -> Finding:
        content = thawed(item.operation, item.payload)
        if not isinstance(content, Invoice):
            return Absent()
        wanted = wanted_of(item.batch, item.payload, content, self._rules)
        sender = self._invoices if wanted.total >= 0 else self._credits
        return await sender.look_up(wanted)
