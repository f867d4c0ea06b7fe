"""EventTrigger: which events a rule is about, in Prefect's words, and under which key they count together."""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tocsin.events.labels import matches, matches_some, name_matches
from tocsin.events.model import RESOURCE_ID, Event

Key = tuple[str, ...]
Patterns = Mapping[str, str | list[str]]

THRESHOLD_CAP: Final = 10_000
WITHIN_CAP: Final = timedelta(days=366)

_PREFECT: Final = "prefect."
_OURS: Final = "tocsin."
_RELATED: Final = "related:"

# Any, below: what a person or a document gave, before it is checked.


def _names(value: Any) -> Any:
    """One name, or several in any order, as a sorted tuple without repeats."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value):
        return tuple(sorted({_ours(name) for name in value}))
    return value


def _ordered(value: Any) -> Any:
    """Labels as a tuple: in their order, a set sorted."""
    if isinstance(value, set | frozenset):
        value = sorted(value)
    return tuple(value) if isinstance(value, list) else value


def _specifications(value: Any) -> Any:
    """One specification or a list of them, as a tuple; an empty one asks for nothing and is dropped."""
    if isinstance(value, Mapping):
        value = (value,)
    return tuple(one for one in value if one != {}) if isinstance(value, list | tuple) else value


def _ours(name: str) -> str:
    return f"{_OURS}{name.removeprefix(_PREFECT)}" if name.startswith(_PREFECT) else name


def _our_value(pattern: str) -> str:
    return f"!{_ours(pattern[1:])}" if pattern.startswith("!") else _ours(pattern)


def _our_patterns(specification: Patterns) -> Patterns:
    """`specification` with our label names, and our prefix in the resource ids that it asks for."""
    named = {_ours(label): patterns for label, patterns in specification.items()}
    if (ids := named.get(RESOURCE_ID)) is not None:
        named[RESOURCE_ID] = _our_value(ids) if isinstance(ids, str) else [_our_value(one) for one in ids]
    return named


class EventTrigger(BaseModel):
    """Fires when `threshold` matching events of one key happen within `within` (event time, sliding).

    An event matches when its name meets one of `expect` (exact, or `*` for one character or more; none: any name), its
    resource meets every pattern of `match`, and each specification of `match_related` is met by some related resource.
    `for_each` names the labels that make the key: of the resource, or `related:<role>:<label>`; an absent one is "".
    Numbers for `within` are seconds. A leading `prefect.` in label names, event names and resource ids reads as
    `tocsin.`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["event"] = "event"
    match: Patterns = {}
    match_related: Annotated[Patterns | Sequence[Patterns], BeforeValidator(_specifications)] = ()
    expect: Annotated[Sequence[str] | Set[str], BeforeValidator(_names)] = ()
    for_each: Annotated[Sequence[str] | Set[str], BeforeValidator(_ordered)] = ()
    posture: Literal["Reactive"] = "Reactive"
    threshold: Annotated[int, Field(ge=1, le=THRESHOLD_CAP)] = 1
    within: Annotated[timedelta, Field(ge=timedelta(0), le=WITHIN_CAP)] = timedelta(0)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if given.get("type", "event") in ("compound", "sequence", "metric"):
            raise ValueError(f"{given['type']} triggers are not there yet; an event trigger is")
        if given.get("posture") == "Proactive":
            raise ValueError("posture Proactive is not there yet; leave it out or write Reactive")
        if given.get("after"):
            raise ValueError("after is not there yet; leave it out")
        return {name: value for name, value in given.items() if name not in ("id", "after")}

    @field_validator("match")
    @classmethod
    def _our_labels(cls, match: Patterns) -> Patterns:
        return _our_patterns(match)

    @field_validator("match_related")
    @classmethod
    def _our_related_labels(cls, specifications: Sequence[Patterns]) -> tuple[Patterns, ...]:
        return tuple(map(_our_patterns, specifications))

    @field_validator("expect")
    @classmethod
    def _plain_names(cls, names: Sequence[str]) -> tuple[str, ...]:
        for name in names:
            if not name or any(sign in name for sign in "?[!"):
                raise ValueError(f'"{name}": an event name is exact or holds *; ?, [ and ! have no meaning in it')
        return tuple(names)

    @field_validator("for_each")
    @classmethod
    def _our_keys(cls, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(_our_key, labels))

    @property
    def specifications(self) -> tuple[Patterns, ...]:
        """What related resources must meet: `match_related` as it was read, one or many."""
        found: Any = self.match_related  # Any: the validators made a tuple of either form
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        """Short text that tells this definition from any other."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _meaningful(self) -> "EventTrigger":
        if not (self.expect or self.match or self.match_related):
            raise ValueError("an empty trigger would fire on every event; give expect or match")
        if self.threshold > 1 and not self.within:
            raise ValueError(f"threshold {self.threshold} needs within: the time in which to count")
        return self


def covers(trigger: EventTrigger, event: Event) -> bool:
    """Whether `event` is one that `trigger` counts."""
    return (
        (not trigger.expect or any(name_matches(pattern, event.event) for pattern in trigger.expect))
        and matches(trigger.match, event.resource)
        and all(matches_some(specification, event.related) for specification in trigger.specifications)
    )


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


def _our_key(label: str) -> str:
    if not label.startswith(_RELATED):
        return _ours(label)
    if label.count(":") < 2:
        raise ValueError(f'"{label}": write related:<role>:<label>')
    _, role, name = label.split(":", 2)
    return f"{_RELATED}{role}:{_ours(name)}"
