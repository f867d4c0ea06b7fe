"""Every case there is, against the design as an oracle of its own tells it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from tests.flows.oracle import CELLS, Case, Outcome, expected
from tocsin.flows.decide import Accept, Context, Reject, Standing, Wait, decide
from tocsin.flows.states import Fault, State, StateType

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAULT = Fault("ValueError", "no")
ATTEMPT, RETRIES, RERUNS = 3, 1, 2
NAMES = ("Any", "Cached", "Retrying", "AwaitingRetry", "Resuming", "Late")
ORIGINS = sorted({origin for origin, _ in CELLS})
YES_NO = (False, True)


def cases(origin: str) -> Iterator[Case]:
    """All that can be proposed to a run that is `origin`."""
    origin_names = ("Scheduled", "Resuming") if origin == "SCHEDULED" else (origin.title(),)
    axes = (
        *(origin_names, StateType, NAMES, (None, "current", "former"), YES_NO, YES_NO, YES_NO),
        *((None, "left", "used"), YES_NO, YES_NO),
    )
    for name, goal, goal_name, reports, lease, due, retries, budget, forced, unbound in product(*axes):
        yield Case(origin, name, goal.value, goal_name, reports, lease, due, retries, budget, forced, unbound)


def decided(case: Case) -> Outcome:
    """What the engine says to it."""
    at = NOW if case.due else NOW + timedelta(seconds=1)
    state = State(StateType(case.origin), case.origin_name, scheduled=at) if case.origin != "new" else None
    run = Standing(state, ATTEMPT, RETRIES, RERUNS, transition="before" if state else None)
    context = Context(
        transition="before" if case.known else "now",
        attempt={None: None, "current": ATTEMPT, "former": ATTEMPT - 1}[case.reports],
        lease_lives=case.lease,
        retries_left_of=RETRIES + case.retries_left,
        budget={None: None, "left": RERUNS + 1, "used": RERUNS}[case.budget],
        forced=case.forced,
        unbound=case.unbound,
    )
    match decide(run, State(StateType(case.goal), case.goal_name, fault=FAULT), context, NOW):
        case Accept(state=after) as yes:
            grown = yes.attempt - ATTEMPT, yes.retries - RETRIES, yes.reruns - RERUNS
            assert yes.changed is not (case.known and state is not None)
            return Outcome("accept", after.type.value, after.name, *grown)
        case Wait(seconds=seconds):
            assert seconds == 1
            return Outcome("wait")
        case Reject(why=why):
            assert why
            return Outcome("refuse")


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_run_goes_where_the_design_lets_it_go_and_nowhere_else(origin: str) -> None:
    said: Counter[str] = Counter()
    for case in cases(origin):
        outcome = decided(case)
        said[outcome.says] += 1
        assert outcome == expected(case), case
    assert said["accept"]
    assert said["refuse"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_step_that_was_accepted_before_is_accepted_again_whatever_it_is(origin: str) -> None:
    for goal, lease, reports in product(StateType, YES_NO, (None, "current", "former")):
        case = Case(origin, origin.title(), goal.value, "Any", reports, lease, True, True, "used", False, False)
        known = replace(case, known=True)
        assert decided(known) == expected(known)
        assert expected(known).says == "accept" or origin == "new"


def test_the_grid_has_a_cell_for_every_pair_of_types() -> None:
    assert set(CELLS) == set(product(("new", *StateType), StateType))
