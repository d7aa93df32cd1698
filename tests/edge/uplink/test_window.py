"""The window: everything goes, nothing is let go unacknowledged, and what is fresh does not wait behind a backlog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.spool.records import Place
from edge.uplink.window import FRESH_EVENTS_MAX, RESEND_FIRST_S, RESEND_MAX_S, Limits, Message, Window

EVENTS_MAX: Final = 5
BOOT: Final = 7
LIMITS: Final = Limits(messages_max=20, events_max=EVENTS_MAX, kept_messages=5)
FEW: Final = Limits(messages_max=4, events_max=EVENTS_MAX, kept_messages=1)


@dataclass(slots=True)
class Spool:
    """What the real one answers: what is not acknowledged, in order."""

    last: int = 0
    acknowledged: set[int] = field(default_factory=set)

    @property
    def place(self) -> Place:
        return Place(BOOT, self.last)

    def unsent(self, after: Place, up_to: Place) -> list[Place]:
        waiting = (
            number for number in range(after.sequence + 1, up_to.sequence + 1) if number not in self.acknowledged
        )
        return [Place(BOOT, number) for number, _ in zip(waiting, range(EVENTS_MAX), strict=False)]


def numbers(message: Message | None) -> set[int]:
    """The sequences that a message waits for."""
    return set() if message is None else {place.sequence for place in message.left}


def send(window: Window, spool: Spool, at_s: float = 0.0) -> Message | None:
    """Send the next message, passing over spans that are acknowledged already."""
    while (lane := window.wants()) is not None:
        message = window.sent(lane, spool.unsent(*window.span(lane)), at_s=at_s)
        if message is not None:
            return message
    return None


class Sending(RuleBasedStateMachine):
    """A spool, a window, and a gateway that commits some of what it gets and tells of some of that."""

    def __init__(self) -> None:
        super().__init__()
        self.spool, self.window = Spool(), Window()
        self.at_s = 0.0
        self.connected = False
        self.there: set[int] = set()  # sent on this connection or an earlier one, and not lost
        self.stored: set[int] = set()

    @rule(count=st.integers(1, 12))
    def hear(self, count: int) -> None:
        self.spool.last += count
        self.window.committed(self.spool.place)

    @rule()
    def connect(self) -> None:
        self.window.connected(self.spool.place, FEW)
        self.connected = True

    @rule()
    def lose_connection(self) -> None:
        self.window.disconnected()
        self.connected = False

    @rule(lost=st.booleans())
    def send_one(self, *, lost: bool) -> None:
        message = send(self.window, self.spool, self.at_s)
        assert message is None or self.connected
        if message is not None and not lost:
            self.there |= numbers(message)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.there)), min_size=1))
        self.stored |= some

    @rule(told=st.booleans())
    def acknowledge(self, *, told: bool) -> None:
        up_to = 0
        while up_to + 1 in self.stored:
            up_to += 1
        if told:  # an acknowledgement may be lost
            self.spool.acknowledged |= self.stored
            self.window.acknowledged(BOOT, up_to, [number for number in self.stored if number > up_to])

    @rule(wait_s=st.floats(0, 600))
    def resend(self, wait_s: float) -> None:
        self.at_s += wait_s
        for message in self.window.overdue(self.at_s):
            self.there |= numbers(message)
            self.window.again(message, at_s=self.at_s)
            assert self.at_s + RESEND_FIRST_S <= message.due_s <= self.at_s + RESEND_MAX_S

    @rule()
    def answer(self) -> None:
        self.window.answered(at_s=self.at_s)

    @invariant()
    def bounded(self) -> None:
        assert self.window.messages <= FEW.messages_max

    def teardown(self) -> None:
        """Once everything works, everything arrives and nothing stays in flight."""
        self.window.connected(self.spool.place, FEW)
        for _ in range(self.spool.last + 2):
            while (message := send(self.window, self.spool, self.at_s)) is not None:
                self.stored |= numbers(message)
            self.spool.acknowledged |= self.stored
            self.window.acknowledged(BOOT, 0, sorted(self.stored))
        assert self.stored >= set(range(1, self.spool.last + 1))
        assert self.window.messages == 0
        assert self.window.wants() is None


TestSending = Sending.TestCase
TestSending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_is_fresh_overtakes_a_backlog() -> None:
    spool, window = Spool(last=1_000), Window()
    window.connected(spool.place, LIMITS)
    while send(window, spool):
        pass
    assert window.messages == LIMITS.messages_max - LIMITS.kept_messages  # the rest is kept for what is fresh
    spool.last += 1
    window.committed(spool.place)
    message = send(window, spool)
    assert numbers(message) == {1_001}


def test_a_backlog_goes_on_though_what_is_fresh_is_not_acknowledged() -> None:
    spool, window = Spool(last=1_000), Window()
    window.connected(spool.place, LIMITS)
    spool.last += 1_000
    window.committed(spool.place)
    lanes = []
    while (message := send(window, spool)) is not None:
        lanes.append(message.lane)
    assert lanes.count("fresh") == LIMITS.messages_max - LIMITS.kept_messages
    assert lanes.count("backlog") == LIMITS.kept_messages


def test_a_backlog_alone_does_not_wait_for_what_is_fresh() -> None:
    spool, window = Spool(last=EVENTS_MAX * LIMITS.messages_max), Window()
    window.connected(spool.place, LIMITS)
    sent = 0
    while sent < spool.last:
        message = send(window, spool)
        if message is None:
            raise AssertionError
        sent += len(message.left)
        spool.acknowledged |= numbers(message)
        window.acknowledged(BOOT, 0, numbers(message))
    assert sent == spool.last
    assert window.messages == 0


def test_an_acknowledged_event_of_a_message_is_not_sent_again() -> None:
    spool, window = Spool(last=3), Window()
    window.connected(spool.place, LIMITS)
    message = send(window, spool)
    window.acknowledged(BOOT, 1, [3])
    assert message is not None
    assert [numbers(one) for one in window.overdue(RESEND_FIRST_S)] == [{2}]
    assert window.next_due_s() == RESEND_FIRST_S
    assert not window.overdue(RESEND_FIRST_S - 0.1)


def test_a_gateway_that_is_back_need_not_wait_for_what_was_sent_to_it_while_it_was_away() -> None:
    spool, window = Spool(last=3), Window()
    window.connected(spool.place, LIMITS)
    message = send(window, spool)
    assert message is not None
    at_s = 0.0
    while message.due_s - at_s < RESEND_MAX_S:
        at_s = message.due_s
        window.again(message, at_s=at_s)
    window.answered(at_s=at_s + 1)
    assert window.next_due_s() == at_s + 1 + RESEND_FIRST_S
    window.answered(at_s=at_s + 2)
    assert window.next_due_s() == at_s + 1 + RESEND_FIRST_S  # it is not put off by each word


def test_while_the_gateway_is_away_for_long_one_message_at_a_time_asks_for_it() -> None:
    spool, window = Spool(last=50), Window()
    window.connected(spool.place, LIMITS)
    while send(window, spool) is not None:
        pass
    sent, at_s = 0, 0.0
    while at_s < 86_400:
        at_s = window.next_due_s() or at_s
        for message in window.overdue(at_s):
            window.again(message, at_s=at_s)
            sent += 1
    assert 280 < sent < 280 + 7 * window.messages
    window.answered(at_s=at_s)
    assert len(window.overdue(at_s + RESEND_FIRST_S)) == window.messages == 10


def test_a_new_connection_sends_again_what_was_in_flight() -> None:
    spool, window = Spool(last=2), Window()
    window.connected(spool.place, LIMITS)
    assert send(window, spool) is not None
    window.connected(spool.place, LIMITS)
    assert window.messages == 0
    message = send(window, spool)
    assert numbers(message) == {1, 2}


def test_what_is_fresh_stays_so_over_connections() -> None:
    """A link that comes and goes does not put a door behind a week each time."""
    spool, window = Spool(last=1_000), Window(last=Place(BOOT, 1_000))
    for _ in range(3):
        spool.last += 1
        window.connected(spool.place, LIMITS)
        assert numbers(send(window, spool)) == set(range(1_001, spool.last + 1))
        message = send(window, spool)
        assert message is not None
        assert message.lane == "backlog"
        window.disconnected()


def test_a_day_without_a_connection_is_a_backlog() -> None:
    spool, window = Spool(last=10), Window(last=Place(BOOT, 10))
    spool.last += FRESH_EVENTS_MAX + 1
    window.connected(spool.place, LIMITS)
    message = send(window, spool)
    assert message is not None
    assert message.lane == "backlog"
    assert window.span("backlog") == (Place(BOOT, EVENTS_MAX), spool.place)


def test_a_backlog_goes_on_while_what_is_fresh_is_held_back() -> None:
    spool, window = Spool(last=10), Window(last=Place(BOOT, 9))
    window.connected(spool.place, LIMITS)
    assert window.wants() == "fresh"
    assert window.wants(held=True) == "backlog"


def test_another_boot_s_acknowledgement_lets_nothing_go() -> None:
    spool, window = Spool(last=2), Window()
    window.connected(spool.place, LIMITS)
    message = send(window, spool)
    window.acknowledged(BOOT - 1, 2, [1, 2])
    assert numbers(message) == {1, 2}


def test_what_the_spool_has_numbered_anew_is_fresh_again() -> None:
    spool, window = Spool(last=2), Window()
    window.connected(spool.place, LIMITS)
    message = send(window, spool)
    assert message is not None
    window.forget(list(message.left))
    window.committed(Place(BOOT + 1, 2))
    assert window.messages == 0
    assert window.wants() == "fresh"
    assert window.span("fresh") == (Place(BOOT, 2), Place(BOOT + 1, 2))
