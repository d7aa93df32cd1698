"""What happens at a site of coworkers in seven days, and what it must cost, reckoned without the gateway's code.

badge readers ──▶ door.access   a day is 7.50, however often the door opens; one reader in two has no clock
printers ───────▶ print.job     50 pages a month are free, 300 more cost 0.05, then 0.04
controllers ────▶ wifi.session  0.10 a GB
tills ──────────▶ pos.sale      on account, as they are
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from meter.model.instant import instant_text

ZONE: Final = ZoneInfo("Europe/Berlin")
SPAN: Final = timedelta(days=7)
MEMBERS_EACH: Final = 5
# What devices say in one go, having kept it for a while; each device speaks by itself.
TOGETHER: Final = 50
# Of so many events one is said twice, because its device did not hear the answer.
TWICE_EVERY: Final = 97
FRESH: Final = "berlin/print/fresh"

_CENT: Final = Decimal("0.01")
_TARIFF: Final = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  wifi-data: {event: wifi.session, where: {status: stop}, aggregate: sum, value: bytes_in, scale: "1e-9", unit: GB}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  desk:
    name: Desk
    grants:
      - {id: pages, unit: page, amount: "50", meters: [print-pages], every: month, for: account}
    prices:
      day-passes: [{id: day, model: per_unit, unit_price: "7.50"}]
      print-pages: [{id: page, model: graduated, tiers: [{up_to: 300, unit_price: "0.05"}, {unit_price: "0.04"}]}]
      wifi-data: [{id: data, model: per_unit, unit_price: "0.10"}]
      cafe: [{id: cafe, model: pass_through}]
"""


class Happened(NamedTuple):
    """An event as its device says it. `time`: when it truly was; `timed`: whether the device says so."""

    time: datetime
    timed: bool
    body: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Return the source and the id."""
        return self.body["source"], self.body["id"]


class Moment(NamedTuple):
    """What devices say at an instant, by device."""

    time: datetime
    said: Sequence[Sequence[Happened]]


@dataclass(frozen=True, kw_only=True)
class Week:
    """So many events from `start` on, the same for the same arguments; `start` is on a whole second."""

    events: int
    start: datetime

    @property
    def accounts(self) -> int:
        """Return how many accounts there are: as many as use the site that much, 200 at the most."""
        return max(2, min(200, self.events // 500))

    @property
    def members(self) -> int:
        """Return how many members they have."""
        return self.accounts * MEMBERS_EACH

    def catalog(self) -> str:
        """Return the tariff with everybody who comes."""
        since = (self.start - timedelta(days=70)).date().isoformat()
        accounts = "".join(
            f"  a{n}: {{name: Account {n}, subscriptions: [{{id: a{n}-desk, plan: desk, from: {since}}}]}}\n"
            for n in range(self.accounts)
        )
        members = "".join(
            f'  m{n}: {{account: a{n // MEMBERS_EACH}, name: Member {n}, identities: ["badge:{n:08X}", "user:m{n}",'
            f' "mac:02-00-00-{n >> 16:02x}-{n >> 8 & 255:02x}-{n & 255:02x}", "square:M{n}"]}}\n'
            for n in range(self.members)
        )
        return f"{_TARIFF}accounts:\n{accounts}members:\n{members}"

    def moments(self) -> Iterator[Moment]:
        """Yield everything in the order in which it is said."""
        count = -(-self.events // TOGETHER)
        for n in range(count):
            # Half a second off, so that no event is so near to a midnight that the accuracy of a clock decides its day.
            at = self.start + timedelta(seconds=(n + 1) * int(SPAN.total_seconds()) // count, milliseconds=500)
            numbers = range(n * TOGETHER, min((n + 1) * TOGETHER, self.events))
            by_device: dict[str, list[Happened]] = defaultdict(list)
            for number in numbers:
                one = self._happened(number, at, len(numbers) - (number - numbers.start))
                by_device[one.body["source"]].append(one)
                if number % TWICE_EVERY == 0:
                    by_device[one.body["source"]].append(one)
            yield Moment(at, list(by_device.values()))

    def all(self) -> Iterator[Happened]:
        """Yield every event once."""
        for moment in self.moments():
            for said in moment.said:
                yield from {one.key: one for one in said}.values()

    def fresh(self, number: int, time: datetime) -> Happened:
        """Return a print job that happens now, while the past is still on its way; every other one has no time."""
        member = number * 7 % self.members
        one = _event(time, f"f{number:07}", "print/fresh", "print.job", f"user:m{member}", _job(number))
        return _untimed(one) if number % 2 else one

    def _happened(self, number: int, at: datetime, ago_s: int) -> Happened:
        member, kind = number * 7919 % self.members, number % 10
        before = at - timedelta(seconds=ago_s)
        if kind < 5:
            data: dict[str, Any] = {
                "door": "main",
                "direction": "in" if number % 3 else "out",
                "granted": number % 11 != 0,
            }
            badge = f"badge:{member:08X}"
            if kind % 2:
                return _untimed(_event(at, f"d{number}", "door/back", "door.access", badge, data))
            return _event(before, f"d{number}", "door/main", "door.access", badge, data)
        if kind < 7:
            return _event(before, f"p{number}", f"print/{kind}", "print.job", f"user:m{member}", _job(number))
        if kind < 9:
            mac = f"mac:02-00-00-{member >> 16:02x}-{member >> 8 & 255:02x}-{member & 255:02x}"
            data = {"session": f"s{number}", "status": "stop", "bytes_in": number * 7907 % 10**9, "seconds": 600}
            return _event(before, f"w{number}", "wifi/roof", "wifi.session", mac, data)
        net = f"{number % 900 / 100 + 1:.2f}"
        lines = [{"sku": "x", "quantity": 1, "amount": net}]
        data = {"order": f"o{number}", "currency": "EUR", "total": net, "settlement": "account", "lines": lines}
        return _event(before, f"s{number}", "pos/bar", "pos.sale", f"square:M{member}", data)


def _job(number: int) -> dict[str, Any]:
    return {"printer": "hall", "job": f"j{number}", "impressions": number % 9 + 1, "status": "completed"}


def _event(  # noqa: PLR0917 -- what an envelope has
    time: datetime, id: str, device: str, kind: str, subject: str, data: dict[str, Any]
) -> Happened:
    source = f"berlin/{device}"
    body = {"specversion": "1.0", "id": id, "source": source, "type": kind, "subject": subject, "data": data}
    return Happened(time, True, body | {"time": instant_text(time)})


def _untimed(one: Happened) -> Happened:
    """Return the event as a device without a clock says it."""
    return Happened(one.time, False, {name: value for name, value in one.body.items() if name != "time"})


@dataclass
class Bill:
    """What events cost, whatever their order: sums and numbers of lines by account, month and meter."""

    pages: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    traffic: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    till: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    days: dict[tuple[str, str], set[tuple[int, date]]] = field(default_factory=lambda: defaultdict(set))
    lines: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, one: Happened) -> None:
        """Take an event in, once."""
        data, subject = one.body["data"], one.body["subject"].partition(":")[2]
        local = one.time.astimezone(ZONE)
        match one.body["type"]:
            case "print.job":
                where = _where(int(subject[1:]), local)
                self.pages[where] += data["impressions"]
                self.lines[(*where, "print-pages")] += 1
            case "wifi.session":
                where = _where(int(subject[9:].replace("-", ""), 16), local)
                self.traffic[where] += data["bytes_in"]
                self.lines[(*where, "wifi-data")] += 1
            case "pos.sale":
                where = _where(int(subject[1:]), local)
                self.till[where] += Decimal(data["total"])
                self.lines[(*where, "cafe")] += 1
            case _ if data["granted"] and data["direction"] == "in":
                member = int(subject, 16)
                self.days[_where(member, local)].add((member, local.date()))

    def owed(self) -> dict[tuple[str, str, str], tuple[int, Decimal, Decimal]]:
        """Return lines, exact amount and rounded amount by account, month and meter."""
        amounts: dict[tuple[str, str, str], Decimal] = {}
        for where, pages in self.pages.items():
            paid = max(0, pages - 50)
            amounts[(*where, "print-pages")] = min(paid, 300) * Decimal("0.05") + max(0, paid - 300) * Decimal("0.04")
        amounts |= {(*where, "wifi-data"): Decimal(sent).scaleb(-10) for where, sent in self.traffic.items()}
        amounts |= {(*where, "cafe"): net for where, net in self.till.items()}
        amounts |= {(*where, "day-passes"): len(days) * Decimal("7.50") for where, days in self.days.items()}
        lines = self.lines | {(*where, "day-passes"): len(days) for where, days in self.days.items()}
        return {
            where: (lines[where], amount.normalize(), amount.quantize(_CENT, ROUND_HALF_UP).normalize())
            for where, amount in amounts.items()
        }


def _where(member: int, local: datetime) -> tuple[str, str]:
    return f"a{member // MEMBERS_EACH}", f"{local:%Y-%m}"
