"""What the process of a flow run reports of it, and what is answered."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tocsin.events.ids import uuid7
from tocsin.flows.context import FlowContext
from tocsin.flows.decide import Context
from tocsin.flows.errors import HeldBack, Superseded
from tocsin.flows.flow_requests import Report, Reported, TryAgain
from tocsin.flows.standstill import until_resumed
from tocsin.flows.states import PAUSED, State
from tocsin.flows.steps import Do, Steps

# Any below: values of columns.


def report(context: FlowContext, state: State, decided: Context | None = None, **also: Any) -> State:
    """Store the state, or what `decide` puts in its place. Raises Superseded when the run is somebody else's by now,
    HeldBack when it is paused."""
    decided = decided or Context(attempt=context.run["attempt"], transition=uuid7().hex)
    now = context.ledger.clock.now()
    reported: Reported = context.ledger.ask(Report(run_id=context.id, state=state, context=decided, now=now, also=also))
    if reported.state is None:
        held = reported.run["state_name"] == PAUSED and reported.run["lease"] is not None
        ours = reported.run["attempt"] == context.run["attempt"]
        why = f"flow run {context.run['name']}: its report {state.name} was refused: {reported.refused}"
        raise HeldBack(why) if held and ours else Superseded(why)
    context.run = reported.run
    return reported.state


def reported(context: FlowContext, state: State, decided: Context | None = None, **also: Any) -> Steps:
    """The state that is stored in the end; while somebody has paused the run, the report waits."""
    tell: Callable[[], State] = partial(report, context, state, decided, **also)
    while True:
        try:
            return (yield Do(tell))
        except HeldBack:
            yield from until_resumed(context)


def try_again(context: FlowContext) -> None:
    """Into the next attempt, after a wait in this process. Raises Superseded."""
    ledger = context.ledger
    again = TryAgain(run_id=context.id, attempt=context.run["attempt"], transition=uuid7().hex, now=ledger.clock.now())
    answer: Reported = ledger.ask(again)
    if answer.refused:
        raise Superseded(f"flow run {context.run['name']} cannot be tried again: {answer.refused}")
    context.run = answer.run
