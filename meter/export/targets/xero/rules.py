"""What of a target's settings decides about requests to Xero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meter.export.targets.options import names
from meter.export.targets.spec import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How contents become Xero's documents.

    `status` is how far they are brought: approved, submitted or draft. `sales` gives the account code of each meter's
    revenue, `untaxed` is the tax type of lines without tax. `tracking` is the category whose options are sites ("":
    none). `url` is where our API is found ("": nowhere). `grain` is the target's.
    """

    status: str = "approved"
    sales: Mapping[str, str] = field(default_factory=dict)
    untaxed: str = "NONE"
    tracking: str = "Site"
    terms_days: int = 14
    url: str = ""
    grain: str = "day"


def rules_of(setup: Setup) -> Rules:
    """Return the rules of a target whose options are in order."""
    options: Mapping[str, Any] = setup.options
    return Rules(
        status=options["status"],
        sales=names(setup, "sales"),
        untaxed=options["untaxed"],
        tracking=options["tracking"],
        terms_days=options["terms_days"],
        url=options["url"].rstrip("/"),
        grain=setup.grain or "day",
    )
