"""Results that are used again by other runs: one row a key, the newest result wins."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from sqlmodel import select

from tocsin.events.errors import Invalid
from tocsin.flows.tables import CacheEntry
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.flows.cache_policies import CachePolicy

# Any below: the task's arguments, and references to results.


class CacheContext(msgspec.Struct, frozen=True):
    """What a `cache_key_fn` is told besides the parameters."""

    task: Any
    task_key: str
    task_run_id: UUID
    flow_run_id: UUID | None


KeyFunction = Callable[[CacheContext, dict[str, Any]], str | None]


class Caching(msgspec.Struct, frozen=True):
    """How a task's results are cached: by a function or by a policy, for `expiration` (None: for good)."""

    key_fn: KeyFunction | None = None
    policy: "CachePolicy | None" = None
    expiration: timedelta | None = None

    def key(self, context: CacheContext, arguments: Mapping[str, Any]) -> str | None:
        """The key for these arguments, None for no caching. Raises Invalid when the key is not text."""
        if self.key_fn is None:
            return self.policy.key(context.task_key, arguments) if self.policy else None
        key = self.key_fn(context, dict(arguments))
        if key is not None and not isinstance(key, str):
            raise Invalid(f"cache_key_fn of {context.task_key} gave {type(key).__name__}; it gives text, or None")
        return key


def find(store: Store, key: str, now: datetime) -> dict[str, Any] | None:
    """The reference of the result under `key`, unless it has expired."""
    with store.read() as session:
        entry = session.exec(select(CacheEntry).where(CacheEntry.key == key)).one_or_none()
    if entry is None or (entry.expires is not None and entry.expires <= now):
        return None
    return entry.result


def put(
    store: Store, key: str, task_key: str, task_run: UUID, result: dict[str, Any], now: datetime, ttl: timedelta | None
) -> None:
    """Keep the reference under `key`."""
    expires = now + ttl if ttl is not None else None
    entry = CacheEntry(key=key, task_key=task_key, task_run_id=task_run, result=result, created=now, expires=expires)
    with store.begin() as session:
        session.merge(entry)
