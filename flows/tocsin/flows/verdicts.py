"""What becomes of a run that failed: whether it is tried again, and how others learn which one it was."""

from collections.abc import Callable
from typing import Any, Final

from tocsin.flows.logs import get_run_logger
from tocsin.flows.run_states import RunState
from tocsin.flows.steps import Ask, Steps

_NOTE: Final = "in task run "

# Any below: a task or a flow, and its run.


def tried_again(definition: Any, done: int, run: Callable[[], Any], state: RunState) -> Steps:
    """Whether a run that failed in `state`, with `done` retries behind it, shall have another one.

    A `retry_condition_fn` that raises says no, and its error is logged with the run.
    """
    condition = definition.retrying.condition
    if done >= definition.retries:
        return False
    if condition is None:
        return True
    try:
        return bool((yield Ask(condition, (definition, run(), state))))
    except Exception:  # a function of the user's may raise anything
        get_run_logger().exception("retry_condition_fn of %s failed: it is not tried again", definition.owner)
        return False


def named_in(error: BaseException, run: str, index: int | None) -> None:
    """Note in the exception, once, in which task run it was raised: its traceback tells, and the flow's state."""
    if origin(error) is None:
        error.add_note(f"{_NOTE}{run!r}" + (f" (map index {index})" if index is not None else ""))


def origin(error: BaseException) -> str | None:
    """`in task run 'load-3' (map index 3)`, when the exception comes out of one."""
    notes = getattr(error, "__notes__", ())
    return next((note for note in notes if note.startswith(_NOTE)), None)
