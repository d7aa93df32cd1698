"""Shapes: what a target makes of what was booked. Pure (decision 0014).

Booked ──▶ at_once ──▶ Draft                      whole contents, sent as they are
       └─▶ sort ─────▶ Put ─▶ bucket ─▶ draft ─▶ Draft     sums, sent when due
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from meter.export.gather.customers import Customers
from meter.export.payload import Content
from meter.model.catalog import Catalog
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.event import Json
from meter.model.journal import JournalEntry
from meter.store.closes import Closing

Reads: TypeAlias = Literal["charges", "entries"]
Span: TypeAlias = Literal["hour", "day"]
# One page is one transaction of some tens of milliseconds.
PAGE_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The facts of today by which references are resolved: catalog, accounts, and the accounts' invoicing targets.

    `now` is the clock at the time of gathering.
    """

    operator: str
    catalog: Catalog
    accounts: Mapping[str, Account]
    now: datetime

    def holder(self, account: str) -> Account:
        """Return an account; one that is not there any more has its id alone, and the operator's terms."""
        catalog = self.catalog
        gone = Account(id=account, name=account, currency=catalog.currency, timezone=catalog.timezone)
        return self.accounts.get(account) or gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What was read from the tail: in booking order. A target reads charges or entries, not both."""

    charges: Sequence[Charge] = ()
    entries: Sequence[JournalEntry] = ()


class Tally(msgspec.Struct, kw_only=True):
    """A running sum in a bucket: `figures` add up, `of` says what they are of, the same whenever they are added to."""

    of: dict[str, Json]
    figures: dict[str, Decimal]
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Something to add to the tally `key` of a bucket; a bucket and a tally that are not there begin with it.

    `head` is what the bucket is of, `stream` what its items are ordered in. It is due at `due`, or once the billing
    period `closing` is closed and all of it was read; neither: at once.
    """

    bucket: str
    stream: str
    head: Mapping[str, Json]
    key: str
    of: Mapping[str, Json]
    figures: Mapping[str, Decimal]
    time: datetime
    due: datetime | None = None
    closing: Closing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket that is due. `part` counts from 1 how often it has been sent, this time included.

    `batch` is the name that its item gets. `begun`: an earlier revision of the batch was made.
    """

    name: str
    batch: str
    part: int
    begun: bool
    head: Mapping[str, Json]
    tallies: Mapping[str, Tally]


class Draft(NamedTuple):
    """An item to be made. `unmet` says what keeps it from being sent: it is made dead, with that as its reason."""

    content: Content
    batch: str
    stream: str
    unmet: str | None = None


class Shape:
    """What a target makes of what was booked; each kind overrides what it needs.

    `replaces`: a bucket's item is sent again, whole, whenever it grows; else it is emptied when it is sent, and what
    comes later is an item of its own. `collects`: what was booked is read when an hour or a day of the operator's is
    over, and when the gateway starts; else as it comes. `page_max` is how much is read at a time. `customers`: of a
    target that invoices; it gets the charges of accounts that it bills, and no others.
    """

    reads: Reads = "charges"
    replaces: bool = False
    collects: Span | None = None
    page_max: int = PAGE_MAX
    customers: Customers | None = None

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give items to be made of what was read, as it is."""
        del booked, known
        return ()

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give what has to be added to which bucket."""
        del booked, known
        return ()

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the item of a bucket that is due; None where there is nothing to send."""
        del bucket, known
        return None

    def renew(self, content: Content, known: Known) -> tuple[Content, str | None]:
        """Return a dead item's content with its references resolved anew, and what is still unmet."""
        del known
        return content, None
