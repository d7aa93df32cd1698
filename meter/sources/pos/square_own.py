"""What of Square's is the export target's own: its invoices, their orders, and what it gives back on them. Pure.

What is paid for them was metered before, and is no sale. Orders tell by what the target wrote into them: metadata,
which only the application that wrote it can read, or the name of their source with a number of our form, which all can.
"""

from __future__ import annotations

import re
from typing import Final

from meter.sources.fields import Fields

# The number of a document of ours (meter.export.gather.names): its day, a mark, and its part.
_NUMBER: Final = re.compile(r"\d{8}-[A-Z2-7]{8}(-\d+)?", re.ASCII)
# What the target writes (meter.export.targets.square): the batch in an order's metadata, the source's name, and the
# mark in a refund's reason.
_BATCH: Final = "meter_batch"
_SOURCE: Final = "meter"
_REFUND_MARK: Final = re.compile(r"\[meter:[a-z2-7]{32} ", re.ASCII)
# Square's api.json, ExternalSquareProduct: the payment of an invoice, whoever made that.
_INVOICES: Final = "INVOICES"


def is_own_number(number: str | None) -> bool:
    """Tell whether an invoice's number, or an order's reference, is of our form."""
    return number is not None and _NUMBER.fullmatch(number) is not None


def is_own_order(order: Fields) -> bool:
    """Tell whether the target made the order."""
    metadata, source = order.opt_object("metadata"), order.opt_object("source")
    if metadata is not None and metadata.raw(_BATCH) is not None:
        return True
    named = source is not None and source.opt_text("name") == _SOURCE
    return named and is_own_number(order.opt_text("reference_id"))


def is_own_refund(refund: Fields) -> bool:
    """Tell whether the target gave the money back: of what was never a sale."""
    return _REFUND_MARK.search(refund.opt_text("reason") or "") is not None


def pays_invoice(payment: Fields) -> bool:
    """Tell whether a payment is of an invoice, ours or another: only its order tells whose."""
    details = payment.opt_object("application_details")
    return details is not None and details.opt_text("square_product") == _INVOICES
