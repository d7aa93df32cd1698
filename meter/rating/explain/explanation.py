"""All that a charge follows from, put together: as lines of text, as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import localcontext
from functools import cached_property
from typing import Any, Final

from meter.model.charge import Charge, Line
from meter.model.doubt import doubt_text
from meter.model.event import AMENDED, VOIDED, EventKey, UsageEvent
from meter.model.instant import instant_text
from meter.model.money import EXACT, plain
from meter.model.period import Periods, Terms
from meter.rating.corrections import bills_the_same, is_nothing
from meter.rating.evidence import Evidence
from meter.rating.explain.booked import Booked, booked_of, chain_json, chain_text, period_json
from meter.rating.explain.credit import Drawn, draws_of
from meter.rating.explain.due import Due, due_of
from meter.rating.explain.measured import Measured, measured_of
from meter.rating.explain.priced import Priced, priced_of, reduction_json, reduction_text, unpriced_json
from meter.rating.explain.refunded import Refund, refund_of
from meter.rating.explain.resolution import Resolution
from meter.rating.explain.short import short_text
from meter.rating.explain.till import till_json, till_text
from meter.rating.explain.words import length_text, value_text
from meter.rating.facts import AccountFacts
from meter.rating.measure import SameAct

_UTC: Final = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """The way from events to the exact amount of `line`, as the facts give it now."""

    line: Line
    measured: Measured | None
    draws: Sequence[Drawn]
    due: Due | None
    refund: Refund | None
    priced: Priced | None
    evidence: Evidence

    def text(self, site_zone: str, periods: Periods) -> list[str]:
        """Return it as lines of text: usage in its site's zone, what the calendar brings in the account's."""
        line, evidence = self.line, self.evidence
        out = [] if self.measured is None else [f"  {said}" for said in self.measured.text()]
        out += [] if self.due is None else self.due.text(line, periods)
        out += [] if self.refund is None else self.refund.text(line)
        out += [draw.text() for draw in self.draws if not draw.money]
        if evidence.note is not None and (line.unpriced or self.refund is not None):
            out.append(f"{'Note' if self.refund else 'Not priced'}: {evidence.note}")
        if self.priced is not None and (line.billable or self.due is not None):
            out += self.priced.text(line, site_zone)
        out += [reduction_text(reduction, line, site_zone) for reduction in evidence.reductions]
        return out + [draw.text() for draw in self.draws if draw.money]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A charge with all that it follows from. `chain` is its line's charges in order, the charge among them.

    `recomputed` is what the fold gives today for the line that stands, None if nothing; `agrees` tells whether that is
    what stands booked. `facts` None: the account is not known any more. `flags`: what the senders of events say against
    their times. `thinned`: the events that are movements of which only what a bill needs was kept.
    """

    charge: Charge
    chain: tuple[Charge, ...]
    events: tuple[UsageEvent, ...]
    resolution: Resolution | None
    recomputed: Line | None
    evidence: Evidence | None
    facts: AccountFacts | None
    agrees: bool
    flags: Mapping[EventKey, str] = field(default_factory=dict)
    thinned: Collection[EventKey] = ()

    @cached_property
    def _arithmetic(self) -> Arithmetic | None:
        """The way to the amount that the facts give now; None where they give nothing, or a till settled it."""
        line, evidence = self.recomputed, self.evidence
        if line is None or evidence is None:
            return None
        return Arithmetic(
            line=line,
            measured=self._measured(evidence),
            draws=draws_of(evidence, line, self.facts),
            due=due_of(evidence, line),
            refund=None if evidence.refund is None else refund_of(evidence.refund, line),
            priced=priced_of(evidence),
            evidence=evidence,
        )

    def _measured(self, evidence: Evidence) -> Measured | None:
        part, facts = evidence.part, self.facts
        if part is None or facts is None:
            return None
        events: dict[EventKey, UsageEvent] = {event.key: event for event in self.events}
        return measured_of(part, catalogs=facts.catalogs, events=events, told_again=evidence.told_again)

    @property
    def _same_act(self) -> SameAct | None:
        """Why there is no line any more, where the event turned out to tell of an act that another began."""
        return None if self.evidence is None else self.evidence.same_act

    @cached_property
    def _booked(self) -> Booked:
        return booked_of(self.charge)

    def text(self) -> str:
        """Return the explanation as lines of text."""
        with localcontext(EXACT):
            return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        charge, line = self.charge, self.charge.line
        periods = Periods(Terms(line.currency, _UTC)) if self.facts is None else self.facts.account.periods
        out = [f"Charge {charge.id} ({charge.role}): {short_text(charge)}"]
        out += [_event_text(event, self.flags.get(event.key), event.key in self.thinned) for event in self.events]
        if self.resolution is not None:
            out.append(self.resolution.text())
        dimensions = "".join(f", {name} = {value_text(value)}" for name, value in line.dimensions.items())
        out.append(f"Meter: {line.meter}, {plain(line.quantity)} {line.unit}{dimensions}")
        again = self.recomputed
        if again is not None and not self._is_of_charge():
            figures = f"{plain(again.quantity)} {again.unit}, {plain(again.amount)} {again.currency}"
            out.append(f"The line as the facts give it now: {figures}")
        if self._same_act is not None:
            out.append(f"  {_same_act_text(self._same_act)}")
        if self._arithmetic is not None:
            out += self._arithmetic.text(self._site_zone(self._arithmetic.line), periods)
        elif again is not None:
            out += till_text(again)
        out += self._booked.text(periods)
        out += chain_text(self.chain)
        out.append(self._verdict())
        return out

    def _site_zone(self, line: Line) -> str:
        return _UTC if self.facts is None else self.facts.catalogs.at(line.key.time).site(line.site).timezone

    def _is_of_charge(self) -> bool:
        """Tell whether the arithmetic shown is that of the charge itself, and not of what took its place."""
        return self.recomputed is not None and bills_the_same(self.charge.line, self.recomputed)

    def _verdict(self) -> str:
        if self.agrees:
            nothing = ": nothing is due, as booked." if self.recomputed is None else ": the same."
            return f"Computed again from the stored facts{nothing}"
        stands = standing(self.chain)
        booked = "nothing" if stands is None else f"{plain(stands.line.amount)} {stands.line.currency}"
        again = self.recomputed
        now = "nothing" if again is None else f"{plain(again.amount)} {again.currency}"
        return f"Computed again from the stored facts it DIFFERS: {now}; what stands booked is {booked}."

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values: numbers as strings, instants in UTC."""
        with localcontext(EXACT):
            return self._json()

    def _json(self) -> dict[str, Any]:
        charge, line, found = self.charge, self.charge.line, self._arithmetic
        return {
            "charge": charge.id,
            "role": charge.role,
            "kind": charge.kind,
            "events": [
                event_json(event, self.flags.get(event.key), event.key in self.thinned) for event in self.events
            ],
            "resolution": None if self.resolution is None else self.resolution.as_json(),
            "meter": line.meter,
            "plan": line.plan,
            "dimensions": dict(line.dimensions),
            "quantity": plain(line.quantity),
            "unit": line.unit,
            "covered": plain(line.covered),
            "billable": plain(line.billable),
            "estimated": line.estimated,
            "arithmetic_of": "charge" if self._is_of_charge() else "recomputed",
            "measured": found and found.measured and found.measured.as_json(),
            "same_act": self._same_act and _same_act_json(self._same_act),
            "due": found and found.due and found.due.as_json(),
            "refund": found and found.refund and found.refund.as_json(),
            "till": None if self.recomputed is None or found is not None else till_json(self.recomputed),
            "grants": [] if found is None else [draw.as_json() for draw in found.draws],
            "price": None if found is None else _price_json(found),
            "reductions": [] if found is None else [reduction_json(each) for each in found.evidence.reductions],
            "amount": plain(line.amount),
            "rounded": plain(charge.rounded),
            "rounding": self._booked.rounding_json(),
            "currency": line.currency,
            "tax": self._booked.tax_json(),
            "shares": self._booked.shares_json(),
            "earned_until": None if line.earned_until is None else instant_text(line.earned_until),
            "period": period_json(line.period),
            "invoice_period": period_json(charge.invoice_period),
            "chain": [chain_json(member) for member in self.chain],
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
    facts: AccountFacts | None = None,
    flags: Mapping[EventKey, str] | None = None,
    thinned: Collection[EventKey] = (),
) -> Explanation:
    """Return the explanation of `charge`.

    `chain` is every charge of its line in order of revision; `events` are those of the charge and of the line that
    stands now; `flags` says why the times of some are doubtful, `thinned` of which only what a bill needs was kept.
    `recomputed` and `evidence` come from a traced fold of the account by `facts`, for the same line.
    """
    if recomputed is not None and is_nothing(recomputed):
        recomputed = None
    stands = standing(chain)
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
        facts=facts,
        agrees=agrees,
        flags=flags or {},
        thinned=thinned,
    )


def standing(chain: Sequence[Charge]) -> Charge | None:
    """Return the charge of a chain that stands: the last, unless it is a reversal."""
    return None if not chain or chain[-1].role == "reversal" else chain[-1]


def _price_json(found: Arithmetic) -> dict[str, Any] | None:
    """Return the price; its place with the reason where none applied; None where none is asked for."""
    if found.priced is not None:
        return found.priced.as_json()
    return None if found.due is not None or found.refund is not None else unpriced_json(found.evidence)


def _same_act_text(act: SameAct) -> str:
    said = (
        f"within {length_text(timedelta(seconds=act.gap_s))} of {act.before.id} from {act.before.source}: the same act"
    )
    return said if act.first == act.before else f"{said}, which {act.first.id} from {act.first.source} began"


def _same_act_json(act: SameAct) -> dict[str, Any]:
    return {"debounce_seconds": act.gap_s, "before": act.before._asdict(), "first": act.first._asdict()}


def _event_text(event: UsageEvent, flag: str | None, thinned: bool) -> str:  # noqa: FBT001 -- told by place
    reason = event.data.get("reason")
    why = f" ({reason})" if event.type in {VOIDED, AMENDED} and isinstance(reason, str) else ""
    doubt = doubt_text(flag, timed=event.timed)
    said = f"Event: {event.type} {event.id} from {event.source} at {instant_text(event.time)}{why}"
    said = f"{said}; {doubt}" if doubt else said
    return f"{said}; of its data only what a bill needs was kept" if thinned else said


def event_json(event: UsageEvent, flag: str | None, thinned: bool) -> dict[str, Any]:  # noqa: FBT001 -- told by place
    """Return a raw event as JSON values."""
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "time": instant_text(event.time),
        "timed": event.timed,
        "time_flag": flag,
        "subject": event.subject,
        "thinned": thinned,
        "data": dict(event.data),
    }
