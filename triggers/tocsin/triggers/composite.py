"""How the firings of a composite's triggers are brought together: the memory of a compound or a sequence.

Of each child the latest firing is kept, by event time, until it has made the composite fire:

    all of (a, b) within 10 s      a ──1────────────14─────────────
                                   b ─────────────12────19─────────
                                                    F       a@14 and b@12 are used up; b@19 waits for the next a

What happened before the composite fired last is of the past: it counts no more, however late it comes. A firing whose
event follows that of another did not happen before it, whatever their clocks say and whichever of them came first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.kinds import CompoundTrigger, SequenceTrigger
from tocsin.triggers.steps import Met, Micros, Outcome, Part
from tocsin.triggers.witness import witness as witness_of

REMEMBERED: Final = 1_024
"""How many firings, and how many events that served one of several steps, are remembered under a key."""

FORGOTTEN: Final = 24 * 60 * 60 * 1_000_000
"""After how long (microseconds) a composite without `within` forgets that it has fired."""

Children = CompoundTrigger | SequenceTrigger


class Mark(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A place in event time: microseconds since 1970, then the cause."""

    at: Micros
    cause: str


class Lead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """That the event of the firing of child `place` follows the event `leader`."""

    place: int
    leader: UUID


class Gathering(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a composite remembers of its children: `latest` by their place, `leads`: whom their events follow.

    `last` is where it fired last; `fired`, of one that fires with each child: when it did, for its cooldown. `served`:
    events that met several steps and were given to one. `witness`: the last event known, its payload left out.
    """

    latest: tuple[Part, ...] = ()
    leads: tuple[Lead, ...] = ()
    last: Mark | None = None
    fired: tuple[Micros, ...] = ()
    served: tuple[Mark, ...] = ()
    witness: Event | None = None
    touched: Micros = 0


@dataclass(frozen=True)
class Gathered:
    """Where firings of children lead: the memory after them, and whether the composite is met."""

    memory: Gathering
    outcome: Outcome
    met: Met | None = None
    until: Micros | None = None


Fresh = tuple[int, Met]
"""A child's place in the list, and that it has fired."""


def gather(trigger: Children, memory: Gathering, fresh: Sequence[Fresh], now: Micros) -> Gathered:
    """Bring new firings of children together with those that are remembered."""
    if trigger.required == 1:
        return _each(trigger, memory, fresh, now)
    memory, fresh = _led(memory, fresh)
    chosen = fresh
    if isinstance(trigger, SequenceTrigger):
        memory, chosen = _one_step(trigger, memory, fresh)
    verdicts = [(one, _standing(trigger, memory, one)) for one in chosen]
    taken = [one for one, outcome in verdicts if outcome == "counted"]
    if not taken:
        return Gathered(memory, verdicts[0][1] if verdicts else "repeated", until=_silent_until(trigger, memory))
    grown = _with(trigger, memory, taken, now)
    parts = _complete(trigger, grown.latest, {place for place, _ in taken})
    if not parts:
        first = min(part.at for part in grown.latest)
        return Gathered(grown, "counted", until=None if trigger.span is None else first + trigger.span)
    return _fire(trigger, grown, parts, taken, late=_newest(memory))


def forgotten_at(trigger: Children, memory: Gathering) -> Micros | None:
    """When `memory` is worth nothing any more, by the clock; None: not as long as it waits."""
    if trigger.required > 1 and trigger.span is None:
        return None if memory.latest else memory.touched + max(FORGOTTEN, 2 * trigger.silence)
    return memory.touched + 2 * max(trigger.span or 0, trigger.silence)


def _each(trigger: Children, memory: Gathering, fresh: Sequence[Fresh], now: Micros) -> Gathered:
    """Any of them is enough: it fires with each, but for its cooldown, and at the time of the first."""
    cooldown = trigger.silence
    taken = [one for one in fresh if not any(at <= one[1].at < at + cooldown for at in memory.fired)]
    if not taken:
        return Gathered(memory, "cooldown", until=max(memory.fired) + cooldown)
    met = _met(memory, tuple(map(_part, taken)), taken, min(met.at for _, met in taken), late=None)
    if not cooldown:
        return Gathered(Gathering(), "fired", met)
    fired = tuple(sorted((*memory.fired, met.at))[-REMEMBERED:])
    return Gathered(Gathering(fired=fired, touched=now), "fired", met, met.at + cooldown)


def _led(memory: Gathering, fresh: Sequence[Fresh]) -> tuple[Gathering, Sequence[Fresh]]:
    """Both with no firing before the one that its event follows, if that is known."""
    known: dict[UUID | None, Micros] = {part.event: part.at for part in memory.latest if part.event}
    fresh = [(place, _behind(met, known)) for place, met in fresh]
    if not memory.leads:
        return memory, fresh
    known |= {met.event.id: met.at for _, met in fresh if met.event}
    latest, leaders = memory.latest, {lead.place: lead.leader for lead in memory.leads}
    for _ in latest:  # one that follows a follower moves with it
        times = [max(part.at, known.get(leaders.get(part.trigger), 0)) for part in latest]
        latest = tuple(msgspec.structs.replace(part, at=at) for part, at in zip(latest, times, strict=True))
        known |= {part.event: part.at for part in latest if part.event}
    return msgspec.structs.replace(memory, latest=latest), fresh


def _behind(met: Met, known: Mapping[UUID | None, Micros]) -> Met:
    at = known.get(met.event.follows, 0) if met.event and met.event.follows else 0
    return met if at <= met.at else msgspec.structs.replace(met, at=at)


def _one_step(trigger: SequenceTrigger, memory: Gathering, fresh: Sequence[Fresh]) -> tuple[Gathering, Sequence[Fresh]]:
    """The step that an event serves which meets several: the last whose predecessors have fired, else the first."""
    events = [one for one in fresh if one[1].event is not None]
    others = [one for one in fresh if one[1].event is None]
    known = {mark.cause for mark in memory.served}
    if any(met.cause in known for _, met in events):
        return memory, others
    if len(events) < 2:
        return memory, fresh
    place, met = next((one for one in reversed(events) if _prepared(trigger, memory.latest, one)), events[0])
    served = tuple(sorted((*memory.served, Mark(met.at, met.cause)))[-REMEMBERED:])
    return msgspec.structs.replace(memory, served=served), [*others, (place, met)]


def _prepared(trigger: SequenceTrigger, latest: Sequence[Part], one: Fresh) -> bool:
    """Whether the steps before have fired in order, and in time for this one."""
    place, _ = one
    before = [part for part in latest if part.trigger < place]
    return len(before) == place and _ascending(trigger, [*before, _part(one)])


def _standing(trigger: Children, memory: Gathering, one: Fresh) -> Outcome:
    """What a child's firing is worth beside those that are known."""
    place, met = one
    mark = Mark(met.at, met.cause)
    if memory.last is not None:
        if mark == memory.last:
            return "repeated"
        if memory.last.at <= met.at < memory.last.at + trigger.silence:
            return "cooldown"
        if mark < memory.last:
            return "late"
    for part in memory.latest:
        if part.trigger == place and (known := Mark(part.at, part.cause)) >= mark:
            return "repeated" if known == mark else "late"
    return "counted"


def _with(trigger: Children, memory: Gathering, taken: Iterable[Fresh], now: Micros) -> Gathering:
    latest = {part.trigger: part for part in memory.latest} | {place: _part((place, met)) for place, met in taken}
    witness = memory.witness
    if trigger.timed:
        for _, met in taken:
            witness = (witness_of(met.event) if met.event else met.witness) or witness
    ordered = tuple(latest[place] for place in sorted(latest))
    leads = {lead.place: lead for lead in memory.leads}
    for place, met in taken:
        leads.pop(place, None)
        if met.event and met.event.follows:
            leads[place] = Lead(place, met.event.follows)
    led = tuple(leads[place] for place in sorted(leads))
    return msgspec.structs.replace(memory, latest=ordered, leads=led, witness=witness, touched=now)


def _complete(trigger: Children, latest: tuple[Part, ...], fresh: set[int]) -> tuple[Part, ...]:
    """The firings that make it fire, a new one among them; none: not yet."""
    if isinstance(trigger, SequenceTrigger):
        return latest if len(latest) == trigger.required and _ascending(trigger, latest) else ()
    for start in sorted(part.at for part in latest):
        near = tuple(part for part in latest if start <= part.at and _near(trigger, start, part.at))
        if len(near) >= trigger.required and any(part.trigger in fresh for part in near):
            return near
    return ()


def _ascending(trigger: Children, parts: Sequence[Part]) -> bool:
    times = [part.at for part in parts]
    return times == sorted(times) and _near(trigger, times[0], times[-1])


def _near(trigger: Children, first: Micros, last: Micros) -> bool:
    return trigger.span is None or last - first < trigger.span


def _fire(
    trigger: Children, memory: Gathering, parts: tuple[Part, ...], taken: Sequence[Fresh], late: Micros | None
) -> Gathered:
    """It fires with `parts`, at the time of the last; what happened up to then is used up."""
    last = max(Mark(part.at, part.cause) for part in parts)
    latest = tuple(part for part in memory.latest if Mark(part.at, part.cause) > last)
    served = tuple(mark for mark in memory.served if mark > last)
    left = {part.trigger for part in latest}
    leads = tuple(lead for lead in memory.leads if lead.place in left)
    after = msgspec.structs.replace(memory, latest=latest, leads=leads, served=served, last=last)
    return Gathered(after, "fired", _met(memory, parts, taken, last.at, late), _silent_until(trigger, after))


def _met(memory: Gathering, parts: tuple[Part, ...], taken: Sequence[Fresh], at: Micros, late: Micros | None) -> Met:
    """That `parts` make it fire: because of an event if one of `taken` has one. `late`: the newest that was known."""
    chosen = {part.trigger for part in parts}
    place, met = max((one for one in taken if one[0] in chosen), key=lambda one: (one[1].event is not None, one[1].at))
    return Met(
        at=at,
        cause=met.cause if met.event else f"{met.cause}/{place}",
        count=len(parts),
        event=met.event,
        witness=None if met.event else met.witness or memory.witness,
        children=parts,
        late=met.late or (late is not None and met.at < late),
    )


def _newest(memory: Gathering) -> Micros | None:
    known = [part.at for part in memory.latest] + ([memory.last.at] if memory.last else [])
    return max(known, default=None)


def _silent_until(trigger: Children, memory: Gathering) -> Micros | None:
    return memory.last.at + trigger.silence if memory.last and trigger.silence else None


def _part(one: Fresh) -> Part:
    place, met = one
    return Part(place, met.at, met.cause, met.event.id if met.event else None, met.count, met.children)
