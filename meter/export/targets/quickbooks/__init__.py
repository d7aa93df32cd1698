"""QuickBooks Online: journals of days, or invoices and credit memos (docs/targets/quickbooks.md).

Facts are from Intuit's documents and XSDs of November 2026: entities JournalEntry, Invoice, CreditMemo, Class and
Department; data queries; limits and throttles; error codes; OAuth 2.0.
"""

from __future__ import annotations

from typing import Any, Final, cast

from meter.clock import Ticks, monotonic_s
from meter.export.authorised import Authorised
from meter.export.contract import Limits
from meter.export.gather.days import DayGrain, Days
from meter.export.gather.documents import Documents
from meter.export.gather.invoicing import Codes
from meter.export.gather.shape import Shape
from meter.export.http import Channel
from meter.export.oauth import Endpoint, keeper_of
from meter.export.targets.gaps import Needs
from meter.export.targets.options import TERMS_DAYS, UNTAXED, names, outside, unnamed
from meter.export.targets.quickbooks.exporter import LIMITS, TIMEOUT_S, QuickBooksTarget
from meter.export.targets.quickbooks.rules import references_of, rules_of
from meter.export.targets.spec import Kind, Means, Setup
from meter.sources.spec import Option

PRODUCTION: Final = "https://quickbooks.api.intuit.com"
SANDBOX: Final = "https://sandbox-quickbooks.api.intuit.com"
TOKENS: Final = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
TOKENS_PATH: Final = "/oauth2/v1/tokens/bearer"
REMEDY: Final = (
    "sign in as an administrator of the company at Intuit's OAuth 2.0 playground with this app, and take the refresh "
    "token from there (docs/targets/quickbooks.md)"
)
OPTIONS: Final = {
    "accounts": Option(default={}, about="QuickBooks' account id for each ledger account; `x:*` for all below `x`."),
    "parties": Option(default={}, about="The customer or vendor id that a ledger account is owed by or to."),
    "customer": Option(default="", about="The customer id for receivables of accounts that have none."),
    "tracking": Option(
        default="class", about="What a site's `ledger_class` names.", choices=("class", "department", "none")
    ),
    "create_tracking": Option(default=False, about="Whether a class or department that is not there is created."),
    "items": Option(default={}, about="The item id for each meter; `*` for all others."),
    "tax_codes": Option(default={}, about="The tax code for each tax of the catalog; `none` for lines without tax."),
    "tax_rates": Option(default={}, about="The tax rate's id for each tax of the catalog, outside the US."),
    "us_sales_tax": Option(default=False, about="Whether the company is a US one: codes are TAX and NON."),
    "terms_days": Option(default=0, about="Days until an invoice is due; 0: by the customer's terms in QuickBooks."),
    "home_currency": Option(default="", about="The company's currency, where it keeps no others: it is not sent then."),
    "sandbox": Option(default=False, about="Whether the company is one of Intuit's sandbox."),
}
_NAMES: Final = ("accounts", "parties", "items", "tax_codes", "tax_rates")


def needs_names(setup: Setup) -> Needs:
    """Return which names of ours the settings must give QuickBooks' ids for, by the mode."""
    tracked = setup.options["tracking"] != "none"
    if setup.mode != "invoices":
        return Needs(tracked=tracked)
    return Needs(taxes=names(setup, "tax_codes"), meters=("items", names(setup, "items")), tracked=tracked)


def shape_of(setup: Setup) -> Shape:
    """Return what the target makes of what was booked, by its mode."""
    if setup.mode == "invoices":
        return Documents(
            target=setup.name,
            customers=setup.customers,
            grain=setup.grain or "day",
            codes=Codes(taxes=names(setup, "tax_codes"), items=names(setup, "items")),
        )
    return Days(
        target=setup.name,
        grain=cast("DayGrain", setup.grain or "day"),
        codes=names(setup, "accounts"),
        keys=setup.customers.keys,
        parties=names(setup, "parties"),
    )


def open_target(
    setup: Setup, means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> QuickBooksTarget:
    """Return the target. It connects when it is first asked for something."""
    base_url = setup.base_url or (SANDBOX if setup.options["sandbox"] else PRODUCTION)
    # Whoever stands in for QuickBooks stands in for its tokens.
    tokens = TOKENS if setup.base_url is None else setup.base_url.rstrip("/") + TOKENS_PATH
    keeper = keeper_of(setup, means, Endpoint(url=tokens, remedy=REMEDY), clock=clock)
    return QuickBooksTarget(
        Authorised(
            Channel(base_url, limits, secrets=setup.known_secrets, timeout_s=timeout_s, clock=clock, guard=setup.guard),
            keeper,
        ),
        realm=setup.company or "",
        rules=rules_of(setup),
        create_tracking=bool(setup.options["create_tracking"]),
        limits=limits,
        references=references_of(setup),
    )


def faults_of(setup: Setup) -> list[str]:
    """Return what is wrong with the settings."""
    options: dict[str, Any] = dict(setup.options)
    faults = unnamed(setup, *_NAMES) + outside(setup, "terms_days", TERMS_DAYS)
    if setup.company is not None and not (setup.company.isascii() and setup.company.isdigit()):
        faults.append(f"company: {setup.company!r} is no realm id; it has digits only, as QuickBooks shows it")
    if setup.mode == "invoices" and not options["items"]:
        faults.append("options.items: is empty; name an item for each meter, or one for '*'")
    unrated = sorted(options["tax_codes"].keys() - options["tax_rates"].keys() - {UNTAXED})
    if setup.mode == "invoices" and unrated and not options["us_sales_tax"]:
        faults.append(
            f"options.tax_rates: has none for {', '.join(unrated)}; without its rate QuickBooks computes a tax anew, "
            "and cents would differ"
        )
    if setup.mode == "journals" and not options["accounts"]:
        faults.append("options.accounts: is empty; name the account of each ledger account, or one for suspense")
    return faults


QUICKBOOKS: Final = Kind(
    title="QuickBooks Online",
    facts="Intuit's documents and XSDs of November 2026",
    about="Journals of days, or invoices and credit memos: [quickbooks.md](targets/quickbooks.md).",
    shape=shape_of,
    open=open_target,
    modes=("journals", "invoices"),
    grains=("day", "charge", "period"),
    needs=frozenset({"client_id", "client_secret", "refresh_token", "company"}),
    options=OPTIONS,
    customer="quickbooks",
    invoices=lambda setup: setup.mode == "invoices",
    books=True,
    faults=faults_of,
    needs_names=needs_names,
)
