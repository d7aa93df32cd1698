"""What every way of asking a vendor answers, and how it fails."""

from __future__ import annotations

from typing import Protocol

from meter.model.errors import BadInput, Unavailable
from meter.sources.spec import Answer, Request, Setup


class TryLater(Unavailable):
    """The vendor does not answer now (429, 5xx, no connection, too slow): ask again, not before `after_s`."""

    default_code = "vendor_unavailable"

    def __init__(self, detail: str, *, after_s: float | None = None) -> None:
        """`after_s` is what the vendor asked for, None where it asked for nothing."""
        super().__init__(detail)
        self.after_s = after_s


class Declined(BadInput):
    """The vendor will not answer this (401, 403, 400): somebody has to mend a setting first. Asked again, slowly."""

    default_code = "vendor_declined"


class Transport(Protocol):
    """One way of asking. Raises TryLater and Declined; 404 and 410 are answers, for the vendor's reader to judge."""

    async def ask(self, setup: Setup, request: Request) -> Answer:
        """Return the answer."""
