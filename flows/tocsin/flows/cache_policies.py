"""Cache policies: what the key of a task's cached result is made of."""

from collections.abc import Mapping
from typing import Any, Protocol

from tocsin.flows.keys import input_hash

# Any below: the task's arguments.


class CachePolicy(Protocol):
    """Makes the key under which a result is kept and found."""

    def key(self, task_key: str, arguments: Mapping[str, Any]) -> str | None:
        """The key; None: neither look for a result nor keep one. Raises Invalid for arguments without a hash."""
        ...


class _Inputs:
    def key(self, task_key: str, arguments: Mapping[str, Any]) -> str:
        return f"{task_key}:{input_hash(arguments)}"

    def __repr__(self) -> str:
        return "INPUTS"


class _NoCache:
    def key(self, task_key: str, arguments: Mapping[str, Any]) -> None:
        return None

    def __repr__(self) -> str:
        return "NO_CACHE"


INPUTS: CachePolicy = _Inputs()
"""The same task with the same inputs is not run twice, in any run."""

NO_CACHE: CachePolicy = _NoCache()
"""Every call runs; the default."""
