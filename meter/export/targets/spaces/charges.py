"""What booking systems share: a line is one charge of a member, with its batch's name in a text of the charge. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from meter.export.contract import Figures, Held, Outcome, Refused, Uncertain
from meter.export.http import Answer, outcome_of
from meter.export.payload import InvoiceLine, LineItem
from meter.export.targets.books import batch_in, described, marked, traced
from meter.export.targets.spaces.settings import ID, Rules
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import ZERO, rounded_minor
from meter.store.engine import decode_json

Json: TypeAlias = Mapping[str, Any]

# None of them says how long a text may be; what holds names in a database commonly takes 255 characters.
TEXT_CHARS_MAX: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What creates a charge."""

    path: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list of charges. `optional`: that it is not there says that nothing is on it.

    `settles`: where it shows anything at all, what it does not show is not there. One that is empty may be so because
    its filter means something else than it says, and the next list is read.
    """

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    settles: bool = False


class Vendor(ABC):
    """One vendor: lines as its requests, its answers as outcomes and as what it holds."""

    name: str
    rules: Rules
    # What to do about a refusal, by its status, and where we are let in no more.
    remedies: Mapping[int, str]
    access: str

    @abstractmethod
    def post(self, item: LineItem, batch: str) -> Post:
        """Return what creates the charge. Raises BadInput, saying what to set, where it cannot be made."""

    @abstractmethod
    def id_of(self, content: Any) -> str | None:
        """Return what the vendor calls the charge that it says it has made; None where it does not say so."""

    @abstractmethod
    def places(self, item: LineItem) -> Sequence[Listing]:
        """Return the lists of which at least one shows the item's charge, in the order in which they are to be read."""

    @abstractmethod
    def span(self, since: date, until: date) -> Listing:
        """Return the list of all charges of days in [since, until)."""

    @abstractmethod
    def records(self, content: Any) -> Sequence[Json] | None:
        """Return what a page of a list holds; None where it is none."""

    @abstractmethod
    def held(self, record: Json) -> Held | None:
        """Return what a charge on a list comes to; None where it is not ours. Raises Unreadable."""

    def customer(self, item: LineItem) -> str:
        """Return the id of whom the charge is of."""
        return item.customer

    def following(self, content: Any, asked: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return what to ask for the page behind one that was `asked` for; None where it was the last."""
        del content, asked
        return None

    def outcome(self, answer: Answer) -> Outcome:
        """Return what an answer that names nothing it has made makes of an item."""
        if 200 <= answer.status < 300:
            return Uncertain(f"answered {answer.status}, and nothing of what it has made or holds")
        outcome = outcome_of(answer.status, answer.headers, answer.body, access=self.access)
        remedy = self.remedies.get(answer.status)
        return Refused(f"{outcome.reason}; {remedy}") if isinstance(outcome, Refused) and remedy else outcome

    def amount(self, line: InvoiceLine) -> Decimal:
        """Return what a charge for the line is of."""
        return line.gross if self.rules.gross else line.net

    def tax(self, line: InvoiceLine) -> Decimal | None:
        """Return the tax that the vendor computes from the amount, as far as we know; None where we do not."""
        if line.tax is None or line.tax.rate is None:
            return ZERO if line.tax is None else None
        amount, rate = self.amount(line), line.tax.rate
        taxed = amount * rate / (1 + rate) if self.rules.gross else amount * rate
        return rounded_minor(taxed, self.rules.currency)

    def figures(self, item: LineItem) -> Figures:
        """Return what the vendor must hold of an item: the amount alone, for the tax is its own."""
        return Figures(lines=1, net=self.amount(item.line), currency=item.currency)

    def checked(self, item: LineItem) -> None:
        """Return where a charge can say what the item says. Raises BadInput."""
        if item.currency != self.rules.currency:
            message = (
                f"a line in {item.currency}, and a charge at {self.name} is in {self.rules.currency}; bill the account "
                "elsewhere, or by a target whose options.currency is that"
            )
            raise BadInput(message, code="other_currency")
        if self.amount(item.line) < ZERO and not self.rules.credits:
            message = (
                f"{exact(self.amount(item.line))} {item.currency} to give back, and {self.name} does not say that it "
                "takes charges below zero: credit it there by hand, or set options.credits to send where it does, then "
                "retry the delivery"
            )
            raise BadInput(message, code="no_credits")
        if not ID.fullmatch(self.customer(item)):
            raise BadInput(f"account {item.account}: its customer is no id of {self.name}'s", code="bad_customer")


def exact(amount: Decimal) -> Decimal:
    """Return the amount as it is written into JSON: never as 1E+3."""
    return Decimal(format(amount, "f"))


def told(line: InvoiceLine, batch: str) -> str:
    """Return what a charge is called: what the member reads of it, and the batch's name."""
    return marked(traced(line), batch, chars_max=TEXT_CHARS_MAX)


def said(line: InvoiceLine) -> str:
    """Return what the member reads of a charge whose batch is named elsewhere."""
    return described(line)[:TEXT_CHARS_MAX]


def instant(moment: datetime) -> str:
    """Return the instant in UTC to the second, as JavaScript and .NET write it."""
    return instant_text(moment.replace(microsecond=0))


def content_of(answer: Answer) -> Any:
    """Return the answer's JSON, numbers exact; None where it is none."""
    try:
        return decode_json(answer.body)
    except msgspec.DecodeError:
        return None


def objects(found: Any) -> Sequence[Json] | None:
    """Return a list's objects; None where it is no list of objects."""
    return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else None


def holding(*, texts: Sequence[Any], remote_id: str, amount: Decimal, currency: str, void: bool = False) -> Held | None:
    """Return a charge under the batch that one of `texts` names; None where none does."""
    batch = next(filter(None, map(batch_in, texts)), None)
    if batch is None:
        return None
    figures = Figures(lines=1, net=amount, currency=currency)
    return Held(batch=batch, remote_id=remote_id, figures=figures, void=void)


def is_ours(*texts: Any) -> bool:
    """Tell whether one of a charge's texts names a batch: what else is in somebody else's is not looked at."""
    return any(map(batch_in, texts))
