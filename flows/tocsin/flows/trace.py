"""A task run as its process writes it down, state by state."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from tocsin.events.errors import TocsinError
from tocsin.flows.announce import task_run_event
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns, columns_of, moved, standing
from tocsin.flows.context import FlowContext
from tocsin.flows.decide import Accept, Context, Standing, Verdict, decide
from tocsin.flows.errors import Superseded
from tocsin.flows.states import State
from tocsin.flows.steps import Pause
from tocsin.flows.tables import TaskRun
from tocsin.flows.writing import Change

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

_BLANK: Final[Columns] = columns_of(TaskRun)
_PLAIN: Final = Context()
_NEW: Final = Standing()


class Trace:
    """One task run. `step` asks `decide`, moves the columns on and gives the change to store."""

    def __init__(self, ledger: Book, flow: FlowContext | None, row: Columns) -> None:
        self.ledger, self.flow = ledger, flow
        self.index: int | None = None
        """Its element's place in the `.map` that made it."""
        self.adopt(row)

    def adopt(self, row: Columns) -> None:
        """Be the run of this row: one that is new, or one that waited in the database for this try (`resumed`)."""
        self.row, self.resumed = row, bool(row["version"])
        self._standing = standing(row) if self.resumed else _NEW

    @classmethod
    def new(cls, ledger: Book, flow: FlowContext | None, identity: UUID, name: str, task: "Task[..., Any]") -> "Trace":
        """A run that is in no state yet."""
        row = {
            **_BLANK,
            "id": identity,
            "name": name,
            "task_name": task.name,
            "task_key": task.key,
            "flow_run_id": flow.id if flow else None,
            "lease": None if flow else ledger.lease,
            "tags": list(task.tags),
            "created": ledger.clock.now(),
        }
        return cls(ledger, flow, row)

    @property
    def attempt(self) -> int:
        """The attempt that is under way."""
        return self._standing.attempt

    def later(self, state: State) -> None:
        """Enter `state`; it is written behind."""
        self.ledger.later(self.step(state))

    def settle(self, state: State, context: Context = _PLAIN, result: dict[str, Any] | None = None) -> State:
        """Enter `state`, or the one that `decide` puts in its place, and return it when it is stored."""
        change = self.step(state, context, result)
        self.ledger.settle(change)
        return self.state

    @property
    def state(self) -> State:
        """Where the run is."""
        assert self._standing.state is not None
        return self._standing.state

    @property
    def reached(self) -> State | None:
        """The same; None while it is in no state yet."""
        return self._standing.state

    def step(self, state: State, context: Context = _PLAIN, result: dict[str, Any] | None = None) -> Change:
        """The change into `state`, or into the one that `decide` puts in its place. Any: a result's reference."""
        now = self.ledger.clock.now()
        before = self._standing
        accepted = self._accepted(decide(before, state, context, now))
        self.row = {**self.row, **moved(self.row, accepted, now)}
        if result is not None:
            self.row["result"] = result
        self._standing = Standing(accepted.state, accepted.attempt, accepted.retries)
        event = task_run_event(self.row, self.flow.run if self.flow else None, before.state, accepted.state)
        return Change(self.row, event, self.flow.fence if self.flow else None)

    def _accepted(self, verdict: Verdict) -> Accept:
        if not isinstance(verdict, Accept):
            raise Superseded(f"task run {self.row['name']}: {verdict.why}")
        return verdict


class Settle(Pause):
    """A state that has to be stored before its run goes on: many that wait for it share a transaction."""

    __slots__ = ("_context", "_error", "_result", "_state", "_trace")

    short: ClassVar[bool] = True

    def __init__(
        self, trace: Trace, state: State, context: Context = _PLAIN, result: dict[str, Any] | None = None
    ) -> None:
        self._trace, self._state, self._context, self._result = trace, state, context, result
        self._error: BaseException | None = None

    def block(self) -> State:
        """Store it from this thread."""
        return self._trace.settle(self._state, self._context, self._result)

    async def suspend(self) -> State:
        """Store it from the book's own thread, while the loop does something else."""
        loop = asyncio.get_running_loop()
        stored = asyncio.Event()
        self.park(lambda: _in_loop(loop, stored))
        await stored.wait()
        return self.answer()

    def park(self, then: Callable[[], None]) -> None:
        """Have the book's own thread store it, and call `then`."""

        def ended(error: BaseException | None) -> None:
            self._error = error
            then()

        try:
            change = self._trace.step(self._state, self._context, self._result)
        except TocsinError as error:
            ended(error)
        else:
            self._trace.ledger.settle_soon(change, ended)

    def answer(self) -> State:
        """The state that is stored. Raises Superseded, or what the database says."""
        if self._error is not None:
            raise self._error
        return self._trace.state


def _in_loop(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return


def seconds_until(at: datetime | None, now: datetime) -> float:
    """How long to wait from `now` on; 0 when the time has come."""
    return max(0.0, (at - now).total_seconds()) if at else 0.0
