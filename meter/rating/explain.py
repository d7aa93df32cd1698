"""Every charge explained from stored facts alone: to a member as text, to a program as JSON (rating.md, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from meter.model.catalog import Graduated, PassThrough, PerUnit
from meter.model.charge import Charge, Line, LineTax
from meter.model.directory import Claim, Directory, Link, Span
from meter.model.event import UsageEvent
from meter.model.instant import instant_text
from meter.model.money import ZERO, plain
from meter.rating.corrections import bills_the_same, reversed_line
from meter.rating.evidence import Evidence
from meter.rating.price import Step
from meter.rating.resolve import claim_at, link_at

# As the catalog writes them.
_MODEL_WORDS: Final = {PerUnit: "per_unit", Graduated: "graduated", PassThrough: "pass_through"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How an event came to its account; without `claim` by `member:` itself or as a guest of the walk-in account."""

    identity: str | None
    member: str | None
    account: str
    claim: Claim | None
    link: Link | None


def resolution_of(event: UsageEvent, line: Line, directory: Directory) -> Resolution:
    """Return how the event of `line` came to its account, with the directory as it is now."""
    claim = None if event.subject is None else claim_at(event.subject, event.time, directory)
    if claim is not None and claim.member != line.member:
        claim = None  # it has changed hands since the line was booked
    link = None if line.member is None else link_at(line.member, event.time, directory)
    return Resolution(identity=event.subject, member=line.member, account=line.account, claim=claim, link=link)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A charge with all that it follows from. `chain` is its line's charges in order, the charge among them.

    `recomputed` is what the fold gives today for the line that stands, None if nothing; `agrees` tells whether that is
    what stands booked.
    """

    charge: Charge
    chain: tuple[Charge, ...]
    events: tuple[UsageEvent, ...]
    resolution: Resolution | None
    recomputed: Line | None
    evidence: Evidence | None
    agrees: bool

    def text(self) -> str:
        """Return the explanation as lines of text."""
        charge, line = self.charge, self.charge.line
        out = [f"Charge {charge.id} ({charge.role}): {short_text(charge)}"]
        out += [f"Event: {e.type} {e.id} from {e.source} at {instant_text(e.time)}" for e in self.events]
        if self.resolution is not None:
            out.append(_resolution_text(self.resolution))
        dimensions = "".join(f", {name} = {_json_text(value)}" for name, value in line.dimensions.items())
        out.append(f"Meter: {line.meter}, {plain(line.quantity)} {line.unit}{dimensions}")
        if self.evidence is not None and self.recomputed is not None:
            again = self.recomputed
            if not self._is_of_charge():
                figures = f"{plain(again.quantity)} {again.unit}, {plain(again.amount)} {again.currency}"
                out.append(f"The line as the facts give it now: {figures}")
            out += _evidence_text(self.evidence, again)
        out.append(
            f"Amount: {plain(line.amount)} {line.currency}, booked as {plain(charge.rounded)}{_tax_text(charge)}"
        )
        if len(self.chain) > 1:
            out.append("Chain: " + " -> ".join(_link_text(member) for member in self.chain))
        out.append(self._verdict())
        return "\n".join(out)

    def _is_of_charge(self) -> bool:
        """Tell whether the arithmetic shown is that of the charge itself, and not of what took its place."""
        return self.recomputed is not None and bills_the_same(self.charge.line, self.recomputed)

    def _verdict(self) -> str:
        if self.agrees:
            return "Computed again from the stored facts: the same."
        stands = _standing(self.chain)
        booked = "nothing" if stands is None else f"{plain(stands.line.amount)} {stands.line.currency}"
        again = self.recomputed
        now = "nothing" if again is None else f"{plain(again.amount)} {again.currency}"
        return f"Computed again from the stored facts it DIFFERS: {now}; what stands booked is {booked}."

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values: numbers as strings, instants in UTC."""
        line, evidence = self.charge.line, self.evidence
        return {
            "charge": self.charge.id,
            "role": self.charge.role,
            "events": [_event_json(event) for event in self.events],
            "resolution": None if self.resolution is None else _resolution_json(self.resolution),
            "meter": line.meter,
            "plan": line.plan,
            "dimensions": dict(line.dimensions),
            "quantity": plain(line.quantity),
            "unit": line.unit,
            "covered": plain(line.covered),
            "billable": plain(line.billable),
            "arithmetic_of": "charge" if self._is_of_charge() else "recomputed",
            "grants": [] if evidence is None else _draws_json(evidence),
            "price": None if evidence is None else _price_json(evidence),
            "amount": plain(line.amount),
            "rounded": plain(self.charge.rounded),
            "currency": line.currency,
            "tax": _tax_json(self.charge),
            "chain": [_chain_json(member) for member in self.chain],
            "recomputed": {
                "agrees": self.agrees,
                "amount": None if self.recomputed is None else plain(self.recomputed.amount),
                "quantity": None if self.recomputed is None else plain(self.recomputed.quantity),
            },
            "text": self.text(),
        }


def explain(
    charge: Charge,
    chain: Sequence[Charge],
    events: Sequence[UsageEvent],
    *,
    recomputed: Line | None,
    evidence: Evidence | None = None,
    resolution: Resolution | None = None,
) -> Explanation:
    """Return the explanation of `charge`.

    `chain` is every charge of its line in order of revision; `recomputed` and `evidence` come from a traced fold of the
    account as the facts are now, `evidence` for the same line.
    """
    stands = _standing(chain)
    if stands is None or recomputed is None:
        agrees = stands is None and recomputed is None
    else:
        agrees = bills_the_same(stands.line, recomputed)
    return Explanation(
        charge=charge,
        chain=tuple(chain),
        events=tuple(events),
        resolution=resolution,
        recomputed=recomputed,
        evidence=evidence,
        agrees=agrees,
    )


def _standing(chain: Sequence[Charge]) -> Charge | None:
    """Return the charge of a chain that stands: the last, unless it is a reversal."""
    return None if not chain or chain[-1].role == "reversal" else chain[-1]


def short_text(charge: Charge) -> str:
    """Return a charge's arithmetic in one line, from the charge alone."""
    line = charge.line
    unit, currency = line.unit, line.currency
    if charge.role == "reversal":
        taken_back = reversed_line(line)
        return (
            f"takes back {plain(taken_back.quantity)} {unit}, {plain(taken_back.amount)} {currency} ({charge.corrects})"
        )
    if line.settlement == "paid":
        tip = "" if not line.tip else f", tip {plain(line.tip)}"
        return f"paid at the till: {plain(line.amount)} {currency} net{_tax_text(charge)}{tip}"
    said = f"{plain(line.quantity)} {unit}"
    if line.draws:
        drawn = " and ".join(f"{plain(draw.amount)} from {draw.grant}" for draw in line.draws)
        said += f", {drawn}, leaves {plain(line.billable)}"
    if line.unpriced:
        return f"{said}; no price applies yet"
    if line.covered and not line.billable:
        return f"{said}; covered by credit"
    return f"{said}; {_by(line)}{plain(line.amount)} {currency}"


def _by(line: Line) -> str:
    return "" if line.price is None else f"price {line.price}: "


def _resolution_text(resolution: Resolution) -> str:
    if resolution.member is None:
        return f"Account: {resolution.account}, the site's account for guests without a known identity"
    named = "" if resolution.identity is None else f"{resolution.identity} is "
    since = "" if resolution.claim is None else _span_text(resolution.claim.span)
    linked = "" if resolution.link is None else _span_text(resolution.link.span)
    return f"Member: {named}{resolution.member}{since}, of account {resolution.account}{linked}"


def _span_text(span: Span) -> str:
    start = "" if span.start is None else f" since {instant_text(span.start)}"
    return start + ("" if span.end is None else f" until {instant_text(span.end)}")


def _evidence_text(evidence: Evidence, line: Line) -> list[str]:
    out = []
    for draw in evidence.draws:
        verb = "covers" if draw.amount > ZERO else "is given back"
        left = plain(draw.balance - draw.amount)
        out.append(
            f"Credit: {draw.instance} had {plain(draw.balance)} of {plain(draw.granted)}, "
            f"{verb} {plain(abs(draw.amount))}, has {left} left"
        )
    if evidence.note is not None:
        out.append(f"Not priced: {evidence.note}")
    if evidence.price is not None and line.billable:
        out.append(
            f"Price: {evidence.price.id} of plan {line.plan}; "
            f"in this period {plain(evidence.before)} {line.unit} so far, then {plain(evidence.after)}"
        )
        out += [f"  {_step_text(step, line)}" for step in evidence.steps]
        out.append(
            f"  {plain(evidence.paid_after)} - {plain(evidence.paid_before)} = "
            f"{plain(evidence.paid_after - evidence.paid_before)} {line.currency}"
        )
    return out


def _step_text(step: Step, line: Line) -> str:
    upper = "" if step.up_to is None else f" up to {plain(step.up_to)}"
    tier = f" (above {plain(step.above)}{upper})" if step.above or upper else ""
    flat = "" if not step.flat else f" + {plain(step.flat)} flat"
    return f"{plain(step.units)} {line.unit} x {plain(step.unit_price)}{flat} = {plain(step.amount)}{tier}"


def _tax_text(charge: Charge) -> str:
    tax = charge.line.tax
    if tax is None:
        return ""
    sign = "including" if tax.inclusive else "plus"
    rate = "" if tax.rate is None else f" ({_percent(tax.rate)} %)"
    return f", {sign} {plain(charge.tax_amount)} {tax.name}{rate}"


def _percent(rate: Decimal) -> str:
    return plain(rate * 100)


def _link_text(charge: Charge) -> str:
    return f"{charge.id} {charge.role} {plain(charge.line.amount)}"


def _json_text(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value).lower() if isinstance(value, bool) else str(value)


def _event_json(event: UsageEvent) -> dict[str, Any]:
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "time": instant_text(event.time),
        "timed": event.timed,
        "subject": event.subject,
        "data": dict(event.data),
    }


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _resolution_json(resolution: Resolution) -> dict[str, Any]:
    claim, link = resolution.claim, resolution.link
    return {
        "identity": resolution.identity,
        "member": resolution.member,
        "account": resolution.account,
        "claim": claim and {"member": claim.member, "from": _when(claim.span.start), "to": _when(claim.span.end)},
        "link": link and {"account": link.account, "from": _when(link.span.start), "to": _when(link.span.end)},
    }


def _draws_json(evidence: Evidence) -> list[dict[str, str]]:
    return [
        {
            "grant": draw.instance,
            "granted": plain(draw.granted),
            "before": plain(draw.balance),
            "amount": plain(draw.amount),
            "after": plain(draw.balance - draw.amount),
        }
        for draw in evidence.draws
    ]


def _price_json(evidence: Evidence) -> dict[str, Any]:
    price = evidence.price
    return {
        "id": None if price is None else price.id,
        "model": None if price is None else _MODEL_WORDS[type(price.model)],
        "note": evidence.note,
        "before": {"quantity": plain(evidence.before), "amount": plain(evidence.paid_before)},
        "after": {"quantity": plain(evidence.after), "amount": plain(evidence.paid_after)},
        "steps": [
            {
                "above": plain(step.above),
                "up_to": None if step.up_to is None else plain(step.up_to),
                "units": plain(step.units),
                "unit_price": plain(step.unit_price),
                "flat": plain(step.flat),
                "amount": plain(step.amount),
            }
            for step in evidence.steps
        ],
    }


def _tax_json(charge: Charge) -> dict[str, Any] | None:
    tax: LineTax | None = charge.line.tax
    if tax is None:
        return None
    rate = None if tax.rate is None else plain(tax.rate)
    return {"name": tax.name, "rate": rate, "inclusive": tax.inclusive, "amount": plain(charge.tax_amount)}


def _chain_json(charge: Charge) -> dict[str, Any]:
    return {
        "id": charge.id,
        "role": charge.role,
        "quantity": plain(charge.line.quantity),
        "amount": plain(charge.line.amount),
        "rounded": plain(charge.rounded),
        "corrects": charge.corrects,
        "reason": charge.reason,
        "booked_at": instant_text(charge.booked_at),
    }
