"""What Xero asks of journals, invoices and credit notes, and what it adds up; each rule returns what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Json = dict[str, Any]
_CENT = Decimal("0.01")
_TRACKING_MAX = 2
_UNIT_PLACES = {"": 2, "2": 2, "4": 4}
# Xero keeps the ledger of customers and suppliers itself: no journal is posted to it, nor to a bank account.
_NOT_FOR_JOURNALS = frozenset({"DEBTORS", "CREDITORS"})


@dataclass(slots=True, kw_only=True)
class Chart:
    """Accounts by code, tax rates by type (in percent), tracking categories by name with their options."""

    accounts: dict[str, Json]
    tax_rates: dict[str, Decimal]
    tracking: dict[str, Json]

    def tax(self, line: Mapping[str, Any]) -> Decimal:
        """Return a line's rate, as a share."""
        return self.tax_rates.get(line.get("TaxType", "NONE"), Decimal(0)) / 100

    def faults_in(self, line: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with what a line refers to."""
        found = []
        if line.get("AccountCode") not in self.accounts:
            found.append(f"Account code '{line.get('AccountCode')}' is not a valid code for this document.")
        if line.get("TaxType", "NONE") not in self.tax_rates:
            found.append(f"The TaxType code '{line.get('TaxType')}' does not exist.")
        if len(line.get("Tracking", [])) > _TRACKING_MAX:
            found.append(f"A line has {_TRACKING_MAX} tracking categories at most.")
        for one in line.get("Tracking", []):
            options = self.tracking.get(one.get("Name", ""), {}).get("Options", [])
            if one.get("Option") not in [option["Name"] for option in options]:
                found.append(f"The TrackingCategory '{one.get('Name')}' has no option '{one.get('Option')}'.")
        return found


def cents(amount: Decimal) -> Decimal:
    """Return an amount as Xero keeps it."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def faults_in_date(document: Mapping[str, Any], locked: date | None) -> list[str]:
    """Return what is wrong with the date of anything that is not a draft, where days up to `locked` are closed."""
    if locked is None or document.get("Status") == "DRAFT" or date.fromisoformat(document["Date"][:10]) > locked:
        return []
    return [f"The document date cannot be before the period lock date, currently set at {locked:%d-%b-%Y}"]


def faults_in_journal(journal: Mapping[str, Any], chart: Chart) -> list[str]:
    """Return what is wrong with a manual journal."""
    lines = journal.get("JournalLines", [])
    found = [fault for line in lines for fault in chart.faults_in(line)]
    if not journal.get("Narration"):
        found.append("Narration is required.")
    if len(lines) < 2:
        found.append("A journal has two lines at least.")
    for line in lines:
        account = chart.accounts.get(line.get("AccountCode", ""), {})
        if account.get("SystemAccount") in _NOT_FOR_JOURNALS or account.get("Type") == "BANK":
            found.append(f"Account code '{line['AccountCode']}' cannot be used in a manual journal.")
    exclusive = journal.get("LineAmountTypes") == "Exclusive"
    total = sum((_gross(line, chart, exclusive=exclusive) for line in lines), Decimal(0))
    if total != 0:
        found.append(f"The total debits and the total credits differ by {total}.")
    return found


def _gross(line: Mapping[str, Any], chart: Chart, *, exclusive: bool) -> Decimal:
    amount = Decimal(line["LineAmount"])
    return amount + cents(amount * chart.tax(line)) if exclusive else amount


def faults_in_document(document: Mapping[str, Any], chart: Chart) -> list[str]:
    """Return what is wrong with an invoice or a credit note, but for its number and contact."""
    lines = document.get("LineItems", [])
    if not lines:
        return ["One or more line items must be specified."]
    found = [] if document.get("Status", "DRAFT") == "DRAFT" else [f for line in lines for f in chart.faults_in(line)]
    for line in lines:
        if not line.get("Description"):
            found.append("Description cannot be empty.")
        if "LineAmount" in line and "UnitAmount" in line and "DiscountRate" not in line:
            exact = cents(Decimal(line["UnitAmount"]) * Decimal(line.get("Quantity", 1)))
            if abs(exact - Decimal(line["LineAmount"])) > _CENT:
                found.append(f"The line total {line['LineAmount']} does not match the expected line total {exact}.")
    return found


def summed(document: Mapping[str, Any], chart: Chart, unit_places: str) -> Json:
    """Return an invoice or credit note with what Xero adds up. Unit amounts are cut to `unit_places`, 2 or 4."""
    kind = document.get("LineAmountTypes", "Exclusive")
    places = Decimal(1).scaleb(-_UNIT_PLACES[unit_places])
    lines, tax_sum, sum_ = [], Decimal(0), Decimal(0)
    for line in document.get("LineItems", []):
        quantity = Decimal(line.get("Quantity", 1))
        unit = Decimal(line.get("UnitAmount", line.get("LineAmount", 0))).quantize(places, ROUND_HALF_UP)
        amount = Decimal(line.get("LineAmount", cents(unit * quantity)))
        share = chart.tax(line)
        tax = Decimal(0)
        if kind == "Exclusive":
            tax = cents(amount * share)
        elif kind == "Inclusive":
            tax = cents(amount - amount / (1 + share))
        tax = Decimal(line.get("TaxAmount", tax)) if kind != "NoTax" else Decimal(0)
        lines.append({**line, "Quantity": quantity, "UnitAmount": unit, "LineAmount": amount, "TaxAmount": tax})
        tax_sum, sum_ = tax_sum + tax, sum_ + amount
    net = sum_ - tax_sum if kind == "Inclusive" else sum_
    sums = {"SubTotal": net, "TotalTax": tax_sum, "Total": net + tax_sum}
    return {**document, "LineItems": lines, "LineAmountTypes": kind, **sums}
