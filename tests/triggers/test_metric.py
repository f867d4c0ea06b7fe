"""Metric triggers: what is measured, when it is out of bounds, and their numbers against the definition."""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.triggers.drive import SECOND, START, Drive, event, seconds
from tocsin.events.model import Event
from tocsin.triggers import samples
from tocsin.triggers.kinds import Trigger
from tocsin.triggers.metric import MetricTrigger
from tocsin.triggers.samples import SAMPLES, MetricState, Sample
from tocsin.triggers.steps import Moment

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
Fields = dict[str, Any]  # Any: a definition as a document holds it


def metric(**more: Any) -> Fields:
    fields = {"value": "payload.n", "operator": ">", "threshold": 5, "range": 10, "firing_for": 0, **more}
    return {"type": "metric", "metric": fields, "expect": "n"}


def named(name: str, operator: str, threshold: float, **more: Any) -> Fields:
    return {"metric": {"name": name, "operator": operator, "threshold": threshold, "firing_for": 0, **more}}


def drive(fields: Fields) -> Drive:
    return Drive(TRIGGER.validate_python(fields))


def n(value: Any, at: float, number: int | None = None) -> Event:
    return event("n", at, int(at) if number is None else number, payload={"n": value})


def changes(run: Drive) -> list[tuple[float, str]]:
    """When it fired and when it was over."""
    return [(seconds(met.at), "over" if met.over else "fires") for _, met in run.mets]


def test_the_picture_of_the_module_is_so() -> None:
    run = drive(metric(firing_for=4)).tell_all([n(3, 0), n(9, 2), n(9, 4)]).until(60)
    assert changes(run) == [(6, "fires"), (14, "over")]
    assert not run.states


AGGREGATES = [
    pytest.param("avg", 4.0, id="avg"),
    pytest.param("min", 1.0, id="min"),
    pytest.param("max", 9.0, id="max"),
    pytest.param("sum", 12.0, id="sum"),
    pytest.param("count", 3.0, id="count"),
    pytest.param("last", 2.0, id="last in event time"),
]


@pytest.mark.parametrize(("aggregate", "number"), AGGREGATES)
def test_samples_amount_to_a_number(aggregate: str, number: float) -> None:
    run = drive(metric(aggregate=aggregate))
    for one in (n(9, 1), n(2, 3), n(1, 2)):
        run.tell(one, received=4)
    assert (run.verdicts[-1].value, run.verdicts[-1].count) == (number, 3)


OPERATORS = [
    pytest.param("<", [4], id="below"),
    pytest.param("<=", [4, 5], id="not above"),
    pytest.param(">", [6], id="above"),
    pytest.param(">=", [5, 6], id="not below"),
]


@pytest.mark.parametrize(("operator", "breaching"), OPERATORS)
def test_a_number_is_out_of_bounds(operator: str, breaching: list[float]) -> None:
    fired = [value for value in (4, 5, 6) if drive(metric(operator=operator)).tell(n(value, 1)).mets]
    assert fired == breaching


def finished(kind: str, at: float, number: int, took: float = 1, flow: str = "etl") -> Event:
    name = "TimedOut" if kind == "TIMED OUT" else kind.title()
    return event(
        f"tocsin.flow-run.{name}",
        at,
        number,
        resource={"tocsin.state-type": "FAILED" if kind == "TIMED OUT" else kind},
        related=[{"tocsin.resource.id": f"tocsin.flow.{flow}", "tocsin.resource.role": "flow"}],
        payload={"duration_s": took},
    )


def test_successes_are_the_share_of_finished_runs_that_completed() -> None:
    run = drive(named("successes", "<", 0.6))
    kinds = ["COMPLETED", "COMPLETED", "CANCELLED", "RUNNING", "FAILED", "TIMED OUT", "CRASHED"]
    values = [run.tell(finished(kind, at, at)).verdicts[-1].value for at, kind in enumerate(kinds)]
    assert values == [1, 1, 1, 1, 2 / 3, 0.5, 0.4]
    assert len(run.verdicts) == 5
    assert changes(run) == [(5, "fires")]


def test_duration_is_that_of_finished_runs() -> None:
    run = drive(named("duration", ">", 60, aggregate="max"))
    run.tell_all([finished("COMPLETED", 1, 1, 30), finished("RUNNING", 2, 2, 90), finished("CANCELLED", 3, 3, 70)])
    assert changes(run) == [(3, "fires")]


def test_lateness_is_that_of_runs_that_start() -> None:
    run = drive(named("lateness", ">=", 30))
    for at, payload in enumerate([{"lateness_s": 20}, {}, {"lateness_s": 50.0}]):
        run.tell(event("tocsin.flow-run.Running", at, at, payload=payload))
    assert changes(run) == [(2, "fires")]
    assert [verdict.value for verdict in run.verdicts] == [20, None, 35]
    assert "nothing was scheduled" in run.verdicts[1].reason


def test_each_key_is_measured_by_itself() -> None:
    run = drive(named("successes", "<", 0.5) | {"for_each": ["related:flow:tocsin.resource.id"]})
    run.tell_all([finished("FAILED", 1, 1, flow="a"), finished("COMPLETED", 2, 2, flow="b")])
    assert [key for key, _ in run.mets] == [("tocsin.flow.a",)]


def test_what_is_out_of_bounds_too_shortly_does_not_fire() -> None:
    run = drive(metric(firing_for=5)).tell_all([n(9, 0), n(0, 4)]).until(60)
    assert run.mets == []
    assert [verdict.outcome for verdict in run.verdicts][:2] == ["opened", "lapsed"]


def test_a_deadline_has_no_cause_but_a_witness() -> None:
    run = drive(metric(firing_for=5)).tell(n(9, 1)).until(20)
    fired, over = (met for _, met in run.mets)
    assert (fired.cause, fired.event, fired.witness and fired.witness.payload) == (f"due:{fired.at}", None, {})
    assert (seconds(over.at), over.over) == (11, True)


def test_a_firing_by_an_event_names_it() -> None:
    ((_, met),) = drive(metric()).tell(n(9, 1)).mets
    assert met.event is not None
    assert (met.cause, seconds(met.at), met.count) == (str(met.event.id), 1, 1)


UNFIT = [
    pytest.param(n(1, 2), 2, "repeated", id="an event again"),
    pytest.param(n(1, 1), 11, "late", id="before the range"),
    pytest.param(n(1, 40), 4, "late", id="far ahead of the clock"),
    pytest.param(n("9", 3), 3, "steady", id="a text"),
    pytest.param(n(True, 3), 3, "steady", id="a truth"),
    pytest.param(n(None, 3), 3, "steady", id="nothing"),
]


@pytest.mark.parametrize(("one", "received", "outcome"), UNFIT)
def test_what_gives_no_sample_changes_nothing(one: Event, received: float, outcome: str) -> None:
    run = drive(metric()).tell(n(3, 2))
    before = dict(run.states)
    assert run.tell(one, received).verdicts[-1].outcome == outcome
    assert run.states == before


def test_a_value_that_fails_is_told() -> None:
    run = drive(metric(value="length(payload.n)")).tell(n(3, 1))
    assert (run.verdicts[-1].outcome, run.states) == ("error", {})


def test_events_are_counted_without_a_value() -> None:
    fields = metric(value=None, aggregate="count", operator=">=", threshold=3)
    assert drive(fields).tell_all([n(None, at) for at in (1, 2, 12, 13, 14)]).fired == [14]


def test_the_oldest_samples_go_where_there_are_too_many() -> None:
    trigger = MetricTrigger.model_validate(metric(range=3_600))
    full = tuple(Sample(START + place, str(place), 0.0) for place in range(SAMPLES))
    state = MetricState(samples=full, due=START + 3_600 * SECOND)
    step = samples.advance(trigger, state, Moment(START + SECOND, n(1, 1), (0,)))
    assert step.state is not None
    assert (len(step.state.samples), step.state.samples[0].id) == (SAMPLES, "1")
    assert "the oldest went" in step.verdict.reason


REFUSED = [
    pytest.param({"name": "successes", "value": "payload.n"}, "give one of them", id="two measures"),
    pytest.param({}, "nothing is measured", id="no measure"),
    pytest.param({"name": "successes", "aggregate": "sum"}, "leave aggregate out", id="another share"),
    pytest.param({"name": "speed"}, "'successes', 'duration' or 'lateness'", id="an unknown name"),
    pytest.param({"value": "payload.("}, "payload", id="no expression"),
    pytest.param({"name": "duration", "operator": "=="}, "'<', '<=', '>' or '>='", id="an unknown operator"),
    pytest.param({"name": "duration", "range": 0}, "greater than or equal to 1 second", id="no range"),
    pytest.param({"name": "duration", "threshold": float("nan")}, "finite", id="no number"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_a_metric_that_makes_no_sense_is_refused(fields: Fields, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MetricTrigger.model_validate({"metric": {"operator": "<", "threshold": 1, **fields}, "match": {"a": "b"}})


SENSELESS = [
    pytest.param({"metric": {"value": "payload.n"}}, "give expect or match", id="every event"),
    pytest.param({"metric": {"name": "duration"}, "expect": "a"}, "leave expect out", id="expect with a name"),
    pytest.param({"metric": {"name": "duration"}, "within": 5}, "Extra inputs", id="an unknown field"),
]


@pytest.mark.parametrize(("fields", "reason"), SENSELESS)
def test_a_trigger_that_makes_no_sense_is_refused(fields: Fields, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MetricTrigger.model_validate({**fields, "metric": {"operator": "<", "threshold": 1, **fields["metric"]}})


def test_a_metric_trigger_of_prefect_is_read() -> None:
    exported = {
        "type": "metric",
        "id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {"prefect.resource.name": "production", "prefect.resource.role": "work-pool"},
        "posture": "Metric",
        "metric": {"name": "successes", "threshold": 0.9, "operator": "<", "range": 300.0, "firing_for": 300.0},
    }
    trigger = MetricTrigger.model_validate(exported)
    assert trigger.match == {"tocsin.resource.id": ["tocsin.flow-run.*", "prefect.flow-run.*"]}
    assert MetricTrigger.model_validate_json(trigger.model_dump_json()) == trigger


def total(values: list[float]) -> float:
    """From the newest to the oldest: to the last bit, the order matters."""
    return reduce(add, reversed(values))


OF: dict[str, Callable[[list[float]], float]] = {
    "avg": lambda values: total(values) / len(values),
    "min": min,
    "max": max,
    "sum": total,
    "count": len,
    "last": lambda values: values[-1],
}
VALUES = st.sampled_from([0.1, 0.2, 0.3, 0.7, 4.7, 5.0, 5.3, 9.0])
STREAMS = st.lists(st.tuples(st.integers(0, 20), VALUES, st.integers(0, 4)), max_size=12)
THRESHOLDS = st.sampled_from([0.3, 3.0, 5.0, 5.3])


def by_definition(metric: Fields, stream: list[tuple[int, float, int]], end: int = 60) -> list[tuple[int, bool]]:
    """What it does, looked at after each sample and at every second: (when, whether it is over)."""
    seen: list[tuple[int, int, float]] = []
    told: list[tuple[int, bool]] = []
    since: int | None = None
    fires = False
    for now in range(end):
        for step in [*((at, n, value) for n, (at, value, late) in enumerate(stream) if at + late == now), None]:
            if step and step[0] <= now - metric["range"]:
                continue
            seen += [step] if step else []
            values = [value for at, _, value in sorted(seen) if at > now - metric["range"]]
            breaches = bool(values) and OF[metric["aggregate"]](values) > metric["threshold"]
            since = (now if since is None else since) if breaches else None
            if fires != (breaches and (fires or (since is not None and now - since >= metric["firing_for"]))):
                fires = not fires
                told.append((now, not fires))
    return told


@given(STREAMS, st.sampled_from(sorted(OF)), st.integers(1, 8), st.integers(0, 4), THRESHOLDS)
@settings(max_examples=200)
def test_a_metric_is_its_definition(
    stream: list[tuple[int, float, int]], aggregate: str, span: int, firing_for: int, threshold: float
) -> None:
    fields = metric(aggregate=aggregate, range=span, firing_for=firing_for, threshold=threshold)
    run = drive(fields)
    for received, number in sorted((at + late, number) for number, (at, _, late) in enumerate(stream)):
        at, value, _ = stream[number]
        run.tell(n(value, at, number), received)
    run.until(59)
    found = [(when, met.over) for when, (_, met) in zip(run.when, run.mets, strict=True)]
    assert found == by_definition(fields["metric"], stream)
    assert not run.states
