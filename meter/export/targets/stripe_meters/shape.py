"""Charges summed as meter events: one an account, meter and some seconds; what comes late is a further event. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from meter.export.gather.customers import Customers
from meter.export.gather.invoicing import is_invoiced
from meter.export.gather.shape import Booked, Bucket, Draft, Known, Put, Shape
from meter.export.payload import Content, MeterUsage
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.instant import EPOCH
from meter.model.money import ZERO
from meter.store.outbox import name_of

ValueOf: TypeAlias = Literal["billable", "quantity"]
# What is counted; fees, minimums and adjustments of closed periods have prices of their own at Stripe.
_COUNTED: Final = frozenset({"usage", "refund"})


def event_name(meter: str, events: Mapping[str, str]) -> str:
    """Return Stripe's name of a meter: as the settings say, else the meter's with `_` for `-`; "": it is not sent."""
    return events.get(meter, meter.replace("-", "_"))


class Usage(Shape):
    """Usage of each account and meter in buckets of `bucket_s` seconds of its own time; 0: each charge by itself."""

    customers: Customers

    def __init__(
        self, *, target: str, customers: Customers, events: Mapping[str, str], value_of: ValueOf, bucket_s: int
    ) -> None:
        """Keep how usage is named and summed."""
        self._target = target
        self.customers = customers
        self._events = events
        self._value_of = value_of
        self._bucket = timedelta(seconds=bucket_s)

    def at_once(self, booked: Booked, known: Known) -> Iterable[Draft]:
        """Give each charge as an event of its own, where there are no buckets."""
        if self._bucket:
            return
        for charge, account in self._mine(booked, known):
            line = charge.line
            if value := self._value(charge):
                batch = name_of(known.operator, self._target, "usage", charge.id)
                usage = self._usage(account, line.meter, line.unit, at=line.key.time, value=value, charges=1)
                yield Draft(usage, batch, f"{account.id}/{line.meter}", self._unmet(account))

    def sort(self, booked: Booked, known: Known) -> Iterable[Put]:
        """Give each charge to the bucket of its time."""
        if not self._bucket:
            return
        for charge, account in self._mine(booked, known):
            line = charge.line
            start = EPOCH + (line.key.time - EPOCH) // self._bucket * self._bucket
            head = {"account": account.id, "meter": line.meter, "unit": line.unit, "at": start.isoformat()}
            yield Put(
                bucket=f"usage/{account.id}/{line.meter}/{line.unit}/{start.isoformat()}",
                stream=f"{account.id}/{line.meter}",
                head=head,
                key="value",
                of={},
                figures={"value": self._value(charge)},
                time=line.key.time,
                due=start + self._bucket,
            )

    def draft(self, bucket: Bucket, known: Known) -> Draft | None:
        """Return the event of a bucket; None where it comes to nothing."""
        head: dict[str, Any] = dict(bucket.head)
        [tally] = bucket.tallies.values()
        value = tally.figures["value"]
        if not value:
            return None
        account = known.holder(head["account"])
        at = datetime.fromisoformat(head["at"])
        usage = self._usage(account, head["meter"], head["unit"], at=at, value=value, charges=tally.count)
        alone = bucket.part == 1 and not self._bucket % timedelta(minutes=1)
        usage = msgspec.structs.replace(usage, alone=alone)
        return Draft(usage, bucket.batch, f"{account.id}/{head['meter']}", self._unmet(account))

    def renew(self, content: Content, known: Known) -> tuple[Content, str | None]:
        """Return the content with the customer as it is today."""
        if not isinstance(content, MeterUsage):
            return content, None
        account = known.holder(content.account)
        customer = self.customers.of(account) or ""
        event = event_name(content.meter, self._events)
        return msgspec.structs.replace(content, customer=customer, event=event), self._unmet(account)

    def _mine(self, booked: Booked, known: Known) -> Iterable[tuple[Charge, Account]]:
        for charge in booked.charges:
            account = known.accounts.get(charge.line.account)
            if account is None or not is_invoiced(charge) or charge.line.kind not in _COUNTED:
                continue
            if event_name(charge.line.meter, self._events):
                yield charge, account

    def _value(self, charge: Charge) -> Decimal:
        return charge.line.billable if self._value_of == "billable" else charge.line.quantity

    def _usage(
        self, account: Account, meter: str, unit: str, *, at: datetime, value: Decimal, charges: int
    ) -> MeterUsage:
        return MeterUsage(
            account=account.id,
            customer=self.customers.of(account) or "",
            meter=meter,
            event=event_name(meter, self._events),
            at=at,
            value=value + ZERO,
            unit=unit,
            charges=charges,
        )

    def _unmet(self, account: Account) -> str | None:
        return None if self.customers.of(account) else self.customers.unmet(account.id)
