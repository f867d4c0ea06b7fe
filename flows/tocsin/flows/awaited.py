"""Blocking work of ours for coroutines: in a thread, with the run at hand."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def awaited(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """`work` as a coroutine function: the loop stays free while it is carried out."""

    @wraps(work)
    async def call(*arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(work, *arguments, **named)

    return call
