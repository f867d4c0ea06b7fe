"""From moments to firings, and from a firing to its resolve: the state of one automation under one key.

    trigger    x        x                     x
    resolve                      r
    firings    T1       T2       R            T3
    episode    └── T1 ──┴────────┘            └── T3

A firing opens an episode when there is an end to it: `resolve_on` is given, or the trigger is a metric, which says by
itself when it is fine again. Firing again while the episode is open belongs to it. Where one event does not end it
(too few must come, or several), the open episode counts towards its end from its beginning on: `closing`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from tocsin.automations.model import Automation
from tocsin.events.clock import Micros, instant, micros
from tocsin.events.ids import firing_id
from tocsin.events.model import Event
from tocsin.triggers import tree
from tocsin.triggers.event import EventTrigger, covers
from tocsin.triggers.interest import EXPECTED
from tocsin.triggers.steps import RESOLVES, Firing, Key, Met, Moment, Signal, Step, Verdict
from tocsin.triggers.tree import Remembered

REMEMBERED: Final = 64
"""How many firings, and events that ended them, a key remembers, so that a repeated one opens or ends no second."""

KEPT: Final = 24 * 60 * 60 * 1_000_000
"""For how long (microseconds) it remembers them after the end."""


class Open(msgspec.Struct, frozen=True):
    """The firing that waits for its resolve, its event time, and what the automation was then.

    An edit that changes the key's labels or what has to be counted for the end (`closes`), or tells one of the `told`
    no more, ends the episode: `goes_on`.
    """

    firing: UUID
    at: Micros
    labels: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    closes: str = ""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an automation remembers under one key. `trigger` tells which definition `node` counts for; `begins` when
    one that waits from its beginning on is to start; `closing` is what counts towards the end of what is `open`; `past`
    which events and firings are over, `ended` since when all of them are.
    """

    trigger: str = ""
    begins: Micros | None = None
    node: Remembered | None = None
    open: Open | None = None
    closing: Remembered | None = None
    past: tuple[UUID, ...] = ()
    ended: Micros | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same state. Any: JSON."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "State":
        """The state that `to_json` wrote down. Any: JSON."""
        return msgspec.convert(value, cls)


NOTHING: Final = State()


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a moment leads: the state after it, the firing that it completes, if any, and why."""

    state: State
    firing: Firing | None
    verdict: Verdict


def due(automation: Automation, state: State) -> Micros | None:
    """When the state must next be told the time."""
    instants = _next(automation, state), _closing_due(automation, state)
    return min((instant for instant in instants if instant is not None), default=None)


def _next(automation: Automation, state: State) -> Micros | None:
    if state.begins is not None:
        return state.begins
    node = _node(automation, state)
    return tree.due(automation.trigger, node) if node is not None else _forgotten_at(state)


def _closing_due(automation: Automation, state: State) -> Micros | None:
    counted = state.closing is not None and automation.closer is not None
    return tree.due(automation.closer, state.closing) if counted and automation.closer else None


def _forgotten_at(state: State) -> Micros | None:
    """When nothing that is over needs to be known any more."""
    return None if state.ended is None else state.ended + KEPT


def started(automation: Automation, state: State, now: Micros) -> State | None:
    """The state that an automation begins with which waits from its beginning on; None when it needs no start."""
    running = state.trigger == automation.fingerprint and (state.node is not None or state.begins is not None)
    if running or not automation.enabled or not tree.starts(automation.trigger):
        return None
    return State(automation.fingerprint, now, None, state.open, state.closing, state.past)


def start_key(automation: Automation) -> Key:
    """The key of what waits from the beginning on."""
    return ("",) * len(automation.key_labels)


def settled(automation: Automation | None, state: State) -> State:
    """What of `state` still counts under today's definition; None: the automation is gone.

    Counts of another definition, or of one that is switched off, are void. An episode goes on while it can be ended
    and all who were told of it would hear of its end.
    """
    if automation is None:
        return NOTHING
    counts = automation.enabled and state.trigger in (automation.fingerprint, NOTHING.trigger)
    opened = state.open if state.open and goes_on(automation, state.open) else None
    if counts:
        return state if opened is state.open else replace(state, open=opened, closing=None, past=())
    return State(open=opened, closing=state.closing, past=state.past) if opened else NOTHING


def goes_on(automation: Automation, opened: Open) -> bool:
    """Whether an episode that was opened under an earlier definition can be ended under this one."""
    all_hear = set(opened.told) <= automation.hears_of_the_end
    same = opened.labels == automation.key_labels and opened.closes == automation.closes
    return automation.lasting and same and all_hear


def move(automation: Automation, key: Key, state: State, moment: Moment) -> Moved:
    """The state of `automation` under `key` after `moment`. A repeated event changes nothing.

    An event that resolves what is open does not also fire; where nothing is open it may. What a dead man's switch
    missed ends the episode and arms it again.
    """
    if moment.hits and moment.hits[0] == RESOLVES:
        ending, others = _resolve(automation, key, state, moment), moment.hits[1:]
        if ending.firing is not None:
            return _heard(automation, ending, Moment(moment.now, moment.event, others))
        if not others or ending.verdict.outcome == "repeated":
            return ending
        state, moment = ending.state, Moment(moment.now, moment.event, others)
    elif moment.event is None and _reached(_closing_due(automation, state), moment.now):
        return _towards_the_end(automation, key, state, moment)
    forgotten, node = _forgotten_at(state), _node(automation, state)
    if moment.event is None and node is None and forgotten is not None and forgotten <= moment.now:
        return Moved(NOTHING, None, Verdict("lapsed"))
    step = tree.advance(automation.trigger, node, moment)
    kept = _kept(automation, state, step)
    if step.met is None:
        return Moved(kept, None, step.verdict)
    if step.met.over:
        return _over(automation, key, kept, step.met, step.verdict, moment.now)
    firing = _firing(automation, key, step.met)
    if firing.id in state.past:
        return Moved(kept, None, Verdict("repeated"))
    if automation.lasting:
        return _opened(automation, kept, firing, step.verdict)
    return Moved(kept, firing, step.verdict)


def _heard(automation: Automation, ending: Moved, moment: Moment) -> Moved:
    """Let a trigger that waits for this very event hear of it, although it has ended the episode."""
    trigger, state = automation.trigger, ending.state
    if not moment.hits or not isinstance(trigger, EventTrigger) or trigger.posture == "Reactive":
        return ending
    return dataclasses.replace(
        ending, state=_kept(automation, state, tree.advance(trigger, _node(automation, state), moment))
    )


def _opened(automation: Automation, state: State, firing: Firing, verdict: Verdict) -> Moved:
    past = (*state.past, firing.id)[-REMEMBERED:]
    if (known := _still_open(automation, state)) is not None:
        after = State(state.trigger, None, state.node, known, state.closing, past)
        return Moved(after, replace(firing, opened=known.firing, lasting=True), verdict)
    told = tuple(sorted({one.target for one in automation.told}))
    opened = Open(firing.id, micros(firing.at), automation.key_labels, told, automation.closes)
    after = State(state.trigger, None, state.node, opened, _armed(automation, firing), past)
    return Moved(after, replace(firing, opened=firing.id, lasting=True), verdict)


def _armed(automation: Automation, firing: Firing) -> Remembered | None:
    """What the episode that `firing` opens begins to count with."""
    closer, at = automation.closer, micros(firing.at)
    if closer is None or closer.posture == "Reactive":
        return None
    if firing.event is not None and covers(closer, firing.event):
        return tree.advance(closer, None, Moment(at, firing.event, (EXPECTED,))).state
    return tree.advance(closer, None, Moment(at)).state


def _still_open(automation: Automation, state: State) -> Open | None:
    return state.open if state.open is not None and goes_on(automation, state.open) else None


def _resolve(automation: Automation, key: Key, state: State, moment: Moment) -> Moved:
    """A resolve counts when it did not happen before the firing that it ends."""
    event, opened = moment.event, _still_open(automation, state)
    if event is not None and state.past and _repeated(automation, key, state, event):
        return Moved(state, None, Verdict("repeated"))
    if event is None or opened is None:
        return Moved(state, None, Verdict("steady", reason="nothing is open that it could end"))
    at = micros(event.occurred)
    if at < opened.at:
        return Moved(state, None, Verdict("late", until=opened.at, reason="it happened before what it would end"))
    if automation.closer is not None:
        return _towards_the_end(automation, key, state, Moment(moment.now, event, (EXPECTED,)))
    met = Met(at, str(event.id), 1, event, over=True)
    known = replace(state, past=(*state.past, event.id)[-REMEMBERED:])
    return _over(automation, key, known, met, Verdict("resolved"), moment.now)


def _towards_the_end(automation: Automation, key: Key, state: State, moment: Moment) -> Moved:
    """Count `moment` towards the end of what is open."""
    assert automation.closer is not None
    step = tree.advance(automation.closer, state.closing, moment)
    counted = replace(state, closing=step.state)
    if step.met is None:
        return Moved(counted, None, step.verdict)
    if moment.event is not None:
        counted = replace(counted, past=(*state.past, moment.event.id)[-REMEMBERED:])
    return _over(automation, key, counted, step.met, Verdict("resolved", step.verdict.count), moment.now)


def _reached(due: Micros | None, now: Micros) -> bool:
    return due is not None and due <= now


def _repeated(automation: Automation, key: Key, state: State, event: Event) -> bool:
    """Whether `event` has ended an episode before, or has fired: what fires does not end itself."""
    return event.id in state.past or firing_id(automation.name, key, event.id) in state.past


def _over(automation: Automation, key: Key, state: State, met: Met, verdict: Verdict, now: Micros) -> Moved:
    opened = _still_open(automation, state)
    if opened is None:
        return Moved(state, None, verdict)
    after = State(state.trigger, state.begins, state.node, None, None, state.past, now)
    return Moved(after, ended(automation, key, opened, met), verdict)


def ended(automation: Automation, key: Key, opened: Open, met: Met) -> Firing:
    """The firing that says that the episode `opened` is over."""
    return replace(_firing(automation, key, met), over=True, opened=opened.firing)


def at_once(signal: Signal, names: tuple[str, ...]) -> Firing:
    """The firing that `move` makes of a signal of whoever remembers nothing; `names` are those of the key's labels."""
    event = signal.event
    return Firing(automation=signal.automation, key=signal.key, at=event.occurred, names=names, event=event)


def _firing(automation: Automation, key: Key, met: Met) -> Firing:
    return Firing(
        automation=automation.name,
        key=key,
        at=instant(met.at),
        names=automation.key_labels,
        event=met.event,
        cause="" if met.event is not None and met.cause == str(met.event.id) else met.cause,
        count=met.count,
        witness=met.witness,
        children=met.children,
        late=met.late,
    )


def _node(automation: Automation, state: State) -> Remembered | None:
    """What was counted, unless it was for another definition of the trigger."""
    return state.node if state.node is not None and state.trigger == automation.fingerprint else None


def _kept(automation: Automation, state: State, step: Step[Remembered]) -> State:
    if step.state is state.node and state.begins is None:
        return state
    mark = automation.fingerprint if step.state is not None else ""
    return State(mark, None, step.state, state.open, state.closing, state.past, state.ended)
