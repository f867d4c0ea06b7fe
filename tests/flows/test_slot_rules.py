"""Who may take which slots: one row a rule, and a machine of takers that give, die, leave and come in any order."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tocsin.flows.slot_rules import Limit, Line, Never, Taken, Ticket, Wait, after, judge, level, wanted_by

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def ticket(number: int, nested: bool = False, **wants: int) -> Ticket:
    """The one who came as the `number`th."""
    return Ticket(UUID(int=number), wants, NOW + timedelta(seconds=number), nested)


def line(*limits: Limit, waiting: tuple[Ticket, ...] = (), **held: int) -> Line:
    return Line({limit.key: limit for limit in limits}, held, waiting)


DB, API = Limit("db", 3), Limit("api", 4, decay=2.0, level=3.0, at=NOW)
HOLDS = ticket(9, nested=True, db=1)

CASES = [
    ("no limit of this name", ticket(9, x=1), line(DB), "taken"),
    ("a free slot", ticket(9, db=1), line(DB, db=2), "taken"),
    ("none free", ticket(9, db=1), line(DB, db=3), "limit db: 0 of 3 slots are free"),
    ("lowered under what is held", ticket(9, db=1), line(DB, db=7), "limit db: 0 of 3 slots are free"),
    ("two wanted, one free", ticket(9, db=2), line(DB, db=2), "limit db: 1 of 3 slots are free"),
    ("all or none", ticket(9, db=1, x=1), line(DB, Limit("x", 1), x=1), "limit x: 0 of 1 slots are free"),
    ("more than there are", ticket(9, db=4), line(DB), "never"),
    ("paused", ticket(9, db=1), line(Limit("db", 3, paused=True)), "limit db is paused"),
    ("an older one first", ticket(9, db=1), line(DB, waiting=(ticket(1, db=3),)), "limit db: 3 of 3 slots are free"),
    ("what is left beside an older one", ticket(9, db=1), line(DB, waiting=(ticket(1, db=2),)), "taken"),
    ("a younger one waits", ticket(1, db=3), line(DB, waiting=(ticket(9, db=1),)), "taken"),
    ("its own place is no hindrance", ticket(1, db=3), line(DB, waiting=(ticket(1, db=3),)), "taken"),
    ("an older one for something else", ticket(9, db=1), line(DB, db=2, waiting=(ticket(1, x=1),)), "taken"),
    ("who holds something goes first", HOLDS, line(DB, waiting=(ticket(1, db=3),)), "taken"),
    (
        "nothing is kept for who waits elsewhere too, from one who holds",
        HOLDS,
        line(DB, db=2, waiting=(ticket(1, nested=True, db=1, x=1),)),
        "taken",
    ),
    (
        "two who hold: the older first",
        HOLDS,
        line(DB, db=2, waiting=(ticket(1, nested=True, db=1),)),
        "limit db: 1 of 3 slots are free",
    ),
    (
        "two who hold: the older cannot yet, the younger can",
        HOLDS,
        line(DB, db=2, waiting=(ticket(1, nested=True, db=2),)),
        "taken",
    ),
    ("a rate with room", ticket(9, api=1), line(API), "taken"),
    ("a rate without", ticket(9, api=2), line(API), "limit api: 1 of 4 slots are free, until +0.5 s"),
]


@pytest.mark.parametrize(("asking", "at", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict(asking: Ticket, at: Line, expected: str) -> None:
    match judge(asking, at, NOW):
        case Taken():
            said = "taken"
        case Never():
            said = "never"
        case Wait(why, None):
            said = why
        case Wait(why, until):
            assert until is not None
            said = f"{why}, until +{(until - NOW).total_seconds():g} s"
    assert said == expected


def test_a_task_is_under_the_limits_of_its_name_and_its_tags() -> None:
    known = {"task:fetch": 1, "tag:db": 1, "global:fetch": 1, "tag:other": 1}
    assert wanted_by("fetch", ("db", "io"), known) == {"task:fetch": 1, "tag:db": 1}


@given(
    slots=st.integers(1, 5),
    decay=st.floats(0.1, 10),
    asks=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3)), max_size=40),
)
def test_in_any_span_a_rate_lets_through_its_slots_and_what_it_wins_back(
    slots: int, decay: float, asks: list[tuple[int, int]]
) -> None:
    now, limit, taken = NOW, Limit("api", slots, decay=decay), []
    for number, (pause_ms, occupy) in enumerate(asks):
        now += timedelta(milliseconds=pause_ms)
        match judge(ticket(number, api=occupy), line(limit), now):
            case Taken(changed):
                (limit,) = changed
                taken.append((now, occupy))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            span = (taken[last][0] - taken[first][0]).total_seconds()
            assert sum(count for _, count in taken[first : last + 1]) <= slots + decay * span + 1e-6


def test_a_rate_is_won_back_to_the_last_bit() -> None:
    later = NOW + timedelta(seconds=1)
    assert (level(API, NOW), level(API, later), level(API, later + timedelta(days=1))) == (3.0, 1.0, 0.0)
    assert level(API, NOW - timedelta(days=1)) == 3.0, "a clock that goes back wins nothing back"


KEYS = ("a", "b", "c")


class Takers(RuleBasedStateMachine):
    """Takers of three limits that come, ask in any order, give back, are killed while they hold or wait."""

    @initialize(sizes=st.tuples(*[st.integers(1, 3)] * 3))
    def begin(self, sizes: tuple[int, int, int]) -> None:
        self.line = line(*(Limit(key, size) for key, size in zip(KEYS, sizes, strict=True)))
        self.holders: list[Ticket] = []
        self.number = 0

    @rule(wants=st.dictionaries(st.sampled_from(KEYS), st.integers(1, 2), min_size=1, max_size=3))
    def comes(self, wants: dict[str, int]) -> None:
        self.number += 1
        there = {key: min(count, self.line.limits[key].slots) for key, count in wants.items()}
        self._ask(msgspec.structs.replace(ticket(self.number), wants=there))

    @precondition(lambda self: self.line.waiting)
    @rule(pick=st.randoms(use_true_random=False))
    def asks_again(self, pick: Random) -> None:
        self._ask(pick.choice(self.line.waiting))

    @precondition(lambda self: self.holders)
    @rule(pick=st.randoms(use_true_random=False))
    def gives_back_or_dies(self, pick: Random) -> None:
        self._give(pick.choice(self.holders))

    @precondition(lambda self: self.line.waiting)
    @rule(pick=st.randoms(use_true_random=False))
    def leaves_or_dies_waiting(self, pick: Random) -> None:
        gone = pick.choice(self.line.waiting)
        self.line = msgspec.structs.replace(self.line, waiting=tuple(t for t in self.line.waiting if t != gone))

    @invariant()
    def never_more_than_there_are(self) -> None:
        for key in KEYS if hasattr(self, "line") else ():
            held = sum(one.wants.get(key, 0) for one in self.holders)
            assert held == self.line.held.get(key, 0) <= self.line.limits[key].slots

    def teardown(self) -> None:
        """When all who hold give back, all who wait get theirs, the oldest first: nobody starves, nothing leaked."""
        if not hasattr(self, "line"):
            return
        rounds = len(self.line.waiting)
        for _ in range(rounds):
            while self.holders:
                self._give(self.holders[0])
            if self.line.waiting:
                oldest = min(self.line.waiting, key=lambda one: one.asked)
                self._ask(oldest)
                assert oldest in self.holders
        assert not self.line.waiting

    def _ask(self, asking: Ticket) -> None:
        verdict = judge(asking, self.line, NOW)
        older = [one for one in self.line.waiting if one.asked < asking.asked]
        self.line = after(self.line, asking, verdict)
        if isinstance(verdict, Taken):
            self.holders.append(asking)
            for key in asking.wants:
                left = self.line.limits[key].slots - self.line.held[key]
                assert sum(one.wants.get(key, 0) for one in older) <= left, "it took what an older one waits for"

    def _give(self, holder: Ticket) -> None:
        self.holders.remove(holder)
        held = {key: count - holder.wants.get(key, 0) for key, count in self.line.held.items()}
        self.line = msgspec.structs.replace(self.line, held=held)


TestTakers = Takers.TestCase
TestTakers.settings = settings(max_examples=60, stateful_step_count=30)
