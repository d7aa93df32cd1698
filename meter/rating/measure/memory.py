"""What measuring remembers between the events of an account. Small, exact, and in JSON a part of a checkpoint.

Every entry says for itself how long it means something (a period, `until`), so what `enter` drops could not have
changed anything any more. Bounded by members, sites, keys and the values of a period, not by events; runs of a meter
with a `key` and without `forget` are kept for ever, because a reading may come for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from meter.model.event import EventKey, UsageEvent
from meter.model.period import Period
from meter.model.strict_json import exact_json, strict_json
from meter.rating.measure.reading import RunKey
from meter.rating.measure.sessions import SaidEnd, Session, Terms


class Standing(NamedTuple):
    """The highest or latest quantity in the period that begins at `period_start`."""

    period_start: datetime
    quantity: Decimal


class Run(NamedTuple):
    """A counter's run: its highest reading, and the last instant at which another goes on with it (None: for ever)."""

    highest: Decimal
    until: datetime | None


class Act(NamedTuple):
    """An act told in many events: the one that began it, the last one, and the instant from which another is a new act.

    `gap_s` is what `until` lies behind the last one.
    """

    first: EventKey
    last: EventKey
    until: datetime
    gap_s: int


@dataclass(slots=True, kw_only=True)
class Memory:
    """The memory after the events measured so far; whoever measures works on a copy.

    `days`: the last local dates seen, by meter and member. `seen`: the start of the period in which a value of a meter
    and member was seen last. `standing`: by meter and member, "" for the account's. All values are immutable.
    """

    days: dict[tuple[str, str], tuple[date, ...]] = field(default_factory=dict)
    seen: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    standing: dict[tuple[str, str], Standing] = field(default_factory=dict)
    runs: dict[RunKey, Run] = field(default_factory=dict)
    sessions: dict[RunKey, Session] = field(default_factory=dict)
    acts: dict[RunKey, Act] = field(default_factory=dict)
    # The start of the period entered last: to enter it again would drop nothing that matters.
    entered: datetime | None = field(default=None, compare=False)

    def copy(self) -> Memory:
        """Return a memory that can be changed without changing this one."""
        return Memory(
            days=self.days.copy(),
            seen=self.seen.copy(),
            standing=self.standing.copy(),
            runs=self.runs.copy(),
            sessions=self.sessions.copy(),
            acts=self.acts.copy(),
            entered=self.entered,
        )

    def first_of_day(self, meter: str, member: str | None, day: date, instant: datetime) -> bool:
        """Tell whether `day` is new for the member (None: all usage without one), and remember it.

        Zones reach from UTC-12 to UTC+14, so later events show dates from the day before the instant's UTC date on.
        """
        key = (meter, member or "")
        seen = self.days.get(key, ())
        if day in seen:
            return False
        horizon = instant.date() - timedelta(days=1)
        self.days[key] = (*(d for d in seen if d >= horizon), day)
        return True

    def first_in_period(self, meter: str, member: str | None, value: str, period: Period) -> bool:
        """Tell whether `value` is new for the member in `period`, and remember it."""
        key = (meter, member or "", value)
        if self.seen.get(key) == period.start:
            return False
        self.seen[key] = period.start
        return True

    def enter(self, period: Period) -> None:
        """Drop what no event from the start of `period` on can ask for: changes the memory's size, not its meaning.

        A session that is over stays if its policy counts something: whoever books it says when it is done with.
        """
        start = period.start
        if self.entered == start:
            return
        self.entered = start
        horizon = start.date() - timedelta(days=1)
        self.days = {key: kept for key, seen in self.days.items() if (kept := tuple(d for d in seen if d >= horizon))}
        self.seen = {key: begun for key, begun in self.seen.items() if begun >= start}
        self.standing = {key: stands for key, stands in self.standing.items() if stands.period_start >= start}
        self.runs = {key: run for key, run in self.runs.items() if run.until is None or run.until >= start}
        self.sessions = {key: session for key, session in self.sessions.items() if _counts(session, start)}
        self.acts = {key: act for key, act in self.acts.items() if act.until > start}

    def to_json(self) -> dict[str, Any]:
        """Return the memory as JSON values, numbers as strings: `from_json` gives back an equal one."""
        return {
            "days": [[*key, [day.isoformat() for day in seen]] for key, seen in sorted(self.days.items())],
            "seen": [[*key, begun.isoformat()] for key, begun in sorted(self.seen.items())],
            "standing": [
                [*key, stands.period_start.isoformat(), str(stands.quantity)]
                for key, stands in sorted(self.standing.items())
            ],
            "runs": [[*key, str(run.highest), _text(run.until)] for key, run in sorted(self.runs.items())],
            "sessions": [_session_json(self.sessions[key]) for key in sorted(self.sessions)],
            "acts": [
                [*key, *act.first, *act.last, act.until.isoformat(), str(act.gap_s)]
                for key, act in sorted(self.acts.items())
            ],
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Memory:
        """Return the memory that `to_json` wrote."""
        sessions = [_session(row) for row in body["sessions"]]
        return Memory(
            days={(row[0], row[1]): tuple(map(date.fromisoformat, row[2])) for row in body["days"]},
            seen={(row[0], row[1], row[2]): datetime.fromisoformat(row[3]) for row in body["seen"]},
            standing={
                (row[0], row[1]): Standing(datetime.fromisoformat(row[2]), Decimal(row[3])) for row in body["standing"]
            },
            runs={RunKey(*row[:4]): Run(Decimal(row[4]), _instant(row[5])) for row in body["runs"]},
            sessions={session.key: session for session in sessions},
            acts={RunKey(*row[:4]): _act(row[4:]) for row in body["acts"]},
        )


def _counts(session: Session, start: datetime) -> bool:
    """Tell whether an event or the clock from `start` on can still make a quantity of the session."""
    if session.until >= start or session.said is not None:
        return True
    policy = session.terms.missing_end
    return policy != "none" and (policy != "last_seen" or session.last is not None)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def event_json(event: UsageEvent) -> dict[str, Any]:
    """Return an event as JSON values for a checkpoint: `event_of` gives back an equal one."""
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "site": event.site,
        "time": event.time.isoformat(),
        "timed": event.timed,
        "subject": event.subject,
        "thing": event.thing,
        # As text: whatever keeps the checkpoint then cannot change a number on the way.
        "data": exact_json(event.data),
    }


def event_of(body: Mapping[str, Any]) -> UsageEvent:
    """Return the event that `event_json` wrote."""
    time, data = datetime.fromisoformat(body["time"]), strict_json(body["data"].encode())
    return UsageEvent(**{**body, "time": time, "data": data})


def _act(row: Sequence[str]) -> Act:
    first, last = EventKey(row[0], row[1]), EventKey(row[2], row[3])
    return Act(first=first, last=last, until=datetime.fromisoformat(row[4]), gap_s=int(row[5]))


def _session_json(session: Session) -> dict[str, Any]:
    terms = session.terms
    return {
        "key": list(session.key),
        "until": session.until.isoformat(),
        "terms": [terms.missing_end, *map(str, terms[1:5]), terms.closes, terms.timezone],
        "dimensions": exact_json(session.dimensions),
        "last": _text(session.last),
        "said": session.said and [*session.said.event, session.said.time.isoformat()],
        "event": event_json(session.event),
    }


def _session(row: Mapping[str, Any]) -> Session:
    missing_end, minimum_s, first_s, step_s, idle_s, closes, timezone = row["terms"]
    return Session(
        key=RunKey(*row["key"]),
        event=event_of(row["event"]),
        until=datetime.fromisoformat(row["until"]),
        terms=Terms(missing_end, int(minimum_s), int(first_s), int(step_s), int(idle_s), closes, timezone),
        dimensions=strict_json(row["dimensions"].encode()),
        last=_instant(row["last"]),
        said=row["said"] and SaidEnd(EventKey(*row["said"][:2]), datetime.fromisoformat(row["said"][2])),
    )
