"""One partition's decisions: the same however the packs come; what goes wrong harms only itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.automations.parts import a_run, calling, happened, rule
from tests.automations.test_stream import rules, story
from tocsin.automations import stream_decide
from tocsin.automations.evaluate import Place, decide
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.automations.stream_decide import Outcome, adopt, pass_time, work
from tocsin.automations.stream_decisions import Told, decisions, overflowed, records, tally, together
from tocsin.automations.stream_pack import Unpacked, unpack
from tocsin.automations.stream_route import routed
from tocsin.automations.stream_rules import Rules
from tocsin.automations.stream_shard import Held, Shard, deltas
from tocsin.events.bus import Record
from tocsin.events.clock import micros
from tocsin.events.codec import check, encode
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import EVENTS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYED = {"for_each": [RESOURCE_ID]}

_offsets = count(0, 10_000)


def ruled(*automations: Automation, revision: int = 1) -> Rules:
    return Rules(revision, Index(automations))


def packs(known: Rules, *events: Event, width: int = 1, at_once: int = 7) -> dict[int, list[Unpacked]]:
    """The packs of each partition that routing makes of the events, some at a time."""
    found: dict[int, list[Unpacked]] = {number: [] for number in range(width)}
    first = next(_offsets)
    records = [Record(EVENTS, "", encode(one), "s", 0, first + n, micros(NOW) + n) for n, one in enumerate(events)]
    for start in range(0, len(records), at_once):
        batch = routed(known, width, records[start : start + at_once], NOW)
        for number, bodies in batch.packs.items():
            found[number] += map(unpack, bodies)
    return found


@dataclass
class Lane:
    """A partition: its shard, and the changelog that a successor reads."""

    shard: Shard
    log: list[bytes] = field(default_factory=list)

    def settle(self, outcome: Outcome, handled: int = 0) -> Outcome:
        self.log += deltas(self.shard, outcome.changed, handled, outcome.sources)
        self.shard.sources |= outcome.sources
        for place, held in outcome.changed.items():
            self.shard.keep(place, held)
        return outcome

    def succeed(self) -> None:
        """A new owner reads the changelog."""
        self.shard = Shard(self.shard.number)
        for offset, body in enumerate(self.log):
            self.shard.apply(body, offset)


def take(lane: Lane, known: Rules, found: Sequence[Unpacked]) -> Outcome:
    return lane.settle(work(lane.shard, known, found))


cuts = st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), min_size=1)


@given(st.integers(0, 5), st.integers(1, 40), cuts)
@settings(max_examples=25)
def test_it_decides_the_same_however_it_is_cut_into_batches_repeated_and_handed_over(
    seed: int, at_once: int, batches: list[tuple[int, bool, bool]]
) -> None:
    known, events = ruled(*rules()), story(seed)
    signals = [one for n, event in enumerate(events) for one in known.index.route(event, micros(NOW) + n)]
    wanted = {one.id for one in decide(known.book, {}, signals).firings}
    fired: set[UUID] = set()
    for number, waiting in packs(known, *events, width=3, at_once=at_once).items():
        lane, turn = Lane(Shard(number)), 0
        while waiting:
            size, repeats, hands_over = batches[turn % len(batches)]
            turn += 1
            fired |= {one.firing.id for one in take(lane, known, waiting[:size]).firings}
            if hands_over:
                lane.succeed()
            if repeats:
                assert {one.firing.id for one in take(lane, known, waiting[:size]).firings} <= fired
            del waiting[:size]
    assert fired == wanted


def test_a_defect_at_one_signal_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(book: object, states: object, signals: Sequence[object]) -> object:
        if any(one.event.payload.get("bad") for one in signals):  # type: ignore[attr-defined]
            raise ZeroDivisionError("a defect")
        return decide(book, states, signals)  # type: ignore[arg-type]

    monkeypatch.setattr(stream_decide, "decide", defective)
    known = ruled(calling("call", "x"))
    events = [happened("x", number=n + 1, payload={"bad": n == 3}) for n in range(6)]
    outcome = take(Lane(Shard(0)), known, packs(known, *events)[0])
    assert [one.firing.event.id.int for one in outcome.firings if one.firing.event] == [1, 2, 3, 5, 6]
    assert [(one.event.id.int, reason) for one, reason in outcome.bad] == [(4, "ZeroDivisionError: a defect")]


def test_signals_of_an_automation_that_has_changed_are_routed_again() -> None:
    old = ruled(calling("call", "x"), calling("same", "x"), revision=1)
    found = packs(old, happened("x", number=1))[0]
    new = ruled(calling("call", "x", "y"), calling("same", "x"), revision=2)
    outcome = take(Lane(Shard(0)), new, found)
    assert [one.automation for one in outcome.moved] == ["call"]
    assert [one.firing.automation for one in outcome.firings] == ["same"]
    gone = take(Lane(Shard(0)), ruled(revision=3), found)
    assert ([one.automation for one in gone.moved], gone.firings) == (["call", "same"], [])


def test_another_version_of_tocsin_that_marks_otherwise_does_not_send_signals_round_and_round() -> None:
    known = ruled(calling("call", "x"))
    found = packs(known, happened("x", number=1))[0]
    known.marks["call"] = "as another version writes it"
    assert [one.firing.automation for one in take(Lane(Shard(0)), known, found).firings] == ["call"]


def test_a_full_shard_refuses_new_keys_and_goes_on_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_decide, "PLACES_AT_MOST", 2)
    known = ruled(rule("counted", trigger={"expect": ["x"], "threshold": 2, "within": 60, **KEYED}), calling("c", "x"))
    lane = Lane(Shard(0))
    for number, key in enumerate("ab"):
        take(lane, known, packs(known, happened("x", key, number=1 + number))[0])
    outcome = take(lane, known, packs(known, *(happened("x", key, number=9 + n) for n, key in enumerate("acd")))[0])
    assert outcome.refused == {"counted": 2}
    assert [one.firing.automation for one in outcome.firings] == ["c", "counted", "c", "c"]
    notice = overflowed("counted", 0, 2, NOW)
    check(notice)
    assert notice.id == overflowed("counted", 0, 5, NOW.replace(second=59)).id


def test_time_passes_for_those_that_are_due() -> None:
    waits = {"posture": "Proactive", "after": ["start"], "expect": ["end"], "within": 10, **KEYED}
    known, lane = ruled(rule("overdue", trigger=waits)), Lane(Shard(0))
    begun = [happened("start", key, number=n + 1, at=n) for n, key in enumerate("abc")]
    take(lane, known, packs(known, *begun, happened("end", "b", number=9, at=3))[0])
    lane.succeed()
    later = micros(NOW) + 3600 * 1_000_000
    fired = []
    while (outcome := lane.settle(pass_time(lane.shard, known, later))).changed:
        fired += [one.firing.key for one in outcome.firings]
    assert fired == [("a",), ("c",)]
    assert pass_time(lane.shard, known, later).firings == []


def test_what_waits_from_its_beginning_begins_once_and_what_is_gone_is_forgotten() -> None:
    silence = rule("silence", trigger={"posture": "Proactive", "expect": ["beat"], "within": 10})
    counted = rule("counted", trigger={"expect": ["x"], "threshold": 2, "within": 60, **KEYED})
    known, lane = ruled(silence, counted), Lane(Shard(0))
    lane.settle(adopt(lane.shard, known, {"silence", "counted"}, 1, micros(NOW)))
    take(lane, known, packs(known, happened("x", "a", number=1))[0])
    assert {place for place, _ in lane.shard.places()} == {("silence", ()), ("counted", ("a",))}
    before = dict(lane.shard.places())
    lane.settle(adopt(lane.shard, known, {"silence"}, 1, micros(NOW) + 5))
    assert dict(lane.shard.places()) == before
    lane.settle(adopt(lane.shard, ruled(silence), {"counted"}, 1, micros(NOW)))
    assert {place for place, _ in lane.shard.places()} == {("silence", ())}


def test_of_several_partitions_one_begins_what_waits_from_its_beginning() -> None:
    known = ruled(rule("silence", trigger={"posture": "Proactive", "expect": ["beat"], "within": 10}))
    begun = [bool(adopt(Shard(number), known, {"silence"}, 8, 1).changed) for number in range(8)]
    assert begun.count(True) == 1


def test_a_deadline_that_does_not_move_is_given_up_and_said() -> None:
    known, shard = ruled(calling("call", "x")), Shard(0)
    place: Place = ("call", ())
    shard.keep(place, Held(b'{"open":{"firing":"00000000-0000-0000-0000-000000000001","at":1}}', 5))
    outcome = pass_time(shard, known, 10)
    assert outcome.changed == {place: None} or outcome.lost
    for where, held in outcome.changed.items():
        shard.keep(where, held)
    assert pass_time(shard, known, 10).changed == {}


def test_decisions_travel_in_records_of_a_bearable_size() -> None:
    body = {"url": "https://example.org", "type": "call-webhook", "payload": {"all": "{{ event.payload.text }}"}}
    known = ruled(rule("rule", body, body, body, trigger={"expect": ["tocsin.flow-run.Failed"]}))
    huge = a_run("Failed", number=1)
    huge.payload["text"] = "x" * 900_000
    small = [a_run("Failed", number=n + 2) for n in range(3)]
    outcome = take(Lane(Shard(0)), known, packs(known, *small, huge, *small)[0])
    found = [decisions(one) for one in records(outcome.firings)]
    assert all(len(one) < 2_000_000 for one in records(outcome.firings))
    carried = [one for each in found for one in each.firings]
    assert [one.firing.id for one in carried] == [one.firing.id for one in outcome.firings]
    refused = [one.refused for each in carried for one in each.invocations]
    assert sum(bool(reason and "too large for the bus" in reason) for reason in refused) == 3


def test_what_is_counted_adds_up() -> None:
    known = ruled(rule("counted", trigger={"expect": ["x"], "threshold": 90, "within": 60}))
    outcome = take(Lane(Shard(0)), known, packs(known, *(happened("x", number=n + 1) for n in range(50)))[0])
    one = decisions(tally(outcome.traces, outcome.concerned, 70, {"counted": (1, "why")}, [("s", 0, 5)]))
    assert isinstance(one, Told)
    both = together([one, one])
    assert (both.events, both.concerned, both.errors) == (140, {"counted": 100}, {"counted": (2, "why")})
    assert (len(one.traces), one.routed) == (10, (("s", 0, 5),))
