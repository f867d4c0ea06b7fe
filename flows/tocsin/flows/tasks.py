"""`@task`: a function whose every run is recorded, tried again, and found again."""

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Concatenate, Final, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from tocsin.events.ids import uuid7
from tocsin.flows import submitting
from tocsin.flows.cache import Caching, KeyFunction, checked_expiration
from tocsin.flows.cache_policies import CachePolicy, as_policy
from tocsin.flows.cache_policies import task_input_hash as task_input_hash
from tocsin.flows.context import FlowContext, flow_context
from tocsin.flows.definition import CommonOptions, Definition
from tocsin.flows.futures import Future, Futures, Unmapped
from tocsin.flows.hooks import OF_TASKS
from tocsin.flows.ledger import current
from tocsin.flows.names import NameSpec
from tocsin.flows.retries import exponential_backoff as exponential_backoff
from tocsin.flows.run_states import RunState
from tocsin.flows.steps import drive, drive_async
from tocsin.flows.task_engine import ended, run_task
from tocsin.flows.trace import Trace

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")

# Any below: `submit` and `map` take futures and elements where the function takes values, so their arguments are open.
After = Iterable[Any]


class TaskOptions(CommonOptions, total=False):
    """Options of `@task`; docs/tasks.md has a line on each."""

    task_run_name: NameSpec | None
    cache_policy: CachePolicy | KeyFunction | None
    cache_key_fn: KeyFunction | None
    cache_expiration: timedelta | None
    refresh_cache: bool


_KNOWN: Final = frozenset(CommonOptions.__annotations__) | frozenset(TaskOptions.__annotations__)


class Task(Definition, Generic[P, R]):
    """A function as a task. Call it, `submit` it, `map` it; `fn` is the bare function.

    `wait_for=[futures]` in a call holds it back until they have ended; with `return_state=True` it gives a `RunState`
    and raises nothing.
    """

    kind: ClassVar[str] = "task"
    known: ClassVar[frozenset[str]] = _KNOWN
    hooks_of: ClassVar[tuple[str, ...]] = OF_TASKS
    run_name_option: ClassVar[str] = "task_run_name"

    def __init__(self, fn: Callable[P, R], **options: Unpack[TaskOptions]) -> None:
        super().__init__(fn, options)
        self.fn: Callable[P, R]
        self.key = f"{self.fn.__module__}.{getattr(self.fn, '__qualname__', self.name)}"
        self.caching = self._caching(options)
        self.plain = self.caching.plain and self.keeping.plain and self.run_name is None
        """Whether a run need not look at its arguments."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: "Task[Concatenate[Any, Q], R]", instance: object, owner: type | None = None) -> "Task[Q, R]": ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the object (or the class) becomes the first argument."""
        return self.bound(instance, owner)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self: "Task[..., Coroutine[Any, Any, T]]", *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Coroutine[Any, Any, RunState]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState: ...
    @overload
    def __call__(self, *args: Any, wait_for: After, **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it now; a coroutine function gives a coroutine. Futures among the arguments are waited for."""
        if self.first:
            args = (*self.first, *args)
        trace = self.trace(flow_context.get())
        if kwargs and ("wait_for" in kwargs or "return_state" in kwargs):
            after, return_state = kwargs.pop("wait_for", None), kwargs.pop("return_state", False)
            steps = run_task(self, trace, args, kwargs, waited(after))
            steps = ended(trace, steps) if return_state else steps
        else:
            steps = run_task(self, trace, args, kwargs)
        return drive_async(steps) if self.is_async else drive(steps)

    @overload
    def submit(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState: ...
    @overload
    def submit(self: "Task[P, Coroutine[Any, Any, T]]", *args: Any, **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self: "Task[P, T]", *args: Any, **kwargs: Any) -> Future[T]: ...
    def submit(
        self: "Task[..., Any]", *args: Any, wait_for: After | None = None, return_state: bool = False, **kwargs: Any
    ) -> Any:
        """Run it beside the caller, as soon as the futures among its arguments, and in `wait_for`, are done."""
        future = submitting.submit(self, (*self.first, *args), kwargs, waited(wait_for))
        if not return_state:
            return future
        future.wait()
        return future.state

    @overload
    def map(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> list[RunState]: ...
    @overload
    def map(self: "Task[P, Coroutine[Any, Any, T]]", *args: Any, **kwargs: Any) -> Futures[T]: ...
    @overload
    def map(self: "Task[P, T]", *args: Any, **kwargs: Any) -> Futures[T]: ...
    def map(
        self: "Task[..., Any]", *args: Any, wait_for: After | None = None, return_state: bool = False, **kwargs: Any
    ) -> Any:
        """One run for each element of the arguments that are lists (or other iterables) of equal length.

        Text, bytes, mappings and `unmapped(value)` go to every run whole. Raises Invalid when nothing is there to go
        through, or the lengths differ.
        """
        futures = submitting.mapped(self, (*map(Unmapped, self.first), *args), kwargs, waited(wait_for))
        if not return_state:
            return futures
        futures.wait()
        return futures.states

    def trace(self, flow: FlowContext | None) -> Trace:
        """A new run of it, in no state yet."""
        identity = uuid7()
        ledger = flow.ledger if flow else current()
        number = flow.number(self.name) if flow else identity.hex[-6:]
        return Trace.new(ledger, flow, identity, f"{self.name}-{number}", self)

    def _caching(self, options: TaskOptions) -> Caching:
        key_fn, policy = options.get("cache_key_fn"), options.get("cache_policy")
        cached = key_fn is not None or policy is not None
        lasts = checked_expiration(self.owner, options.get("cache_expiration"), cached)
        return Caching(key_fn, as_policy(self.owner, policy), lasts, options.get("refresh_cache", False))


@overload
def task(fn: Callable[P, R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
@overload
def task(fn: None = None, /, **options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a task; the options are those of `TaskOptions`."""
    if fn is not None:
        return Task(fn, **options)
    return lambda function: Task(function, **options)


def waited(after: Any) -> tuple[Any, ...]:
    """What a `wait_for` names: futures, or collections of them."""
    if after is None:
        return ()
    return tuple(after) if isinstance(after, list | tuple | set | frozenset) else (after,)
