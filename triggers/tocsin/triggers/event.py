"""EventTrigger: which events a rule is about, in Prefect's words, and under which key they count together."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tocsin.events.errors import EvaluationError
from tocsin.events.jmes.expression import Expression, check
from tocsin.events.labels import matches, matches_some, name_matches
from tocsin.events.model import Event
from tocsin.triggers.fields import Labels, Match, Names, Patterns, Related, Span, Where
from tocsin.triggers.steps import Key, Micros

THRESHOLD_CAP: Final = 10_000
LEAST_SILENCE: Final = timedelta(seconds=10)
"""What `within` 0 reads as with posture Proactive (Prefect's default)."""

_RELATED: Final = "related:"
_MICROSECOND: Final = timedelta(microseconds=1)
_SPAN: Final = TypeAdapter(timedelta)

# Any, below: what a person or a document gave, before it is checked.


def _seconds(within: Any) -> float:
    """How long `within` is as it was given; what is no duration is left for its field to refuse."""
    if within is None:
        return 0
    try:
        return _SPAN.validate_python(within).total_seconds()
    except ValidationError:
        return 1


def _sorted(specification: Patterns) -> list[list[str]]:
    """`specification` in one order, whatever the order in which it was written."""
    listed = {label: [found] if isinstance(found, str) else found for label, found in specification.items()}
    return sorted([label, *sorted(patterns)] for label, patterns in listed.items())


class EventTrigger(BaseModel):
    """Fires on events that happen (posture Reactive), or on expected ones that do not (Proactive).

    An event matches when its name meets one of `expect` (exact, or `*` for one character or more; none: any name), its
    resource meets every pattern of `match`, each specification of `match_related` is met by some related resource, and
    the JMESPath `where` is true of it. `after` names events that must come first; `where` is not asked of them.
    `for_each` names the labels that make the key: of the resource, or `related:<role>:<label>`; an absent one is "".

    Reactive: `threshold` matches within `within` of the first; with `after`, within `within` of that event.
    Proactive: fewer than `threshold` matches within `within` of the `after` event; without `after`, of any instant
    since the first match. `window="tumbling"` reads these as Prefect does, bucket by bucket.
    `grace`: how late an event may come and still count (a deadline waits for it). `cooldown`: how long it is silent
    after a firing. Numbers for durations are seconds. A leading `prefect.` in label names reads as `tocsin.`, in event
    names and patterns of resource ids as either of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["event"] = "event"
    match: Match = {}
    match_related: Related = ()
    after: Names = ()
    expect: Names = ()
    where: Where = None
    for_each: Labels = ()
    posture: Literal["Reactive", "Proactive"] = "Reactive"
    threshold: Annotated[int, Field(ge=0, le=THRESHOLD_CAP)] = 1
    within: Span = timedelta(0)
    window: Literal["sliding", "tumbling"] = "sliding"
    grace: Span | None = None
    cooldown: Span = timedelta(0)

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, given: Any) -> Any:
        """Without what an export of Prefect adds, and with the numbers that stand for others."""
        if not isinstance(given, Mapping):
            return given
        found = {name: value for name, value in given.items() if name != "id"}
        proactive, tumbling = found.get("posture") == "Proactive", found.get("window") == "tumbling"
        if proactive and not _seconds(found.get("within")):
            found["within"] = LEAST_SILENCE
        if found.get("threshold") == 0 and not (proactive or tumbling):
            found["threshold"] = 1
        return found

    @model_validator(mode="after")
    def _meaningful(self) -> "EventTrigger":
        if reason := _senseless(self):
            raise ValueError(reason)
        return self

    def __copy__(self) -> "EventTrigger":
        """Without what has been worked out: a copy may be made to be changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_construct(self.model_fields_set, **fields)

    @property
    def specifications(self) -> tuple[Patterns, ...]:
        """What related resources must meet: `match_related` as it was read, one or many."""
        found: Any = self.match_related  # Any: the validators made a tuple of either form
        return tuple(found)

    @cached_property
    def expression(self) -> Expression | None:
        """`where`, ready to be evaluated."""
        return None if self.where is None else check(self.where)

    @cached_property
    def span(self) -> Micros:
        """`within` in microseconds."""
        return self.within // _MICROSECOND

    @cached_property
    def patience(self) -> Micros:
        """How far behind the newest match an event may be and still count, in microseconds.

        Where `grace` is not given: `within` of a reactive trigger (of one without: its `cooldown`), else nothing.
        """
        if self.grace is not None:
            return self.grace // _MICROSECOND
        return (self.span or self.silence) if self.posture == "Reactive" else 0

    @cached_property
    def silence(self) -> Micros:
        """`cooldown` in microseconds."""
        return self.cooldown // _MICROSECOND

    @cached_property
    def stateless(self) -> bool:
        """Whether every match fires at once, so that nothing is ever remembered."""
        counts = self.threshold > 1 or self.after or self.cooldown or (self.window == "tumbling" and self.within)
        return self.posture == "Reactive" and not counts

    @cached_property
    def starts(self) -> bool:
        """Whether it has to be armed when its automation begins: it waits although no event has come.

        (A tumbling one does so even with `after`, as Prefect's do.)
        """
        return self.posture == "Proactive" and not self.for_each and (not self.after or self.window == "tumbling")

    @cached_property
    def fingerprint(self) -> str:
        """Short text that tells what this counts from what any other counts: what is remembered for one fits no other.

        The order in which patterns stand does not change it, nor do `grace` and `cooldown`.
        """
        counted = self.model_dump(mode="json", exclude={"type", "grace", "cooldown"})
        counted["match"] = _sorted(self.match)
        counted["match_related"] = sorted(map(_sorted, self.specifications))
        return sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def _senseless(trigger: EventTrigger) -> str | None:
    """Why a trigger could not do what it seems to say, with the way out."""
    reactive, tumbling = trigger.posture == "Reactive", trigger.window == "tumbling"
    if trigger.stateless and not (trigger.expect or trigger.match or trigger.match_related or trigger.where):
        return "an empty trigger would fire on every event; give expect or match, or a threshold with within"
    if not reactive and trigger.threshold == 0:
        return "threshold 0 with posture Proactive: fewer than none cannot be; give how many events are expected"
    if tumbling and (trigger.cooldown or (reactive and trigger.grace is not None)):
        return "a tumbling window is silent until its end and waits for nobody; leave grace and cooldown out"
    if tumbling or not reactive:
        return None
    if trigger.threshold > 1 and not trigger.within:
        return f"threshold {trigger.threshold} needs within: the time in which to count"
    if trigger.after and not trigger.within:
        return "after needs within: how long to wait for what is expected (window tumbling reads 0 as Prefect does)"
    if trigger.grace is not None and trigger.threshold == 1 and not (trigger.after or trigger.cooldown):
        return "with threshold 1 every event fires at once and none comes too late; leave grace out"
    return None


def covers(trigger: EventTrigger, event: Event) -> bool:
    """Whether `event` is one that `trigger` expects; a `where` that fails is not met."""
    if not (_named(trigger.expect, event, True) and concerns(trigger, event)):
        return False
    try:
        return trigger.expression is None or trigger.expression.meets(event)
    except EvaluationError:
        return False


def begins(trigger: EventTrigger, event: Event) -> bool:
    """Whether `event` is one after which `trigger` begins to wait."""
    return _named(trigger.after, event, False) and concerns(trigger, event)


def concerns(trigger: EventTrigger, event: Event) -> bool:
    """Whether the labels of `event` and of its related resources are those that `trigger` asks for."""
    return matches(trigger.match, event.resource) and all(
        matches_some(specification, event.related) for specification in trigger.specifications
    )


def _named(patterns: Iterable[str], event: Event, otherwise: bool) -> bool:
    found = [name_matches(pattern, event.event) for pattern in patterns]
    return any(found) if found else otherwise


def key_of(trigger: EventTrigger, event: Event) -> Key:
    """The values of the `for_each` labels, under which the event counts."""
    return key_values(trigger.for_each, event)


def key_values(labels: Iterable[str], event: Event) -> Key:
    """For each label its value in the event, "" where it is absent."""
    return tuple(_value(label, event) for label in labels)


def _value(label: str, event: Event) -> str:
    if not label.startswith(_RELATED):
        return event.resource.get(label, "")
    _, role, name = label.split(":", 2)
    return next(event.related_as(role), {}).get(name, "")
