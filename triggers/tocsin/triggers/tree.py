"""A trigger as a tree: what it remembers, what moves it, when it must be told the time.

    all ─┬─ any ─┬─ event     leaf 0: interests 0 and 1
         │       └─ event     leaf 1: interests 2 and 3
         └─ sequence ─┬─ event     leaf 2: interests 4 and 5
                      └─ metric    leaf 3: interest 6

A moment goes down to the children that it concerns, each of which knows only its own interests (from 0) and its own
state; those that are met are brought together on the way up. A tick concerns the children that are due.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeVar, assert_never

import msgspec

from tocsin.triggers import event_step, kinds, samples
from tocsin.triggers.composite import Fresh, Gathered, Gathering, forgotten_at, gather
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.event_step import EventState
from tocsin.triggers.interest import PER_LEAF, Interest
from tocsin.triggers.interest import interests as interests_of
from tocsin.triggers.kinds import CompoundTrigger, SequenceTrigger, Trigger
from tocsin.triggers.metric import MetricTrigger, interest
from tocsin.triggers.samples import MetricState
from tocsin.triggers.steps import Micros, Moment, Outcome, Step, Verdict

NO_LABEL: Final = "\0"
"""A label that no resource has: what counts under no key has empty texts where others have one."""

Leaf = EventTrigger | MetricTrigger
_Composite = CompoundTrigger | SequenceTrigger
S = TypeVar("S")


class CompositeState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="composite"):
    """What a composite remembers: the states of its children by their place (none: nothing), and their firings."""

    children: tuple["Remembered | None", ...]
    gathering: Gathering = Gathering()


Remembered = EventState | CompositeState | MetricState


def advance(trigger: Trigger, state: Remembered | None, moment: Moment) -> Step[Remembered]:
    """Where `moment` leads. State None: nothing is remembered, going in; nothing is worth keeping, coming out."""
    match trigger:
        case EventTrigger():
            return event_step.advance(trigger, state, moment)
        case MetricTrigger():
            return samples.advance(trigger, _own(state, MetricState), moment)
        case CompoundTrigger() | SequenceTrigger():
            return _composite(trigger, _known(trigger, state), moment)
        case _:
            assert_never(trigger)


def due(trigger: Trigger, state: Remembered | None) -> Micros | None:
    """When it must next be told the time: a deadline, or something to forget."""
    match trigger:
        case EventTrigger():
            return event_step.due(trigger, state)
        case MetricTrigger():
            return samples.due(_own(state, MetricState))
        case CompoundTrigger() | SequenceTrigger():
            return _composite_due(trigger, _known(trigger, state))
        case _:
            assert_never(trigger)


def leaves(trigger: Trigger) -> tuple[Leaf, ...]:
    """The event and metric triggers that it is made of, depth first, each with the labels of its key."""
    match trigger:
        case EventTrigger() | MetricTrigger():
            return (trigger,)
        case CompoundTrigger() | SequenceTrigger():
            return tuple(leaf for child in trigger.children for leaf in leaves(child))
        case _:
            assert_never(trigger)


def interests(trigger: Trigger) -> tuple[Interest, ...]:
    """What its leaves are to be told of, all under its key."""
    labels = key_labels(trigger)
    return tuple(_under(labels, one) for place, leaf in enumerate(leaves(trigger)) for one in _interests(leaf, place))


def stateless(trigger: Trigger) -> bool:
    """Whether nothing is ever remembered for it."""
    return kinds.stateless(trigger)


def starts(trigger: Trigger) -> bool:
    """Whether it waits from the beginning, before any event: it must be told the time once, with state None."""
    return any(isinstance(leaf, EventTrigger) and leaf.starts for leaf in leaves(trigger))


def key_labels(trigger: Trigger) -> tuple[str, ...]:
    """The labels that make its key: a composite's own, else its children's."""
    return kinds.key_labels(trigger)


def fingerprint(trigger: Trigger) -> str:
    """Short text that tells what it counts from what any other counts: what is remembered for one fits no other."""
    return trigger.fingerprint


def _composite_due(trigger: _Composite, state: CompositeState | None) -> Micros | None:
    if state is None:
        return None
    dues = [due(child, own) for child, own in zip(trigger.children, state.children, strict=True)]
    return min((at for at in (*dues, _forgotten(trigger, state)) if at is not None), default=None)


def _composite(trigger: _Composite, state: CompositeState | None, moment: Moment) -> Step[Remembered]:
    known = state or CompositeState((None,) * len(trigger.triggers))
    told = _told(trigger, state, moment)
    steps = {place: advance(trigger.children[place], known.children[place], local) for place, local in told}
    children = tuple(steps[place].state if place in steps else own for place, own in enumerate(known.children))
    gathered = _gathered(trigger, known, steps, moment)
    verdict = _verdict(trigger, gathered, steps)
    remembered = CompositeState(children, gathered.memory)
    nothing = gathered.memory == Gathering() and all(child is None for child in children)
    return Step(None if nothing else remembered, gathered.met, verdict)


def _told(trigger: _Composite, state: CompositeState | None, moment: Moment) -> Iterator[tuple[int, Moment]]:
    """The children that `moment` concerns, and what each is told."""
    first = 0
    for place, child in enumerate(trigger.children):
        behind = first + PER_LEAF * kinds.size(child)
        if moment.event is not None:
            hits = tuple(hit - first for hit in moment.hits if first <= hit < behind)
            if hits:
                yield place, Moment(moment.now, moment.event, hits)
        elif _is_due(child, state, place, moment.now):
            yield place, moment
        first = behind


def _is_due(child: Trigger, state: CompositeState | None, place: int, now: Micros) -> bool:
    """Whether a child waits for this tick; a composite that remembers nothing begins to wait."""
    if state is None:
        return starts(child)
    at = due(child, state.children[place])
    return at is not None and at <= now


def _gathered(
    trigger: _Composite, known: CompositeState, steps: dict[int, Step[Remembered]], moment: Moment
) -> Gathered:
    fresh: list[Fresh] = [(place, met) for place, step in steps.items() if (met := step.met) and not met.over]
    if fresh:
        return gather(trigger, known.gathering, fresh, moment.now)
    forgotten = _forgotten(trigger, known)
    if moment.event is None and forgotten is not None and forgotten <= moment.now:
        return Gathered(Gathering(), "lapsed")
    said: list[Outcome] = [step.verdict.outcome for step in steps.values() if step.met is None]
    return Gathered(known.gathering, said[0] if said else "steady")


def _forgotten(trigger: _Composite, known: CompositeState) -> Micros | None:
    return None if known.gathering == Gathering() else forgotten_at(trigger, known.gathering)


def _verdict(trigger: _Composite, gathered: Gathered, steps: dict[int, Step[Remembered]]) -> Verdict:
    told = tuple(msgspec.structs.replace(step.verdict, trigger=place) for place, step in steps.items())
    count = gathered.met.count if gathered.met else len(gathered.memory.latest)
    return Verdict(gathered.outcome, count=count, threshold=trigger.required, until=gathered.until, children=told)


def _interests(leaf: Leaf, place: int) -> tuple[Interest, ...]:
    match leaf:
        case EventTrigger():
            return interests_of(leaf, place)
        case MetricTrigger():
            return (interest(leaf, place),)
        case _:
            assert_never(leaf)


def _under(labels: tuple[str, ...], one: Interest) -> Interest:
    """An interest under the key of the whole.

    One without labels beside those with some has empty texts for its key; else another number of labels, on stateless
    leaves only, means nothing.
    """
    if len(one.labels) == len(labels):
        return one
    return replace(one, labels=labels if one.labels else (NO_LABEL,) * len(labels))


def _known(trigger: _Composite, state: Remembered | None) -> CompositeState | None:
    known = _own(state, CompositeState)
    return known if known and len(known.children) == len(trigger.triggers) else None


def _own(state: Remembered | None, kind: type[S]) -> S | None:
    """What a trigger remembers; of another kind, which an earlier definition left, it remembers nothing."""
    return state if isinstance(state, kind) else None
