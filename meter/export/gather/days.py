"""Postings summed by local day and site, as journals in accounting software have them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from meter.export.gather.names import document_number
from meter.export.gather.shape import Booked, Bucket, Draft, Known, Put, Shape, Tally
from meter.export.gather.spans import GRACE
from meter.export.journal import named_account, role_account
from meter.export.payload import Content, DayJournal, PostingSum
from meter.model.directory import Account
from meter.model.instant import local_midnight
from meter.model.journal import JournalEntry
from meter.model.period import DaySpan
from meter.rating.values import segment
from meter.store.outbox import name_of

DayGrain: TypeAlias = Literal["charge", "day", "period"]
# Any other account, where its own has no code: what the target then gets is there to be sorted out.
SUSPENSE: Final = "suspense"


class Days(Shape):
    """A journal a day, site and currency (or an entry, or a month), and one more for what comes later.

    `codes` names the target's accounts by ours; a name that ends in `:*` stands for all below it, and `suspense` for
    what nothing names. `parties` is who a ledger account is owed by or to, at the target, where no account of ours says
    it. `keys` are those under which accounts name their customer.
    """

    reads: Literal["entries"] = "entries"

    def __init__(
        self,
        *,
        target: str,
        grain: DayGrain,
        codes: Mapping[str, str],
        keys: tuple[str, ...],
        parties: Mapping[str, str],
    ) -> None:
        """Keep how journals are made."""
        self._target = target
        self._grain = grain
        self._codes = codes
        self._keys = keys
        self._parties = parties

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give each entry as a journal of its own, where that is the grain."""
        if self._grain != "charge":
            return
        for entry in booked.entries:
            site = entry.dimensions.get("site", "")
            number = document_number(entry.day, known.operator, self._target, entry.id)
            sums = [
                PostingSum(
                    ledger_account=posting.account,
                    code="",
                    amount=posting.amount,
                    site=site,
                    account=entry.dimensions.get("account", ""),
                    meter=entry.dimensions.get("meter", ""),
                    entries=1,
                )
                for posting in entry.postings
            ]
            journal = DayJournal(
                number=number,
                day=entry.day,
                site=site,
                currency=entry.currency,
                part=1,
                narration=entry.narration,
                postings=_ordered(sums),
            )
            content, unmet = self.renew(journal, known)
            yield Draft(content, name_of(known.operator, self._target, "entry", entry.id), site, unmet)

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give each posting to its day's bucket."""
        if self._grain == "charge":
            return
        owed = _owed(known)
        for entry in booked.entries:
            day = self._last_day(entry.day)
            midnight = local_midnight(day + timedelta(days=1), known.catalog.timezone)
            for key, of, posting in _postings(entry, owed):
                yield Put(
                    bucket=f"day/{day}/{segment(of['site'])}/{entry.currency}",
                    stream=of["site"],
                    head={"day": day.isoformat(), "site": of["site"], "currency": entry.currency},
                    key=key,
                    of=of,
                    figures={"amount": posting},
                    time=datetime.combine(entry.day, time(), tzinfo=UTC),
                    due=midnight + GRACE,
                )

    def _last_day(self, day: date) -> date:
        if self._grain == "day":
            return day
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the journal of a bucket that is due; None where everything cancels out."""
        head: dict[str, Any] = dict(bucket.head)
        day = date.fromisoformat(head["day"])
        sums = [_sum_of(tally) for tally in bucket.tallies.values()]
        sums = [one for one in sums if one.amount]
        if not sums:
            return None
        number = document_number(
            day, known.operator, self._target, head["site"], head["currency"], head["day"], part=bucket.part
        )
        days = DaySpan(day.replace(day=1) if self._grain == "period" else day, day)
        text = f"Usage {days}" + (f" {head['site']}" if head["site"] else "")
        text += f", added later ({bucket.part})" if bucket.part > 1 else ""
        journal = DayJournal(
            number=number,
            day=day,
            site=head["site"],
            currency=head["currency"],
            part=bucket.part,
            narration=text,
            postings=_ordered(sums),
        )
        content, unmet = self.renew(journal, known)
        return Draft(content, bucket.batch, head["site"], unmet)

    def renew(self, content: Content, known: Known) -> tuple[Content, str | None]:
        """Return the journal with accounts, parties and the site's tracking name as they are today."""
        if not isinstance(content, DayJournal):
            return content, None
        unmet: str | None = None
        postings = []
        for posting in content.postings:
            code = self._code(posting.ledger_account)
            if code is None:
                unmet = (
                    f"{self._target} has no account for {posting.ledger_account}; name it, or {SUSPENSE}, "
                    "in options.accounts, then retry the delivery"
                )
            postings.append(msgspec.structs.replace(posting, code=code or "", party=self._party(posting, known)))
        site = known.catalog.sites.get(content.site)
        tracking = None if site is None else site.ledger_class
        return msgspec.structs.replace(content, postings=tuple(postings), tracking=tracking), unmet

    def _code(self, name: str) -> str | None:
        if name in self._codes:
            return self._codes[name]
        parts = name.split(":")
        for length in range(len(parts) - 1, 0, -1):
            code = self._codes.get(":".join([*parts[:length], "*"]))
            if code is not None:
                return code
        return self._codes.get(SUSPENSE)

    def _party(self, posting: PostingSum, known: Known) -> str | None:
        account: Account | None = known.accounts.get(posting.account) if posting.account else None
        named = (
            None
            if account is None
            else next((account.external[k] for k in self._keys if account.external.get(k)), None)
        )
        return named or self._parties.get(posting.ledger_account)


def _owed(known: Known) -> frozenset[str]:
    """Return the ledger accounts of which every account of ours has a posting of its own."""
    owed = [role_account(known.catalog, "receivable"), named_account(known.catalog, "unbilled")]
    return frozenset(filter(None, owed))


def _postings(entry: JournalEntry, owed: frozenset[str]) -> Iterable[tuple[str, dict[str, Any], Decimal]]:
    """Give the name of the sum that each posting belongs to, what it is of, and its amount."""
    site, account = entry.dimensions.get("site", ""), entry.dimensions.get("account", "")
    for posting in entry.postings:
        about = account if posting.account in owed else ""
        of = {"ledger_account": posting.account, "site": site, "account": about}
        yield name_of(posting.account, about), of, posting.amount


def _sum_of(tally: Tally) -> PostingSum:
    of: dict[str, Any] = dict(tally.of)
    return PostingSum(**of, code="", amount=tally.figures["amount"], entries=tally.count)


def _ordered(sums: Iterable[PostingSum]) -> tuple[PostingSum, ...]:
    return tuple(sorted(sums, key=lambda one: (one.ledger_account, one.account)))
