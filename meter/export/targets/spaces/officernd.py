"""OfficeRnD Flex: fees (one-off charges) of companies or members.

A fee has no field for a tax: its plan's revenue account decides that. Facts are from developer.officernd.com and
help.officernd.com, 2026-11: fees of API v2, querying data (50 a page, a cursor), authentication (client credentials in
the body, tokens of an hour). Version 2 says company, location and issueDate where version 1 says team, office and date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Held, Limits
from meter.export.gather.invoicing import Codes
from meter.export.gather.names import either
from meter.export.http import TIMEOUT_S
from meter.export.oauth import Endpoint, keeper_of
from meter.export.payload import LineItem
from meter.export.targets.books import mark_of
from meter.export.targets.gaps import Needs
from meter.export.targets.options import names
from meter.export.targets.reading import number_of, text_of, word_of
from meter.export.targets.spaces.charges import (
    Json,
    Listing,
    Post,
    Vendor,
    exact,
    holding,
    instant,
    is_ours,
    objects,
    said,
    told,
)
from meter.export.targets.spaces.settings import GRAINS, Rules, faults_in, lines, needs_items, rules_of, settings
from meter.export.targets.spaces.target import SpacesTarget, target_of
from meter.export.targets.spec import Kind, Means, Setup
from meter.model.errors import BadInput
from meter.model.money import ONE
from meter.rating.calendar import DEPOSIT
from meter.sources.spec import Option

BASE: Final = "https://app.officernd.com"
TOKENS: Final = "https://identity.officernd.com/oauth/token"
TOKENS_PATH: Final = "/oauth/token"
SCOPE: Final = "flex.community.fees.create flex.community.fees.read"
REMEDY: Final = "add an application under Settings, Developer Tools, with the permissions to create and read fees"
# Nobody says what it bears.
LIMITS: Final = Limits(items_max=50, in_flight=2, rate_per_s=1.0, burst=4, settles_s=30.0)
# More is cut to that.
PAGE_FEES: Final = 50
_ACCESS: Final = f"check client_id, client_secret and that the application may {SCOPE.replace(' ', ' and ')}"
_REMEDIES: Final = {
    400: "check the account's id (accounts.*.officernd), options.locations and options.items, then retry the delivery",
    404: "check company (the organisation's slug) and the account's id (accounts.*.officernd), then retry the delivery",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficeRnD(Vendor):
    """The fees of one organisation. `locations` are its ids of our sites, `whose` what a customer is by default.

    `sourced`: the batch's name stands in a fee's source, and its name is the member's alone.
    """

    rules: Rules
    slug: str
    locations: Mapping[str, str] = field(default_factory=dict)
    whose: str = "company"
    sourced: bool = False
    name: str = "OfficeRnD"
    remedies: Mapping[int, str] = field(default_factory=lambda: _REMEDIES)
    access: str = _ACCESS

    def post(self, item: LineItem, batch: str) -> Post:
        """Return what creates the fee. Raises BadInput where its location is not named."""
        line = item.line
        location = either(self.locations, line.site)
        if location is None:
            message = (
                f"{self.name} has no location for the site {line.site!r}; name it (or '*') in options.locations, then "
                "retry the delivery"
            )
            raise BadInput(message, code="no_location")
        whose, customer = self._whose(item)
        body: dict[str, Any] = {
            "name": said(line) if self.sourced else told(line, batch),
            "price": exact(self.amount(line)),
            "quantity": 1,
            # An instant: a day alone would be the one before it west of Greenwich, and the last of a month another's.
            "issueDate": instant(line.last),
            "location": location,
            whose: customer,
        }
        if whose == "member":
            body["isPersonal"] = True  # else it is billed to the member's company
        if line.item is not None:
            body["plan"] = line.item
        if line.meter == DEPOSIT:
            body["refundable"] = True
        if self.sourced:
            body["source"] = mark_of(batch)
        return Post(path=self._path, body=body)

    def customer(self, item: LineItem) -> str:
        """Return the id of the company or member, without the word which it is."""
        return self._whose(item)[1]

    def id_of(self, content: Any) -> str | None:
        """Return the fee's id."""
        return word_of(content, "_id") if isinstance(content, dict) and content.get("_id") is not None else None

    def places(self, item: LineItem) -> Sequence[Listing]:
        """Return the customer's fees around the day, then everybody's."""
        whose, customer = self._whose(item)
        day = item.line.last.date()
        around = self.span(day - timedelta(days=1), day + timedelta(days=2))
        return Listing(path=around.path, query={**around.query, whose: customer}, settles=True), around

    def span(self, since: date, until: date) -> Listing:
        """Return the organisation's fees of these days of UTC."""
        query = {
            "issueDate[$gte]": since.isoformat(),
            "issueDate[$lte]": until.isoformat(),
            "$limit": str(PAGE_FEES),
        }
        return Listing(path=self._path, query=query)

    def records(self, content: Any) -> Sequence[Json] | None:
        """Return the fees of a page."""
        return objects(content.get("results")) if isinstance(content, dict) else None

    def following(self, content: Any, asked: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the cursor that the page gives."""
        del asked
        cursor = text_of(content, "cursorNext")
        return {"$cursorNext": cursor} if cursor else None

    def held(self, record: Json) -> Held | None:
        """Return a fee of ours; one that was waived counts no more."""
        texts = [record.get("name"), record.get("source")]
        if not is_ours(*texts):
            return None
        invoice = record.get("invoice")
        return holding(
            texts=texts,
            remote_id=word_of(record, "_id"),
            amount=number_of(record, "price") * number_of(record, "quantity", ONE),
            currency=self.rules.currency,
            void=isinstance(invoice, dict) and invoice.get("status") == "waived",
        )

    @property
    def _path(self) -> str:
        return f"/api/v2/organizations/{self.slug}/fees"

    def _whose(self, item: LineItem) -> tuple[str, str]:
        whose, _, id = item.customer.rpartition(":")
        return (whose, id) if whose in {"company", "member"} else (self.whose, item.customer)


def open_target(
    setup: Setup, means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> SpacesTarget:
    """Return the target. It connects when it is first asked for something."""
    # Whoever stands in for OfficeRnD stands in for its tokens.
    tokens = TOKENS if setup.base_url is None else setup.base_url.rstrip("/") + TOKENS_PATH
    endpoint = Endpoint(url=tokens, remedy=REMEDY, grant="client_credentials", credentials="body", scope=SCOPE)
    vendor = OfficeRnD(
        rules=rules_of(setup),
        slug=setup.company or "",
        locations=names(setup, "locations"),
        whose=str(setup.options["customers"]),
        sourced=setup.options["reference"] == "source",
    )
    keeper = keeper_of(setup, means, endpoint, clock=clock)
    return target_of(
        vendor,
        setup.base_url or BASE,
        limits=limits,
        timeout_s=timeout_s,
        clock=clock,
        keeper=keeper,
        secrets=setup.known_secrets,
        guard=setup.guard,
    )


def needs_names(setup: Setup) -> Needs:
    """Return that each site needs a location, and each meter a plan where the settings give any."""
    return replace(needs_items(setup), sites=("locations", names(setup, "locations")))


def faults_of(setup: Setup) -> list[str]:
    """Return what is wrong with the settings."""
    faults = faults_in(setup, "items", "locations")
    if not setup.options["locations"]:
        faults.append("options.locations: is empty; name the location of each site, or one for '*'")
    return faults


OFFICERND: Final = Kind(
    title="OfficeRnD Flex",
    facts="developer.officernd.com and help.officernd.com, November 2026",
    about="Fees of companies and members, which OfficeRnD bills: [spaces.md](targets/spaces.md).",
    shape=lambda setup: lines(setup, Codes(items=names(setup, "items") or None)),
    open=open_target,
    modes=("invoices",),
    grains=GRAINS,
    needs=frozenset({"client_id", "client_secret", "company"}),
    options={
        "locations": Option(default={}, about="The location's id for each site; `*` for all others."),
        "items": Option(
            default={},
            about="The one-off plan's id for each meter, which decides revenue account and tax; `*` for all others. "
            "Empty: none.",
        ),
        "customers": Option(
            default="company",
            about="What an account's id is of, where it is not written as `member:...` or `company:...`.",
            choices=("company", "member"),
        ),
        "reference": Option(
            default="name",
            about="Where a fee keeps the name of its delivery: behind its name, or in its source.",
            choices=("name", "source"),
        ),
        **settings(below_zero="refuse", gross=True),
    },
    customer="officernd",
    invoices=lambda _setup: True,
    needs_names=needs_names,
    faults=faults_of,
)
