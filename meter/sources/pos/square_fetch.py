"""What is asked of Square's API for a notice, and what comes of the answer.

    kind      object            asked                      comes of it
    sale      a plain sale      its order                  the sale with lines, once the order is completed; nothing
                                                           where it is the export target's, the plain sale is void
    order     an order          itself                     "payment" for each that paid it
    payment   a payment         itself                     what a webhook of it becomes, "sale" and "again" once more
    refund    a refund's state  the payment                "return", or "several" for every other refund of it
    return    a refund's state  its return order           "returned", where articles came back
    returned  a refund's state  return and sold order      the refund by lines
    several   a refund          itself                     the refund by amount, for good
    again     a refund          itself                     what a webhook of it becomes, "refund" once more

An order that stays open after it was paid (to be picked up) has its lines when it is completed: then its own notice
leads back to its payments. Where the API still shows it open it is asked again: reading it raises BadInput. What Square
does not know, or what does not add up, is refused and not asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import changed, refused
from meter.sources.pos.square_money import is_object_id, is_ours
from meter.sources.pos.square_order import is_completed, paid_lines
from meter.sources.pos.square_own import is_own_order
from meter.sources.pos.square_payment import detailed_sale, fetched_for, of_payment, own_sale, plain_sale
from meter.sources.pos.square_refund import (
    lined_refund,
    of_refund,
    payment_notices,
    refund_for,
    refund_for_good,
    refunds_of,
    source_notice,
)
from meter.sources.spec import Answer, Fetch, Reading, Request, Setup

# Why a payment is looked at again; part of ids.
_COMPLETED: Final = "completed"


def completed_order(setup: Setup, order_id: Json) -> Sequence[Parsed]:
    """Return the notice that an order is completed: one for each order, however often Square says so."""
    if not setup.fetched or not is_object_id(order_id):
        return ()
    return [changed(setup, kind="order", object_id=order_id, id=f"order:{order_id}")]


def _get(call: str, argument: str, value: Json) -> Request:
    if not is_object_id(value):
        raise bad_payload(f"{str(value)[:60]!r} is no id of Square's")
    return Request(over="square", call=call, arguments={argument: value})


_Reader: TypeAlias = Callable[[Setup, Mapping[str, Json], Fields], Sequence[Parsed]]


def _read(read: _Reader, setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
    """Return what comes of an answer; what cannot be read or is not there is a refusal."""
    if answer.status in {404, 410}:
        message = f"Square knows no {wanted.get('kind')} {wanted.get('object')}; check whose api_key it is"
        return Reading([refused(bad_payload(message), answer.body)])
    try:
        return Reading(read(setup, wanted, Fields.of_json(answer.body)))
    except BadInput as unreadable:
        return Reading([refused(unreadable, answer.body)])


def _fetch(request: Callable[[Mapping[str, Json]], Request], read: _Reader) -> Fetch:
    return Fetch(
        request=lambda _setup, wanted: request(wanted),
        read=lambda setup, wanted, answer: _read(read, setup, wanted, answer),
    )


def _read_sale(setup: Setup, wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    payment, order = fetched_for(wanted), answer.object("order")
    if is_own_order(order):
        return own_sale(setup, payment)
    plain = [plain_sale(setup, payment)] if payment.invoice else []
    if not is_completed(order) or not (order.objects("line_items") or order.objects("service_charges")):
        return plain
    try:
        lines = paid_lines(order, payment=payment.id, amount=payment.amount, currency=payment.currency)
    except BadInput as error:
        return [*plain, refused(error, order.body())]
    return [*plain, detailed_sale(setup, payment, lines)]


def _read_order(setup: Setup, wanted: Mapping[str, Json], answer: Answer) -> Reading:
    """Return the notices of the order's payments. Raises BadInput where the API lags behind what Square said of it."""
    if answer.status == 200:
        shown = Fields.of_json(answer.body).object("order").opt_text("state")
        if shown in {"OPEN", "DRAFT"}:
            raise bad_payload(f"the order {wanted.get('object')} is completed and still shown as {shown}; asked again")
    return _read(_of_order, setup, wanted, answer)


def _of_order(setup: Setup, _wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    order = answer.object("order")
    if not is_completed(order) or not is_ours(setup, order) or is_own_order(order):
        return ()
    paid = {tender.opt_text("payment_id") or tender.text("id") for tender in order.objects("tenders")}
    return [
        changed(setup, kind="payment", object_id=payment, id=f"payment:{payment}:{_COMPLETED}")
        for payment in sorted(paid)
        if is_object_id(payment)
    ]


def _read_payment(setup: Setup, _wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    payment = answer.object("payment")
    sale = of_payment(setup, payment, cause=_COMPLETED)
    # What came back before the order was completed could not be looked into.
    refunds = refunds_of(payment) if sale else []
    return [*sale, *(changed(setup, kind="again", object_id=one, id=f"again:{one}") for one in refunds)]


def _read_refund(setup: Setup, wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    return payment_notices(setup, wanted, answer.object("payment"))


def _read_several(setup: Setup, _wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    return refund_for_good(setup, answer.object("refund"))


def _read_again(setup: Setup, _wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    return of_refund(setup, answer.object("refund"), cause=_COMPLETED)


def _read_return(setup: Setup, wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    return source_notice(setup, wanted, answer.object("order"))


def _read_returned(setup: Setup, wanted: Mapping[str, Json], answer: Fields) -> Sequence[Parsed]:
    refund = refund_for(wanted)
    orders = {order.text("id"): order for order in answer.objects("orders")}
    return_order, sale_order = orders.get(refund.order or ""), orders.get(str(wanted.get("source")))
    if return_order is None or sale_order is None:
        return ()
    return lined_refund(setup, refund, return_order, sale_order)


def _both_orders(wanted: Mapping[str, Json]) -> Request:
    ids = [refund_for(wanted).order, wanted.get("source")]
    if not all(is_object_id(order) for order in ids):
        raise bad_payload("an order's id is none of Square's")
    return Request(over="square", call="orders.batch_get", arguments={"order_ids": ids})


FETCHES: Final[Mapping[str, Fetch]] = {
    "sale": _fetch(lambda wanted: _get("orders.get", "order_id", fetched_for(wanted).order), _read_sale),
    "order": Fetch(
        request=lambda _setup, wanted: _get("orders.get", "order_id", wanted.get("object")), read=_read_order
    ),
    "payment": _fetch(lambda wanted: _get("payments.get", "payment_id", wanted.get("object")), _read_payment),
    "refund": _fetch(lambda wanted: _get("payments.get", "payment_id", refund_for(wanted).payment), _read_refund),
    "return": _fetch(lambda wanted: _get("orders.get", "order_id", refund_for(wanted).order), _read_return),
    "returned": _fetch(_both_orders, _read_returned),
    "several": _fetch(lambda wanted: _get("refunds.get", "refund_id", wanted.get("object")), _read_several),
    "again": _fetch(lambda wanted: _get("refunds.get", "refund_id", wanted.get("object")), _read_again),
}
