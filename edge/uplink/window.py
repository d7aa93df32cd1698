"""What goes next, what waits for its acknowledgement, and when it goes again. Pure (decision 0015).

    spool:   1 2 3 ─────────────────── backlog ─────────────────── boundary │ fresh ─────▶
                   ▲ backlog's cursor                                       │        ▲ fresh cursor
    in flight: messages of both, each until the gateway has acknowledged every sequence in it

An acknowledgement of the broker's counts nothing here: the spool has its events until the gateway says that they are
committed. Places sort as their events were stored, whatever boots they are of. Times are seconds of a clock that never
goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from edge.spool.records import Place

Lane: TypeAlias = Literal["fresh", "backlog"]

# What came since the boundary stays fresh over connections: half a window. More of it would be a backlog of its own,
# and a door's event would wait behind it.
FRESH_EVENTS_MAX: Final = 1_000
NOWHERE: Final = Place(0, 0)
# A commit takes milliseconds; what has not come back after this was lost on the way, or the gateway is away.
RESEND_FIRST_S: Final = 10.0
RESEND_MAX_S: Final = 300.0
# After so many the wait is the longest.
_TRIES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is in flight on one way to the gateway.

    `kept_messages` are kept for each lane beside the other: a door's event does not wait behind a week of them, and
    that week goes on though the gateway should have no room for marks of what lies ahead of it.
    """

    messages_max: int
    events_max: int
    kept_messages: int


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """Events that were sent together. `left` are the places not yet acknowledged; `tries` counts the sendings."""

    lane: Lane
    left: set[Place]
    due_s: float
    tries: int = 1


_NOTHING: Final = Limits(messages_max=0, events_max=0, kept_messages=0)


class Window:
    """The sending side of one spool. Every method leaves it whole, whatever order they are called in."""

    def __init__(self, *, last: Place = NOWHERE) -> None:
        """Begin without a connection: nothing may be sent. What comes after `last` is fresh."""
        self._limits = _NOTHING
        self._messages: list[Message] = []
        self._message_of: dict[Place, Message] = {}
        self._connected = False
        # Both ends of the backlog: what was sent of it, and where what is fresh begins.
        self._sent = NOWHERE
        self._boundary = last
        # What is fresh: what was sent of it, and the last that there is.
        self._fresh = NOWHERE
        self._last = NOWHERE

    @property
    def messages(self) -> int:
        """Return how many messages are in flight."""
        return len(self._messages)

    def connected(self, last: Place, limits: Limits) -> None:
        """Start over, up to `last`: what was in flight may have been lost.

        The little that is newer than the backlog of before still overtakes it; otherwise all of it is backlog.
        """
        self.disconnected()
        self._connected = True
        self._limits = limits
        self._sent = NOWHERE
        newer = last.sequence - self._boundary.sequence
        if last.boot != self._boundary.boot or not 0 <= newer <= FRESH_EVENTS_MAX:
            self._boundary = last
        self._fresh, self._last = self._boundary, last

    def disconnected(self) -> None:
        """Send nothing more; what was in flight is not forgotten by the spool."""
        self._connected = False
        self._messages.clear()
        self._message_of.clear()

    def committed(self, last: Place) -> None:
        """Take note that the spool holds events up to `last`."""
        self._last = max(self._last, last)

    def wants(self, *, held: bool = False) -> Lane | None:
        """Return from where the next message is to be filled; None: there is nothing to send or no room.

        `held`: what is fresh may not be sent yet.
        """
        if not self._connected or len(self._messages) >= self._limits.messages_max:
            return None
        if not held and self._fresh < self._last and (self._sent >= self._boundary or self._room_in("fresh")):
            return "fresh"
        if self._sent < self._boundary and self._room_in("backlog"):
            return "backlog"
        return None

    def _room_in(self, lane: Lane) -> bool:
        """Tell whether a lane may take more of the window beside the other."""
        room = self._limits.messages_max - self._limits.kept_messages
        return sum(message.lane == lane for message in self._messages) < room

    def span(self, lane: Lane) -> tuple[Place, Place]:
        """Return between which places the lane goes on: after the first, up to the second."""
        return (self._fresh, self._last) if lane == "fresh" else (self._sent, self._boundary)

    def sent(self, lane: Lane, places: Sequence[Place], *, at_s: float) -> Message | None:
        """Take note of a message with these events, ascending, of the lane's span; None where there were none left."""
        if not places:
            self._pass(lane, self.span(lane)[1])
            return None
        message = Message(lane=lane, left=set(places), due_s=at_s + RESEND_FIRST_S)
        self._messages.append(message)
        self._message_of.update(dict.fromkeys(places, message))
        self._pass(lane, places[-1])
        return message

    def _pass(self, lane: Lane, place: Place) -> None:
        if lane == "fresh":
            self._fresh = place
        else:
            self._sent = place

    def acknowledged(self, boot: int, up_to: int, also: Collection[int]) -> None:
        """Let go what the gateway has committed of a boot: every sequence up to `up_to`, and those in `also`."""
        self.forget([place for place in self._message_of if place.boot == boot and place.sequence <= up_to])
        self.forget(Place(boot, sequence) for sequence in also)

    def forget(self, places: Iterable[Place]) -> None:
        """Wait no longer for these: they are committed, or the spool has them no more under these numbers."""
        for place in places:
            message = self._message_of.pop(place, None)
            if message is None:
                continue
            message.left.discard(place)
            if not message.left:
                self._messages.remove(message)

    def overdue(self, at_s: float) -> Sequence[Message]:
        """Return the messages whose time has come, the longest due first.

        Of those that wait as long as can be there is one: the gateway is away for long, and a broker that keeps for it
        all that is sent again would have no room for devices that have no agent.
        """
        due = sorted((one for one in self._messages if one.due_s <= at_s), key=lambda one: one.due_s)
        patient = [one for one in due if one.tries >= _TRIES]
        return [*(one for one in due if one.tries < _TRIES), *patient[:1]]

    def again(self, message: Message, *, at_s: float) -> None:
        """Take note that what is left of a message was sent again; the next time comes twice as late."""
        message.tries += 1
        message.due_s = at_s + min(RESEND_FIRST_S * 2 ** (message.tries - 1), RESEND_MAX_S)
        if message.tries > _TRIES:
            for other in self._messages:
                if other.tries >= _TRIES:
                    other.due_s = max(other.due_s, message.due_s)

    def answered(self, *, at_s: float) -> None:
        """Take note that the gateway speaks: what it does not acknowledge soon was lost while it was away."""
        for message in self._messages:
            message.due_s = min(message.due_s, at_s + RESEND_FIRST_S)
            message.tries = min(message.tries, _TRIES - 1)

    def next_due_s(self) -> float | None:
        """Return when the first message is due again; None: nothing is in flight."""
        return min((message.due_s for message in self._messages), default=None)
