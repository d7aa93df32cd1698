"""Asking once, and how long to wait before asking again."""

from __future__ import annotations

import asyncio
from typing import Final

from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.sources.spec import Answer, Request, Setup
from meter.transport.asking.transport import Declined, Transport, TryLater

# From a moment to an hour; what a person has to mend is asked for every ten minutes at first.
BACKOFF_FIRST_S: Final = 2.0
BACKOFF_MAX_S: Final = 3600.0
DECLINED_FIRST_S: Final = 600.0
# Pauses are spread by so much; none is longer, unless the vendor wants it.
SPREAD: Final = (0.75, 1.25)
PAUSE_S_MAX: Final = BACKOFF_MAX_S * SPREAD[1]
# A source of which nobody answers for so many doublings stays at the longest pause.
_DOUBLINGS_MAX: Final = 12
# Longer than any transport's own limit.
_ASK_TIMEOUT_S: Final = 60.0


async def asked(transport: Transport, setup: Setup, request: Request) -> Answer:
    """Return the answer. Raises BadInput and Unavailable only: what fails is due later, behind the others."""
    try:
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            return await transport.ask(setup, request)
    except TimeoutError as error:
        message = f"{setup.vendor} did not answer within {_ASK_TIMEOUT_S:g} s"
        raise Unavailable(message, code="vendor_unavailable") from error
    except (BadInput, Unavailable):
        raise
    except Exception as error:
        log.exception("asking_failed", vendor=setup.vendor, source=setup.name)
        message = f"asking {setup.vendor} failed ({type(error).__name__}); the log has more: report it"
        raise Declined(message) from error


def wanted_s(error: BadInput | Unavailable) -> float:
    """Return for how many seconds the vendor wants to be left alone; 0: it did not say."""
    return (error.after_s or 0.0) if isinstance(error, TryLater) else 0.0


def pause_s(error: BadInput | Unavailable, attempts: int, *, spread: float) -> float:
    """Return the seconds until the next attempt: doubled pauses times `spread`, never less than the vendor wants."""
    first_s = DECLINED_FIRST_S if isinstance(error, BadInput) else BACKOFF_FIRST_S
    doubled_s: float = min(BACKOFF_MAX_S, first_s * 2 ** min(attempts, _DOUBLINGS_MAX))
    return max(doubled_s * spread, wanted_s(error))
