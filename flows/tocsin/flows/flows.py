"""`@flow`: a function whose every run is recorded, with the tasks and subflows that it calls."""

import inspect
from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from tocsin.flows.changes import Columns
from tocsin.flows.flow_engine import run_flow
from tocsin.flows.parameters import Parameters
from tocsin.flows.retries import DelaySpec, delays
from tocsin.flows.steps import drive, drive_async
from tocsin.flows.tasks import checked_name, checked_retries, checked_tags, checked_timeout

if TYPE_CHECKING:
    from tocsin.flows.runner import TaskRunner

P = ParamSpec("P")
R = TypeVar("R")

# Any below: the decorator's options and users' results.


class Flow(Generic[P, R]):
    """A function as a flow. A call is a run: its parameters are validated, its states recorded; `fn` is the function.

    It ends COMPLETED when the function returns, FAILED when it raises, CRASHED when it is interrupted. A flow called
    in a flow is a subflow run of it. With `retries` it is tried again, and tasks that were done are not.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        retries: int = 0,
        retry_delay_seconds: DelaySpec = 0,
        log_prints: bool = False,
        tags: Iterable[str] = (),
        timeout_seconds: float | None = None,
        validate_parameters: bool = True,
        task_runner: "TaskRunner | None" = None,
    ) -> None:
        update_wrapper(self, fn)
        self.fn = fn
        self.name = checked_name("flow", name or fn.__name__.replace("_", "-"))
        self.description = description or inspect.getdoc(fn) or ""
        self.is_async = inspect.iscoroutinefunction(fn)
        self.retries, self.retry_delay_seconds = checked_retries(self.name, retries), retry_delay_seconds
        self.delays = delays(retry_delay_seconds, retries)
        self.log_prints = log_prints
        self.tags = checked_tags(self.name, tags)
        self.timeout_s = checked_timeout(self.name, timeout_seconds, self.is_async)
        self.validate_parameters = validate_parameters
        self.task_runner = task_runner
        self.parameters = Parameters(f'flow "{self.name}"', fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it; a coroutine function gives a coroutine. Raises Invalid for parameters that do not fit."""
        steps = run_flow(self, self.parameters.bind(args, kwargs))
        return cast(R, drive_async(steps) if self.is_async else drive(steps))

    def resume(self, claimed: Columns) -> Any:
        """Run the stored run that a worker has claimed; what it has completed before is not done again."""
        steps = run_flow(self, self.parameters.by_name(claimed["parameters"]), claimed)
        return drive_async(steps) if self.is_async else drive(steps)

    def with_options(self, **options: Any) -> "Flow[P, R]":
        """The same function as a flow with other options (those of `@flow`)."""
        given: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "retries": self.retries,
            "retry_delay_seconds": self.retry_delay_seconds,
            "log_prints": self.log_prints,
            "tags": self.tags,
            "timeout_seconds": self.timeout_s,
            "validate_parameters": self.validate_parameters,
            "task_runner": self.task_runner,
        }
        return Flow(self.fn, **(given | options))

    def __repr__(self) -> str:
        return f"<Flow {self.name}>"


@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    retries: int = 0,
    retry_delay_seconds: DelaySpec = 0,
    log_prints: bool = False,
    tags: Iterable[str] = (),
    timeout_seconds: float | None = None,
    validate_parameters: bool = True,
    task_runner: "TaskRunner | None" = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(fn: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a flow; the options are those of `Flow`."""
    if fn is not None:
        return Flow(fn, **options)
    return lambda function: Flow(function, **options)
