"""What Stripe holds of a batch, as its own objects say. Pure.

The amount is Stripe's; how much of it is tax is what we wrote into the metadata, for a tax that stands as an item of
its own is no tax to Stripe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from meter.export.targets.reading import object_of, objects_of, text_of, whole_of, word_of
from meter.export.targets.stripe.amounts import rate_of, tax_on
from meter.export.targets.stripe.wanted import BATCH, CONTENT, DAY, PART, TAX

# Of an invoice item: on no invoice yet, on a draft, on an invoice that no longer changes, on one that counts no more.
Standing: TypeAlias = Literal["pending", "draft", "final", "void"]
_FINAL: Final = frozenset({"open", "paid", "uncollectible"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An invoice item or (negative) a credit note of a batch, in minor units with tax."""

    id: str
    batch: str
    content: str
    kind: Literal["item", "tax", "note"]
    gross: int
    tax: int
    currency: str
    day: str
    invoice: str | None
    standing: Standing

    @property
    def changeable(self) -> bool:
        """Tell whether it can still be made what it shall be."""
        return self.kind != "note" and self.standing in {"pending", "draft"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a batch is, as a delivery's remote id: `in_1/ii_2`, `in_1/ii_2+ii_3` with a tax item, `ii_2` pending.

    `whole`: nothing else is held of the batch. Where there is more, a `~` follows and Stripe has to be asked.
    """

    invoice: str | None
    item: str
    tax: str | None = None
    whole: bool = True

    @property
    def text(self) -> str:
        """Return it as a remote id."""
        head = "" if self.invoice is None else f"{self.invoice}/"
        return head + self.item + (f"+{self.tax}" if self.tax else "") + ("" if self.whole else "~")


_PLACE: Final = re.compile(r"(?:([^/+~]+)/)?([^/+~]+)(?:\+([^/+~]+))?(~)?")


def place_in(remote_id: str | None) -> Place | None:
    """Return where a delivery's remote id says the batch is; None where it does not."""
    found = None if remote_id is None else _PLACE.fullmatch(remote_id)
    if found is None:
        return None
    invoice, item, tax, more = found.groups()
    return Place(invoice=invoice, item=item, tax=tax, whole=more is None and item.startswith("ii_"))


def thing_of_item(item: Mapping[str, Any], statuses: Mapping[str, str]) -> Thing:
    """Return an invoice item of ours; `statuses` are those of the invoices that items are on. Raises Unreadable."""
    metadata, invoice, amount = object_of(item, "metadata"), _id(item.get("invoice")), whole_of(item, "amount")
    rates = [rate_of(given) for given in objects_of(item, "tax_rates")]
    on_top = sum(tax_on(amount, rate) for rate in rates if not rate.inclusive)
    standing: Standing = "pending" if invoice is None else standing_of(statuses[invoice])
    return Thing(
        id=word_of(item, "id"),
        batch=word_of(metadata, BATCH),
        content=text_of(metadata, CONTENT),
        kind="tax" if metadata.get(PART) == "tax" else "item",
        gross=amount + on_top,
        tax=_units(metadata.get(TAX)),
        currency=word_of(item, "currency").upper(),
        day=text_of(metadata, DAY),
        invoice=invoice,
        standing=standing,
    )


def thing_of_note(note: Mapping[str, Any]) -> Thing:
    """Return a credit note of ours. Raises Unreadable."""
    metadata = object_of(note, "metadata")
    return Thing(
        id=word_of(note, "id"),
        batch=word_of(metadata, BATCH),
        content=text_of(metadata, CONTENT),
        kind="note",
        gross=-whole_of(note, "total"),
        tax=_units(metadata.get(TAX)),
        currency=word_of(note, "currency").upper(),
        day=text_of(metadata, DAY),
        invoice=_id(note.get("invoice")),
        standing="void" if note.get("status") == "void" else "final",
    )


def standing_of(status: str) -> Standing:
    """Return how an invoice's items stand by its status."""
    return "draft" if status == "draft" else "final" if status in _FINAL else "void"


def invoice_of(thing: Mapping[str, Any]) -> str | None:
    """Return the id of the invoice that an item or a note is on."""
    return _id(thing.get("invoice"))


def is_of(thing: Mapping[str, Any], batch: str) -> bool:
    """Tell whether it bears the batch's name."""
    return bool(object_of(thing, "metadata").get(BATCH) == batch)


def place_of_things(things: Sequence[Thing]) -> Place | None:
    """Return where a batch is of which these are held, the newest first."""
    items = [thing for thing in things if thing.kind == "item"]
    taxes = [thing for thing in things if thing.kind == "tax"]
    if not things:
        return None
    whole = len(items) == 1 and len(taxes) <= 1 and len(items) + len(taxes) == len(things)
    whole = whole and {thing.invoice for thing in things} == {items[0].invoice}
    if whole:
        return Place(invoice=items[0].invoice, item=items[0].id, tax=taxes[0].id if taxes else None)
    return Place(invoice=things[0].invoice, item=things[0].id, whole=False)


def total(things: Iterable[Thing]) -> tuple[int, int]:
    """Return gross and tax of all. A void credit note gives nothing back; lines of a void invoice were billed."""
    counted = [thing for thing in things if not (thing.kind == "note" and thing.standing == "void")]
    return sum(thing.gross for thing in counted), sum(thing.tax for thing in counted)


def _id(given: Any) -> str | None:
    if given is None:
        return None
    return word_of(given, "id") if isinstance(given, Mapping) else word_of({"invoice": given}, "invoice")


def _units(text: Any) -> int:
    try:
        return int(text or 0)
    except (TypeError, ValueError):  # changed by hand
        return 0
