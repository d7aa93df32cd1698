"""Events whose time is doubtful: why the time that counts may not be when it happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meter.model.event import Json

# The CloudEvents extension in which sources say why an event's time is not simply the device's (decision 0011).
TIME_FLAG: Final = "timeflag"
# What the gateway says of an event that waits for the clock to reach its time.
FUTURE: Final = "future_time"
# Whatever else a sender says, as a metric's label.
OTHER: Final = "other"
REASONS: Final[Mapping[str, str]] = {
    "unset_clock": "the device's clock was not set",
    "no_zone": "the device's time names no zone",
    "ambiguous": "the clocks at the site show the device's local time twice that day, or never",
    "fallback": "the device gave no time for this, another one stands in",
    FUTURE: "it is ahead of the clock, and held until then",
}
# Sources' words have less than 20; the flag of a sender of its own is cut to what a list can show.
FLAG_CHARS_MAX: Final = 64


def time_flag(attributes: Mapping[str, Json] | None) -> str | None:
    """Return what an event's attributes say against its time; None: nothing."""
    flag = (attributes or {}).get(TIME_FLAG)
    return None if flag is None else str(flag)[:FLAG_CHARS_MAX]


def reason_of(flag: str) -> str:
    """Return what is doubtful about the time, in words."""
    return REASONS.get(flag) or f"its sender says {flag!r}"


def doubt_text(flag: str | None, *, timed: bool) -> str:
    """Return what there is to say about an event's time in a few words, "" for nothing; `timed`: it came with one."""
    if flag is None:
        return "" if timed else "time by receipt: it came without one"
    return f"{'doubtful time' if timed else 'time by receipt'}: {reason_of(flag)}"
