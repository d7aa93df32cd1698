"""The answer to an ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from meter.model.charge import Line
from meter.model.errors import BadInput
from meter.model.money import EXACT, ZERO, rounded_minor
from meter.rating import grants
from meter.rating.book import charge_groups, tax_on
from meter.rating.evidence import Evidence
from meter.rating.facts import AccountFacts
from meter.rating.fold import rate_next
from meter.rating.measure import Contribution
from meter.rating.quote.allowance import Allowance, allowance
from meter.rating.quote.ask import Ask, counted
from meter.rating.quote.limits import LimitUse, Window, limits_on, plan_at
from meter.rating.resolve import subscription_at
from meter.rating.state import AccountState

Reason: TypeAlias = Literal["unknown_identity", "no_plan", "unpriced", "no_credit", "hard_limit"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
UNKNOWN_IDENTITY: Final = "unknown_identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What the ask would come to: allowed where `reasons` is empty.

    `line` is what its event would be billed as; None: nothing, because the day counts already, or nobody sells it.
    `tax` is what is on or in the line alone, which an invoice rounds together with others. `left`: of what was not
    allowed, how much would go by credit and limits of quantity; None: something else refuses it.
    """

    line: Line | None
    evidence: Evidence | None
    tax: Decimal
    reasons: tuple[Reason, ...]
    limits: tuple[LimitUse, ...]
    left: Decimal | None
    allowance: Allowance

    @property
    def allowed(self) -> bool:
        """Tell whether the answer is yes."""
        return not self.reasons

    @property
    def warned(self) -> bool:
        """Tell whether a limit warns."""
        return any(use.warned for use in self.limits)


def quote(
    facts: AccountFacts,
    state: AccountState,
    ask: Ask,
    *,
    at: datetime,
    reserved: Sequence[Ask] = (),
    used: Mapping[Window, Decimal] = MappingProxyType({}),
) -> Quote:
    """Return what the ask would come to at `at`, after what is `reserved`, as if all of it were used then.

    `state` is folded up to `at` and stays as it is. `used`: what the lines so far add up to in each of `limits_on`.
    Where the state has come further than `at`, by a device whose clock is ahead, it counts as asked there. Raises
    BadInput (`unknown_meter`): the catalog has no such meter.
    """
    at = at if state.position is None else max(at, state.position.time)
    meter = facts.catalogs.at(at).meters.get(ask.meter)
    if meter is None:
        raise BadInput(f"there is no meter {ask.meter[:60]!r} in the catalog", code="unknown_meter")
    with localcontext(EXACT):
        parts = counted(facts, [*reserved, ask], at, state.memory.copy())
        *before, (_, part) = parts
        after = rate_next(facts, state, [one for _, one in before if one is not None])
        folded = after if part is None else rate_next(facts, after.state, [part])
        line = None if part is None else next((one for one in folded.lines if one.key.id == ask.id), None)
        uses = _uses(facts, ask, at, used, after.lines, line)
        denies = _denies(facts, ask, at)
        reasons = _reasons(part, line, uses, denies=denies)
        taken = _taken(uses) if not reasons else uses
        return Quote(
            line=line,
            evidence=None if line is None else folded.evidence_of(line.key),
            tax=ZERO if line is None else _tax(line),
            reasons=reasons,
            limits=uses,
            left=_left(line, uses, reasons),
            allowance=allowance(facts, after.state if reasons else folded.state, ask, meter, at, taken, denies=denies),
        )


def _uses(  # noqa: PLR0917 -- an ask, what there was before it, and what it comes to
    facts: AccountFacts,
    ask: Ask,
    at: datetime,
    used: Mapping[Window, Decimal],
    reserved: Sequence[Line],
    line: Line | None,
) -> tuple[LimitUse, ...]:
    return tuple(
        LimitUse(
            window=window,
            used=used.get(window, ZERO) + window.total(reserved),
            asked=ZERO if line is None else window.of(line),
        )
        for window in limits_on(facts, ask, at)
    )


def _taken(uses: Sequence[LimitUse]) -> tuple[LimitUse, ...]:
    return tuple(replace(use, used=use.used + use.asked, asked=ZERO) for use in uses)


def _reasons(
    part: Contribution | None, line: Line | None, uses: Sequence[LimitUse], *, denies: bool
) -> tuple[Reason, ...]:
    if part is None:
        return ()  # the member's day is counted already
    if line is None:
        return ("unpriced",)
    found: list[Reason] = []
    if line.unpriced:
        found.append("no_plan" if line.plan is None else "unpriced")
    if denies and _owes(line):
        found.append("no_credit")
    if any(use.exceeded for use in uses):
        found.append("hard_limit")
    return tuple(found)


def _owes(line: Line) -> bool:
    """Tell whether credit leaves something of the line: a quantity, unless money credit pays all of that."""
    paid = any(draw.unit == line.currency for draw in line.draws)
    return bool(line.billable) and (line.amount > ZERO or not paid)


def _denies(facts: AccountFacts, ask: Ask, at: datetime) -> bool:
    """Tell whether a grant that is for the ask's meter says that nothing is sold beyond credit."""
    plan = plan_at(facts, ask.member, at)
    held = subscription_at(account=facts.account.id, member=ask.member, instant=at, directory=facts.directory)
    planned = () if plan is None or held is None else plan.grants
    if any(grant.overage == "deny" and ask.meter in grant.meters for grant in planned):
        return True
    meter = facts.catalogs.at(at).meters[ask.meter]
    denying = {
        grants.given_id(grant)
        for grant in facts.directory.grants.get(facts.account.id, ())
        if grant.overage == "deny" and grant.span.covers(at)
    }
    return bool(denying) and any(
        one.id in denying and grants.in_scope(one, meter) for one in grants.given_instances(facts, ask.member)
    )


def _left(line: Line | None, uses: Sequence[LimitUse], reasons: Sequence[Reason]) -> Decimal | None:
    """Return how much of what was refused would go; None where nobody sells it, or a limit of money refuses it."""
    money = any(use.exceeded and use.window.limit.of == "money" for use in uses)
    if line is None or not reasons or money:
        return None
    found = [use.left for use in uses if use.exceeded and use.left is not None]
    if set(reasons) - {"hard_limit"}:
        found.append(line.covered)  # what has no price, or is not sold, is what credit leaves
    return min(found)


def _tax(line: Line) -> Decimal:
    """Return the tax of a line that stands alone."""
    if line.tax is not None and line.tax.amount is not None:
        return line.tax.amount
    _, group = charge_groups(line)
    return ZERO if group is None else tax_on(group, rounded_minor(line.amount, line.currency))
