"""Booking systems that bill their members themselves: what was used goes to them as charges (docs/targets/spaces.md).

    line (frozen) ─▶ checked: currency, sign, customer ─▶ post ──id──▶ delivered
                         │ refused, with what to set          │ lost, 5xx, no id
                         ▼                                    ▼
                       dead                uncertain ─▶ the vendor's lists ─▶ found: delivered
                                                                          └─▶ not there: posted again

None of them knows an idempotency key. So each charge has its batch's name in a text that the vendor's lists show, and
nothing is sent twice without having been looked for between.
"""

from __future__ import annotations

from meter.export.targets.spaces.cobot import COBOT
from meter.export.targets.spaces.nexudus import NEXUDUS
from meter.export.targets.spaces.officernd import OFFICERND

__all__ = ["COBOT", "NEXUDUS", "OFFICERND"]
