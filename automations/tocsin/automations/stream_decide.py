"""What packed signals and the time lead to in one partition: states to keep, decisions to publish. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tocsin.automations.episode import NOTHING, State, due, settled, start_key, started
from tocsin.automations.evaluate import Decided, Place, decide, wake
from tocsin.automations.recording import Decision, decisions
from tocsin.automations.stream_pack import Routed, Seen, Unpacked, partition_for, seen_before, seen_now
from tocsin.automations.stream_rules import Rules
from tocsin.automations.stream_shard import Held, Shard
from tocsin.automations.trace import Evaluation
from tocsin.events.clock import Micros
from tocsin.triggers.steps import Signal

AT_ONCE: Final = 500
"""Deadlines that are passed before what they lead to is written."""

PLACES_AT_MOST: Final = 500_000
BYTES_AT_MOST: Final = 512 * 1024 * 1024
"""What one partition may remember; beyond it new places are refused, and an event says so."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


@dataclass
class Outcome:
    """What a batch leads to, before any of it is published.

    `changed`: what is remembered anew, None for what is forgotten. `moved`: signals of automations that are others by
    now, to be routed again. `bad`: what cannot be decided, and why. `refused`: how many signals of an automation found
    no room. `sources`: how far each source of events has come here.
    """

    changed: dict[Place, Held | None] = field(default_factory=dict)
    firings: list[Decision] = field(default_factory=list)
    traces: list[Evaluation] = field(default_factory=list)
    concerned: Counter[str] = field(default_factory=Counter)
    moved: list[Signal] = field(default_factory=list)
    bad: list[tuple[Signal, str]] = field(default_factory=list)
    lost: list[tuple[Place, str]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    sources: dict[str, Seen] = field(default_factory=dict)


class States(Mapping[Place, State]):
    """The states of a shard with what a batch has changed so far, read when they are asked for."""

    def __init__(self, shard: Shard, changed: Mapping[Place, Held | None]) -> None:
        self._shard, self._changed = shard, changed

    def __getitem__(self, place: Place) -> State:
        held = self._held(place)
        if held is None:
            raise KeyError(place)
        return _decode(held.state)

    def get(self, place: Place, default: Any = None) -> Any:  # Any: as Mapping has it
        """The state of a place; half the time of the mapping's own way, which raises."""
        held = self._held(place)
        return default if held is None else _decode(held.state)

    def _held(self, place: Place) -> Held | None:
        return self._changed[place] if place in self._changed else self._shard.get(place)

    def __iter__(self) -> Iterator[Place]:
        yield from (place for place, _ in self._shard.places())

    def __len__(self) -> int:
        return len(self._shard)


def work(shard: Shard, rules: Rules, packs: Iterable[Unpacked]) -> Outcome:
    """Take the signals of all packs, in their order, all but those of events that were routed before."""
    outcome = Outcome(sources=dict(shard.sources))
    signals: list[Signal] = []
    for pack in packs:
        old = pack.pack.revision < rules.revision
        for arrival in pack.arrivals:
            if arrival.source:
                seen = outcome.sources.get(arrival.source)
                if seen_before(arrival, seen):
                    continue
                outcome.sources[arrival.source] = seen_now(arrival, seen)
            for routed in arrival.signals:
                where = outcome.moved if old and _changed_since(rules, routed) else signals
                where.append(routed[0])
    if shard.count >= PLACES_AT_MOST or shard.size >= BYTES_AT_MOST:
        signals = list(_with_room(shard, rules, outcome, signals))
    outcome.concerned.update(signal.automation for signal in signals)
    _take(shard, rules, outcome, signals)
    return outcome


def pass_time(shard: Shard, rules: Rules, clock: Micros) -> Outcome:
    """Tell some of the places whose deadline has come that it has; nothing is changed when there are none left."""
    outcome = Outcome()
    places = shard.overdue(clock, AT_ONCE)
    _wake(shard, rules, outcome, places, clock)
    for place in places:
        if outcome.changed[place] == (held := shard.get(place)) and held is not None:
            outcome.changed[place] = Held(held.state, None)
            outcome.lost.append((place, f"told of its deadline it does not move: {held.state[:200]!r}"))
    return outcome


def adopt(shard: Shard, rules: Rules, names: Set[str], width: int, now: Micros) -> Outcome:
    """What it means for a shard that the automations of these names have changed, or are gone.

    What no longer counts is dropped; what waits from its beginning on begins, if it belongs to this partition.
    """
    outcome = Outcome()
    _wake(shard, rules, outcome, [place for place, _ in shard.places() if place[0] in names], 0)
    states = States(shard, outcome.changed)
    for automation in (rules.book[name] for name in sorted(names) if name in rules.book):
        place = automation.name, start_key(automation)
        if partition_for(*place, width) != shard.number:
            continue
        first = started(automation, states.get(place, NOTHING), now)
        if first is not None:
            outcome.changed[place] = _held(rules, place, first)
    return outcome


def _changed_since(rules: Rules, routed: Routed) -> bool:
    signal, mark = routed
    return rules.marks.get(signal.automation) != mark


def _with_room(shard: Shard, rules: Rules, outcome: Outcome, signals: Sequence[Signal]) -> Iterator[Signal]:
    """Those signals for whose places there is room: all that are known, and all that remember nothing."""
    for signal in signals:
        automation = rules.book.get(signal.automation)
        known = shard.get((signal.automation, signal.key)) is not None
        if known or automation is None or not automation.remembers:
            yield signal
        else:
            outcome.refused[signal.automation] += 1


def _take(shard: Shard, rules: Rules, outcome: Outcome, signals: Sequence[Signal]) -> None:
    if not signals:
        return
    try:
        _add(rules, outcome, decide(rules.book, States(shard, outcome.changed), signals))
    except Exception as error:  # a defect of ours on one signal must not stop all others
        if len(signals) == 1:
            outcome.bad.append((signals[0], f"{type(error).__name__}: {error}"))
            return
        for one in signals:
            _take(shard, rules, outcome, [one])


def _wake(shard: Shard, rules: Rules, outcome: Outcome, places: Sequence[Place], until: Micros) -> None:
    """Where we fail, what was counted is given up, and told of."""
    for place in places:
        state = States(shard, outcome.changed)[place]
        try:
            decided = wake(rules.book, {place: state}, until)
            if not decided.states:  # put off by a rule that has changed: file it anew
                outcome.changed[place] = _held(rules, place, settled(rules.book.get(place[0]), state))
            _add(rules, outcome, decided)
        except Exception as error:
            outcome.changed[place] = _held(rules, place, State(open=state.open))
            outcome.lost.append((place, f"{type(error).__name__}: {error}"))


def _add(rules: Rules, outcome: Outcome, decided: Decided) -> None:
    """All that was decided, or nothing when it cannot be planned."""
    made = decisions(rules.book, decided)
    changed = {place: _held(rules, place, state) for place, state in decided.states.items()}
    outcome.firings += made
    outcome.traces += decided.traces
    outcome.changed |= changed


def _held(rules: Rules, place: Place, state: State) -> Held | None:
    automation = rules.book.get(place[0])
    if automation is None or state == NOTHING:
        return None
    return Held(_encode(state), due(automation, state))
