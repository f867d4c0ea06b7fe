"""Metric triggers by name read what flow runs tell of themselves."""

import pytest

from tests.flows.conftest import Book
from tests.triggers.drive import Drive
from tocsin.flows.flows import flow
from tocsin.triggers.metric import Metric, MetricTrigger


def measured(book: Book, metric: Metric) -> Drive:
    run = Drive(MetricTrigger(metric=metric))
    for event in book.events():
        run.tell(event)
    return run


def test_a_share_of_successes_and_a_duration_are_measured_by_runs(quick: Book) -> None:
    @flow
    def load(fails: bool) -> None:
        if fails:
            raise ValueError("no rows")

    load(False)
    with pytest.raises(ValueError, match="no rows"):
        load(True)
    successes = measured(quick, Metric(name="successes", operator="<", threshold=0.9))
    assert [verdict.value for verdict in successes.verdicts] == [1, 0.5]
    duration = measured(quick, Metric(name="duration", aggregate="sum", operator="<", threshold=0))
    took = [run.ended - run.started for run in quick.flow_runs() if run.ended and run.started]
    assert duration.verdicts[-1].value == pytest.approx(sum(span.total_seconds() for span in took))
