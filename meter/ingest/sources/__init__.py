"""Vendors' webhooks: one module for each, listed here. How to write one: the package's README.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from meter.config import WebhookSettings
from meter.ingest.sources import square
from meter.model.wire import Parsed


class Read(Protocol):
    """Turns a webhook's verified body into events."""

    def __call__(self, body: bytes, *, site: str, source: str) -> Sequence[Parsed]:
        """Return the events; none where the webhook is about something that is not usage. Raises BadInput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How one vendor's webhooks are checked and read. All three are pure."""

    configured: Callable[[WebhookSettings], bool]
    verify: Callable[[WebhookSettings, Mapping[str, str], bytes], bool]
    read: Read


VENDORS: Final[Mapping[str, Vendor]] = {
    "square": Vendor(configured=square.configured, verify=square.verify, read=square.read),
}
