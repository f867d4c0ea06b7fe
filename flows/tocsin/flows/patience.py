"""A blocking function with a time limit: it runs in a thread of its own, and is left alone there when time is over.

Nothing can interrupt a thread. What was given up goes on until its function returns, its result is lost, and tasks that
it would begin from then on do not begin.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future as Outcome
from concurrent.futures import wait
from contextvars import ContextVar, copy_context
from typing import Any
from uuid import UUID

from tocsin.flows.errors import OutOfTime, Terminated
from tocsin.flows.pool import keep_place

# Any below: results of users' functions.


class _Patience:
    """Whether somebody still waits for the code at hand, and for the code that waits for it."""

    __slots__ = ("above", "over")

    def __init__(self, above: "_Patience | None") -> None:
        self.above, self.over = above, False


_patience: ContextVar[_Patience | None] = ContextVar("tocsin_patience", default=None)


def in_time(work: Callable[[], Any], seconds: float, run_id: UUID | None = None) -> Any:
    """What `work()` gives within `seconds`. Raises OutOfTime, and leaves the work alone, when it takes longer."""
    outcome: Outcome[Any] = Outcome()
    mine = _Patience(_patience.get())
    context = copy_context()
    context.run(_patience.set, mine)
    keep_place(context)
    threading.Thread(target=context.run, args=(_report, outcome, work), name="tocsin-timed", daemon=True).start()
    try:
        wait((outcome,), seconds)
        ended = outcome.done()
    except BaseException:
        mine.over = True
        raise
    if ended:
        return outcome.result()
    mine.over = True
    raise OutOfTime(seconds, run_id)


def wanted() -> None:
    """Raise Terminated when the code at hand was given up: nobody waits for what it begins."""
    patience = _patience.get()
    while patience is not None:
        if patience.over:
            raise Terminated("its function was given up: it is out of time")
        patience = patience.above


def _report(outcome: "Outcome[Any]", work: Callable[[], Any]) -> None:
    try:
        value = work()
    except BaseException as error:  # whoever waits for it is told
        outcome.set_exception(error)
    else:
        outcome.set_result(value)
