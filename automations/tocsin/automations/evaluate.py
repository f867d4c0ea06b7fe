"""The one decision path: signals to firings, live and in a simulation, in a replay and in `explain`. Pure.

Each state is told what concerns it in the order of the bus: before an event that was received at R it is told every
due time below R, so that a deadline is decided as of its own instant, however late the host comes to it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from tocsin.automations.episode import NOTHING, Moved, State, at_once, due, move, settled
from tocsin.automations.guard import unheard
from tocsin.automations.model import Automation
from tocsin.automations.trace import NOT_KEPT, Evaluation, evaluated
from tocsin.events.clock import Micros
from tocsin.events.model import DEPTH
from tocsin.triggers.steps import RESOLVES, Firing, Key, Moment, Signal, Verdict

Place = tuple[str, Key]
"""Where a state is kept: the automation's name and the key."""

TICKS_AT_ONCE: Final = 1_000
"""How many due times one state may pass through before the next event: a bound against a defect, not a limit."""

UNHEARD: Final = Verdict("unheard", reason="it tells of a loop that was refused")

Book = Mapping[str, Automation]


class Decided(msgspec.Struct, gc=False):
    """What signals and the time led to: the states that are not what they were, firings and traces in their order."""

    states: dict[Place, State] = {}
    firings: list[Firing] = []
    traces: list[Evaluation] = []


def places(book: Book, signals: Iterable[Signal]) -> set[Place]:
    """Where states must be read before the signals can be decided."""
    return {(one.automation, one.key) for one in signals if one.automation in book and book[one.automation].remembers}


def decide(book: Book, states: Mapping[Place, State], signals: Iterable[Signal]) -> Decided:
    """Take each signal in turn; a place that `states` does not hold remembers nothing.

    A signal of an automation that the book no longer holds moves nothing.
    """
    decided = Decided()
    for signal in signals:
        if signal.fires is not None and DEPTH not in signal.event.resource:
            decided.firings.append(at_once(signal, signal.fires))
        elif (automation := book.get(signal.automation)) is None:
            continue
        elif automation.at_once and DEPTH not in signal.event.resource:
            decided.firings.append(at_once(signal, automation.key_labels))
        else:
            _take(decided, automation, states, signal)
    return decided


def wake(book: Book, states: Mapping[Place, State], until: Micros) -> Decided:
    """Tell every state of `states` the due times up to and including `until`; what no longer counts is dropped."""
    decided = Decided()
    for place, state in states.items():
        automation = book.get(place[0])
        now = settled(automation, state)
        if now is not state:
            decided.states[place] = now
        if automation is not None:
            _ticks(decided, automation, place, now, lambda instant: instant <= until)
    return decided


def _take(decided: Decided, automation: Automation, states: Mapping[Place, State], signal: Signal) -> None:
    hits = signal.hits
    if unheard(signal.event, signal.automation):
        if hits[0] != RESOLVES:
            decided.traces.append(evaluated(signal, UNHEARD))
            return
        hits = (RESOLVES,)
    place = signal.automation, signal.key
    before = decided.states.get(place) or states.get(place, NOTHING)
    if not automation.enabled:
        before = settled(automation, before)
    if before.node is not None or before.begins is not None or before.closing is not None:
        before = _ticks(decided, automation, place, before, lambda instant: instant < signal.received)
    moved = move(automation, signal.key, before, Moment(signal.received, signal.event, hits))
    _note(decided, place, before, moved, signal)


def _ticks(
    decided: Decided, automation: Automation, place: Place, state: State, within: Callable[[Micros], bool]
) -> State:
    """The state after the due times that lie `within`, each decided as of its own instant."""
    for _ in range(TICKS_AT_ONCE):
        instant = due(automation, state)
        if instant is None or not within(instant):
            break
        moved = move(automation, place[1], state, Moment(instant))
        _note(decided, place, state, moved, None)
        if moved.state == state:
            break
        state = moved.state
    return state


def _note(decided: Decided, place: Place, before: State, moved: Moved, signal: Signal | None) -> None:
    if moved.state is not before:
        decided.states[place] = moved.state
    if moved.firing is not None:
        decided.firings.append(moved.firing)
    elif signal is not None and moved.verdict.outcome not in NOT_KEPT:
        decided.traces.append(evaluated(signal, moved.verdict))
