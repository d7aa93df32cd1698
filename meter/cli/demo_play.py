"""The demo's clients: they send a day over MQTT, HTTP and a webhook, and pull what comes of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from meter.cli.demo_agent import DemoAgent
from meter.cli.demo_day import DemoDay
from meter.cli.demo_site import DemoSite
from meter.cli.demo_view import Progress, Tally, credits_of, event_type_of
from meter.clock import monotonic_s, now
from meter.model.errors import Unavailable
from meter.model.instant import instant_text
from meter.rundir import Addresses
from meter.simulate import Delivery, Playback, to_http, to_mqtt

# Tills and the room calendar live in a cloud of their own, and post; everything in the building publishes.
_OVER_HTTP: Final = frozenset({"pos", "room"})
# Whose door controllers post to an agent on site.
_ON_SITE: Final = "door"
SHOWN_ACCOUNT: Final = "acme"
_WATCHED_ACCOUNTS: Final = (SHOWN_ACCOUNT, "inkwell", "elif")
# Of the account that the summary shows: what is worth an explanation, a fee for the account and a member's session.
_EXPLAINED: Final = {"membership": False, "presence": True}
_CHARGES_WAIT_S: Final = 10
_CHARGES_PAGE: Final = 1000
_ANSWER_S_MAX: Final = 30 + _CHARGES_WAIT_S
_LOOK_S: Final = 1.0
_SUBSCRIBED_S_MAX: Final = 30.0
# After the last event is sent: a gateway that takes longer than this to rate a day's rest is not well.
_SETTLE_S_MAX: Final = 60.0


class Playing:
    """One playing of a day against a running gateway. `progress` tells how far it is, at any time."""

    def __init__(
        self,
        day: DemoDay,
        addresses: Addresses,
        http: aiohttp.ClientSession,
        *,
        key: str,
        speed: float,
        site: DemoSite | None,
    ) -> None:
        """Prepare to send `day`, `speed` times as fast as it went. `http` has the gateway as its base.

        Doors post to the agent of `site`; without, they publish as all in the building do.
        """
        self._day = day
        self._addresses = addresses
        self._http = http
        self._key = key
        self._speed = speed
        self._site = site
        self._playback = Playback(start=day.start, speed=speed)
        self._figures_before: Mapping[str, float] = {}
        self._cursor = ""
        self.before: dict[str, Tally] = defaultdict(Tally)
        self.explained: dict[str, str] = {}
        self.progress = Progress(clock=day.start, starts=day.start, ends=day.end)

    async def run(
        self, works: Sequence[Coroutine[Any, Any, None]], *, unfinished: Callable[[], Awaitable[str | None]]
    ) -> None:
        """Send the day with `works` beside, and return when all of it is rated and on the ledger.

        `unfinished` tells what of the day is not stored or rated yet. Raises Unavailable where that does not end.
        """
        self._figures_before = await self._subscribed()
        await self._take_before()
        async with _meanwhile(self._watch_charges(), self._watch_figures()):
            deliveries: dict[str, list[Delivery]] = defaultdict(list)
            for delivery in self._day.deliveries():
                deliveries[self._way(delivery)].append(delivery)
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(work)
                group.create_task(to_http(deliveries["http"], url=self._addresses.http, key=self._key, pace=self._pace))
                group.create_task(to_mqtt(deliveries["mqtt"], url=self._addresses.mqtt or "", pace=self._pace))
                if self._site is not None:
                    group.create_task(self._to_agent(self._site.agent, deliveries["agent"]))
            self.progress.clock = self._day.end
            await self._settled(unfinished)

    def _way(self, delivery: Delivery) -> str:
        """Return how it goes: over HTTP, over MQTT, or to the agent."""
        kind = delivery.events[0].kind
        if kind in _OVER_HTTP:
            return "http"
        return "mqtt" if self._site is None or kind != _ON_SITE else "agent"

    async def _to_agent(self, agent: DemoAgent, deliveries: Sequence[Delivery]) -> None:
        """Post as doors on site do, which send again what they were not told is safe."""
        sent = await to_http(deliveries, url=agent.url, key=agent.token, pace=self._pace)
        if sent.rejected:
            message = (
                f"the agent refused {sent.rejected} of {sent.events} events; look at its log beside {agent.config}"
            )
            raise Unavailable(message, code="demo_failed")

    async def _take_before(self) -> None:
        """Tally apart what earlier playings booked. Where there was none, the fees booked so far belong to this one."""
        before: list[dict[str, Any]] = []
        while page := await self._pull(wait_s=0):
            before += page
        played_before = any(map(event_type_of, before))
        for charge in before:
            if played_before:
                self.before[event_type_of(charge)].add(charge)
            else:
                self.progress.book(charge)

    async def _subscribed(self) -> dict[str, float]:
        """Return the figures once the gateway listens: what is published to nobody is gone, by MQTT's rules."""
        deadline_s = monotonic_s() + _SUBSCRIBED_S_MAX
        while True:
            figures = await self._figures()
            if figures.get("meter_mqtt_connected"):
                return figures
            if monotonic_s() > deadline_s:
                message = (
                    f"the gateway has not subscribed at the broker within {_SUBSCRIBED_S_MAX:g} s; look at the log"
                )
                raise Unavailable(message, code="demo_failed")
            await asyncio.sleep(_LOOK_S / 10)

    def _pace(self, delivery: Delivery) -> float:
        """Return when a delivery is due, and count it as sent then."""
        delay_s = self._playback(delivery)
        due = now() + timedelta(seconds=max(delay_s, 0.0))
        # A sink asks for the next delivery long before its turn, so what it asks for does not tell the time.
        self.progress.clock = min(delivery.at - timedelta(seconds=delay_s * self._speed), self._day.end)
        self.progress.publish(delivery, due, on_site=self._way(delivery) == "agent")
        return delay_s

    async def post_webhook(self, path: str, body: bytes, headers: Mapping[str, str], *, after_s: float) -> None:
        """Send a vendor's webhook some time into the day. Raises Unavailable unless the gateway takes it."""
        await asyncio.sleep(after_s)
        async with self._http.post(path, data=body, headers={**headers, "Content-Type": "application/json"}) as answer:
            if not answer.ok:
                message = f"the webhook is answered {answer.status}: {(await answer.text())[:300]}"
                raise Unavailable(message, code="demo_failed")

    # --- looking on ---------------------------------------------------------------------------------------------------

    async def _watch_charges(self) -> None:
        while True:
            for charge in await self._pull(wait_s=_CHARGES_WAIT_S):
                self.progress.book(charge)

    async def _pull(self, *, wait_s: int) -> list[dict[str, Any]]:
        query = {"cursor": self._cursor, "limit": _CHARGES_PAGE, "wait": wait_s}
        page = await self._get("/v1/charges", query)
        self._cursor = page["next"]
        charges: list[dict[str, Any]] = page["charges"]
        if self._site is not None:
            self.progress.outage = self._site.outage
        for charge in charges:
            stands = charge["account"] == SHOWN_ACCOUNT and charge["role"] != "reversal"
            if stands and _EXPLAINED.get(charge["meter"]) == (charge["member"] is not None):
                self.explained[charge["meter"]] = charge["id"]
        return charges

    async def _watch_figures(self) -> None:
        at = instant_text(self._day.end)
        while True:
            await self._take_figures()
            credit = []
            for account in _WATCHED_ACCOUNTS:
                found = await self._get(f"/v1/accounts/{account}/balances", {"at": at})
                credit += credits_of(account, found["grants"])
            self.progress.credit = credit
            await asyncio.sleep(_LOOK_S)

    async def _take_figures(self) -> None:
        figures = await self._figures()

        def since(name: str) -> int:
            return int(figures.get(name, 0) - self._figures_before.get(name, 0))

        progress = self.progress
        if self._site is not None:
            with suppress(Unavailable):  # it is being started again
                progress.waiting = (await self._site.agent.status())["spooled"]
        for outcome in ("accepted", "duplicate", "rejected"):
            progress.outcomes[outcome] = since(f"meter_events_total/{outcome}")
        progress.delivered = since("meter_deliveries_total/delivered")
        progress.pending = int(figures.get("meter_outbox_pending", 0))

    async def _figures(self) -> dict[str, float]:
        """Return the gateway's metrics, summed over every label but the outcome."""
        async with self._http.get("/metrics") as answer:
            answer.raise_for_status()
            text = await answer.text()
        sums: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                outcome = sample.labels.get("outcome")
                sums[f"{sample.name}/{outcome}" if outcome else sample.name] += sample.value
        return sums

    async def _get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        async with self._http.get(path, params=query, timeout=aiohttp.ClientTimeout(total=_ANSWER_S_MAX)) as answer:
            if not answer.ok:
                message = f"{path} is answered {answer.status}: {(await answer.text())[:300]}"
                raise Unavailable(message, code="demo_failed")
            found: dict[str, Any] = await answer.json()
            return found

    async def _settled(self, unfinished: Callable[[], Awaitable[str | None]]) -> None:
        """Wait until what was sent is stored, rated, seen by the reader of charges and delivered."""
        progress, deadline_s = self.progress, monotonic_s() + _SETTLE_S_MAX
        seen = -1
        while True:
            left = await unfinished()
            await self._take_figures()
            is_over = left is None and progress.pending == 0
            if is_over and seen == progress.lines:
                return
            seen = progress.lines if is_over else -1
            if monotonic_s() > deadline_s:
                message = (
                    f"{_SETTLE_S_MAX:g} s after the last of {progress.sent.total()} events {left or 'all are rated'}, "
                    f"{progress.pending} deliveries pending; look at the log"
                )
                raise Unavailable(message, code="demo_failed")
            await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _meanwhile(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless `works` for as long as the block runs; what one of them raises ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()
