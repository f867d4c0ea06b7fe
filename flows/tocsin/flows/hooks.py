"""Hooks: functions that are told when a run of a task or a flow reaches a state.

    @load.on_failure                       # or @task(on_failure=[tell_the_team])
    def tell_the_team(task, task_run, state):
        ...

A hook gets the task or flow, the run (its columns) and its state; it may be a coroutine function. What it raises is
logged with the run, and changes nothing.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows.logs import get_run_logger
from tocsin.flows.run_states import RunState
from tocsin.flows.states import StateType
from tocsin.flows.steps import Ask, Steps

# Any below: a hook is told of a task or a flow, and of its run.
Hook = Callable[[Any, Any, RunState], Any]

OF_TASKS: Final = ("on_running", "on_completion", "on_failure")
OF_FLOWS: Final = (*OF_TASKS, "on_crashed", "on_cancellation")
_FOR: Final[Mapping[StateType, str]] = {
    StateType.RUNNING: "on_running",
    StateType.COMPLETED: "on_completion",
    StateType.FAILED: "on_failure",
    StateType.CRASHED: "on_crashed",
    StateType.CANCELLED: "on_cancellation",
}


class Hooks:
    """The hooks of one task or flow, by option."""

    def __init__(self, owner: str, kinds: Iterable[str], options: Mapping[str, Any]) -> None:
        self._owner = owner
        self._of: dict[str, tuple[Hook, ...]] = {}
        for kind in kinds:
            for hook in _listed(owner, kind, options.get(kind)):
                self.add(kind, hook)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._of)

    def add(self, kind: str, hook: Hook) -> None:
        """One more. Raises Invalid for what cannot be called with three arguments."""
        _check(self._owner, kind, hook)
        self._of[kind] = (*self._of.get(kind, ()), hook)

    def of(self, kind: str) -> tuple[Hook, ...]:
        """The hooks of an option, in the order in which they were given."""
        return self._of.get(kind, ())

    def for_state(self, kind: StateType) -> tuple[Hook, ...]:
        """Those that are told of a state."""
        return self._of.get(_FOR.get(kind, ""), ())


def told(definition: Any, state: RunState, run: Callable[[], Any]) -> Steps:
    """Tell the hooks of a task or flow that its run, as `run` gives it, has reached `state`."""
    hooks = definition.hooks.for_state(state.type)
    if not hooks:
        return
    row = run()
    for hook in hooks:
        try:
            yield Ask(hook, (definition, row, state))
        except Exception:  # whatever a hook raises, the run is what it is
            name = getattr(hook, "__name__", repr(hook))
            get_run_logger().exception("hook %s of %s %s failed", name, definition.kind, definition.name)


def _listed(owner: str, kind: str, given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    if callable(given):
        raise Invalid(f"{owner}: {kind} is a list of functions; write {kind}=[{getattr(given, '__name__', 'hook')}]")
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise Invalid(f"{owner}: {kind} is a list of functions, not {given!r}")
    return tuple(given)


def _check(owner: str, kind: str, hook: Any) -> None:
    if not callable(hook):
        raise Invalid(f"{owner}: {kind} has {hook!r}, which is no function")
    try:
        inspect.signature(hook).bind(None, None, None)
    except TypeError as error:
        raise Invalid(f"{owner}: {kind}: {hook.__name__} is called with (task or flow, run, state): {error}") from error
    except ValueError:
        return  # a function of C tells no signature
