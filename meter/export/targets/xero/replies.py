"""Xero's answers: what was made, what is held, and what a refusal makes of an item. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final, TypeAlias

import msgspec

from meter.export.contract import Figures, Held, Outcome, Refused, Retry, Uncertain
from meter.export.http import REASON_CHARS_MAX, Answer, barred, outcome_of, retry_after_s
from meter.export.targets.books import batch_in
from meter.export.targets.reading import number_of, objects_of, text_of, word_of
from meter.export.targets.xero.documents import ID_OF, Entity
from meter.model.money import ZERO
from meter.store.engine import decode_json

Json: TypeAlias = Mapping[str, Any]

# Where Xero does not say for how long: a request of ours that is still at work, a minute's quota, a day's in parts.
_PAUSES_S: Final[Mapping[str, float]] = {"concurrent": 1.0, "minute": 60.0, "day": 600.0}
VOID: Final = frozenset({"VOIDED", "DELETED", "ARCHIVED"})
_LINES_OF: Final[Mapping[Entity, str]] = {
    "ManualJournals": "JournalLines",
    "Invoices": "LineItems",
    "CreditNotes": "LineItems",
}
# Words of Xero's validation, in lower case, and what to do about them.
_KEPT: Final = (
    "Xero keeps some accounts itself and takes no journal on them (Accounts Receivable, Accounts Payable, banks): "
    "name another in the target's options, then retry the delivery"
)
_LOCKED: Final = (
    "Xero's books are locked for that day: take the lock date back and retry the delivery; set ledger.locked in the "
    "catalog to the same date, and what comes later for such days is posted on an open one"
)
_REMEDIES: Final = (
    ("lock date", _LOCKED),
    ("not a valid code for this document", f"the account is not there, or is none for it; {_KEPT}"),
    ("cannot be used in a manual journal", _KEPT),
    ("taxtype", "check options.tax_codes and options.untaxed against Xero's tax rates, then retry the delivery"),
    ("contact", "check the account's customer: it is Xero's ContactID, then retry the delivery"),
    ("currency", "add the currency in Xero (Settings, Currencies), then retry the delivery"),
    ("tracking", "add the option to the tracking category in Xero, then retry the delivery"),
)
_TAKEN: Final = "must be unique"


def content_of(answer: Answer) -> Json:
    """Return the answer's JSON object, numbers exact; empty where it is none."""
    try:
        content = decode_json(answer.body)
    except msgspec.DecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def made(answer: Answer, name: str) -> Json | Outcome:
    """Return the one object that a request made, or what its answer makes of the item."""
    if not 200 <= answer.status < 300:
        return refusal_of(answer)
    objects = content_of(answer).get(name)
    one = objects[0] if isinstance(objects, list) and objects else None
    if not isinstance(one, dict):
        return Uncertain("Xero answered what cannot be read")
    # With summarizeErrors=false a good answer may hold an object that was not taken.
    faults = _messages([one])
    if one.get("HasErrors") or one.get("StatusAttributeString") == "ERROR" or faults:
        return Refused(_refused(faults or ["it has errors, and Xero does not say which"]))
    return one


def refusal_of(answer: Answer) -> Outcome:
    """Return what an answer that made nothing makes of an item."""
    general = outcome_of(answer.status, answer.headers, b"")
    match answer.status:
        case 429:
            reason = f"Xero was asked too often ({_problem(answer) or 'no word of why'})"
            return Retry(reason, after_s=pause_s(answer), throttled=True)
        case 401:
            return barred("Xero takes the access token no longer", "authorise the app again (refresh_token)", 401)
        case 403:  # it says so of the tenant alone: revoked, another role, or an organisation that is no more
            return barred("Xero refuses access", "check company (the tenant) and the app's scopes", 403)
        case 409:  # the key is at work: what it is for may be held in a moment
            return Uncertain("Xero is still at work on the same key")
    if not isinstance(general, Refused):
        return general
    content = content_of(answer)
    elements = content.get("Elements")
    faults = _messages(elements if isinstance(elements, list) else [])
    said = faults or [str(content.get("Message") or content.get("Detail") or content.get("Title") or "no reason")]
    return Refused(_refused(said))


def pause_s(answer: Answer) -> float | None:
    """Return for how long Xero wants to be left alone, of an answer that says so (429)."""
    told_s = retry_after_s(answer.headers)
    return _PAUSES_S.get(_problem(answer)) if told_s is None else told_s


def _problem(answer: Answer) -> str:
    return answer.headers.get("x-rate-limit-problem", "").lower()


def is_taken(outcome: Outcome) -> bool:
    """Tell whether a refusal says that the number is taken, which may be by the very same document."""
    return isinstance(outcome, Refused) and _TAKEN in outcome.reason


def _messages(elements: Iterable[Any]) -> list[str]:
    """Return what Xero says is wrong, each once; never the elements, which name people."""
    found = [
        str(fault.get("Message", ""))
        for element in elements
        if isinstance(element, dict)
        for fault in _listed(element.get("ValidationErrors"))
        if isinstance(fault, dict)
    ]
    return list(dict.fromkeys(filter(None, found)))


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _refused(faults: Iterable[str]) -> str:
    said = " ".join("; ".join(faults).split())[:REASON_CHARS_MAX]
    remedy = next((remedy for words, remedy in _REMEDIES if words in said.lower()), None)
    return f"Xero refuses: {said}" + ("" if remedy is None else f" -- {remedy}")


def held_of(entity: Entity, one: Json, *, base_currency: str) -> Held | None:
    """Return what Xero says of a document of ours; None where it is somebody else's. Raises Unreadable."""
    batch = batch_in(one.get("Narration") if entity == "ManualJournals" else one.get("Reference"))
    if batch is None:
        return None
    lines = [line for line in objects_of(one, _LINES_OF[entity]) if not line.get("IsBlank")]
    if entity == "ManualJournals":
        amounts = [number_of(line, "LineAmount") for line in lines]
        net, tax = sum((amount for amount in amounts if amount > ZERO), ZERO), ZERO
    else:
        sign = -1 if entity == "CreditNotes" else 1
        net, tax = sign * number_of(one, "SubTotal"), sign * number_of(one, "TotalTax")
    currency = text_of(one, "CurrencyCode") or base_currency
    figures = Figures(lines=len(lines), net=net, tax=tax, currency=currency)
    return Held(
        batch=batch, remote_id=word_of(one, ID_OF[entity]), figures=figures, void=text_of(one, "Status") in VOID
    )


def where_days(since: date, until: date) -> str:
    """Return the where-clause of what is dated in [since, until)."""
    return f"Date>={_moment(since)} AND Date<{_moment(until)}"


def _moment(day: date) -> str:
    return f"DateTime({day.year},{day.month:02},{day.day:02})"


def active_options(content: Json, category: str) -> tuple[str | None, frozenset[str]]:
    """Return the id of the tracking category of this name, and its options that are in use."""
    for one in objects_of(content, "TrackingCategories", required=True):
        if one.get("Name") == category and one.get("Status", "ACTIVE") == "ACTIVE":
            options = [option for option in objects_of(one, "Options") if option.get("Status", "ACTIVE") == "ACTIVE"]
            return word_of(one, "TrackingCategoryID"), frozenset(text_of(option, "Name") for option in options)
    return None, frozenset()
