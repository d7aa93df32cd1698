"""QuickBooks' answers: what was made, or which fault it names and what that makes of an item. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from meter.export.contract import Outcome, Refused, Retry, Uncertain
from meter.export.http import BARRING, REASON_CHARS_MAX, Answer, barred, outcome_of
from meter.store.engine import decode_json

# Intuit asks for a minute (limits and throttles, 2026-11).
THROTTLED_S: Final = 60.0
DUPLICATE_NUMBER: Final = "6140"
DUPLICATE_NAME: Final = "6240"
_THROTTLED: Final = frozenset({"3001", "003001", "ThrottleExceeded"})
# A stale object: it passes, and no byte of ours is wrong.
_PASSING: Final = frozenset({"5010"})
_UNCONNECTED: Final = "authorise the app for this company again (refresh_token), and set company to its id"
# Of whoever asks, not of what is asked for: each says that the app or its user may not work on the company.
_BARRED: Final[Mapping[str, str]] = {
    "120": "authorise the app again as an administrator of the company (refresh_token)",
    "3100": _UNCONNECTED,
    "003100": _UNCONNECTED,
    "3200": _UNCONNECTED,
    "003200": _UNCONNECTED,
    "6190": "the company's subscription has ended; renew it in QuickBooks",
}
_GONE: Final = "an account, item, class or customer is not there or inactive; check the options and the accounts' ids"
_REMEDIES: Final[Mapping[str, str]] = {
    "610": _GONE,
    "2500": _GONE,
    "6000": "a receivable line needs a customer (accounts.*.quickbooks or options.customer), a payable one a vendor "
    "(options.parties), and outside the US each line a tax code (options.tax_codes)",
    "6210": "the books are closed for that day; open them in QuickBooks, or move ledger.locked for what comes later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """QuickBooks' word for what is wrong: its code, and what it says."""

    code: str
    text: str


def content_of(answer: Answer) -> Mapping[str, Any]:
    """Return the answer's JSON object, numbers exact; empty where it is none."""
    try:
        content = decode_json(answer.body)
    except msgspec.DecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def fault_of(answer: Answer) -> Fault | None:
    """Return the fault that an answer names, if it names one."""
    content = content_of(answer)
    # What stands before the accounting service writes the same in lower case.
    fault = content.get("Fault") or content.get("fault")
    if not isinstance(fault, dict):
        return None
    errors = fault.get("Error") or fault.get("error")
    error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    given = {name.lower(): str(value) for name, value in error.items()}
    said = " ".join(f"{given.get('message', '')} {given.get('detail', '')}".split())
    return Fault(code=given.get("code", ""), text=said[:REASON_CHARS_MAX])


def outcome_of_answer(answer: Answer) -> Outcome:
    """Return what an answer that made nothing makes of an item."""
    fault = fault_of(answer)
    if answer.status == 429 or (fault is not None and fault.code in _THROTTLED):
        reason = "QuickBooks was asked too often"
        return Retry(reason, after_s=THROTTLED_S, throttled=True)
    if answer.status >= 500 or fault is None:
        general = outcome_of(answer.status, answer.headers, answer.body, access=_UNCONNECTED)
        return general if answer.status >= 300 else Uncertain("QuickBooks answered what cannot be read")
    if fault.code in _PASSING:
        return Retry(f"QuickBooks refuses for now ({fault.code}): {fault.text}")
    text = f"QuickBooks refuses ({fault.code or answer.status}): {fault.text}"
    if fault.code in _BARRED or answer.status in BARRING:
        return barred(text, _BARRED.get(fault.code, _UNCONNECTED), answer.status)
    remedy = _REMEDIES.get(fault.code)
    return Refused(text if remedy is None else f"{text}; {remedy}")
