"""How often a key may call, and how often an address may call with keys that nobody knows (decision 0019)."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import Final

from meter.clock import Ticks, monotonic_s
from meter.model.errors import BadInput

# Far above what a site needs, for addresses behind one proxy are one address. Each such call costs a query.
UNKNOWN_PER_S: Final = 20.0
# Two seconds' worth comes together when a site is back; beyond it the rate holds.
BURST_S: Final = 2.0
CALLERS_MAX: Final = 4096
# An IPv6 customer has a /64 at least.
_V6_PREFIX: Final = 64


class TooFast(BadInput):
    """A caller has to wait `retry_after_s` seconds."""

    default_code = "too_fast"

    def __init__(self, detail: str, *, wait_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = math.ceil(wait_s)


class Rates:
    """Token buckets by caller, filled at `rate_per_s` up to `BURST_S` of it; who is silent for long is forgotten."""

    def __init__(self, rate_per_s: float, *, clock: Ticks = monotonic_s, callers_max: int = CALLERS_MAX) -> None:
        """Start with every bucket full."""
        self._rate = rate_per_s
        self._burst = max(1.0, rate_per_s * BURST_S)
        self._clock = clock
        self._callers_max = callers_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a token of `caller` and return 0.0, or take none and return how many seconds until there is one."""
        moment_s = self._clock()
        tokens, seen_s = self._buckets.pop(caller, (self._burst, moment_s))
        tokens = min(self._burst, tokens + (moment_s - seen_s) * self._rate)
        wait_s = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate
        self._buckets[caller] = (tokens if wait_s else tokens - 1.0, moment_s)
        if len(self._buckets) > self._callers_max:
            self._buckets.popitem(last=False)
        return wait_s


def network_of(address: str | None) -> str:
    """Return the address, of IPv6 the network, that failed calls are counted by; '' where there is none."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed, _V6_PREFIX), strict=False))
    return str(found)
