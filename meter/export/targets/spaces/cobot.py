"""Cobot: one-time charges of memberships.

An amount is without tax, and Cobot adds that by the charge's own rate. Facts are from dev.cobot.me and the help centre,
2026-11: one-time charges (what is not billed yet is `recent`, the space's list is by day and has no pages), credits as
negative amounts, 60 requests a minute and user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Held, Limits
from meter.export.gather.invoicing import Codes
from meter.export.http import TIMEOUT_S
from meter.export.payload import LineItem
from meter.export.targets.options import names
from meter.export.targets.reading import number_of, text_of, word_of
from meter.export.targets.spaces.charges import Json, Listing, Post, Vendor, holding, is_ours, objects, told
from meter.export.targets.spaces.settings import GRAINS, Rules, faults_in, lines, needs_items, rules_of, settings
from meter.export.targets.spaces.target import SpacesTarget, target_of
from meter.export.targets.spec import Kind, Means, Setup
from meter.model.errors import BadInput
from meter.model.money import ONE, plain
from meter.sources.spec import Option

# Four fifths of what one user may ask. A request that was given up after 25 s has 30 s more to come to its end.
LIMITS: Final = Limits(items_max=40, in_flight=2, rate_per_s=0.8, burst=4, settles_s=30.0)
_ACCESS: Final = "check api_key, that it is an administrator's, and its scopes write_charges and read_charges"
_REMEDIES: Final = {
    404: "the membership is not there: check the account's id (accounts.*.cobot) and company, then retry the delivery",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cobot(Vendor):
    """The charges of one space."""

    rules: Rules
    name: str = "Cobot"
    remedies: Mapping[int, str] = field(default_factory=lambda: _REMEDIES)
    access: str = _ACCESS

    def post(self, item: LineItem, batch: str) -> Post:
        """Return what creates the charge. Raises BadInput for a tax without a rate."""
        line = item.line
        if line.tax is not None and line.tax.rate is None:
            message = f"{line.tax.name} has no rate, and Cobot computes a tax by its rate; name it in the catalog"
            raise BadInput(message, code="no_rate")
        body: dict[str, Any] = {
            "description": told(line, batch),
            "amount": plain(self.amount(line)),
            "quantity": "1.0",
            # Without a rate the space's own would be added.
            "tax_rate": "0.0" if line.tax is None or line.tax.rate is None else plain(line.tax.rate.scaleb(2)),
            "charged_at": f"{item.line.day:%Y/%m/%d}",
        }
        if line.item is not None:
            body["accounting_code"] = line.item
        return Post(path=f"/api/memberships/{item.customer}/charges", body=body)

    def id_of(self, content: Any) -> str | None:
        """Return the charge's id."""
        return word_of(content, "id") if isinstance(content, dict) and content.get("id") is not None else None

    def places(self, item: LineItem) -> Sequence[Listing]:
        """Return what of the membership is not billed yet, then the space's charges around the day.

        In this order: what is billed between the two is on the second.
        """
        day = item.line.day
        recent = Listing(path=f"/api/memberships/{item.customer}/charges/recent", optional=True)
        return recent, self.span(day - timedelta(days=1), day + timedelta(days=2))

    def span(self, since: date, until: date) -> Listing:
        """Return the space's charges: both days of Cobot's filter are in."""
        last = until - timedelta(days=1)
        return Listing(path="/api/charges", query={"from": since.isoformat(), "to": last.isoformat()})

    def records(self, content: Any) -> Sequence[Json] | None:
        """Return the charges: the list is the whole answer."""
        return objects(content)

    def held(self, record: Json) -> Held | None:
        """Return a charge of ours."""
        if not is_ours(record.get("description")):
            return None
        amount = number_of(record, "amount") * number_of(record, "quantity", ONE)
        return holding(
            texts=[record.get("description")],
            remote_id=word_of(record, "id"),
            amount=amount,
            currency=text_of(record, "currency") or self.rules.currency,
        )


def open_target(
    setup: Setup, _means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> SpacesTarget:
    """Return the target. It connects when it is first asked for something."""
    return target_of(
        Cobot(rules=rules_of(setup)),
        setup.base_url or f"https://{setup.company}.cobot.me",
        limits=limits,
        timeout_s=timeout_s,
        clock=clock,
        headers={"Authorization": f"Bearer {setup.api_key or ''}"},
        guard=setup.guard,
    )


COBOT: Final = Kind(
    title="Cobot",
    facts="dev.cobot.me and Cobot's help centre, November 2026",
    about="One-time charges of memberships, which Cobot bills: [spaces.md](targets/spaces.md).",
    shape=lambda setup: lines(setup, Codes(items=names(setup, "items") or None)),
    open=open_target,
    modes=("invoices",),
    grains=GRAINS,
    needs=frozenset({"api_key", "company"}),
    options={
        "items": Option(default={}, about="The accounting code for each meter; `*` for all others. Empty: none."),
        **settings(below_zero="send", gross=False),
    },
    customer="cobot",
    invoices=lambda _setup: True,
    needs_names=needs_items,
    faults=lambda setup: faults_in(setup, "items"),
)
