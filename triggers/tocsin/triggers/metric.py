"""MetricTrigger: a number that is measured by events, and when it is out of bounds."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tocsin.events.errors import EvaluationError
from tocsin.events.jmes.expression import Expression, check
from tocsin.events.model import Event
from tocsin.triggers.fields import WITHIN_CAP, Labels, Match, Names, Patterns, Related, Where
from tocsin.triggers.interest import EXPECTED, PER_LEAF, Interest

Name = Literal["successes", "duration", "lateness"]
Aggregate = Literal["avg", "min", "max", "sum", "count", "last"]
Operator = Literal["<", "<=", ">", ">="]

STATE_TYPE: Final = "tocsin.state-type"
_ENDED: Final = "tocsin.flow-run.*"
_BEGUN: Final = "tocsin.flow-run.Running"
_SUCCESS: Final = {"COMPLETED": 1.0, "FAILED": 0.0, "CRASHED": 0.0}
_FINISHED: Final = (*_SUCCESS, "CANCELLED")


class Metric(BaseModel):
    """What is measured, and when it is out of bounds: the `aggregate` of the last `range` is `operator` `threshold`.

    `name` is a number about the flow runs that the trigger matches: `successes` (the share of finished runs that
    completed; cancelled ones count neither way), `duration` (seconds of finished runs), `lateness` (seconds from the
    time for which a run was scheduled to its start). Or `value`: JMESPath over the event, which gives a number. It
    fires when the number has been out of bounds for `firing_for`. Numbers for durations are seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = None
    value: Where = None
    aggregate: Aggregate = "avg"
    operator: Operator
    threshold: FiniteFloat
    range: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=WITHIN_CAP)] = timedelta(minutes=5)
    firing_for: Annotated[timedelta, Field(ge=timedelta(0), le=WITHIN_CAP)] = timedelta(minutes=5)

    @model_validator(mode="after")
    def _measurable(self) -> "Metric":
        if self.name and self.value:
            raise ValueError("name and value are two measures; give one of them")
        if not (self.name or self.value or self.aggregate == "count"):
            raise ValueError("nothing is measured; give name (successes, duration, lateness), or value (JMESPath)")
        if self.name == "successes" and self.aggregate != "avg":
            raise ValueError("successes is an avg already, of 1 for a success and 0 for a failure; leave aggregate out")
        return self

    @cached_property
    def expression(self) -> Expression | None:
        """`value`, ready to be evaluated."""
        return None if self.value is None else check(self.value)


class MetricTrigger(BaseModel):
    """Fires when a number that matching events measure is out of bounds; it is over when the number is back.

    `match`, `match_related`, `expect`, `where` and `for_each` mean what they mean in an event trigger. A metric by
    `name` is about flow runs: it has no `expect`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["metric"] = "metric"
    posture: Literal["Metric"] = "Metric"
    metric: Metric
    match: Match = {}
    match_related: Related = ()
    expect: Names = ()
    where: Where = None
    for_each: Labels = ()

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, given: Any) -> Any:  # Any: what a person or a document gave
        """Without what an export of Prefect adds."""
        return {name: value for name, value in given.items() if name != "id"} if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _meaningful(self) -> "MetricTrigger":
        if self.metric.name and self.expect:
            raise ValueError(f"metric {self.metric.name} is about the events of flow runs; leave expect out")
        if not (self.metric.name or self.expect or self.match or self.match_related or self.where):
            raise ValueError("an empty trigger would measure every event; give expect or match")
        return self

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
    def fingerprint(self) -> str:
        """Short text that tells what this measures from what any other measures."""
        return sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]


def interest(trigger: MetricTrigger, leaf: int = 0) -> Interest:
    """What a metric trigger in place `leaf` is told of."""
    names, states = _measured(trigger.metric.name, tuple(trigger.expect))
    match = {STATE_TYPE: list(states), **trigger.match} if states else trigger.match
    number = leaf * PER_LEAF + EXPECTED
    return Interest(number, names, match, trigger.specifications, trigger.expression, tuple(trigger.for_each))


def measure(metric: Metric, event: Event) -> float | str:
    """The number that `event` gives, or why it gives none. Raises EvaluationError for a `value` that fails."""
    match metric.name:
        case None:
            return _valued(metric, event)
        case "successes":
            kind = event.resource.get(STATE_TYPE, "")
            return _SUCCESS.get(kind, f"a run that is {kind or 'in no known state'} neither succeeded nor failed")
        case "duration":
            return _number(event.payload.get("duration_s"), "the event tells no duration_s")
        case "lateness":
            return _number(event.payload.get("lateness_s"), "the event tells no lateness_s: nothing was scheduled")


def _valued(metric: Metric, event: Event) -> float | str:
    if metric.expression is None:
        return 1.0
    found = metric.expression.event(event)
    if metric.aggregate == "count" and found is not None:
        return 1.0
    return _number(found, f"value gives no number but {_shown(found)}")


def _number(found: Any, otherwise: str) -> float | str:  # Any: JSON
    if isinstance(found, bool) or not isinstance(found, int | float):
        return otherwise
    try:
        return float(found)
    except OverflowError as error:
        raise EvaluationError(f"{otherwise}: {error}") from error


def _shown(found: Any) -> str:  # Any: JSON
    return "null" if found is None else json.dumps(found)[:60]


def _measured(name: Name | None, expect: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the events that a metric is measured by, and the types of state of their runs if these matter."""
    match name:
        case None:
            return tuple(expect), ()
        case "successes":
            return (_ENDED,), tuple(_SUCCESS)
        case "duration":
            return (_ENDED,), _FINISHED
        case "lateness":
            return (_BEGUN,), ()
