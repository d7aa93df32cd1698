"""What Square holds of ours, by its own word: orders, and the refunds that name a batch. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from meter.export.contract import Figures, Held
from meter.export.targets.reading import object_of, objects_of, whole_of, word_of
from meter.export.targets.square.wanted import BATCH, CREDITS, ISSUED, LINE, TAX, Json, Wanted, major

# A refund has no metadata; its reason leads back, and says what of it is tax.
_MARK: Final = re.compile(r"\[meter:([a-z2-7]{32}) (\d{4}-\d\d-\d\d) (\d+) lines, tax (-?\d+)\]")
_REASON_CHARS_MAX: Final = 192
# Nothing comes of these any more.
_NO_REFUND: Final = frozenset({"REJECTED", "FAILED"})


class Sums(NamedTuple):
    """What an order comes to, in minor units: `total` with tax."""

    lines: int
    total: int
    tax: int
    currency: str


class Mark(NamedTuple):
    """What a refund's reason says: `tax` in minor units."""

    batch: str
    issued: date
    lines: int
    tax: int


def metadata_in(order: Json) -> Mapping[str, str]:
    """Return an order's metadata."""
    found = order.get("metadata")
    return found if isinstance(found, dict) else {}


def batch_in(order: Json) -> str | None:
    """Return the name of the batch that an order was made for."""
    return metadata_in(order).get(BATCH)


def sums_of(order: Json) -> Sums:
    """Return what an order comes to, taxes that are lines among its taxes. Raises Unreadable."""
    total = object_of(order, "total_money")
    lines, discounts = objects_of(order, "line_items"), objects_of(order, "discounts")
    tax = _amount(order, "total_tax_money")
    tax += sum(_amount(line, "base_price_money") for line in lines if _is(line, TAX))
    tax -= sum(_amount(line, "amount_money") for line in discounts if _is(line, TAX))
    count = sum(_is(line, LINE) for line in (*lines, *discounts))
    return Sums(count, whole_of(total, "amount"), tax, word_of(total, "currency"))


def held_of(orders: Iterable[Json], invoices: Mapping[str, Json], since: date, until: date) -> Iterable[Held]:
    """Give what is held of orders that were issued in [since, until); `invoices` are those over orders, by order.

    An order without an invoice is nothing yet, or nothing any more. One that a credit took back counts, as does the
    credit. Raises KeyError and ValueError for what Square does not document.
    """
    every = {word_of(order, "id"): order for order in orders}
    taken_back = {metadata_in(order)[CREDITS] for order in every.values() if CREDITS in metadata_in(order)}
    for id, order in every.items():
        found, batch = metadata_in(order), batch_in(order)
        if batch is None or not since.isoformat() <= found.get(ISSUED, "") < until.isoformat():
            continue
        if CREDITS in found:
            if is_taken_back(every.get(found[CREDITS])):
                yield _noted(batch, id, found)
            continue
        invoice = invoices.get(id)
        void = is_taken_back(order) or (invoice is not None and invoice.get("status") == "CANCELED")
        if void and id in taken_back:
            void = False
        elif invoice is None:
            continue
        remote_id = id if invoice is None else word_of(invoice, "id")
        yield Held(batch=batch, remote_id=remote_id, figures=figures_of(sums_of(order)), void=void)


def figures_of(sums: Sums) -> Figures:
    """Return sums in units of the currency."""
    lines, total, tax, currency = sums
    return Figures(lines=lines, net=major(total - tax, currency), tax=major(tax, currency), currency=currency)


def is_taken_back(order: Json | None) -> bool:
    """Tell whether an order counts no more: its invoice was cancelled, or deleted as a draft."""
    return order is not None and order.get("state") == "CANCELED"


def reason_of(wanted: Wanted) -> str:
    """Return a refund's reason."""
    invoice = wanted.invoice
    mark = f"[meter:{wanted.batch} {invoice.issued} {len(invoice.lines)} lines, tax {-wanted.tax}]"
    text = f"Correction of {invoice.credits}, {invoice.number}"
    return f"{text[: _REASON_CHARS_MAX - len(mark) - 1]} {mark}"


def mark_in(refund: Json) -> Mark | None:
    """Return what a refund of ours says of itself."""
    found = _MARK.search(str(refund.get("reason") or ""))
    return None if found is None else Mark(found[1], date.fromisoformat(found[2]), int(found[3]), int(found[4]))


def is_refunded(refund: Json) -> bool:
    """Tell whether the money goes back, or has gone."""
    return refund.get("status") not in _NO_REFUND


def held_refund(refund: Json, since: date, until: date) -> Held | None:
    """Return what is held of a refund of ours; None where it is somebody else's or another day's."""
    mark = mark_in(refund)
    if mark is None or not since <= mark.issued < until:
        return None
    amount = object_of(refund, "amount_money")
    sums = Sums(mark.lines, -whole_of(amount, "amount"), -mark.tax, word_of(amount, "currency"))
    return Held(
        batch=mark.batch, remote_id=word_of(refund, "id"), figures=figures_of(sums), void=not is_refunded(refund)
    )


def _noted(batch: str, id: str, found: Mapping[str, str]) -> Held:
    sums = Sums(int(found["lines"]), int(found["total"]), int(found["tax"]), found["currency"])
    return Held(batch=batch, remote_id=id, figures=figures_of(sums))


def _is(part: Json, prefix: str) -> bool:
    return str(part.get("uid") or "").startswith(prefix)


def _amount(of: Json, name: str) -> int:
    money = object_of(of, name)
    return whole_of(money, "amount") if money else 0
