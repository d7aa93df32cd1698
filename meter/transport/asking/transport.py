"""What every way of asking a vendor answers, and how it fails."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from meter.model.errors import BadInput, Unavailable
from meter.sources.spec import Answer, Request, Setup

# A page of any vendor is far smaller.
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
# For whom a vendor's "retry after" of days was meant, it is asked tomorrow.
_RETRY_AFTER_MAX_S: Final = 86_400.0
_GONE: Final = (404, 410)
_PASSING: Final = (408, 425, 429)


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


def http_host(url: str) -> str:
    """Return the host of a URL. Raises Declined where it cannot be asked over HTTP."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in {"http", "https"} and parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        message = f"{url[:200]!r} is no http or https URL; check api_base in the source's settings"
        raise Declined(message)
    return host


def too_large(who: str, bytes_max: int) -> Declined:
    """Return how an answer failed that is larger than is read."""
    return Declined(f"{who} answered more than {bytes_max} bytes; ask for smaller pages")


def passes(status: int) -> bool:
    """Tell whether a refusal with this status may pass by itself."""
    return status in _PASSING or status >= 500


def judged(setup: Setup, answer: Answer) -> Answer:
    """Return the answer where it is one for the vendor's reader: 2xx, 404, 410.

    Raises TryLater where the vendor is to be asked again, Declined where a setting has to be mended first.
    """
    if 200 <= answer.status < 300 or answer.status in _GONE:
        return answer
    said = answer.body[:200].decode("utf-8", "replace").replace("\n", " ")
    if passes(answer.status):
        message = f"{setup.vendor} answered {answer.status}: {said}"
        raise TryLater(message, after_s=retry_after_s(answer.headers.get("retry-after"), now_=answer.received_at))
    remedy = "check api_key" if answer.status in {401, 403} else "check api_base and the source's options"
    raise Declined(f"{setup.vendor} answered {answer.status}: {said}; {remedy}")


def retry_after_s(value: str | None, *, now_: datetime) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3: seconds or a date) asks for; None: nothing."""
    if value is None:
        return None
    if value.strip().isdecimal() and value.isascii():
        return min(float(value), _RETRY_AFTER_MAX_S)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year that no clock shows
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now_).total_seconds()), _RETRY_AFTER_MAX_S)
