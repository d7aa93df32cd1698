"""Sending items one request at a time: streams side by side, each in its order, within a call's time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Final, TypeVar

from meter.clock import monotonic_s
from meter.export.breaker import FAILURES_MAX, failed
from meter.export.contract import Barred, Delivered, Finding, Limits, Outcome, Retry, Uncertain, Untried
from meter.export.http import Ends, Fault, outcome_of_error, overtaken
from meter.log import log
from meter.model.errors import MeterError
from meter.store.outbox import OutboxItem

# Nothing begins later than this, and nothing goes on longer than that: both below what the lane allows a call, so that
# what is known of the other items is not lost with one that hangs.
START_WITHIN_S: Final = 60.0
END_WITHIN_S: Final = 110.0

# Tells whether the gateway is stopping: what is under way is finished, and nothing more begins.
stopping: ContextVar[Callable[[], bool]] = ContextVar("stopping", default=lambda: False)

Answer = TypeVar("Answer", Outcome, Finding)


async def one_by_one(
    items: Sequence[OutboxItem], send_one: Callable[[OutboxItem], Awaitable[Outcome]], limits: Limits
) -> list[Outcome]:
    """Return the outcome of each item, in order; `send_one` may raise a Fault or Ends, which become one.

    Streams run side by side, up to `limits.in_flight`. A stream stops at its first item that is not delivered, all of
    them where failures on end say that the target is down, where it asks for time or lets us in no more, or where our
    time is up: what is left is Untried.
    """
    streams: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        streams.setdefault(item.stream, []).append(place)

    async def one(item: OutboxItem) -> Outcome:
        try:
            return await send_one(item)
        except Ends as end:
            return end.outcome
        except Fault as error:
            return outcome_of_error(error)

    return await _run(items, list(streams.values()), one, limits)


async def ask_each(
    items: Sequence[OutboxItem], look_up_one: Callable[[OutboxItem], Awaitable[Finding]], limits: Limits
) -> list[Finding]:
    """Return the finding of each item, in order; `look_up_one` may raise a Fault or Ends: nothing is known yet."""

    async def one(item: OutboxItem) -> Finding:
        try:
            return await look_up_one(item)
        except (Ends, Fault) as error:
            outcome = error.outcome if isinstance(error, Ends) else outcome_of_error(error)
            if isinstance(outcome, Barred):
                return outcome
            return Untried() if isinstance(outcome, Retry) and outcome.throttled else Uncertain(str(error))

    return await _run(items, [[place] for place in range(len(items))], one, limits)


class _Call:
    """When a call begins nothing more."""

    def __init__(self) -> None:
        self._last_start_s = monotonic_s() + START_WITHIN_S
        self._failures = 0

    def over(self) -> bool:
        """Return whether what is left stays untried."""
        if self._failures >= FAILURES_MAX or monotonic_s() > self._last_start_s:
            return True
        return overtaken.get()() or stopping.get()()

    def heard(self, answer: Outcome | Finding) -> None:
        """Learn from an answer, whichever item it is about."""
        if isinstance(answer, Untried | Barred) or (isinstance(answer, Retry) and answer.throttled):
            self._failures = FAILURES_MAX  # one is a reason to stop
        elif self._failures < FAILURES_MAX:
            self._failures = self._failures + 1 if failed(answer) else 0


async def _run(
    items: Sequence[OutboxItem],
    streams: Sequence[Sequence[int]],
    one: Callable[[OutboxItem], Awaitable[Answer]],
    limits: Limits,
) -> list[Answer | Uncertain | Untried]:
    answers: list[Answer | Uncertain | Untried] = [Untried()] * len(items)
    waiting = iter(streams)
    call = _Call()

    async def work() -> None:
        for stream in waiting:  # shared by all: each takes the next
            for place in stream:
                if call.over():
                    return
                answers[place] = Uncertain("the time of the call was up")  # what stays if it is
                answers[place] = answer = await _answer(one, items[place])
                call.heard(answer)
                if not isinstance(answer, Delivered):
                    break

    try:
        async with asyncio.timeout(END_WITHIN_S), asyncio.TaskGroup() as group:
            for _ in range(min(limits.in_flight, len(streams))):
                group.create_task(work())
    except TimeoutError:
        log.warning("delivery_call_cut_off", items=len(items))
    return answers


async def _answer(one: Callable[[OutboxItem], Awaitable[Answer]], item: OutboxItem) -> Answer | Uncertain:
    """Return the answer to one item; where the target's own code fails, nothing is certain."""
    try:
        return await one(item)
    except Exception as error:  # noqa: BLE001 -- one item's fault must not take what is known of the others along
        log.error("delivery_failed", target=item.target, exc_info=error)
        return Uncertain(error.detail if isinstance(error, MeterError) else f"{type(error).__name__}: {error}")
