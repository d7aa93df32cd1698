"""Nexudus: charges of coworkers, or products sold to them.

Facts are from developers.nexudus.com, learn.nexudus.com and help.nexudus.com, 2026-11: charges and coworkerproducts,
searching (pages, `from_` and `to_`), authentication (a user's name and password for a token of a week), limits (60
changes a minute; 409 with Retry-After where others say 429), tax settings. A refusal may have status 200.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, Literal

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Held, Limits, Outcome, Refused, Retry
from meter.export.gather.invoicing import Codes
from meter.export.gather.names import either
from meter.export.http import REASON_CHARS_MAX, TIMEOUT_S, Answer, retry_after_s
from meter.export.oauth import Endpoint, keeper_of
from meter.export.payload import InvoiceLine, LineItem
from meter.export.targets.gaps import Needs
from meter.export.targets.options import UNTAXED, names
from meter.export.targets.reading import number_of, text_of, word_of
from meter.export.targets.spaces.charges import (
    Json,
    Listing,
    Post,
    Vendor,
    content_of,
    exact,
    holding,
    instant,
    is_ours,
    objects,
    said,
    told,
)
from meter.export.targets.spaces.settings import GRAINS, Rules, faults_in, lines, rules_of, settings
from meter.export.targets.spaces.target import SpacesTarget, target_of
from meter.export.targets.spec import Kind, Means, Setup
from meter.model.errors import BadInput
from meter.model.money import ONE
from meter.sources.spec import Option

Entity = Literal["charges", "coworkerproducts"]
BASE: Final = "https://spaces.nexudus.com"
TOKENS_PATH: Final = "/api/token"
REMEDY: Final = "client_id and client_secret are a user's e-mail address and password"
# Four fifths of 60 changes a minute; one at a time, for two within a tenth of a second are one too many.
LIMITS: Final = Limits(items_max=40, in_flight=1, rate_per_s=0.8, burst=1, settles_s=30.0)
PAGE_RECORDS: Final = 200
_PREFIXES: Final[Mapping[Entity, str]] = {"charges": "Charge", "coworkerproducts": "CoworkerProduct"}
_ACCESS: Final = (
    "check client_id and client_secret (a user without two-factor authentication) and that the user has API access and "
    "the roles to create and list what is sent"
)
_REMEDIES: Final[Mapping[int, str]] = {}
# What a body may say beside `WasSuccessful: false` of a fault that passes.
_PASSING: Final = frozenset({408, 409, 425, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nexudus(Vendor):
    """The charges of an account. `businesses` are its ids of our sites, `untaxed` the tax rate of what has no tax.

    `financial_accounts` are its ids by meter. `whole_team`: a product is billed to whoever pays for the team.
    """

    rules: Rules
    entity: Entity = "charges"
    businesses: Mapping[str, str] = field(default_factory=dict)
    financial_accounts: Mapping[str, str] = field(default_factory=dict)
    taxes_named: bool = False
    untaxed: str | None = None
    whole_team: bool = True
    name: str = "Nexudus"
    remedies: Mapping[int, str] = field(default_factory=lambda: _REMEDIES)
    access: str = _ACCESS

    def post(self, item: LineItem, batch: str) -> Post:
        """Return what creates the charge. Raises BadInput where something of it is not named."""
        line = item.line
        business = either(self.businesses, line.site)
        if business is None:
            message = f"no business for the site {line.site!r}; name it (or '*') in options.businesses"
            raise BadInput(f"{message}, then retry the delivery", code="no_business")
        body: dict[str, Any] = {
            "CoworkerId": _number(item.customer, f"the customer of {item.account}"),
            "BusinessId": _number(business, "options.businesses"),
            "Quantity": 1,
            "DiscountAmount": 0,
            "CreditAmount": 0,
            "SaleDate": instant(line.last),
        }
        body |= self._charge(line, batch) if self.entity == "charges" else self._product(line, batch)
        return Post(path=f"/api/billing/{self.entity}", body=body)

    def _charge(self, line: InvoiceLine, batch: str) -> Json:
        body: dict[str, Any] = {
            "TotalAmount": exact(self.amount(line)),
            "Description": told(line, batch),
            "InvoiceLineDisplayAs": said(line),
            "RegularCharge": False,
        }
        code = self.untaxed if line.tax is None else line.tax.code
        if code is not None:
            body["TaxRateId"] = _number(code, "options.tax_codes")
        elif self.taxes_named:
            message = "a line without tax, to which Nexudus adds its default rate; name one of 0 % as 'none'"
            raise BadInput(f"{message} in options.tax_codes, then retry the delivery", code="no_tax_rate")
        account = either(self.financial_accounts, line.meter)
        if account is not None:
            body["FinancialAccountId"] = _number(account, "options.financial_accounts")
        return body

    def _product(self, line: InvoiceLine, batch: str) -> Json:
        return {
            "ProductId": _number(line.item or "", "options.items"),
            "Price": exact(self.amount(line)),
            "Notes": told(line, batch),
            "RegularCharge": False,
            "RepeatCycle": 1,  # has to be said of what does not repeat as well
            "ApplyProRating": False,
            "InvoiceThisCoworker": not self.whole_team,
        }

    def id_of(self, content: Any) -> str | None:
        """Return the record's id, where the answer says that it was made."""
        if not isinstance(content, dict) or content.get("WasSuccessful") is not True:
            return None
        value = content.get("Value")
        return word_of(value, "Id") if isinstance(value, dict) and value.get("Id") is not None else None

    def outcome(self, answer: Answer) -> Outcome:
        """Return what an answer makes of an item: 409 is too often here, and 200 may be a refusal."""
        content = content_of(answer)
        said_so = isinstance(content, dict) and content.get("WasSuccessful") is False
        if answer.status == 409:
            reason = "Nexudus was asked too often"
            return Retry(reason, after_s=retry_after_s(answer.headers), throttled=True)
        if said_so and answer.status < 500 and answer.status != 401:  # of a record, 403 says that it is another's
            reason = f"Nexudus refuses: {_reason(content)}"
            if content.get("Status") in tuple(_PASSING):
                return Retry(reason, after_s=retry_after_s(answer.headers))
            return Refused(f"{reason}; mend it there or in the settings, then retry the delivery")
        return Vendor.outcome(self, answer)  # a dataclass with slots has no super() without arguments

    def places(self, item: LineItem) -> Sequence[Listing]:
        """Return what was sold around the day, to whomever: it may have gone on to who pays for the team."""
        day = item.line.last.date()
        return (self.span(day - timedelta(days=1), day + timedelta(days=2)),)

    def span(self, since: date, until: date) -> Listing:
        """Return what was sold on these days of UTC."""
        sold = f"{_PREFIXES[self.entity]}_SaleDate"
        query = {
            f"from_{sold}": f"{since}T00:00:00Z",
            f"to_{sold}": f"{until}T00:00:00Z",
            "orderBy": "CreatedOn",
            "size": str(PAGE_RECORDS),
        }
        return Listing(path=f"/api/billing/{self.entity}", query=query)

    def records(self, content: Any) -> Sequence[Json] | None:
        """Return the records of a page."""
        return objects(content.get("Records")) if isinstance(content, dict) else None

    def following(self, content: Any, asked: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the next page's number."""
        return {"page": str(int(asked.get("page", "1")) + 1)} if content.get("HasNextPage") else None

    def held(self, record: Json) -> Held | None:
        """Return a record of ours."""
        charge = self.entity == "charges"
        text = record.get("Description" if charge else "Notes")
        if not is_ours(text):
            return None
        each = number_of(record, "Quantity", ONE)
        amount = number_of(record, "TotalAmount") if charge else number_of(record, "Price") * each
        currency = text_of(record, "BusinessCurrencyCode" if charge else "ProductCurrencyCode")
        return holding(
            texts=[text],
            remote_id=word_of(record, "Id"),
            amount=amount,
            currency=currency or self.rules.currency,
        )


def _number(text: str, what: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise BadInput(f"{what}: {text[:40]!r} is no id of Nexudus; it has digits only", code="bad_id")


def _reason(content: Json) -> str:
    """Return what is wrong in Nexudus' words: of each field, not the values that it got."""
    errors = objects(content.get("Errors")) or ()
    said_of = [f"{one.get('PropertyName')}: {one.get('Message')}" for one in errors]
    return (", ".join(said_of) or str(content.get("Message") or "it does not say why"))[:REASON_CHARS_MAX]


def open_target(
    setup: Setup, means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> SpacesTarget:
    """Return the target. It connects when it is first asked for something."""
    base_url = setup.base_url or BASE
    endpoint = Endpoint(url=base_url.rstrip("/") + TOKENS_PATH, remedy=REMEDY, grant="password")
    taxes = names(setup, "tax_codes")
    vendor = Nexudus(
        rules=rules_of(setup),
        entity="coworkerproducts" if setup.options["entity"] == "products" else "charges",
        businesses=names(setup, "businesses"),
        financial_accounts=names(setup, "financial_accounts"),
        taxes_named=bool(taxes),
        untaxed=taxes.get(UNTAXED),
        whole_team=bool(setup.options["whole_team"]),
    )
    keeper = keeper_of(setup, means, endpoint, clock=clock)
    return target_of(
        vendor,
        base_url,
        limits=limits,
        timeout_s=timeout_s,
        clock=clock,
        keeper=keeper,
        secrets=setup.known_secrets,
        guard=setup.guard,
    )


def codes_of(setup: Setup) -> Codes:
    """Return the names that lines get: charges their taxes', products their own."""
    if setup.options["entity"] == "products":
        return Codes(items=names(setup, "items"))
    return Codes(taxes=names(setup, "tax_codes") or None)


def needs_names(setup: Setup) -> Needs:
    """Return that each site needs a business; products need one for each meter, charges rates where there are any."""
    codes = codes_of(setup)
    meters = None if codes.items is None else ("items", codes.items)
    sites = ("businesses", names(setup, "businesses"))
    return Needs(taxes=codes.taxes, meters=meters, sites=sites, currency=str(setup.options["currency"]))


def faults_of(setup: Setup) -> list[str]:
    """Return what is wrong with the settings."""
    given = ("items", "businesses", "tax_codes", "financial_accounts")
    faults = faults_in(setup, *given)
    if not faults:
        wrong = {name: [id for id in names(setup, name).values() if not id.isdigit()] for name in given}
        faults += [f"options.{name}: {ids[0]!r} is no id; it has digits only" for name, ids in wrong.items() if ids]
    if not setup.options["businesses"]:
        faults.append("options.businesses: is empty; name the business (location) of each site, or one for '*'")
    if setup.options["entity"] == "products" and not setup.options["items"]:
        faults.append("options.items: is empty; name a product for each meter, or one for '*'")
    return faults


NEXUDUS: Final = Kind(
    title="Nexudus",
    facts="developers.nexudus.com and help.nexudus.com, November 2026",
    about="Charges of coworkers or products sold to them, which Nexudus bills: [spaces.md](targets/spaces.md).",
    shape=lambda setup: lines(setup, codes_of(setup)),
    open=open_target,
    modes=("invoices",),
    grains=GRAINS,
    needs=frozenset({"client_id", "client_secret"}),
    options={
        "businesses": Option(default={}, about="The business's (location's) id for each site; `*` for all others."),
        "entity": Option(
            default="charges",
            about="What is created: charges, each with its tax rate, or sales of products, which have theirs.",
            choices=("charges", "products"),
        ),
        "tax_codes": Option(
            default={},
            about="The tax rate's id for each tax of the catalog, for charges; `none` for lines without tax. Empty: "
            "none is named, and Nexudus' default applies.",
        ),
        "financial_accounts": Option(
            default={}, about="The financial account's id for each meter, for charges; `*` for all others."
        ),
        "items": Option(default={}, about="The product's id for each meter, for products; `*` for all others."),
        "whole_team": Option(default=True, about="Whether products are billed to who pays for the coworker's team."),
        **settings(below_zero="refuse", gross=True),
    },
    customer="nexudus",
    invoices=lambda _setup: True,
    needs_names=needs_names,
    faults=faults_of,
)
