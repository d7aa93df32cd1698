"""Answers that no interface has: whatever JSON comes, nothing counts as delivered, and nothing ends in a traceback."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from itertools import cycle
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from meter.export.contract import Absent, Barred, Reconcilable, Refused, Retry, Uncertain, Untried
from meter.export.http import Answer, Channel
from meter.export.oauth import TokenKeeper
from meter.export.targets.spec import Means
from meter.model.errors import MeterError
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.targets.case import TargetCase
from tests.targets.fakes.base import Fake
from tests.targets.fault_run import cases

# Those that ask and are answered in JSON; a webhook's receiver says nothing but a status.
CASES: Final = {name: case for name, case in cases().items() if case.kind not in {"ledger", "files", "webhook"}}
# Words of the interfaces, so that what is drawn gets past the first look.
WORDS: Final = (
    *(
        "id",
        "Id",
        "_id",
        "data",
        "has_more",
        "metadata",
        "status",
        "amount",
        "total",
        "currency",
        "invoice",
        "tax_rates",
    ),
    *(
        "QueryResponse",
        "JournalEntry",
        "Invoice",
        "CreditMemo",
        "Line",
        "TotalAmt",
        "PrivateNote",
        "CurrencyRef",
        "Class",
    ),
    *("ManualJournals", "Invoices", "CreditNotes", "Organisations", "BaseCurrency", "TrackingCategories", "Options"),
    *("Reference", "Narration", "JournalLines", "LineItems", "SubTotal", "ValidationErrors", "Elements", "Message"),
    *("orders", "order", "invoices", "refunds", "total_money", "line_items", "cursor", "location", "errors", "version"),
    *("Records", "HasNextPage", "WasSuccessful", "Value", "Errors", "results", "cursorNext", "price", "quantity"),
    *("Fault", "Error", "code", "error", "identifier", "expires_at", "authentication_token", "warnings"),
)
MARK: Final = "[meter:" + "a" * 32 + "]"
# What no id can be.
NOBODY: Final = st.one_of(st.none(), st.booleans(), st.just(""), st.just(0.5))
ANYTHING: Final = st.one_of(
    NOBODY,
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["x", "NaN", "1e999999", "-1", MARK, "OPEN", "draft", "2026-11-02", "[meter:]"]),
    st.text(max_size=5),
)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON of any shape, with names that mean something to a vendor."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
        max_leaves=12,
    )


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places_in(one, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], tuple(rest), by)
    return copy


@asynccontextmanager
async def asked(
    patch: pytest.MonkeyPatch, case: TargetCase, url: str, answer: Callable[..., Any] | None
) -> AsyncIterator[Any]:
    """The target, whose every question gets the answer; tokens are there without asking."""

    async def token(_keeper: TokenKeeper) -> str:
        return "access-0"

    async def renewed(_keeper: TokenKeeper, _refused: str) -> str:
        return "access-0"

    patch.setattr(TokenKeeper, "token", token)
    patch.setattr(TokenKeeper, "renewed", renewed)
    if answer is not None:
        patch.setattr(Channel, "request", answer)
    target = case.open(case.setup(url), Means(database=cast("Database", None), telemetry=Telemetry()))
    try:
        yield target
    finally:
        await target.close()


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_is_delivered_by_an_answer_that_names_nothing(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    statuses = st.sampled_from([200, 200, 200, 201, 400, 401, 403, 404, 409, 500])
    bodies = trees(NOBODY).map(encoded) | st.sampled_from([b"", b"<html>", b"\xff", b'{"a":'])
    answers = cycle(data.draw(st.lists(st.tuples(statuses, bodies), min_size=1, max_size=6)))

    async def answer(_channel: Channel, *_: Any, **__: Any) -> Answer:
        status, body = next(answers)
        return Answer(status=status, headers={}, body=body)

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with asked(patch, case, "http://vendor.example", answer) as target:
                items = case.items(3, 7)
                for outcome in await target.send(items):
                    assert isinstance(outcome, Refused | Retry | Barred | Uncertain | Untried)
                for finding in await target.look_up(items):
                    assert isinstance(finding, Absent | Barred | Uncertain | Untried)

    with capture_logs():
        asyncio.run(run())


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_cannot_be_read_when_reconciling_is_said(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    answers = cycle(data.draw(st.lists(trees(ANYTHING).map(encoded), min_size=1, max_size=6)))

    async def answer(_channel: Channel, *_: Any, **__: Any) -> Answer:
        return Answer(status=200, headers={}, body=next(answers))

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with asked(patch, case, "http://vendor.example", answer) as target:
                await listed(target)

    asyncio.run(run())


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_field_of_another_type_is_said(name: str, data: st.DataObject) -> None:
    """What the vendor really holds of ours, with one place of one answer made into something else."""
    case = CASES[name]
    ask = Channel.request
    dice = random.Random(data.draw(st.integers(0, 2**32)))  # noqa: S311  a test is repeated by its seed
    others = data.draw(st.lists(trees(ANYTHING), min_size=1, max_size=6))

    async def alter(channel: Channel, *given: Any, **named: Any) -> Answer:
        true = await ask(channel, *given, **named)
        content = json.loads(true.body) if true.body else None
        altered = replaced(content, dice.choice(list(places_in(content))), dice.choice(others))
        return Answer(status=true.status, headers=true.headers, body=encoded(altered))

    async def run() -> None:
        fake = case.fake()
        assert isinstance(fake, Fake)
        async with fake:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(fake), "admit", lambda *_: None)
                items = case.items(4, 7)
                async with asked(patch, case, fake.url, None) as target:
                    await target.send(items)
                async with asked(patch, case, fake.url, alter) as target:
                    with capture_logs():
                        await target.look_up(items)
                    await listed(target)

    asyncio.run(run())


async def listed(target: Any) -> None:
    """Read what the target says that it holds; a fault of it has words."""
    if not isinstance(target, Reconcilable):
        return
    held = []
    with suppress(MeterError):
        held = [one async for one in target.holdings(date(2026, 10, 1), date(2026, 12, 1))]
    for one in held:
        assert one.remote_id
        assert one.figures.net.is_finite()
        assert one.figures.tax.is_finite()


def test_the_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = {"Id": "7", "PrivateNote": MARK, "TxnDate": "2026-11-02", "Line": {"DetailType": "none"}}

    async def answer(_channel: Channel, *_: Any, **__: Any) -> Answer:
        return Answer(status=200, headers={}, body=encoded({"QueryResponse": {"JournalEntry": [journal]}}))

    async def run() -> None:
        async with asked(monkeypatch, CASES["quickbooks"], "http://vendor.example", answer) as target:
            with pytest.raises(MeterError, match="Line is an object, not a list of objects"):
                _ = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]

    asyncio.run(run())
