"""What a booking system says of a member, an account and a membership, as events of any channel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.model.wire import Parsed
from meter.sources.make import draft
from meter.store.drafts import DraftKey
from meter.store.engine import Database
from tests.ingest.bodies import acceptor
from tests.sources.case import setup

COBOT = setup("cobot")
ACCOUNT = DraftKey("account", "cobot-9", "cobot", "main")
MEMBER = DraftKey("member", "cobot-9", "cobot", "main")
SUBSCRIPTION = DraftKey("subscription", "cobot-9", "cobot", "main")
ALL = (ACCOUNT, MEMBER, SUBSCRIPTION)


def at(hour: int) -> datetime:
    return datetime(2026, 3, 2, hour, tzinfo=UTC)


def says(kind: str, body: Mapping[str, Any], *, id: str = "cobot-9", hour: int = 9) -> Parsed:
    return draft(COBOT, kind=kind, id=id, body=body, time=at(hour))


def account(*, hour: int = 9, **body: Any) -> Parsed:
    return says("account", {"name": "Nine GmbH", "cobot": "9", **body}, hour=hour)


def member(*, hour: int = 9, **body: Any) -> Parsed:
    told = {"name": "Nina", "email": "nina@nine.example", "account": "cobot-9", "identities": ["cobot:9"]}
    return says("member", {**told, **body}, hour=hour)


def subscription(*, hour: int = 9, **body: Any) -> Parsed:
    return says("subscription", {"account": "cobot-9", "plan": "flex", "from": "2026-01-01", **body}, hour=hour)


async def tell(database: Database, *news: Parsed, channel: Channel = "fetch") -> list[Receipt]:
    """Let events in by a channel."""
    arrivals = [Arrival(parsed=item, channel=channel, origin="cobot", received_at=at(12)) for item in news]
    return list((await acceptor(database).accept(arrivals)).receipts)
