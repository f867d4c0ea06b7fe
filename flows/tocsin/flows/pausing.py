"""A flow that stops and waits for a person: `pause_flow_run` and `suspend_flow_run`.

    from tocsin.flows import flow, pause_flow_run

    @flow
    def publish() -> None:
        draft = write()
        if pause_flow_run(wait_for_input=bool, timeout=86_400):
            send(draft)

A place in the flow at which it pauses has a key. Whoever runs the flow again, after a suspension, a crash or a retry,
finds under the key what was answered there, and goes on at once.
"""

from datetime import timedelta
from functools import partial
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.events.ids import uuid7
from tocsin.flows.context import FlowContext, flow_context, task_context
from tocsin.flows.errors import Parked, Superseded
from tocsin.flows.inputs import read_input, schema_of
from tocsin.flows.pause_requests import EndPause, Held, Hold, TakeBack
from tocsin.flows.standstill import until_resumed
from tocsin.flows.states import PAUSED, Fault, State, StateType, paused, suspended
from tocsin.flows.steps import Await, Do, Steps, drive, drive_async

AN_HOUR_S: Final = 3600.0

# Any below: what a flow waits for is of any type that pydantic knows.


def pause_flow_run(
    wait_for_input: Any = None, *, timeout: float | None = AN_HOUR_S, key: str | None = None, message: str = ""
) -> Any:
    """Stand still until somebody resumes the run; what they gave, as `wait_for_input` (a pydantic model, or a type).

    The process stays and waits, for `timeout` seconds at the most (None: for good): then the run fails, as TimedOut.
    Tasks that were submitted go on. In an async flow, await it. `key`: names this place in the flow (default: its
    number). Raises Invalid outside of a flow, and in a task; PauseTimedOut when nobody came.
    """
    context = _here("pause_flow_run")
    return _driven(context, _waited(context, _key(context, key), wait_for_input, timeout, message, paused))


def suspend_flow_run(
    wait_for_input: Any = None, *, timeout: float | None = AN_HOUR_S, key: str | None = None, message: str = ""
) -> Any:
    """Leave the process until somebody resumes the run: then it is started again, and comes by here with the answer.

    What was completed is not done again; tasks that were submitted are waited for. Otherwise as `pause_flow_run`.
    Only the run of a deployment can be started again: raises Invalid in a script, and in a subflow.
    """
    context = _here("suspend_flow_run")
    if context.run["deployment"] is None:
        why = "it is a subflow" if context.run["parent_run_id"] else "a program started it, not a deployment"
        raise Invalid(f"flow run {context.run['name']} cannot be suspended: {why}; use pause_flow_run")
    return _driven(context, _waited(context, _key(context, key), wait_for_input, timeout, message, suspended))


def _waited(
    context: FlowContext, key: str, wanted: Any, timeout: float | None, message: str, enter: Any
) -> Steps:  # Any: `paused` or `suspended`
    schema = schema_of(wanted) if wanted is not None else None
    owner = f"flow run {context.run['name']}, at {key!r}"
    said = message or (f"waits for input at {key!r}" if schema else "")
    while True:
        if enter is suspended:
            while under_way := [future.outcome for future in context.futures if not future.outcome.done()]:
                yield Await(under_way)
        held: Held = yield Do(partial(_hold, context, key, enter(said), schema, timeout))
        if held.refused:
            raise Superseded(f"{owner}: it is not paused: {held.refused}")
        if not held.answered:
            held = yield from _left(context, key, enter(said))
        if wanted is None:
            return None
        try:
            return read_input(wanted, held.input, owner)
        except Invalid as error:  # what only the author's own type can tell: ask again
            said = f"the input was refused: {error}"
            yield Do(partial(context.ledger.ask, TakeBack(run_id=context.id, key=key)))


def _left(context: FlowContext, key: str, state: State) -> Steps:
    if state.name != PAUSED:
        raise Parked(f"flow run {context.run['name']} is suspended")
    try:
        return (yield from until_resumed(context, key))
    except Exception:
        raise
    except BaseException as error:  # whoever runs a deployment again comes back here; a script ends for good
        if context.run["deployment"] is None:
            why = f"interrupted by {type(error).__name__} while it was paused"
            end = State(StateType.FAILED, "Failed", why, fault=Fault(type(error).__name__, why))
            now = context.ledger.clock.now()
            yield Do(partial(context.ledger.ask, EndPause(run_id=context.id, now=now, at_once=end)))
        raise


def _hold(context: FlowContext, key: str, state: State, schema: dict[str, Any] | None, timeout: float | None) -> Held:
    now = context.ledger.clock.now()
    hold = Hold(
        run_id=context.id,
        attempt=context.run["attempt"],
        transition=uuid7().hex,
        key=key,
        state=state,
        wants=schema,
        until=now + timedelta(seconds=timeout) if timeout is not None else None,
        now=now,
    )
    held: Held = context.ledger.ask(hold)
    return held


def _here(what: str) -> FlowContext:
    context = flow_context.get()
    if context is None:
        raise Invalid(f"{what}() is called outside of a flow; call it in a function that is a @flow")
    if task_context.get() is not None:
        raise Invalid(f"{what}() is called in a task; call it in its flow, before or behind the task")
    return context


def _key(context: FlowContext, key: str | None) -> str:
    return key if key is not None else f"pause-{context.number('pause_flow_run()')}"


def _driven(context: FlowContext, steps: Steps) -> Any:
    if not context.is_async:
        return drive(steps)
    return drive_async(steps)
