"""Cache policies: what the key of a task's cached result is made of.

cache_policy=INPUTS                     the same task with the same arguments
cache_policy=INPUTS + TASK_SOURCE       and the same code
cache_policy=INPUTS - "debug"           whatever `debug` is
cache_policy=lambda context, arguments: f"day {arguments['day']}"
"""

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows.cache import CacheContext, KeyFunction, checked_key
from tocsin.flows.keys import encoded, input_hash
from tocsin.flows.keys_code import code_hash

# Any below: the task's arguments.
Arguments = Mapping[str, Any]


class CachePolicy:
    """One part of a key, or several: `+` takes both, `-` leaves an argument (or several) out."""

    def part(self, context: CacheContext, arguments: Arguments) -> str | None:
        """What this policy adds to the key; None: no caching this time. Raises Invalid for what has no hash."""
        raise NotImplementedError

    def key(self, context: CacheContext, arguments: Arguments) -> str | None:
        """The key; None: neither look for a result nor keep one. Another task never has the same."""
        part = self.part(context, arguments)
        return None if part is None else f"{context.task_key}:{part}"

    def without(self, names: frozenset[str]) -> "CachePolicy":
        """The same policy, blind for these arguments."""
        return self

    def __add__(self, other: "CachePolicy | KeyFunction") -> "CachePolicy":
        policies = (*_parts(self), *_parts(as_policy("the sum", other)))
        return Sum(policies) if len(policies) > 1 else policies[0] if policies else NO_CACHE

    def __sub__(self, names: str | Collection[str]) -> "CachePolicy":
        left_out = [names] if isinstance(names, str) else names
        if not isinstance(left_out, Collection) or not all(isinstance(name, str) for name in left_out):
            raise Invalid(f"{self!r} - {names!r}: what is left out of a cache policy is the name of an argument")
        return self.without(frozenset(left_out))


class Inputs(CachePolicy):
    """The arguments, by their content."""

    def __init__(self, left_out: frozenset[str] = frozenset()) -> None:
        self.left_out = left_out

    def part(self, context: CacheContext, arguments: Arguments) -> str:
        """A hash of them."""
        return input_hash({name: value for name, value in arguments.items() if name not in self.left_out})

    def without(self, names: frozenset[str]) -> CachePolicy:
        """Fewer arguments."""
        return Inputs(self.left_out | names)

    def __repr__(self) -> str:
        return " - ".join(("INPUTS", *map(repr, sorted(self.left_out))))


class TaskSource(CachePolicy):
    """The task's code: its bytecode, inner functions, defaults and what it closes over (`tocsin.flows.keys_code`)."""

    def part(self, context: CacheContext, arguments: Arguments) -> str:
        """A hash of it."""
        return source_hash(context)

    def __repr__(self) -> str:
        return "TASK_SOURCE"


class RunId(CachePolicy):
    """The flow run (outside a flow: the task run), so that nothing is shared between runs."""

    def part(self, context: CacheContext, arguments: Arguments) -> str:
        """Its id."""
        return str(context.flow_run_id or context.task_run_id)

    def __repr__(self) -> str:
        return "RUN_ID"


class FlowParameters(CachePolicy):
    """The parameters of the flow run at hand; nothing is cached outside a flow."""

    def __init__(self, left_out: frozenset[str] = frozenset()) -> None:
        self.left_out = left_out

    def part(self, context: CacheContext, arguments: Arguments) -> str | None:
        """A hash of them."""
        if context.flow_parameters is None:
            return None
        kept = {name: value for name, value in context.flow_parameters.items() if name not in self.left_out}
        try:
            return input_hash(kept)
        except Invalid as error:
            raise Invalid(f"FLOW_PARAMETERS: {error}") from error

    def without(self, names: frozenset[str]) -> CachePolicy:
        """Fewer parameters."""
        return FlowParameters(self.left_out | names)

    def __repr__(self) -> str:
        return " - ".join(("FLOW_PARAMETERS", *map(repr, sorted(self.left_out))))


class NoCache(CachePolicy):
    """Nothing; in a sum it changes nothing."""

    def part(self, context: CacheContext, arguments: Arguments) -> None:
        """None."""
        return

    def __repr__(self) -> str:
        return "NO_CACHE"


class CacheKeyFnPolicy(CachePolicy):
    """A function of the context and the arguments. Alone it gives the whole key, which tasks may share."""

    def __init__(self, cache_key_fn: KeyFunction) -> None:
        self.cache_key_fn = cache_key_fn

    def part(self, context: CacheContext, arguments: Arguments) -> str | None:
        """What the function says."""
        return checked_key(context.task_key, self.cache_key_fn(context, dict(arguments)))

    def key(self, context: CacheContext, arguments: Arguments) -> str | None:
        """What the function says, and nothing besides."""
        return self.part(context, arguments)

    def __repr__(self) -> str:
        return f"CacheKeyFnPolicy({getattr(self.cache_key_fn, '__qualname__', repr(self.cache_key_fn))})"


class Sum(CachePolicy):
    """Several policies: the key changes when the part of any of them does; None of one is None of all."""

    def __init__(self, policies: tuple[CachePolicy, ...]) -> None:
        self.policies = policies

    def part(self, context: CacheContext, arguments: Arguments) -> str | None:
        """A hash of their parts."""
        digest = sha256()
        for policy in self.policies:
            part = policy.part(context, arguments)
            if part is None:
                return None
            digest.update(encoded((type(policy).__name__, part)))
        return digest.hexdigest()

    def without(self, names: frozenset[str]) -> CachePolicy:
        """Each of them blind for these."""
        return Sum(tuple(policy.without(names) for policy in self.policies))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.policies))


def as_policy(owner: str, given: "CachePolicy | KeyFunction | None") -> CachePolicy | None:
    """The policy that an option means: one of ours, or a function of context and arguments. Raises Invalid."""
    if given is None or isinstance(given, CachePolicy):
        return given
    if isinstance(given, type) or not isinstance(given, Callable):  # type: ignore[arg-type]  # an abstract class
        raise Invalid(f"{owner}: {given!r} is no cache policy; take INPUTS, TASK_SOURCE ..., or a function")
    return CacheKeyFnPolicy(given)


def task_input_hash(context: CacheContext, arguments: Arguments) -> str:
    """A `cache_key_fn`: the same task, with the same code and the same inputs."""
    return f"{context.task_key}:{source_hash(context)}:{input_hash(arguments)}"


def source_hash(context: CacheContext) -> str:
    """A hash of the code of the task. Raises Invalid for a default that has no stable form."""
    try:
        return code_hash(context.task.fn, encoded)
    except Exception as error:  # taking an object apart runs its own code, which may raise anything
        raise Invalid(f"task {context.task_key}: its defaults or constants have no stable hash: {error}") from error


def _parts(policy: CachePolicy | None) -> tuple[CachePolicy, ...]:
    """What a sum is made of."""
    match policy:
        case Sum():
            return policy.policies
        case None | NoCache():
            return ()
        case _:
            return (policy,)


INPUTS: Final[CachePolicy] = Inputs()
"""The same task with the same inputs is not run twice, in any run."""

TASK_SOURCE: Final[CachePolicy] = TaskSource()
"""Changed code is run again."""

RUN_ID: Final[CachePolicy] = RunId()
"""Not shared between flow runs."""

FLOW_PARAMETERS: Final[CachePolicy] = FlowParameters()
"""The same parameters of the flow."""

NO_CACHE: Final[CachePolicy] = NoCache()
"""Every call runs; what a task does that names no policy."""

DEFAULT: Final[CachePolicy] = INPUTS + TASK_SOURCE + RUN_ID
"""Equal calls in one flow run are run once: what Prefect's tasks do by default, and ours when they name it."""
