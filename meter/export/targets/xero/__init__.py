"""Xero: manual journals a site and day, or sales invoices and credit notes (docs/targets/xero.md).

Facts are from Xero's OpenAPI document and developer guides of November 2026: limits, idempotency, rounding, scopes.
"""

from __future__ import annotations

from typing import Any, Final

from yarl import URL

from meter.clock import Ticks, monotonic_s
from meter.export.authorised import Authorised
from meter.export.contract import Limits
from meter.export.gather.days import DayGrain, Days
from meter.export.gather.documents import Documents
from meter.export.gather.invoicing import Codes
from meter.export.gather.shape import Shape
from meter.export.http import TIMEOUT_S, Channel
from meter.export.oauth import Endpoint, keeper_of
from meter.export.targets.gaps import Needs
from meter.export.targets.options import TERMS_DAYS, names, outside
from meter.export.targets.spec import Kind, Means, Setup
from meter.export.targets.xero.api import Api
from meter.export.targets.xero.exporter import LIMITS, XeroTarget
from meter.export.targets.xero.rules import rules_of
from meter.sources.spec import Option

PRODUCTION: Final = "https://api.xero.com"
IDENTITY: Final = "https://identity.xero.com"
TOKENS_PATH: Final = "/connect/token"
REFRESH_LASTS_S: Final = 60 * 86_400.0
REMEDY: Final = "sign in again with the app and the scope offline_access (docs/targets/xero.md)"
_CODES: Final = ("accounts", "sales", "items", "tax_codes")


def _needs_names(setup: Setup) -> Needs:
    tracked = bool(setup.options["tracking"])
    if setup.mode != "invoices":
        return Needs(tracked=tracked)
    items = names(setup, "items")
    meters = ("items", items) if items else ("sales", names(setup, "sales"))
    return Needs(taxes=names(setup, "tax_codes"), meters=meters, tracked=tracked)


def _shape(setup: Setup) -> Shape:
    if setup.mode == "invoices":
        return Documents(
            target=setup.name,
            customers=setup.customers,
            grain=setup.grain or "day",
            codes=Codes(taxes=names(setup, "tax_codes"), items=names(setup, "items") or None),
        )
    grain: DayGrain = "day" if setup.grain is None or setup.grain == "hour" else setup.grain
    return Days(target=setup.name, grain=grain, codes=names(setup, "accounts"), keys=setup.customers.keys, parties={})


def _faults(setup: Setup) -> list[str]:
    options: Any = setup.options
    faults = outside(setup, "terms_days", TERMS_DAYS)
    if options["grant"] == "refresh_token" and not setup.refresh_token:
        faults.append("needs refresh_token; a custom connection has none: set options.grant to client_credentials")
    wrong = [
        name for name in _CODES if not all(type(code) in {str, int} and code != "" for code in options[name].values())
    ]
    faults += [f'options.{name}: gives a name of ours Xero\'s code, like {{"*" = "200"}}' for name in wrong]
    if setup.mode == "journals":
        if not options["accounts"]:
            faults.append("options.accounts: names no account; give Xero's code for each of ours, or for 'suspense'")
        if options["status"] == "submitted":
            faults.append("options.status: a journal is approved or a draft; submitted are only invoices")
    elif not options["sales"] and not options["items"]:
        faults.append("options.sales: names no account for any meter; give Xero's code for each, or for '*'")
    if options["url"] and not _is_url(options["url"]):
        faults.append("options.url: is no address; write https://host")
    return faults


def _is_url(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.host)


def open_target(
    setup: Setup, means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> XeroTarget:
    """Return the target. It connects when it is first asked for something."""
    options: Any = setup.options
    endpoint = Endpoint(
        # Whoever stands in for Xero stands in for its tokens.
        url=(IDENTITY if setup.base_url is None else setup.base_url.rstrip("/")) + TOKENS_PATH,
        remedy=REMEDY,
        grant=options["grant"],
        scope=options["scope"] or None,
        refresh_lasts_s=REFRESH_LASTS_S,
    )
    channel = Channel(
        setup.base_url or PRODUCTION,
        limits,
        secrets=setup.known_secrets,
        timeout_s=timeout_s,
        clock=clock,
        guard=setup.guard,
    )
    return XeroTarget(
        Api(Authorised(channel, keeper_of(setup, means, endpoint, clock=clock)), setup.company or ""),
        mode=setup.mode or "journals",
        rules=rules_of(setup),
        create_tracking=options["create_tracking"],
        limits=limits,
    )


XERO: Final = Kind(
    title="Xero",
    facts="Xero's OpenAPI document and developer guides of November 2026",
    about="Manual journals of days, or invoices and credit notes: [xero.md](targets/xero.md).",
    shape=_shape,
    open=open_target,
    modes=("journals", "invoices"),
    grains=("day", "charge", "period"),
    needs=frozenset({"client_id", "client_secret", "company"}),
    customer="xero",
    invoices=lambda setup: setup.mode == "invoices",
    books=True,
    faults=_faults,
    needs_names=_needs_names,
    options={
        "accounts": Option(
            default={},
            about="Journals: Xero's account code for each ledger account of ours; a name that ends in `:*` stands for "
            "all below it, `suspense` for what nothing names.",
        ),
        "sales": Option(
            default={}, about="Invoices: Xero's account code for the revenue of each meter; `*` for every other."
        ),
        "items": Option(default={}, about="Invoices: Xero's item code for each meter, `*` for every other; {}: none."),
        "tax_codes": Option(default={}, about="Invoices: Xero's tax type (`OUTPUT2`) for each tax of the catalog."),
        "untaxed": Option(default="NONE", about="Xero's tax type for what has no tax, and for the lines of journals."),
        "tracking": Option(
            default="Site", about='The tracking category whose options are the sites\' `ledger_class`; "": none.'
        ),
        "create_tracking": Option(default=False, about="Whether options that are missing there are created."),
        "status": Option(
            default="approved",
            about="How far documents are brought; a draft is for somebody in Xero to approve.",
            choices=("approved", "submitted", "draft"),
        ),
        "terms_days": Option(default=14, about="Invoices: days to pay."),
        "url": Option(default="", about='Where our API is found, for a link from Xero back to the charges; "": none.'),
        "grant": Option(
            default="refresh_token",
            about="How access is had: an app that somebody signed in to, or a custom connection.",
            choices=("refresh_token", "client_credentials"),
        ),
        "scope": Option(default="", about='The scopes that a custom connection asks for; "": all that it has.'),
    },
)
