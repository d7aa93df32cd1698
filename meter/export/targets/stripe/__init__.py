"""Stripe: lines as invoice items on drafts, replaced while they can be, credited or added to once they cannot.

What is held of a batch is its item and its differences: later items, and credit notes, all with the batch's name in
their metadata. What is wanted is the newest content. Every way of sending ends with held = wanted:

    known whole (remote id) ──────▶ update in place ──not editable──┐
    first revision, known draft ──▶ create on it ─────not editable──┤
    anything else ──────────────────────────────────────────────────┴▶ list ─▶ wanted - held ─▶
        something of it can still change       it becomes the difference
        nothing is missing                     delivered
        negative, and its invoice is final     credit note, where enough is left of that invoice
        else                                   an item on the account's draft, made where there is none

Exactly once, under faults:

- A key belongs to an item's revision, the turn of the listing and the part (`K-item`, `K-2-note`), never to what is
  written, and the quick ways share the first turn's. So an attempt whose answer was lost is repeated or found, and one
  that would write something else under the same key is refused by Stripe (idempotency_error): then nobody knows, the
  lists are asked, and only what they do not show is sent, under the next revision's key.
- The quick ways need no list because nothing else can be there: an update sets an absolute amount, and a first revision
  goes to a draft that this process has seen since anything of that invoice failed or was asked about. So what follows
  an answer "absent", or a failure between two items of a line, lists first; so does a revision without a known place.
- `look_up` compares sums, with the content's digest where something can still change: a batch of which only a part
  landed is absent, and the next attempt sends the rest.
- A draft has the invoice's number in its metadata (`20261130-K7Q2M4XA`, a further one `...#2`). It is made when the
  first line needs it and found again by listing the customer's invoices; its key is the item's, so a stored 500 is not
  for ever.
- Finalisation races with a replacement: whoever comes second sees it, for a final invoice refuses every change.

What is void: a line of an invoice that the operator voided counts as held, so it is not billed again; what would have
to be given back on it is refused for a person to look at.
"""

from __future__ import annotations

from typing import Final

from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.shape import Shape
from meter.export.gather.spans import Grain
from meter.export.targets.gaps import Needs
from meter.export.targets.options import TERMS_DAYS, names, outside
from meter.export.targets.spec import Kind, Setup
from meter.export.targets.stripe.exporter import StripeTarget
from meter.sources.spec import Option

_GRAINS: Final[tuple[Grain, ...]] = ("day", "charge", "hour", "period")


def _needs_names(setup: Setup) -> Needs:
    return Needs(taxes=names(setup, "tax_codes") if setup.options["tax"] == "rates" else None)


def _shape(setup: Setup) -> Shape:
    return Lines(
        target=setup.name,
        customers=setup.customers,
        grain=setup.grain or "day",
        codes=Codes(taxes=_needs_names(setup).taxes),
        replaces=True,
        notices=True,
    )


def _faults(setup: Setup) -> list[str]:
    faults = outside(setup, "terms_days", TERMS_DAYS)
    wrong = sorted(name for name, code in setup.options["tax_codes"].items() if not str(code).startswith("txr_"))
    if wrong:
        faults.append(f"options.tax_codes: {', '.join(wrong)} name no tax rate of Stripe's; those begin with txr_")
    return faults


STRIPE: Final = Kind(
    title="Stripe invoices",
    facts="docs.stripe.com (invoicing, credit notes, tax rates, currencies, idempotency), November 2026",
    about="Lines as items of drafts, replaced until the invoice is final: [stripe.md](targets/stripe.md).",
    shape=_shape,
    open=lambda setup, _means: StripeTarget(setup),
    modes=("invoices",),
    grains=_GRAINS,
    needs=frozenset({"api_key"}),
    customer="stripe",
    invoices=lambda _setup: True,
    faults=_faults,
    needs_names=_needs_names,
    options={
        "invoices": Option(
            default="draft",
            about="Drafts are made and left to you (draft), finalised when the period is closed (finalize), or lines "
            "stay pending for invoices of your own (none).",
            choices=("draft", "finalize", "none"),
        ),
        "tax": Option(
            default="rates",
            about="Taxes as Stripe's tax rates, the odd cent as a line (rates), or as lines of their own (lines).",
            choices=("rates", "lines"),
        ),
        "tax_codes": Option(default={}, about="Stripe's tax rate (`txr_...`) for each tax of the catalog."),
        "credits": Option(
            default="credit_amount",
            about="What a credit note does with what was paid already: to the customer's balance (credit_amount), "
            "back to the card (refund_amount), or settled elsewhere (out_of_band_amount).",
            choices=("credit_amount", "refund_amount", "out_of_band_amount"),
        ),
        "collection": Option(
            default="charge_automatically",
            about="How drafts are collected once they are final.",
            choices=("charge_automatically", "send_invoice"),
        ),
        "terms_days": Option(default=14, about="Days to pay, where invoices are sent."),
        "auto_advance": Option(default=True, about="Whether Stripe collects what we finalise by itself."),
    },
)
