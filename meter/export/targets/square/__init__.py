"""Square: an order and an invoice for each account and billing period (docs/targets/square.md).

Facts are from Square's api.json of 2025-08-19 and its pages on orders, invoices and refunds of November 2026.
"""

from __future__ import annotations

from typing import Any, Final

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Limits
from meter.export.gather.documents import Documents
from meter.export.gather.invoicing import Codes
from meter.export.gather.shape import Shape
from meter.export.http import TIMEOUT_S, Channel
from meter.export.targets.options import TERMS_DAYS, outside
from meter.export.targets.spec import Kind, Means, Setup
from meter.export.targets.square.api import PRODUCTION, SANDBOX, Api
from meter.export.targets.square.exporter import LIMITS, SquareTarget
from meter.export.targets.square.wanted import Rules
from meter.sources.spec import Option

_PAYMENTS: Final = ("card", "square_gift_card", "bank_account", "buy_now_pay_later", "cash_app_pay")
OPTIONS: Final = {
    "publish": Option(
        default=False, about="Whether invoices are published at once; else they are drafts, for you to look at first."
    ),
    "delivery": Option(
        default="EMAIL",
        about="How Square hands over what is published: by e-mail, or not at all.",
        choices=("EMAIL", "SHARE_MANUALLY"),
    ),
    "payments": Option(default=["card"], about=f"How an invoice may be paid, of {', '.join(_PAYMENTS)}."),
    "terms_days": Option(default=14, about="Days until an invoice is due."),
    "tax": Option(
        default="taxes",
        about="Taxes as Square's own where it computes the same amounts, else as lines (taxes), or always as lines.",
        choices=("taxes", "lines"),
    ),
    "refunds": Option(default=False, about="Whether what gives back on a paid invoice is refunded to its payment."),
    "sandbox": Option(default=False, about="Whether the location is one of Square's sandbox."),
}


def shape_of(setup: Setup) -> Shape:
    """Return what the target makes of what was booked."""
    return Documents(target=setup.name, customers=setup.customers, grain=setup.grain or "period", codes=Codes())


def rules_of(setup: Setup) -> Rules:
    """Return the rules of a target whose options are in order."""
    options: dict[str, Any] = dict(setup.options)
    return Rules(
        location=setup.company or "",
        taxes=options["tax"] == "taxes",
        terms_days=options["terms_days"],
        delivery=options["delivery"],
        payments=tuple(options["payments"]),
        publish=options["publish"],
        refunds=options["refunds"],
    )


def open_target(
    setup: Setup, _means: Means, *, limits: Limits = LIMITS, timeout_s: float = TIMEOUT_S, clock: Ticks = monotonic_s
) -> SquareTarget:
    """Return the target. It connects when it is first asked for something."""
    base_url = setup.base_url or (SANDBOX if setup.options["sandbox"] else PRODUCTION)
    channel = Channel(
        base_url, limits, secrets=setup.known_secrets, timeout_s=timeout_s, clock=clock, guard=setup.guard
    )
    return SquareTarget(Api(channel, setup.api_key or ""), rules_of(setup), limits)


def faults_of(setup: Setup) -> list[str]:
    """Return what is wrong with the settings."""
    options: dict[str, Any] = dict(setup.options)
    faults = outside(setup, "terms_days", TERMS_DAYS)
    unknown = [one for one in options["payments"] if one not in _PAYMENTS]
    if unknown or not options["payments"]:
        faults.append(f"options.payments: is {options['payments']}; name one or more of {', '.join(_PAYMENTS)}")
    return faults


SQUARE: Final = Kind(
    title="Square invoices",
    facts="Square's api.json of 2025-08-19 and its pages of November 2026",
    about="An order and an invoice for each account and billing period: [square.md](targets/square.md).",
    shape=shape_of,
    open=open_target,
    modes=("invoices",),
    grains=("period", "day", "charge"),
    needs=frozenset({"api_key", "company"}),
    options=OPTIONS,
    customer="square",
    invoices=lambda _setup: True,
    faults=faults_of,
)
