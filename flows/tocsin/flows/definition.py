"""What tasks and flows have in common: a function, and options that are checked when it is decorated."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from typing import Any, ClassVar, Self, TypedDict, cast

from tocsin.events.errors import Invalid
from tocsin.flows.checks import (
    check_function,
    checked_name,
    checked_tags,
    checked_text,
    checked_timeout,
    refuse_own_words,
    refuse_unknown,
)
from tocsin.flows.hooks import Hook, Hooks
from tocsin.flows.keeping import Keeping, keeping
from tocsin.flows.names import NameSpec, RunName
from tocsin.flows.parameters import Parameters
from tocsin.flows.retries import Condition, DelaySpec, Retrying, retrying
from tocsin.flows.serializers import Serializer

# Any below: a user's function with its arguments and its result.


class CommonOptions(TypedDict, total=False):
    """Options of `@task` and `@flow` alike; docs/tasks.md has a line on each."""

    name: str | None
    description: str | None
    version: str | None
    tags: Iterable[str]
    retries: int
    retry_delay_seconds: DelaySpec
    retry_jitter_factor: float | None
    retry_condition_fn: Condition | None
    timeout_seconds: float | None
    log_prints: bool | None
    persist_result: bool | None
    result_storage: str | None
    result_serializer: str | Serializer | None
    result_storage_key: str | None
    cache_result_in_memory: bool
    on_running: Iterable[Hook] | None
    on_completion: Iterable[Hook] | None
    on_failure: Iterable[Hook] | None


class Definition:
    """A function with its options. `first`: the object or class it is a method of, ahead of the other arguments."""

    kind: ClassVar[str]
    known: ClassVar[frozenset[str]]
    hooks_of: ClassVar[tuple[str, ...]]
    run_name_option: ClassVar[str]

    def __init__(self, fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
        function: Callable[..., Any] = fn.__func__ if isinstance(fn, classmethod | staticmethod) else fn
        update_wrapper(cast(Any, self), function)  # first: what the function carries is not to replace what is ours
        self._method = type(fn).__name__ if isinstance(fn, classmethod | staticmethod) else None
        self._decorated, self.given = fn, dict(options)
        self.fn = function
        self.first: tuple[Any, ...] = ()
        self.name = checked_name(self.kind, options.get("name") or self._default_name())
        self.owner = f'{self.kind} "{self.name}"'
        refuse_unknown(self.owner, options, self.known)
        check_function(self.owner, self.fn)
        self.description: str = checked_text(self.owner, "description", options) or inspect.getdoc(self.fn) or ""
        self.version: str | None = checked_text(self.owner, "version", options)
        self.tags = self.given["tags"] = checked_tags(self.owner, options.get("tags") or ())
        self.is_async: bool = inspect.iscoroutinefunction(function) or (isinstance(fn, Definition) and fn.is_async)
        self.timeout_s = checked_timeout(self.owner, options.get("timeout_seconds"))
        self.log_prints: bool | None = options.get("log_prints")
        self.parameters = Parameters(self.owner, self.fn)
        refuse_own_words(self.owner, self.parameters.signature.parameters)
        self.retries: int = options.get("retries", 0)
        self.retrying = self._retrying(options)
        self.run_name = self._run_name(options.get(self.run_name_option))
        self.keeping = self._keeping(options)
        self.hooks = Hooks(self.owner, self.hooks_of, options)

    def with_options(self, **options: Any) -> Self:
        """The same function with other options; those that are not given stay, hooks among them."""
        hooks = {kind: self.hooks.of(kind) for kind in self.hooks_of}
        changed = type(self)(self._decorated, **{**self.given, **hooks, **options})
        changed.first = self.first
        return changed

    def on_running(self, hook: Hook) -> Hook:
        """Decorate a function that is called with (this, run, state) whenever a run begins to work."""
        return self._hooked("on_running", hook)

    def on_completion(self, hook: Hook) -> Hook:
        """Decorate a function that is called with (this, run, state) when a run is completed."""
        return self._hooked("on_completion", hook)

    def on_failure(self, hook: Hook) -> Hook:
        """Decorate a function that is called with (this, run, state) when a run has failed, its retries used up."""
        return self._hooked("on_failure", hook)

    def bound(self, instance: Any, owner: type | None) -> Self:
        """As a method: the object (or the class) becomes the first argument."""
        holder = owner if self._method == "classmethod" else None if self._method == "staticmethod" else instance
        if holder is None:
            return self
        bound = copy.copy(self)
        bound.first = (holder,)
        return bound

    def __repr__(self) -> str:
        return f"<{self.kind.capitalize()} {self.name}>"

    def _hooked(self, kind: str, hook: Hook) -> Hook:
        self.hooks.add(kind, hook)
        return hook

    def _default_name(self) -> str:
        name = getattr(self.fn, "__name__", None)
        if name is None:
            raise Invalid(f"a {self.kind} of {self.fn!r} needs a name: it has none of its own; give name=")
        return str(name)

    def _retrying(self, options: Mapping[str, Any]) -> Retrying:
        delay, jitter = options.get("retry_delay_seconds", 0), options.get("retry_jitter_factor")
        return retrying(self.owner, self.retries, delay, jitter, options.get("retry_condition_fn"))

    def _run_name(self, spec: NameSpec | None) -> RunName | None:
        if spec is None:
            return None
        return RunName(self.owner, self.run_name_option, spec, self.parameters.signature.parameters)

    def _keeping(self, options: Mapping[str, Any]) -> Keeping:
        return keeping(
            self.owner,
            persist_result=options.get("persist_result"),
            result_storage=options.get("result_storage"),
            result_serializer=options.get("result_serializer"),
            result_storage_key=options.get("result_storage_key"),
            cache_result_in_memory=options.get("cache_result_in_memory", True),
            cached=bool(options.get("cache_policy") or options.get("cache_key_fn")),
        )
