"""Square's answers: what an error makes of an item. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from meter.export.contract import Outcome, Refused, Retry, Uncertain
from meter.export.http import BARRING, REASON_CHARS_MAX, Answer, barred, outcome_of, retry_after_s
from meter.store.engine import decode_json

_KEY_REUSED: Final = "IDEMPOTENCY_KEY_REUSED"
_ACCESS: Final = (
    "check the target's api_key: it needs ORDERS_READ, ORDERS_WRITE, INVOICES_READ, INVOICES_WRITE, PAYMENTS_READ, "
    "MERCHANT_PROFILE_READ and for refunds PAYMENTS_WRITE"
)
# By a word of the field that Square names: what to look at.
_REMEDIES: Final[Mapping[str, str]] = {
    "location": "set the target's company to the id of a location of this api_key",
    "customer": "check accounts.*.square: it names a customer of Square's directory",
    "due_date": "raise options.terms_days, so that the day is not over, and retry the delivery",
    "delivery_method": "give the customer an e-mail address in Square, or set options.delivery to SHARE_MANUALLY",
    "email": "give the customer an e-mail address in Square, or set options.delivery to SHARE_MANUALLY",
    "accepted_payment_methods": "set options.payments to what this location accepts",
    "invoice_number": "another invoice of the location has the number; change or delete that one",
    "currency": "this account's currency is not the location's; bill it through another target",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One of the errors that an answer lists."""

    code: str
    field: str
    text: str


def content_of(answer: Answer) -> dict[str, Any] | None:
    """Return what Square says where it did as it was asked; None: it did not, or it cannot be read."""
    content = _object(answer)
    return content if answer.status == 200 and content is not None and "errors" not in content else None


def faults_of(answer: Answer) -> Sequence[Fault]:
    """Return the errors that an answer names."""
    errors = (_object(answer) or {}).get("errors")
    return [
        Fault(
            code=str(error.get("code") or error.get("category") or ""),
            field=str(error.get("field") or ""),
            text=" ".join(str(error.get("detail") or "").split())[:REASON_CHARS_MAX],
        )
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        content = decode_json(answer.body)
    except msgspec.DecodeError:
        return None
    return content if isinstance(content, dict) else None


def outcome_of_answer(answer: Answer) -> Outcome:
    """Return what an answer that did not do what it was asked makes of an item.

    A key that came with another request belongs to an earlier attempt, of which nobody knows.
    """
    faults = faults_of(answer)
    if not faults or answer.status < 400:
        general = outcome_of(answer.status, answer.headers, answer.body, access=_ACCESS)
        return general if answer.status >= 300 else Uncertain("Square answered what cannot be read")
    first = faults[0]
    reason = f"Square answered {answer.status}, {first.code}: {first.text}"
    if any(fault.code == _KEY_REUSED for fault in faults):
        return Uncertain(reason, answered=True)
    if answer.status == 429:
        return Retry(reason, after_s=retry_after_s(answer.headers), throttled=True)
    if answer.status >= 500:
        return Uncertain(reason)
    if answer.status in {408, 409, 425}:
        return Retry(reason, after_s=retry_after_s(answer.headers))
    remedy = _remedy(faults)
    # What names another field than our location is said of one object: an order of somebody else's, say.
    of_one = any(fault.field and "location" not in fault.field for fault in faults)
    if answer.status == 401 or (answer.status in BARRING and not of_one):
        return barred(reason, remedy or _ACCESS, answer.status)
    return Refused(f"{reason}; {remedy}, then retry the delivery" if remedy else reason)


def _remedy(faults: Sequence[Fault]) -> str | None:
    for fault in faults:
        said = f"{fault.field} {fault.code}".lower()
        found = next((remedy for word, remedy in _REMEDIES.items() if word in said), None)
        if found is not None:
            return found
    return None
