"""The whole table, each rule on top of it, and a machine that walks through it at random."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tocsin.flows.decide import Accept, Context, Reject, Standing, Verdict, Wait, decide
from tocsin.flows.states import FINAL, Fault, State, StateType, awaiting_retry, crashed, failed, pending, running
from tocsin.flows.states import scheduled as due_at

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAULT = Fault("ValueError", "no")
ALLOWED = {
    "new": "SCHEDULED PENDING RUNNING",
    "SCHEDULED": "SCHEDULED PENDING PAUSED FAILED CANCELLED",
    "PENDING": "SCHEDULED RUNNING PAUSED CANCELLING COMPLETED FAILED CRASHED CANCELLED",
    "RUNNING": "SCHEDULED RUNNING PAUSED CANCELLING COMPLETED FAILED CRASHED",
    "PAUSED": "SCHEDULED CANCELLING FAILED CANCELLED",
    "CANCELLING": "COMPLETED CRASHED CANCELLED",
    "FAILED": "SCHEDULED",
    "CRASHED": "SCHEDULED",
    "COMPLETED": "SCHEDULED",
    "CANCELLED": "SCHEDULED",
}
NAMES = {
    ("PENDING", "COMPLETED"): "Cached",
    ("RUNNING", "RUNNING"): "Retrying",
    ("RUNNING", "SCHEDULED"): "AwaitingRetry",
    ("PAUSED", "SCHEDULED"): "Resuming",
}


def at(kind: str, **also: object) -> Standing:
    state = None if kind == "new" else State(StateType(kind), kind.title(), scheduled=NOW)
    return Standing(state=state, attempt=1, **also)  # type: ignore[arg-type]  # counters by name


@pytest.mark.parametrize(("origin", "goal"), list(product(ALLOWED, StateType)), ids=lambda value: str(value))
def test_a_run_takes_the_steps_of_the_table_and_no_others(origin: str, goal: StateType) -> None:
    proposed = State(goal, NAMES.get((origin, goal.value), "Any"))
    # With a lease, a run that breaks off while it is being cancelled is cancelled: a rule, tested below.
    verdict = decide(at(origin), proposed, Context(forced=True, lease_lives=False), NOW)
    assert isinstance(verdict, Accept) == (goal.value in ALLOWED[origin].split())
    if isinstance(verdict, Accept):
        assert verdict.state == proposed


@pytest.mark.parametrize(("origin", "goal"), NAMES)
def test_some_steps_are_allowed_under_one_name_only(origin: str, goal: str) -> None:
    verdict = decide(at(origin), State(StateType(goal), "Whatever"), Context(), NOW)
    assert isinstance(verdict, Reject)
    assert NAMES[origin, goal] in verdict.why


LATER = NOW + timedelta(seconds=90)
RULES: list[tuple[str, Standing, State, Context, Verdict]] = [
    (
        "the same transition again has no effect",
        Standing(running(), attempt=2, retries=1, transition="t"),
        failed(ValueError("no")),
        Context(transition="t"),
        Accept(running(), 2, 1, 0, changed=False),
    ),
    (
        "another transition has",
        Standing(running(), attempt=1, transition="t"),
        State(StateType.COMPLETED, "Completed"),
        Context(transition="u", attempt=1),
        Accept(State(StateType.COMPLETED, "Completed"), 1, 0, 0),
    ),
    (
        "a report of an attempt that is over is refused",
        Standing(running(2), attempt=2),
        State(StateType.COMPLETED, "Completed"),
        Context(attempt=1),
        Reject("attempt 1 is over, the run is at attempt 2"),
    ),
    (
        "a report without a living lease is refused",
        Standing(running(), attempt=1),
        State(StateType.COMPLETED, "Completed"),
        Context(attempt=1, lease_lives=False),
        Reject("the lease of attempt 1 is over"),
    ),
    (
        "nobody takes a run before its time",
        Standing(due_at(LATER)),
        pending(),
        Context(),
        Wait(90.0, f"scheduled for {LATER.isoformat()}"),
    ),
    ("at its time somebody does", Standing(due_at(NOW)), pending(), Context(), Accept(pending(), 1, 0, 0)),
    (
        "a failure with retries left waits for the next try",
        Standing(running(), attempt=1),
        State(StateType.FAILED, "Failed", "ValueError: no", fault=FAULT),
        Context(attempt=1, retries_left_of=2, retry_delay=timedelta(seconds=90)),
        Accept(awaiting_retry(LATER, "ValueError: no", FAULT), 1, 1, 0),
    ),
    (
        "a failure without retries left is one",
        Standing(running(), attempt=3, retries=2),
        State(StateType.FAILED, "Failed", fault=FAULT),
        Context(attempt=3, retries_left_of=2),
        Accept(State(StateType.FAILED, "Failed", fault=FAULT), 3, 2, 0),
    ),
    (
        "a run that never started does not retry itself",
        Standing(pending(), attempt=1),
        State(StateType.FAILED, "Failed", fault=FAULT),
        Context(attempt=1, retries_left_of=2),
        Accept(State(StateType.FAILED, "Failed", fault=FAULT), 1, 0, 0),
    ),
    (
        "waiting for a task inside costs no retry",
        Standing(running(), attempt=1),
        awaiting_retry(LATER),
        Context(),
        Accept(awaiting_retry(LATER), 1, 0, 0),
    ),
    (
        "what breaks off while it is being cancelled is cancelled",
        Standing(State(StateType.CANCELLING, "Cancelling", "by hand"), attempt=1),
        crashed("killed by signal 15"),
        Context(attempt=1),
        Accept(State(StateType.CANCELLED, "Cancelled", "by hand"), 1, 0, 0),
    ),
    (
        "a rerun within the budget counts",
        Standing(State(StateType.CRASHED, "Crashed"), attempt=2, reruns=1),
        awaiting_retry(LATER),
        Context(budget=2),
        Accept(awaiting_retry(LATER), 2, 0, 2),
    ),
    (
        "a rerun beyond the budget is refused",
        Standing(State(StateType.FAILED, "Failed"), attempt=3, reruns=2),
        awaiting_retry(LATER),
        Context(budget=2),
        Reject("the budget of 2 retries is used up"),
    ),
    (
        "what came to its end as wanted runs again only when forced",
        Standing(State(StateType.COMPLETED, "Completed"), attempt=1),
        awaiting_retry(LATER),
        Context(),
        Reject("the run is Completed; only a forced rerun starts it again"),
    ),
]


@pytest.mark.parametrize(("run", "proposed", "context", "verdict"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_rules(run: Standing, proposed: State, context: Context, verdict: Verdict) -> None:
    assert decide(run, proposed, context, NOW) == verdict


states = st.builds(
    State,
    type=st.sampled_from(StateType),
    name=st.sampled_from(["Any", "Cached", "Retrying", "AwaitingRetry", "Resuming"]),
    scheduled=st.none() | st.just(NOW) | st.just(LATER),
    fault=st.none() | st.just(FAULT),
)


class AnyRun(RuleBasedStateMachine):
    """A run that is proposed anything at any time; what is accepted is its next standing."""

    RETRIES, BUDGET = 2, 3

    def __init__(self) -> None:
        super().__init__()
        self.run = Standing()
        self.now = NOW
        self.steps = 0

    @rule(state=states, fresh=st.booleans(), knows=st.booleans(), lives=st.booleans())
    def propose(self, state: State, fresh: bool, knows: bool, lives: bool) -> None:
        before, self.steps = self.run, self.steps + fresh
        context = Context(
            transition=f"t{self.steps}",
            attempt=before.attempt - (not knows) if before.attempt else None,
            lease_lives=lives,
            retries_left_of=self.RETRIES,
            budget=self.BUDGET,
        )
        verdict = decide(before, state, context, self.now)
        assert verdict == decide(before, state, context, self.now)
        if isinstance(verdict, Accept) and verdict.changed:
            self.take(before, verdict, context)

    def take(self, before: Standing, verdict: Accept, context: Context) -> None:
        origin = before.state.type.value if before.state else "new"
        assert verdict.state.type.value in ALLOWED[origin].split()
        assert context.attempt in (None, before.attempt), "a fenced report was accepted"
        assert context.lease_lives or context.attempt is None
        assert 0 <= verdict.attempt - before.attempt <= 1
        self.run = Standing(
            verdict.state, verdict.attempt, verdict.retries, verdict.reruns, transition=context.transition
        )

    @precondition(lambda self: self.run.state is not None)
    @rule(seconds=st.integers(0, 200))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def budgets_hold(self) -> None:
        assert self.run.reruns <= self.BUDGET

    @invariant()
    def what_runs_was_claimed(self) -> None:
        if self.run.state and self.run.state.type in (StateType.PENDING, StateType.RUNNING):
            assert self.run.attempt >= 1

    @invariant()
    def what_is_over_stays_so_without_force(self) -> None:
        if self.run.state and self.run.state.type in FINAL - {StateType.FAILED, StateType.CRASHED}:
            for kind in StateType:
                verdict = decide(self.run, State(kind, "AwaitingRetry"), Context(), self.now)
                assert not isinstance(verdict, Accept)


TestAnyRun = AnyRun.TestCase
