"""The kinds of trigger that an automation may have, and those that are made of others.

    compound   require of its triggers have fired, in any order      all of (a, b): x is where it fires
                   a ──1─────────2────────
                   b ───────3────────4────
                            x        x
    sequence   all have fired, in the order in which they are listed
                   a ────────────2────────
                   b ───────3────────4────
                                     x

A definition without `type` is read as Prefect's deployments read it: `triggers` and `require` make a compound,
`triggers` alone a sequence, a `metric` a metric trigger, and anything else is an event trigger.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Union, assert_never

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StrictInt, Tag, model_validator

from tocsin.triggers.event import EventTrigger
from tocsin.triggers.fields import Labels, Span
from tocsin.triggers.metric import MetricTrigger
from tocsin.triggers.steps import Micros

DEPTH: Final = 8
"""How deep composites may be nested."""

_MICROSECOND: Final = timedelta(microseconds=1)

LEAVES: Final = 100
"""How many event and metric triggers one trigger may be made of."""


def kind_of(given: Any) -> str:  # Any: what a person or a document gave, before it is checked
    """The `type` of a definition: the one that it names, else the one that its fields speak of."""
    if isinstance(given, BaseModel):
        return str(getattr(given, "type", None))
    if not isinstance(given, Mapping):
        return "event"
    if "type" in given:
        return str(given["type"])
    if "metric" in given or given.get("posture") == "Metric":
        return "metric"
    if "triggers" in given:
        return "compound" if "require" in given else "sequence"
    return "event"


class Composite(BaseModel):
    """What compounds and sequences share: triggers whose firings are brought together under one key.

    The key is made of `for_each`, else of the children's; a child without labels of its own takes these. `within`
    bounds how far apart, in event time, the firings may be that are brought together (none: any distance). For
    `cooldown` after a firing nothing of it counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["compound", "sequence"]
    triggers: Annotated[Sequence["Trigger"], Field(min_length=1, max_length=LEAVES), AfterValidator(tuple)]
    within: Span | None = None
    for_each: Labels = ()
    cooldown: Span = timedelta(0)

    @property
    def required(self) -> int:
        """How many of its triggers must have fired."""
        return len(self.triggers)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, given: Any) -> Any:  # Any: what a person or a document gave
        if not isinstance(given, Mapping):
            return given
        level, leaves = [given], 0
        for _ in range(DEPTH + 1):
            leaves += sum(not _parts(one) for one in level)
            level = [part for one in level for part in _parts(one)]
            if leaves + len(level) > LEAVES:
                raise ValueError(f"more than {LEAVES} triggers in one; split it into several automations")
        if level:
            raise ValueError(
                f"triggers are nested more than {DEPTH} deep; put those of the inner ones into the outer one"
            )
        return {name: value for name, value in given.items() if name != "id"}

    @model_validator(mode="after")
    def _keyed_alike(self) -> "Composite":
        lengths = {len(labels) for child in self.triggers if (labels := key_labels(child))}
        if self.for_each and lengths - {len(self.for_each)}:
            raise ValueError(
                f"for_each names {_labels(len(self.for_each))}, that of a trigger in it {_labels(max(lengths))}: they "
                "make the same key, so give as many, or leave the inner ones out"
            )
        together = self.mixed or self._one_key or all(map(stateless, self.triggers))
        if not self.for_each and not together:
            raise ValueError(
                "its triggers count under keys of different labels; give it for_each, and leave theirs out or let them "
                "name as many labels"
            )
        if (self.for_each or self.required > 1) and any(mixed(child) for child in self.triggers):
            raise ValueError("of a compound in it some triggers count under a key, others under none; give it for_each")
        return self

    @model_validator(mode="after")
    def _in_time(self) -> "Composite":
        if self.within == timedelta(0) and self.required > 1:
            raise ValueError("within 0 leaves no time for several to fire; leave it out for no limit, or give seconds")
        return self

    @cached_property
    def _one_key(self) -> bool:
        return len({len(key_labels(child)) for child in self.triggers}) == 1

    @cached_property
    def mixed(self) -> bool:
        """Whether it fires with each of its triggers, and some of them count under a key, others under none."""
        lengths = {len(key_labels(child)) for child in self.triggers}
        apart = not self.for_each and len(lengths) == 2 and 0 in lengths
        return apart and self.required == 1 and not all(map(stateless, self.triggers))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of its key: its own, else its children's if all have as many, or it fires with each of them."""
        if self.for_each or not (self._one_key or self.mixed):
            return tuple(self.for_each)
        return max(map(key_labels, self.triggers), key=len)

    @cached_property
    def children(self) -> tuple["Trigger", ...]:
        """Its triggers, with the labels of the whole where they have none of their own, unless they count apart."""
        return tuple(self.triggers) if self.mixed else tuple(_keyed(child, self.labels) for child in self.triggers)

    @cached_property
    def span(self) -> Micros | None:
        """`within` in microseconds."""
        return None if self.within is None else self.within // _MICROSECOND

    @cached_property
    def silence(self) -> Micros:
        """`cooldown` in microseconds."""
        return self.cooldown // _MICROSECOND

    @cached_property
    def size(self) -> int:
        """How many event and metric triggers it is made of."""
        return sum(map(size, self.triggers))

    @cached_property
    def timed(self) -> bool:
        """Whether the clock alone may make one of its triggers fire."""
        return any(map(timed, self.triggers))

    @cached_property
    def fingerprint(self) -> str:
        """Short text that tells what this brings together from what any other does; `cooldown` does not change it."""
        own = self.model_dump_json(exclude={"triggers", "cooldown"})
        return sha256("\n".join((own, *(child.fingerprint for child in self.triggers))).encode()).hexdigest()[:16]


class CompoundTrigger(Composite):
    """Fires when `require` of its triggers (any, all, or a number) have fired within `within` of each other.

    What counts is the latest firing of each in event time; those that make it fire are used up. With `any` or 1 it
    fires with each.
    """

    type: Literal["compound"] = "compound"
    require: Literal["any", "all"] | Annotated[StrictInt, Field(ge=1, le=LEAVES)] = "all"

    @property
    def required(self) -> int:
        """How many of its triggers must have fired."""
        match self.require:
            case "any":
                return 1
            case "all":
                return super().required
            case number:
                return number

    @model_validator(mode="after")
    def _enough(self) -> "CompoundTrigger":
        if self.required > len(self.triggers):
            raise ValueError(f"require {self.require} of {len(self.triggers)} triggers; require all, or give more")
        return self


class SequenceTrigger(Composite):
    """Fires when the latest firings of its triggers stand in the order of the list, within `within` of each other.

    One event serves one step: the last one whose predecessors have fired. Those that make it fire are used up.
    """

    type: Literal["sequence"] = "sequence"


Trigger = Annotated[
    Union[  # noqa: UP007 - the tags stand better one below the other
        Annotated[EventTrigger, Tag("event")],
        Annotated[CompoundTrigger, Tag("compound")],
        Annotated[SequenceTrigger, Tag("sequence")],
        Annotated[MetricTrigger, Tag("metric")],
    ],
    Discriminator(kind_of),
]


CompoundTrigger.model_rebuild()
SequenceTrigger.model_rebuild()


def key_labels(trigger: Trigger) -> tuple[str, ...]:
    """The labels of a trigger's key, in their order."""
    match trigger:
        case EventTrigger() | MetricTrigger():
            return tuple(trigger.for_each)
        case CompoundTrigger() | SequenceTrigger():
            return trigger.labels
        case _:
            assert_never(trigger)


def mixed(trigger: Trigger) -> bool:
    """Whether some of its triggers count under a key, and others under none."""
    return isinstance(trigger, CompoundTrigger | SequenceTrigger) and trigger.mixed


def stateless(trigger: Trigger) -> bool:
    """Whether nothing is ever remembered for it: each matching event makes it fire, whatever came before."""
    match trigger:
        case MetricTrigger():
            return False
        case EventTrigger():
            return trigger.stateless
        case CompoundTrigger() | SequenceTrigger():
            return trigger.required == 1 and not trigger.cooldown and all(map(stateless, trigger.triggers))
        case _:
            assert_never(trigger)


def timed(trigger: Trigger) -> bool:
    """Whether the clock alone may make it fire."""
    match trigger:
        case MetricTrigger():
            return True
        case EventTrigger():
            return trigger.posture == "Proactive"
        case CompoundTrigger() | SequenceTrigger():
            return trigger.timed
        case _:
            assert_never(trigger)


def size(trigger: Trigger) -> int:
    """How many event and metric triggers it is made of."""
    match trigger:
        case EventTrigger() | MetricTrigger():
            return 1
        case CompoundTrigger() | SequenceTrigger():
            return trigger.size
        case _:
            assert_never(trigger)


def _keyed(child: Trigger, labels: tuple[str, ...]) -> Trigger:
    if not labels or key_labels(child):
        return child
    values = {name: getattr(child, name) for name in type(child).model_fields}
    return child.model_construct(**values | {"for_each": labels})


def _parts(given: Any) -> Sequence[Any]:  # Any: what a person or a document gave
    if isinstance(given, Composite):
        return given.triggers
    parts = given.get("triggers") if isinstance(given, Mapping) else ()
    return parts if isinstance(parts, list | tuple) else ()


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count} labels"
