"""What QuickBooks asks of an entity beyond its schema; each rule returns what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Json = dict[str, Any]
Known = Callable[[str, str], Json | None]
_CENT = Decimal("0.01")
_DOC_NUMBER_CHARACTERS_MAX = 21
NAMED = {"Customer": "DisplayName", "Vendor": "DisplayName"}
SALES = ("Invoice", "SalesReceipt", "CreditMemo")


class Broken(Exception):
    """A rule is broken: QuickBooks' error code and detail."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def check(kind: str, entity: Json, known: Known) -> None:
    """Return where QuickBooks would take the entity. Raises Broken. `known` finds an entity by kind and id."""
    if len(entity.get("DocNumber", "")) > _DOC_NUMBER_CHARACTERS_MAX:
        raise Broken("2050", f"DocNumber has {_DOC_NUMBER_CHARACTERS_MAX} characters at most")
    if kind == "JournalEntry":
        _check_journal(entity, known)
    elif kind in SALES:
        _check_sale(entity, known)
    elif not entity.get(NAMED.get(kind, "Name")):
        raise Broken("2020", f"Required param missing: {NAMED.get(kind, 'Name')}")


def _referred(known: Known, kind: str, reference: Mapping[str, str] | None, what: str) -> Json:
    found = known(kind, (reference or {}).get("value", ""))
    if found is None:
        raise Broken("2500", f"Invalid Reference Id : {what} element id {(reference or {}).get('value')} not found")
    return found


def _check_dimensions(known: Known, detail: Json) -> None:
    for kind in ("Class", "Department"):
        if f"{kind}Ref" in detail:
            _referred(known, kind, detail[f"{kind}Ref"], kind)


def _check_journal(entity: Json, known: Known) -> None:
    sums = {"Debit": Decimal(0), "Credit": Decimal(0)}
    for line in entity.get("Line", []):
        if line.get("DetailType") == "DescriptionOnly":
            continue
        detail, amount = line["JournalEntryLineDetail"], Decimal(line["Amount"])
        account = _referred(known, "Account", detail.get("AccountRef"), "Accounts")
        _check_dimensions(known, detail)
        if amount < 0:
            raise Broken("6000", "Business Validation Error: an amount is not negative")
        needed = {"Accounts Receivable": "Customer", "Accounts Payable": "Vendor"}.get(account["AccountType"])
        entity_type = detail.get("Entity", {}).get("Type")
        if needed and entity_type != needed:
            detail_text = (
                f"When you use {account['AccountType']}, you must choose a {needed.lower()} in the Name field."
            )
            raise Broken("6000", f"Business Validation Error: {detail_text}")
        if entity_type in {"Customer", "Vendor"}:
            _referred(known, entity_type, detail["Entity"].get("EntityRef"), "Names")
        sums[detail["PostingType"]] += amount
    if not entity.get("Line"):
        raise Broken("2020", "Required param missing: Line")
    if sums["Debit"] != sums["Credit"]:
        text = f"debits {sums['Debit']} and credits {sums['Credit']} do not balance"
        raise Broken("6000", f"Business Validation Error: {text}")


def _check_sale(entity: Json, known: Known) -> None:
    _referred(known, "Customer", entity.get("CustomerRef"), "Names")
    if not entity.get("Line"):
        raise Broken("2020", "Required param missing: Line")
    for line in entity["Line"]:
        detail = line.get("SalesItemLineDetail", {})
        _check_dimensions(known, detail)
        if "Qty" in detail and "UnitPrice" in detail:
            exact = Decimal(detail["Qty"]) * Decimal(detail["UnitPrice"])
            if exact.quantize(_CENT, ROUND_HALF_UP) != Decimal(line["Amount"]).quantize(_CENT, ROUND_HALF_UP):
                raise Broken("6070", "Amount is not equal to UnitPrice * Qty.")


def with_sums(kind: str, entity: Json) -> Json:
    """Return the entity with what QuickBooks adds up."""
    if kind == "JournalEntry":
        debits = [
            Decimal(line["Amount"])
            for line in entity["Line"]
            if line.get("JournalEntryLineDetail", {}).get("PostingType") == "Debit"
        ]
        return entity | {"TotalAmt": sum(debits, Decimal(0))}
    if kind in SALES:
        net = sum(
            (Decimal(line["Amount"]) for line in entity["Line"] if line["DetailType"] != "SubTotalLineDetail"),
            Decimal(0),
        )
        tax = Decimal(entity.get("TxnTaxDetail", {}).get("TotalTax", 0))
        return entity | {"TotalAmt": net + tax} | ({} if kind == "SalesReceipt" else {"Balance": net + tax})
    return entity
