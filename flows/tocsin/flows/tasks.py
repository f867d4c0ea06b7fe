"""`@task`: a function whose every run is recorded, tried again, and found again."""

import hashlib
import inspect
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from tocsin.events.errors import Invalid
from tocsin.events.ids import uuid7
from tocsin.flows import submitting
from tocsin.flows.cache import Caching, KeyFunction, checked_expiration
from tocsin.flows.cache_policies import CachePolicy, as_policy
from tocsin.flows.cache_policies import task_input_hash as task_input_hash
from tocsin.flows.context import FlowContext, flow_context
from tocsin.flows.futures import Future, Futures
from tocsin.flows.keeping import keeping
from tocsin.flows.ledger import current
from tocsin.flows.parameters import Parameters
from tocsin.flows.retries import DelaySpec, delays
from tocsin.flows.serializers import Serializer
from tocsin.flows.steps import drive, drive_async
from tocsin.flows.task_engine import run_task
from tocsin.flows.trace import Trace

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MOST_TAGS: Final = 50

# Any below: `submit` and `map` take futures and elements where the function takes values, so their arguments are open.


class Task(Generic[P, R]):
    """A function as a task. Call it, `submit` it, `map` it; `fn` is the bare function.

    `retries` with `retry_delay_seconds` (a number, a list, or a function of `retries`); `timeout_seconds` for
    coroutine functions; results cached under `cache_key_fn` or `cache_policy` for `cache_expiration`.
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
        cache_key_fn: KeyFunction | None = None,
        cache_policy: CachePolicy | KeyFunction | None = None,
        cache_expiration: timedelta | None = None,
        refresh_cache: bool = False,
        persist_result: bool | None = None,
        result_storage: str | None = None,
        result_serializer: str | Serializer | None = None,
        result_storage_key: str | None = None,
        cache_result_in_memory: bool = True,
    ) -> None:
        update_wrapper(self, fn)
        self.fn = fn
        self.name = checked_name("task", name or fn.__name__)
        self.description = description or inspect.getdoc(fn) or ""
        self.key = f"{fn.__module__}.{fn.__qualname__}"
        self.is_async = inspect.iscoroutinefunction(fn)
        self.retries, self.retry_delay_seconds = checked_retries(self.name, retries), retry_delay_seconds
        self.delays = delays(retry_delay_seconds, retries)
        self.log_prints = log_prints
        self.tags = checked_tags(self.name, tags)
        self.timeout_s = checked_timeout(self.name, timeout_seconds, self.is_async)
        owner, cached = f'task "{self.name}"', cache_key_fn is not None or cache_policy is not None
        lasts = checked_expiration(owner, cache_expiration, cached)
        self.caching = Caching(cache_key_fn, as_policy(owner, cache_policy), lasts, refresh_cache)
        self.keeping = keeping(
            owner,
            persist_result=persist_result,
            result_storage=result_storage,
            result_serializer=result_serializer,
            result_storage_key=result_storage_key,
            cache_result_in_memory=cache_result_in_memory,
            cached=cached,
        )
        self.plain = self.caching.plain and self.keeping.plain
        self.parameters = Parameters(f'task "{self.name}"', fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it now; a coroutine function gives a coroutine. Futures among the arguments are waited for."""
        steps = run_task(self, self.trace(flow_context.get()), args, kwargs)
        return cast(R, drive_async(steps) if self.is_async else drive(steps))

    @overload
    def submit(self: "Task[P, Coroutine[Any, Any, T]]", *args: Any, **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self: "Task[P, T]", *args: Any, **kwargs: Any) -> Future[T]: ...
    def submit(self: "Task[..., Any]", *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it beside the caller, as soon as the futures among its arguments are done."""
        return submitting.submit(self, args, kwargs)

    @overload
    def map(self: "Task[P, Coroutine[Any, Any, T]]", *args: Any, **kwargs: Any) -> Futures[T]: ...
    @overload
    def map(self: "Task[P, T]", *args: Any, **kwargs: Any) -> Futures[T]: ...
    def map(self: "Task[..., Any]", *args: Any, **kwargs: Any) -> Futures[Any]:
        """One run for each element of the arguments that are lists (or other iterables) of equal length.

        Text, bytes, mappings and `unmapped(value)` go to every run whole. Raises Invalid when nothing is there to go
        through, or the lengths differ.
        """
        return submitting.mapped(self, args, kwargs)

    def with_options(self, **options: Any) -> "Task[P, R]":
        """The same function as a task with other options (those of `@task`)."""
        given: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "retries": self.retries,
            "retry_delay_seconds": self.retry_delay_seconds,
            "log_prints": self.log_prints,
            "tags": self.tags,
            "timeout_seconds": self.timeout_s,
            "cache_key_fn": self.caching.key_fn,
            "cache_policy": self.caching.policy,
            "cache_expiration": self.caching.expiration,
            "refresh_cache": self.caching.refresh,
            "persist_result": self.keeping.persist,
            "result_storage": self.keeping.storage,
            "result_serializer": self.keeping.serializer,
            "result_storage_key": self.keeping.name,
            "cache_result_in_memory": self.keeping.in_memory,
        }
        return Task(self.fn, **(given | options))

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def trace(self, flow: FlowContext | None) -> Trace:
        """A new run of it, in no state yet."""
        identity = uuid7()
        ledger = flow.ledger if flow else current()
        number = flow.number(self.name) if flow else identity.hex[-6:]
        return Trace.new(ledger, flow, identity, f"{self.name}-{number}", self.key, self.tags)


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
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
    cache_key_fn: KeyFunction | None = None,
    cache_policy: CachePolicy | KeyFunction | None = None,
    cache_expiration: timedelta | None = None,
    refresh_cache: bool = False,
    persist_result: bool | None = None,
    result_storage: str | None = None,
    result_serializer: str | Serializer | None = None,
    result_storage_key: str | None = None,
    cache_result_in_memory: bool = True,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a task; the options are those of `Task`."""
    if fn is not None:
        return Task(fn, **options)
    return lambda function: Task(function, **options)


def checked_name(kind: str, name: str) -> str:
    """The name. Raises Invalid when it is empty, not text or not printable."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise Invalid(f"{kind} name {name!r}: a name is printable text and not empty")
    return name


def checked_tags(owner: str, tags: Iterable[str]) -> tuple[str, ...]:
    """The tags in order, each once. Raises Invalid for what no event could carry."""
    found = {tags} if isinstance(tags, str) else set(tags)
    if len(found) > MOST_TAGS:
        raise Invalid(f'"{owner}": {len(found)} tags, at most {MOST_TAGS}')
    return tuple(sorted(checked_name(f'"{owner}": tag', tag) for tag in found))


def checked_retries(owner: str, retries: int) -> int:
    """The number of retries. Raises Invalid for anything but a whole number from 0 up."""
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise Invalid(f'"{owner}": retries is a whole number from 0 up, not {retries!r}')
    return retries


def checked_timeout(owner: str, timeout_s: float | None, is_async: bool) -> float | None:
    """The timeout in seconds. Raises Invalid for a function that nothing can interrupt."""
    if timeout_s is None:
        return None
    if not is_async:
        raise Invalid(f'"{owner}": timeout_seconds needs an `async def`; a thread cannot be interrupted')
    if timeout_s <= 0:
        raise Invalid(f'"{owner}": timeout_seconds must be above zero, not {timeout_s}')
    return float(timeout_s)

