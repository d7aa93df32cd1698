"""Every charge explained from stored facts alone: to a member as text, to a program as JSON (rating.md, section 10).

    events ──resolution──▶ account ──measured──▶ quantity ──credit──▶ ──priced──▶ amount ──booked──▶ cents
                         what fell due without an event ──due──────▶│
                         what gives back a sale ────────refunded───▶│

Each room has records of one step on that way, as JSON and as lines of text; `explanation` puts them together.
"""

from meter.rating.explain.explanation import Explanation, explain
from meter.rating.explain.resolution import Resolution, resolution_of
from meter.rating.explain.short import short_text

__all__ = ["Explanation", "Resolution", "explain", "resolution_of", "short_text"]
