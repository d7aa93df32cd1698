"""What of a charge is revenue."""

from __future__ import annotations

from decimal import Decimal

from meter.model.charge import Charge
from meter.model.money import ZERO


def net_of(charge: Charge) -> Decimal:
    """Return the rounded amount without tax. What a till took is net already."""
    tax = charge.line.tax
    inclusive = tax is not None and tax.inclusive and charge.line.settlement != "paid"
    return charge.rounded - charge.tax_amount if inclusive else charge.rounded


def own_of(charge: Charge) -> Decimal:
    """Return what is the operator's own revenue: the net amount less the shares of those for whom it is an agent."""
    return net_of(charge) - sum((shared.amount for shared in charge.shared if shared.role == "agent"), ZERO)
