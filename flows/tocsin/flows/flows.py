"""`@flow`: a function whose every run is recorded, with the tasks and subflows that it calls."""

from collections.abc import Callable, Coroutine, Iterable
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from tocsin.flows.changes import Columns
from tocsin.flows.checks import checked_runner
from tocsin.flows.definition import CommonOptions, Definition
from tocsin.flows.flow_engine import Started, run_flow
from tocsin.flows.hooks import OF_FLOWS, Hook
from tocsin.flows.names import NameSpec
from tocsin.flows.run_states import RunState
from tocsin.flows.steps import drive, drive_async
from tocsin.flows.tasks import waited

if TYPE_CHECKING:
    from tocsin.flows.deployments import Deployment
    from tocsin.flows.runner import TaskRunner

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")

# Any below: users' arguments and results.
After = Iterable[Any]


class FlowOptions(CommonOptions, total=False):
    """Options of `@flow`; docs/flows.md has a line on each."""

    flow_run_name: NameSpec | None
    task_runner: "TaskRunner | None"
    validate_parameters: bool
    on_crashed: Iterable[Hook] | None
    on_cancellation: Iterable[Hook] | None


_KNOWN: Final = frozenset(CommonOptions.__annotations__) | frozenset(FlowOptions.__annotations__)


class Flow(Definition, Generic[P, R]):
    """A function as a flow. A call is a run: its parameters are validated, its states recorded; `fn` is the function.

    It ends COMPLETED when the function returns, FAILED when it raises, CRASHED when it is interrupted. A flow called
    in a flow is a subflow run of it. With `retries` it is tried again, and tasks that were done are not.
    """

    kind: ClassVar[str] = "flow"
    known: ClassVar[frozenset[str]] = _KNOWN
    hooks_of: ClassVar[tuple[str, ...]] = OF_FLOWS
    run_name_option: ClassVar[str] = "flow_run_name"

    def __init__(self, fn: Callable[P, R], **options: Unpack[FlowOptions]) -> None:
        super().__init__(fn, options)
        self.fn: Callable[P, R]
        self.task_runner = checked_runner(self.owner, options.get("task_runner"))
        self.validate_parameters: bool = options.get("validate_parameters", True)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: "Flow[Concatenate[Any, Q], R]", instance: object, owner: type | None = None) -> "Flow[Q, R]": ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the object (or the class) becomes the first argument."""
        return self.bound(instance, owner)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self: "Flow[..., Coroutine[Any, Any, T]]", *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Coroutine[Any, Any, RunState]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState: ...
    @overload
    def __call__(self, *args: Any, wait_for: After, **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it; a coroutine function gives a coroutine. Raises Invalid for parameters that do not fit.

        With `return_state=True` it gives a `RunState` and raises nothing; `wait_for=[futures]` holds it back.
        """
        after, return_state = kwargs.pop("wait_for", None), kwargs.pop("return_state", False)
        started = Started(waited(after))
        steps = run_flow(self, self.parameters.bind((*self.first, *args), kwargs), started=started)
        steps = started.ended(steps) if return_state else steps
        return drive_async(steps) if self.is_async else drive(steps)

    def resume(self, claimed: Columns) -> Any:
        """Run the stored run that a worker has claimed; what it has completed before is not done again."""
        steps = run_flow(self, self.parameters.by_name(claimed["parameters"]), claimed)
        return drive_async(steps) if self.is_async else drive(steps)

    def on_crashed(self, hook: Hook) -> Hook:
        """Decorate a function that gets (flow, run, state) when a run was interrupted, or its process died."""
        return self._hooked("on_crashed", hook)

    def on_cancellation(self, hook: Hook) -> Hook:
        """Decorate a function that gets (flow, run, state) when a run ended because somebody asked."""
        return self._hooked("on_cancellation", hook)

    def to_deployment(self, name: str, **options: Any) -> "Deployment":
        """A deployment of this flow, not stored yet; the options are those of `tocsin.flows.serving.to_deployment`."""
        return cast("Deployment", _serving().to_deployment(self, name, **options))

    def deploy(self, name: str, *, work_pool_name: str | None = None, **options: Any) -> "Deployment":
        """Store a deployment of this flow, for the workers of a pool to run; the options as for `to_deployment`."""
        return cast("Deployment", _serving().deploy(self, name, work_pool_name=work_pool_name, **options))

    def serve(
        self,
        name: str | None = None,
        *,
        limit: int = 10,
        type: str = "process",  # noqa: A002 - as a pool calls it
        drain: float = 0,
        **options: Any,
    ) -> None:
        """Deploy this flow under `name` (default: its own) and run what is asked of it here, until Ctrl-C.

        `limit`, `type` and `drain` as for `tocsin.flows.serve`; the other options as for `to_deployment`.
        """
        _serving().serve(self.to_deployment(name or self.name, **options), limit=limit, type=type, drain=drain)


def _serving() -> Any:  # Any: a module
    """Serving builds on flows, so a flow comes to it when it is asked to."""
    return import_module("tocsin.flows.serving")


@overload
def flow(fn: Callable[P, R], /, **options: Unpack[FlowOptions]) -> Flow[P, R]: ...
@overload
def flow(fn: None = None, /, **options: Unpack[FlowOptions]) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(fn: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a flow; the options are those of `FlowOptions`."""
    if fn is not None:
        return Flow(fn, **options)
    return lambda function: Flow(function, **options)
