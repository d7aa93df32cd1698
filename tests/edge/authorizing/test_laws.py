"""Whatever is asked, told, killed and comes in whatever order: no more is allowed than may be risked, and the same ask
has the same answer."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge import failpoints
from edge.authorizing import book
from edge.authorizing.ask import Ask
from edge.authorizing.decide import Word
from edge.authorizing.rows import Given
from edge.spool.file import Act, Batch
from tests.edge.authorizing.making import Site, ask, word
from tests.edge.clocks import VirtualClock

ACCOUNTS = {"ada": "acme", "bob": "acme", "eve": "solo"}
METERS = {"pages": Decimal(1), "free": Decimal(0)}


@dataclass
class Answer:
    """What a device heard, and what became of it, in the model's own words."""

    ask: Ask
    allowed: bool
    offline: bool
    account: str
    value: Decimal
    known: bool
    due: timedelta
    released: bool = False
    came: str = "nothing"


class _Killed(Exception):
    pass


class AskingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="asking-machine-"))
        self.clock = VirtualClock()
        self.site = Site(self.directory, self.clock)
        self.time = timedelta(0)
        self.answers: dict[str, Answer] = {}
        self.heard: dict[tuple[str, str], timedelta] = {}
        self.count = 0

    def teardown(self) -> None:
        failpoints.disarm()
        self.site.spool.close()
        shutil.rmtree(self.directory)

    def new(self, who: str, meter: str, quantity: int) -> Ask:
        self.count += 1
        return ask(f"a{self.count}", quantity, who, meter=meter, expires_s=60)

    def word(self, who: str, meter: str) -> Word:
        return word(ACCOUNTS[who], str(METERS[meter]))

    def risked(self, account: str | None = None) -> Decimal:
        """What nobody but the agent knows of, as docs/edge.md has it."""
        found = Decimal(0)
        for one in self.answers.values():
            if not (one.allowed and one.offline) or account not in {None, one.account}:
                continue
            gone = one.known and (one.came == "there" or (one.came == "nothing" and self.time >= one.due))
            if not gone and not (one.released and one.came == "nothing"):
                found += one.value
        return found

    def note(self, wanted: Ask, who: str, given: Given, *, online: bool = False) -> None:
        value = METERS[wanted.meter] * wanted.quantity
        self.answers[wanted.id] = Answer(
            ask=wanted,
            allowed=given.allowed,
            offline=given.offline,
            account=ACCOUNTS[who],
            value=value,
            known=online,
            due=self.time + timedelta(seconds=wanted.expires_s),
        )

    # --- asks ---

    @initialize()
    def everybody_is_known(self) -> None:
        for who in ACCOUNTS:
            self.online(who, "pages", 1)

    @rule(who=st.sampled_from(sorted(ACCOUNTS)), meter=st.sampled_from(sorted(METERS)), quantity=st.integers(1, 3))
    def online(self, who: str, meter: str, quantity: int) -> None:
        wanted = self.new(who, meter, quantity)
        self.note(wanted, who, self.site.online(wanted, self.word(who, meter)), online=True)
        self.heard[who, meter] = self.time

    @rule(who=st.sampled_from(sorted(ACCOUNTS)), meter=st.sampled_from(sorted(METERS)), quantity=st.integers(1, 12))
    def offline(self, who: str, meter: str, quantity: int) -> None:
        wanted = self.new(who, meter, quantity)
        self.judge(wanted, who, self.site.offline(wanted))

    def judge(self, wanted: Ask, who: str, given: Given) -> None:
        """Compare an answer with the rule as it is written, the ask's own value not yet counted."""
        heard, value = self.heard.get((who, wanted.meter)), METERS[wanted.meter] * wanted.quantity
        known = heard is not None and self.time - heard <= self.site.limits.known_for
        fits = (
            self.risked(ACCOUNTS[who]) + value <= self.site.limits.account
            and self.risked() + value <= self.site.limits.site
        )
        assert given.allowed == (known and (fits or value == 0))
        assert given.shown(self.clock.read())["reasons"] == (
            [] if given.allowed else ["risk_limit"] if known else ["unknown_offline"]
        )
        self.note(wanted, who, given)

    @rule(who=st.sampled_from(sorted(ACCOUNTS)), quantities=st.lists(st.integers(1, 8), min_size=2, max_size=4))
    def at_once(self, who: str, quantities: list[int]) -> None:
        """Several devices ask while one commit is on its way: they are answered by the next, all of them."""
        wanted = [self.new(who, "pages", quantity) for quantity in quantities]
        acts = tuple(
            Act(action=partial(book.answer_offline, ask=one, limits=self.site.limits, offset=timedelta(0)))
            for one in wanted
        )
        for one, given in zip(wanted, self.site.spool.commit(Batch(acts=acts)).results, strict=True):
            self.judge(one, who, given)

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), online=st.booleans())
    def again(self, data: st.DataObject, *, online: bool) -> None:
        """A device that heard nothing asks once more, and whoever answers this time, the answer is that of then."""
        known = self.answers[data.draw(st.sampled_from(sorted(self.answers)))]
        who = known.ask.identity.partition(":")[2]
        if online:
            given = self.site.online(known.ask, self.word(who, known.ask.meter), allowed=not known.allowed)
        else:
            given = self.site.offline(known.ask)
        assert (given.allowed, given.offline) == (known.allowed, known.offline)

    @rule(
        who=st.sampled_from(sorted(ACCOUNTS)),
        quantity=st.integers(1, 6),
        where=st.sampled_from(["after_begin", "before_commit", "after_commit_before_told"]),
    )
    def killed_while_it_answers(self, who: str, quantity: int, where: str) -> None:
        """The device heard nothing, and asks again: it is answered once, whether the first was committed or not."""

        def kill() -> None:
            raise _Killed

        wanted = self.new(who, "pages", quantity)
        failpoints.arm(where, kill)
        try:
            self.site.offline(wanted)
        except _Killed:
            pass
        else:
            raise AssertionError(where)
        failpoints.disarm()
        self.site.reopen()
        self.judge(wanted, who, self.site.offline(wanted))

    # --- what becomes of them ---

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.answers)))
        known = self.answers[id]
        self.site.let_go(id)
        if known.allowed and known.came == "nothing" and self.time < known.due:
            known.released = True

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def event(self, data: st.DataObject) -> None:
        self.count += 1
        likely = [id for id, one in self.answers.items() if one.allowed and one.offline] or list(self.answers)
        known = self.answers[data.draw(st.sampled_from(likely))]
        self.site.event(f"e{self.count}", known.ask.id)
        if known.came == "nothing":
            known.came = "waiting"

    @rule()
    def acknowledged(self) -> None:
        self.site.acknowledge()
        for one in self.answers.values():
            one.came = "there" if one.came == "waiting" else one.came

    @rule(count=st.integers(1, 9), refusal=st.sampled_from([None, None, "unknown_meter: gone"]))
    def told(self, count: int, refusal: str | None) -> None:
        owed = self.site.owed()[:count]
        self.site.told(*owed, refusal=refusal)
        for one in owed:
            self.answers[one.id].known = True

    @rule(seconds=st.sampled_from([1, 30, 60, 86_400, 8 * 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)
        self.clock.advance(timedelta(seconds=seconds))
        self.site.act(book.close_settled)

    @rule()
    def restarted(self) -> None:
        self.site.reopen()

    # --- laws ---

    @invariant()
    def the_file_says_what_is_at_risk(self) -> None:
        for account in (None, *sorted(set(ACCOUNTS.values()))):
            assert self.site.at_risk(account) == self.risked(account)

    @invariant()
    def no_more_is_promised_than_may_be_risked(self) -> None:
        """But for what came although its device had let it go: that is no promise of the agent's."""
        broken = [one for one in self.answers.values() if one.released and one.came != "nothing"]
        late = [one for one in self.answers.values() if one.known and one.came == "waiting" and self.time >= one.due]
        beyond = sum((one.value for one in (*broken, *late)), Decimal(0))
        assert self.risked() <= self.site.limits.site + beyond
        for account in set(ACCOUNTS.values()):
            assert self.risked(account) <= self.site.limits.account + beyond


AskingMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAsking = AskingMachine.TestCase
