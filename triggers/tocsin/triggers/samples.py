"""What a metric trigger remembers: the samples of its range, and since when their number is out of bounds.

A sample counts from when its event comes until `range` after it happened; the number is worked out anew when one comes
and when one leaves. With the avg of 10 s above 5, firing for 4 s (B: out of bounds, F: it fires, O: it is over):

    seconds   0     2     4     6     8     10    12    14    16
    samples   3     9     9                       leaves 2
    avg       3     6     7                 9     9     none
                    B           F                       O

Samples leave in the order in which they came about. So the next instant at which anything changes is known in advance,
and the clock is asked for that one only.
"""

import operator
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import accumulate
from operator import attrgetter
from typing import Final

import msgspec

from tocsin.events.errors import EvaluationError
from tocsin.events.model import Event
from tocsin.triggers.interest import EXPECTED
from tocsin.triggers.metric import Metric, MetricTrigger, Operator, measure
from tocsin.triggers.steps import Met, Micros, Moment, Outcome, Step, Verdict, micros
from tocsin.triggers.witness import witness as witness_of

SAMPLES: Final = 10_000
"""How many samples are remembered under a key; the oldest go."""

_MICROSECOND: Final = timedelta(microseconds=1)
_BREACHES: Final[Mapping[Operator, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Sample(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A number that an event gave: when it happened (microseconds since 1970), its id, the number."""

    at: Micros
    id: str
    value: float


class MetricState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="metric"):
    """Samples in the order of event time. `breached`: since when they are out of bounds; `fired`: the firing's time.

    `due`: when it must be told the time. `witness`: the last event, its payload left out. `full`: samples had to go.
    """

    samples: tuple[Sample, ...]
    due: Micros
    breached: Micros | None = None
    fired: Micros | None = None
    witness: Event | None = None
    full: bool = False


EMPTY: Final = MetricState(samples=(), due=0)


def advance(trigger: MetricTrigger, state: MetricState | None, moment: Moment) -> Step[MetricState]:
    """The samples after `moment`. An event gives one sample, however often it is delivered."""
    known = state or EMPTY
    if moment.event is None or EXPECTED not in moment.hits:
        return _told(trigger.metric, known, moment)
    try:
        value = measure(trigger.metric, moment.event)
    except EvaluationError as error:
        return Step(state, None, Verdict("error", reason=str(error)))
    if isinstance(value, str):
        return Step(state, None, Verdict("steady", reason=value))
    if reason := _unfit(trigger.metric, known, moment.event, moment.now):
        return Step(state, None, Verdict(reason[0], value=value, reason=reason[1]))
    sample = Sample(micros(moment.event.occurred), str(moment.event.id), value)
    return _told(trigger.metric, _with(known, sample, moment.event), moment)


def due(state: MetricState | None) -> Micros | None:
    """When a metric must next be told the time."""
    return state.due if state else None


def breaches(metric: Metric, number: float | None) -> bool:
    """Whether `number` is out of bounds; that of no samples is not."""
    return number is not None and _BREACHES[metric.operator](number, metric.threshold)


def _unfit(metric: Metric, known: MetricState, event: Event, now: Micros) -> tuple[Outcome, str] | None:
    """Why an event gives no sample, if so."""
    at, span, own = micros(event.occurred), metric.range // _MICROSECOND, str(event.id)
    if any(sample.id == own for sample in known.samples):
        return "repeated", "this event gave a sample before"
    if at <= now - span:
        return "late", "it happened before the range began"
    return ("late", "it lies further ahead of the clock than the range is long") if at >= now + span else None


def _with(known: MetricState, sample: Sample, event: Event) -> MetricState:
    samples = list(known.samples)
    insort(samples, sample)
    witness = known.witness
    if witness is None or sample.at >= micros(witness.occurred):
        witness = witness_of(event)
    kept, full = tuple(samples[-SAMPLES:]), known.full or len(samples) > SAMPLES
    return msgspec.structs.replace(known, samples=kept, witness=witness, full=full)


def _told(metric: Metric, known: MetricState, moment: Moment) -> Step[MetricState]:
    """Where the number stands at `moment`, what that means, and when it will be otherwise."""
    horizon = moment.now - metric.range // _MICROSECOND
    samples = known.samples[bisect_right(known.samples, horizon, key=attrgetter("at")) :]
    numbers = _suffixes(metric, [sample.value for sample in samples]) if samples else []
    number = numbers[0] if numbers else None
    breached = (moment.now if known.breached is None else known.breached) if breaches(metric, number) else None
    fires = breached is not None and known.fired is None and moment.now >= breached + _firing_for(metric)
    over = breached is None and known.fired is not None
    met = _met(known, samples, moment, over) if fires or over else None
    fired = None if over else met.at if met else known.fired
    verdict = _verdict(metric, known, samples, number, breached, met)
    if not samples:
        return Step(None, met, verdict)
    return Step(
        MetricState(
            samples=samples,
            due=_next(metric, samples, numbers, breached, fired),
            breached=breached,
            fired=fired,
            witness=known.witness,
            full=known.full and len(samples) > SAMPLES // 2,
        ),
        met,
        verdict,
    )


def _met(known: MetricState, samples: Sequence[Sample], moment: Moment, over: bool) -> Met:
    """By an event: at the time of the newest sample. By the clock: at the deadline."""
    at = moment.now if moment.event is None else max(sample.at for sample in samples)
    at = at if known.fired is None else max(at, known.fired)
    cause = f"due:{at}" if moment.event is None else str(moment.event.id)
    witness = known.witness if moment.event is None else None
    return Met(at=at, cause=cause, count=len(samples), event=moment.event, witness=witness, over=over)


def _verdict(
    metric: Metric,
    known: MetricState,
    samples: Sequence[Sample],
    number: float | None,
    breached: Micros | None,
    met: Met | None,
) -> Verdict:
    waits = breached is not None and known.fired is None and met is None
    outcome: Outcome = "steady"
    if met:
        outcome = "resolved" if met.over else "fired"
    elif waits and known.breached is None:
        outcome = "opened"
    elif breached is None and known.breached is not None:
        outcome = "lapsed"
    reason = f"more than {SAMPLES} samples within the range: the oldest went" if known.full else ""
    until = breached + _firing_for(metric) if waits and breached is not None else None
    return Verdict(outcome, count=len(samples), until=until, value=number, reason=reason)


def _next(
    metric: Metric, samples: Sequence[Sample], numbers: Sequence[float], breached: Micros | None, fired: Micros | None
) -> Micros:
    """The next instant at which something changes without an event: it fires, begins or ends, or nothing is left.

    `numbers`: that of all samples, of all but the first, and so on.
    """
    span = metric.range // _MICROSECOND
    turn = samples[-1].at + span
    breaches, turned = _BREACHES[metric.operator], breached is None
    for left, sample, number in zip(samples, samples[1:], numbers[1:], strict=False):
        if left.at != sample.at and breaches(number, metric.threshold) is turned:
            turn = left.at + span
            break
    if breached is None or fired is not None:
        return turn
    return min(turn, breached + _firing_for(metric))


def _suffixes(metric: Metric, values: Sequence[float]) -> list[float]:
    """The number of each end piece of `values`: of all, of all but the first, and so on.

    Sums are taken from the end, so that one that is foretold is, to the last bit, the one that comes.
    """
    backwards = values[::-1]
    match metric.aggregate:
        case "avg":
            found = [total / count for count, total in enumerate(accumulate(backwards), start=1)]
        case "min":
            found = list(accumulate(backwards, min))
        case "max":
            found = list(accumulate(backwards, max))
        case "sum":
            found = list(accumulate(backwards))
        case "count":
            found = [float(count) for count in range(1, len(values) + 1)]
        case "last":
            found = [values[-1]] * len(values)
    return found[::-1]


def _firing_for(metric: Metric) -> Micros:
    return metric.firing_for // _MICROSECOND
