"""How a task's results are used again by other runs: the options of its decorator as one value."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from tocsin.events.errors import Invalid
from tocsin.flows.portable import clean

LONGEST: Final = 400
"""Characters of a key as it is stored; of a longer one the beginning and a hash."""

# Any below: the task and its arguments.


class CacheContext(msgspec.Struct, frozen=True):
    """What a `cache_key_fn` is told besides the arguments; `flow_parameters`: None outside a flow."""

    task: Any
    task_key: str
    task_run_id: UUID
    flow_run_id: UUID | None
    flow_parameters: Mapping[str, Any] | None = None


KeyFunction = Callable[[CacheContext, dict[str, Any]], str | None]


class KeyPolicy(Protocol):
    """What makes keys; `tocsin.flows.cache_policies` has ours."""

    def key(self, context: CacheContext, arguments: Mapping[str, Any]) -> str | None:
        """The key, None for no caching."""
        ...


class Caching(msgspec.Struct, frozen=True):
    """How a task's results are cached: by a function or by a policy, for `expiration` (None: for good).

    `refresh`: run all the same, and put the new result in the place of the old one.
    """

    key_fn: KeyFunction | None = None
    policy: KeyPolicy | None = None
    expiration: timedelta | None = None
    refresh: bool = False

    @property
    def plain(self) -> bool:
        """Nothing is cached."""
        return self.key_fn is None and self.policy is None

    def key(self, context: CacheContext, arguments: Mapping[str, Any]) -> str | None:
        """The key for these arguments, None for no caching. Raises Invalid for what has no hash, or is not text."""
        if self.key_fn is not None:
            key = checked_key(context.task_key, self.key_fn(context, dict(arguments)))
        else:
            key = self.policy.key(context, arguments) if self.policy else None
        return None if key is None else stored_key(key)


def checked_key(task_key: str, key: object) -> str | None:
    """What a key function gave. Raises Invalid when it is neither text nor None."""
    if key is not None and not isinstance(key, str):
        raise Invalid(f"cache_key_fn of {task_key} gave {type(key).__name__}; it gives text, or None")
    return key


def stored_key(key: str) -> str:
    """The key as any database can keep it; different keys stay different."""
    if len(key) <= LONGEST and clean(key) == key:
        return key
    return f"{clean(key, LONGEST - 70)}:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def checked_expiration(owner: str, expiration: timedelta | None, cached: bool) -> timedelta | None:
    """The span. Raises Invalid for one that is over at once, or when nothing is cached."""
    if expiration is None:
        return None
    if not isinstance(expiration, timedelta) or expiration <= timedelta():
        raise Invalid(f"{owner}: cache_expiration is a timedelta above zero, not {expiration!r}")
    if not cached:
        raise Invalid(f"{owner}: cache_expiration without cache_key_fn or cache_policy caches nothing")
    return expiration
