"""Square's payments: each completed one is a sale, as the payment tells it or with the lines of its order.

    payment ─▶ plain sale, at once        : id PAYMENT:0 without a customer, PAYMENT:1 with one
            └▶ source.changed "sale" ─▶ order ─▶ detailed sale : PAYMENT:2, PAYMENT:3

- The thing (`order`) is the payment: an order may be paid by several, and each of them counts.
- All states of a sale have the payment's time, so the one with the greatest id counts, whichever came first
  (rating.md, section 2). Behind the rank stands a digest of what the sale holds: fees that become known later change
  nothing, the same sale is a duplicate.
- A payment knows no taxes and no items: the plain sale is one line with the whole amount.
- What pays an invoice may pay one of ours, whose lines are in the books: nothing is said of it before its order was
  read, and without `api_key` it is refused. An order of ours takes back what was said of its payments all the same.
- A payment taken offline counts when the till took it, not when it reached Square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import SALE, Json
from meter.model.instant import instant_text, parse_instant
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import TimeFlag, changed, digest, refused, usage_event, voided
from meter.sources.pos.square_money import is_object_id, is_ours, money, opt_minor, text_of
from meter.sources.pos.square_own import pays_invoice
from meter.sources.spec import Setup

# Square keeps offline payments for at most three days; a till that says more than a week has no clock to trust.
_OFFLINE_MAX: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A completed payment: amounts in the smallest unit, `amount` without the tip. `invoice`: it pays one."""

    id: str
    currency: str
    amount: int
    tip: int
    total: int
    customer: str | None
    order: str | None
    on_account: bool
    time: datetime
    flag: TimeFlag | None = None
    invoice: bool = False


def payment_of(setup: Setup, payment: Fields) -> Payment | None:
    """Return a payment as the API and the webhooks tell it; None where it is not completed or another source's.

    Raises BadInput.
    """
    if payment.opt_text("status") != "COMPLETED" or not is_ours(setup, payment):
        return None
    amount, currency = money(payment, "amount_money")
    tip = opt_minor(payment, "tip_money", currency) or 0
    total = opt_minor(payment, "total_money", currency)
    time, flag = _taken_at(payment)
    return Payment(
        id=payment.text("id"),
        currency=currency,
        amount=amount,
        tip=tip,
        total=amount + tip if total is None else total,
        customer=payment.opt_text("customer_id"),
        order=payment.opt_text("order_id"),
        on_account=_is_on_account(setup, payment),
        time=time,
        flag=flag,
        invoice=pays_invoice(payment),
    )


def _taken_at(payment: Fields) -> tuple[datetime, TimeFlag | None]:
    created_at = parse_instant(payment.text("created_at"), what="the payment's created_at")
    offline = payment.opt_object("offline_payment_details")
    told = None if offline is None else offline.opt_text("client_created_at")
    if told is None:
        return created_at, None
    taken_at = parse_instant(told, what="the payment's client_created_at")
    return (taken_at, None) if taken_at <= created_at <= taken_at + _OFFLINE_MAX else (created_at, "unset_clock")


def _is_on_account(setup: Setup, payment: Fields) -> bool:
    """Tell whether the payment's kind begins with one of those that mean a house account."""
    external = payment.opt_object("external_details")
    words = [payment.opt_text("source_type"), *([external.opt_text(n) for n in ("type", "source")] if external else [])]
    kind = ":".join(word or "" for word in words).lower() + ":"
    return any(
        kind.startswith(entry.lower().rstrip(":") + ":")
        for entry in setup.options["house_accounts"]
        if isinstance(entry, str) and entry.strip(":")
    )


def of_payment(setup: Setup, payment: Fields, *, cause: str = "") -> Sequence[Parsed]:
    """Return what a payment becomes: its plain sale and, with `api_key`, the notice to fetch its order.

    Of one that pays an invoice only the notice, or a refusal. `cause` tells another reason to look apart from the
    first. Raises BadInput.
    """
    found = payment_of(setup, payment)
    if found is None:
        return ()
    notice = order_notice(setup, found, cause=cause)
    if not found.invoice:
        return [plain_sale(setup, found), *notice]
    if notice:
        return notice
    message = (
        "the payment is of an invoice, which may be the gateway's own; set api_key, by which its order is read, "
        "then hand it in again"
    )
    # As a webhook, so that it can be handed in again once there is a key.
    body = b'{"type":"payment.updated","data":{"object":{"payment":' + payment.body() + b"}}}"
    return [refused(BadInput(message, code="unknown_invoice"), body)]


def plain_sale(setup: Setup, payment: Payment) -> Parsed:
    """Return the sale as the payment alone tells it."""
    return _event(setup, payment, _plain(payment), rank=0)


def detailed_sale(setup: Setup, payment: Payment, lines: Sequence[Json]) -> Parsed:
    """Return the sale with the lines that the payment paid."""
    return _event(setup, payment, _sale(payment, lines), rank=2)


def own_sale(setup: Setup, payment: Payment) -> Sequence[Parsed]:
    """Return what takes the plain sale back, of a payment whose order turned out to be the export target's."""
    if payment.invoice:
        return ()
    plain = _event_id(payment, _plain(payment), rank=0)
    reason = "it pays an invoice of the gateway's own"
    return [voided(setup, kind="pos", id=f"own:{plain}", target=plain, reason=reason, time=payment.time)]


def order_notice(setup: Setup, payment: Payment, *, cause: str = "") -> Sequence[Parsed]:
    """Return the notice that the payment's order has the lines of its sale; nothing where it cannot be fetched.

    Each plain state of a sale is an object of its own, so each gets its detailed one in whatever order they come.
    """
    if not setup.fetched or not is_object_id(payment.order):
        return ()
    object_id = _event_id(payment, _plain(payment), rank=0)
    notice_id = ":".join(filter(None, ("sale", object_id, cause)))
    return [changed(setup, kind="sale", object_id=object_id, id=notice_id, payment=_facts(payment))]


def _plain(payment: Payment) -> dict[str, Json]:
    line = {"name": "Square payment", "quantity": "1", "amount": text_of(payment.amount, payment.currency)}
    if payment.on_account:
        # Whatever tax it holds is in the amount: none may be put on top.
        line["tax"] = text_of(0, payment.currency)
    return _sale(payment, [line])


def _sale(payment: Payment, lines: Sequence[Json]) -> dict[str, Json]:
    sale: dict[str, Json] = {
        "order": payment.id,
        "currency": payment.currency,
        "lines": list(lines),
        "total": text_of(payment.total, payment.currency),
        "settlement": "account" if payment.on_account else "paid",
    }
    if payment.tip:
        sale["tip"] = text_of(payment.tip, payment.currency)
    if payment.order is not None:
        sale["square_order"] = payment.order
    return sale


def _event(setup: Setup, payment: Payment, sale: Mapping[str, Json], *, rank: int) -> Parsed:
    return usage_event(
        setup,
        kind="pos",
        id=_event_id(payment, sale, rank=rank),
        type=SALE,
        time=payment.time,
        flag=payment.flag,
        subject=None if payment.customer is None else f"square:{payment.customer}",
        data=sale,
    )


def _event_id(payment: Payment, sale: Mapping[str, Json], *, rank: int) -> str:
    return f"{payment.id}:{rank + (payment.customer is not None)}:{digest(sale, payment.customer)}"


def _facts(payment: Payment) -> dict[str, Json]:
    """Return what the fetch needs to know of the payment: `fetched_for` reads it."""
    return {
        "id": payment.id,
        "currency": payment.currency,
        "amount": payment.amount,
        "tip": payment.tip,
        "total": payment.total,
        "customer": payment.customer,
        "order": payment.order,
        "on_account": payment.on_account,
        "time": instant_text(payment.time),
        "flag": payment.flag,
        **({"invoice": True} if payment.invoice else {}),
    }


def fetched_for(wanted: Mapping[str, Json]) -> Payment:
    """Return the payment that a notice of ours speaks of. Raises BadInput."""
    facts = Fields(wanted.get("payment"), path="payment")
    flag = facts.opt_text("flag")
    if flag not in {None, "unset_clock"}:
        raise bad_payload("payment.flag is no flag of this source's")
    return Payment(
        id=facts.text("id"),
        currency=facts.text("currency"),
        amount=facts.integer("amount"),
        tip=facts.integer("tip"),
        total=facts.integer("total"),
        customer=facts.opt_text("customer"),
        order=facts.text("order"),
        on_account=facts.flag("on_account"),
        time=parse_instant(facts.text("time"), what="payment.time"),
        flag=None if flag is None else "unset_clock",
        invoice=facts.raw("invoice") is True,
    )
