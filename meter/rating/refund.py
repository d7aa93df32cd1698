"""Refunds: what a sale gives back, of the till's figures and of each line that it was billed with (rating.md, 8).

    refund ──amount──▶ share of the whole sale ─┐
           ──lines───▶ shares of its elements ──┴─▶ each line: money first, then draws, last drawn first

What a refund gives is what all refunds so far give less what those before it gave, so the last one gives the rest. A
refund stands at its own place, or right behind its sale where that is later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from meter.model.charge import REFUND_PART, Draw, Line, LineKey, changed
from meter.model.event import Json, UsageEvent
from meter.model.money import EXACT, ONE, ZERO, plain, round_amount, rounded_minor
from meter.model.period import Period
from meter.rating.sold import ALL, NOTHING, Billed, Returned, Sold, SoldDraw, SoldItem, SoldLine, sold, text_of
from meter.rating.values import number, segment

__all__ = ["Billed", "Refunded", "Sold", "refund", "sold", "stands_behind"]

# Refunds of amounts and of lines in turn multiply denominators; beyond this a share becomes the nearest fraction within
# it, which is the same at any rounding of ours.
_DENOMINATOR_MAX: Final = 10**40

Spread: TypeAlias = "tuple[Sold, tuple[str, ...]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """What a refund comes to: its lines, the credit returned by instance, the sale after it, and what did not count.

    Draws and returns are in the measure of the sale's draws: seconds for a unit of time.
    """

    lines: tuple[Line, ...]
    returns: tuple[tuple[str, Decimal], ...]
    sold: Sold
    notes: tuple[str, ...] = ()


def stands_behind(event: UsageEvent, sale: Sold) -> bool:
    """Tell whether the refund stands right behind its sale, because its own place comes before."""
    return event.position < sale.position


def refund(
    event: UsageEvent,
    sale: Sold,
    *,
    account: str,
    period: Period,
    instance_for: Callable[[str], str] = str,
) -> Refunded:
    """Return what `event` gives back of `sale`: nothing unless it is completed, never more than is left.

    `period` is that of the refund's place. `instance_for` names the instance that gets the credit of another, which may
    have expired. Where data has an `amount`, its `lines` are passed over.
    """
    if event.data.get("status") != "completed":
        return Refunded(lines=(), returns=(), sold=sale)
    currency = event.data.get("currency")
    if currency != sale.currency:
        note = f"the refund is in {currency!s:.40}, its sale in {sale.currency}"
        return Refunded(lines=(), returns=(), sold=sale, notes=(note,))
    with localcontext(EXACT):
        if event.data.get("amount") is not None:
            after, notes = _of_amount(sale, number(event.data["amount"]))
        else:
            after, notes = _of_lines(sale, event.data.get("lines"))
        writer = _Writer(
            event=event, before=sale, after=after, account=account, period=period, instance_for=instance_for
        )
        write = writer.paid if sale.settlement == "paid" else writer.on_account
        lines = tuple(line for sold_line in sale.lines if (line := write(sold_line)) is not None)
    return Refunded(lines=lines, returns=tuple(writer.returned.items()), sold=writer.after, notes=notes)


# --- how much of the sale has been given back -------------------------------------------------------------------------


def _of_amount(sale: Sold, amount: Decimal | None) -> Spread:
    """Return the sale after a refund of `amount`, gross: the same share of everything that is left."""
    if amount is None or amount <= ZERO:
        return sale, ("amount is no number above 0",)
    if sale.left <= ZERO:
        return sale, ("nothing is left to refund",)
    notes = (f"only {plain(sale.left)} is left of the sale",) if amount > sale.left else ()
    if amount >= sale.left:
        return _wholly(sale), notes
    share = Fraction(amount) / Fraction(sale.left)
    items = tuple(_more(item, share * (ALL - item.given)) for item in sale.items)
    after = replace(sale, items=items, tip_given=_tame(sale.tip_given + share * (ALL - sale.tip_given)))
    return replace(after, returned=_split(after, sale.returned.gross + amount)), notes


def _of_lines(sale: Sold, lines: Json) -> Spread:
    """Return the sale after a refund of elements, each matched by `sku`, else by `name`; their amounts are net."""
    items, notes = list(sale.items), []
    for element in lines if isinstance(lines, list | tuple) else ():
        if isinstance(element, Mapping):
            note = _take(items, element)
            notes += [note] if note is not None else []
    after = replace(sale, items=tuple(items))
    if after == sale:
        return sale, tuple(notes)
    if all(item.given == ALL for item in items) and not sale.tip:
        return _wholly(sale), tuple(notes)
    net = _minor(_exact(after, "net"), sale.currency)
    tax = _minor(_exact(after, "tax"), sale.currency)
    before = sale.returned
    gross = min(before.gross + (net - before.net) + (tax - before.tax), sale.total)
    return replace(after, returned=Returned(gross, net, tax, before.tip)), tuple(notes)


def _take(items: list[SoldItem], element: Mapping[str, Json]) -> str | None:
    """Give back what a refund's element says of the sale's, changing `items`; return why not all of it counts."""
    amount = number(element.get("amount"))
    if amount is None:
        return "lines.amount is missing or not a number"
    label = text_of(element, "sku") or text_of(element, "name") or ""
    matches = _matches(items, element)
    if not matches:
        return _take_from_all(items, amount) or f"no line of the sale is {label!r:.80}: spread over all of them"
    open_first = sorted(matches, key=lambda n: items[n].given == ALL)
    for n in open_first:
        item = items[n]
        if not item.net:
            # Nothing was charged for it: how many of them were given back says how much of it was.
            quantity = number(element.get("quantity"))
            share = Fraction(quantity) / Fraction(item.quantity) if quantity and item.quantity else ALL
            items[n] = _more(item, max(share, NOTHING))
            return None
        left = Fraction(item.net) * (ALL - item.given)
        if not left:
            continue
        share = min(Fraction(amount) / left, ALL)
        if share < NOTHING:
            return f"the amount of {label!r:.80} has another sign than the sale's"
        items[n] = _more(item, share * (ALL - item.given))
        if share < ALL:
            return None
        amount -= _decimal(left)
    return f"more of {label!r:.80} than is left of it" if amount else None


def _take_from_all(items: list[SoldItem], amount: Decimal) -> str | None:
    """Give back a net amount of all elements alike."""
    left = sum((Fraction(item.net) * (ALL - item.given) for item in items), NOTHING)
    if left <= 0 or amount <= ZERO:
        return "nothing is left to refund" if left <= 0 else "lines.amount is no number above 0"
    share = min(Fraction(amount) / left, ALL)
    items[:] = [_more(item, share * (ALL - item.given)) for item in items]
    return None


def _matches(items: Sequence[SoldItem], element: Mapping[str, Json]) -> list[int]:
    sku, name = text_of(element, "sku"), text_of(element, "name")
    found = [n for n, item in enumerate(items) if sku is not None and item.sku == sku]
    return found or [n for n, item in enumerate(items) if name is not None and item.name == name]


def _more(item: SoldItem, share: Fraction) -> SoldItem:
    return item._replace(given=min(_tame(item.given + share), ALL))


def _tame(share: Fraction) -> Fraction:
    return share if share.denominator <= _DENOMINATOR_MAX else share.limit_denominator(_DENOMINATOR_MAX)


def _wholly(sale: Sold) -> Sold:
    return replace(
        sale,
        items=tuple(item._replace(given=ALL) for item in sale.items),
        tip_given=ALL,
        returned=Returned(sale.total, sale.net, sale.tax, sale.tip),
    )


def _split(sale: Sold, gross: Decimal) -> Returned:
    """Return `gross`, all that has been given back, split into minor units: the parts sum to it.

    What is not the till's own gap is split into tip and sale, and that into tax and net: in two, so no part falls.
    """
    gap = sale.total - sale.net - sale.tax - sale.tip
    rest = gross - _minor(Fraction(gap) * Fraction(gross) / Fraction(sale.total), sale.currency)
    net, tax, tip = _exact(sale, "net"), _exact(sale, "tax"), Fraction(sale.tip) * sale.tip_given
    tipped = _minor(Fraction(rest) * tip / (net + tax + tip), sale.currency) if net + tax + tip else ZERO
    rest -= tipped
    taxed = _minor(Fraction(rest) * tax / (net + tax), sale.currency) if net + tax else ZERO
    return Returned(gross, rest - taxed, taxed, tipped)


def _exact(sale: Sold, figure: str) -> Fraction:
    return sum((Fraction(getattr(item, figure)) * item.given for item in sale.items), NOTHING)


def _minor(amount: Fraction, currency: str) -> Decimal:
    return rounded_minor(_decimal(amount), currency)


def _decimal(number: Fraction) -> Decimal:
    """Return the number to 96 digits: exact wherever rounding could be a tie."""
    return EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))


# --- what that is of a line -------------------------------------------------------------------------------------------


class _OfDraw(NamedTuple):
    """Of a draw, what a share of it comes to, and what that covered."""

    amount: Decimal
    covered: Decimal


class _Given(NamedTuple):
    """Of a line, what a share of it comes to: money, a quantity, and of each of its draws."""

    money: Decimal
    quantity: Decimal
    draws: tuple[_OfDraw, ...]


def _given(line: SoldLine, share: Fraction) -> _Given:
    """Return what `share` of the line's value is: first the money charged, then the draws, the last one first.

    The value of a line is what was charged and what its draws were worth. Where nothing or less was charged, the money
    takes its own share.
    """
    if share == ALL:
        return _Given(line.amount, line.quantity, tuple(_OfDraw(draw.amount, draw.covered) for draw in line.draws))
    worths = _worths(line)
    charged = max(Fraction(line.amount), NOTHING)
    rest = (charged + sum(worths, NOTHING)) * share
    money = min(charged, rest)
    rest -= money
    shares: list[Fraction] = []
    for worth in reversed(worths):
        taken = min(worth, rest)
        rest -= taken
        shares.append(taken / worth if worth else share)
    shares.reverse()
    return _Given(
        money=_figure(money if line.amount > ZERO else Fraction(line.amount) * share),
        quantity=_figure(Fraction(line.quantity) * share),
        draws=tuple(
            _OfDraw(_part_of(draw.amount, part), _part_of(draw.covered, part))
            for draw, part in zip(line.draws, shares, strict=True)
        ),
    )


def _part_of(figure: Decimal, share: Fraction) -> Decimal:
    return min(_figure(Fraction(figure) * share), figure)


def _before_money(line: SoldLine) -> Decimal:
    """Return what the line cost before money grants."""
    return max(line.amount, ZERO) + sum((draw.amount for draw in line.draws if draw.money), ZERO)


def _worths(line: SoldLine) -> list[Fraction]:
    """Return what each draw was worth: a money draw its amount, another what it covered at the price of the line.

    That price is what the rest of the line cost before money grants; without a rest any will do, for then all the worth
    is theirs.
    """
    whole = _before_money(line)
    price = Fraction(whole) / Fraction(line.billable) if line.billable > ZERO and whole > ZERO else ALL
    measure = sum((draw.covered for draw in line.draws if not draw.money), ZERO)
    covered = Fraction(line.covered) * price
    return [
        Fraction(draw.amount) if draw.money else covered * Fraction(draw.covered) / Fraction(measure or ONE)
        for draw in line.draws
    ]


def _figure(number: Fraction) -> Decimal:
    return round_amount(_decimal(number))


def _share_of(line: SoldLine, sale: Sold) -> Fraction:
    if line.tip:
        return sale.tip_given
    return sale.share if line.item is None else sale.items[line.item].given


# --- the lines --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Writes the lines of one refund; `returned` collects what goes back to which instance."""

    event: UsageEvent
    before: Sold
    after: Sold
    account: str
    period: Period
    instance_for: Callable[[str], str]
    returned: dict[str, Decimal] = field(default_factory=dict)

    def paid(self, line: SoldLine) -> Line | None:
        """Return the line of what the till gave back."""
        gross, net, tax, tip = (new - old for new, old in zip(self.after.returned, self.before.returned, strict=True))
        if not (gross or net or tax or tip):
            return None
        quantity = _figure(Fraction(line.quantity) * self.after.share) - _figure(
            Fraction(line.quantity) * self.before.share
        )
        return changed(
            self._line(line, amount=net, quantity=quantity, covered=ZERO, draws=()),
            tax=line.tax and changed(line.tax, amount=-tax),
            settlement="paid",
            tip=-tip if self.before.tipped else None,
            total=-gross,
        )

    def on_account(self, line: SoldLine) -> Line | None:
        """Return the line of what a line gets back; None where that is nothing."""
        earlier = _given(line, _share_of(line, self.before))
        now = _given(line, _share_of(line, self.after))
        after, draws = line, []
        # The last drawn is returned first.
        for draw, new, old in reversed(list(zip(line.draws, now.draws, earlier.draws, strict=True))):
            # A negative line may have given back some of it.
            amount = min(new.amount - old.amount, draw.amount - draw.back)
            if amount:
                covered = min(new.covered - old.covered, draw.covered - draw.uncovered)
                after = after.with_draw(draw.returned(amount, covered))
                draws.append(self._back(draw, amount))
        money = now.money - earlier.money
        if not money and not draws:
            return None
        self.after = self.after.with_line(after)
        return self._line(
            line,
            amount=money,
            quantity=now.quantity - earlier.quantity,
            covered=after.uncovered - line.uncovered,
            draws=tuple(draws),
        )

    def _back(self, draw: SoldDraw, amount: Decimal) -> Draw:
        """Return credit to the instance that takes it."""
        name = self.instance_for(draw.instance)
        self.returned[name] = self.returned.get(name, ZERO) + amount
        return Draw(grant=name, unit=draw.unit, amount=-amount)

    def _line(
        self, line: SoldLine, *, amount: Decimal, quantity: Decimal, covered: Decimal, draws: tuple[Draw, ...]
    ) -> Line:
        event, sale = self.event, self.before
        return Line(
            key=self._key(line),
            account=self.account,
            member=sale.member,
            site=sale.site,
            meter=line.meter,
            plan=line.plan,
            kind="refund",
            event_type=sale.type if stands_behind(event, sale) else event.type,
            events=(event.key, sale.key),
            period=self.period,
            quantity=-quantity,
            unit=line.unit,
            covered=-covered,
            billable=covered - quantity,
            dimensions=line.dimensions,
            price=line.price,
            amount=-amount,
            currency=line.currency,
            tax=line.tax,
            draws=draws,
            unpriced=line.unpriced,
            # As the sale's, whatever the catalog says by now: what was shared of it comes back.
            shares=line.shares,
        )

    def _key(self, line: SoldLine) -> LineKey:
        """Return the key of the refund's line: by its own event, or by the sale's where it stands behind that."""
        event, part = self.event, REFUND_PART
        place = event.position
        if stands_behind(event, self.before):
            place = self.before.position
            part = f"{part}/{segment(event.source)}/{segment(event.id)}"
        if line.part:
            part = f"{line.part}/{part}"
        return LineKey(place.time, place.source, place.id, line.meter, line.element, part)
