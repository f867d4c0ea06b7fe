"""A task's function called in another process, and the book that this process keeps for it.

    flow's process                     worker process
    engine ── packed(call) ──────────▶ perform: the function, in the context of its run
    book   ◀── ask(request) ────────── log lines, tasks inside the task, variables ...
           ── answer ────────────────▶
    engine ◀── unpacked(answer) ────── what the function returned or raised

Only the flow's process talks to the store. What crosses is pickled, by value where no import finds it.
"""

import asyncio
import logging
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import cloudpickle

from tocsin.events.clock import SystemClock
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.ids import uuid7
from tocsin.flows import packing
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns
from tocsin.flows.context import FlowContext, TaskContext, in_flow, task_context
from tocsin.flows.logs import RUN_LOGGER, heard
from tocsin.flows.request import Request
from tocsin.flows.steps import Call
from tocsin.store.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tocsin.flows.tasks import Task

Wire = Callable[[bytes], bytes]
"""A question to the flow's process, and its answer."""

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.


class Parcel(NamedTuple):
    """A call of a task's function.

    `fence`: under which attempt changes of tasks inside it may be stored; `level`: from which on the flow's process
    hears loggers.
    """

    task: "Task[..., Any]"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout_s: float | None
    flow_run: Columns
    task_run: Columns
    flow_prints: bool
    fence: tuple[UUID, int] | None
    lease: str
    level: int


def packed(task: "Task[..., Any]", call: Call, timeout_s: float | None) -> bytes:
    """The call as a parcel; the engine is at it in this context. Raises Invalid for what cannot be pickled."""
    run = task_context.get()
    assert run is not None
    assert run.flow is not None
    flow = run.flow
    parcel = Parcel(
        task=task,
        args=call.args,
        kwargs=call.kwargs,
        timeout_s=timeout_s,
        flow_run=flow.run,
        task_run=run.run,
        flow_prints=bool(flow.log_prints),
        fence=flow.fence,
        lease=flow.run["lease"] or flow.ledger.lease,
        level=logging.getLogger().getEffectiveLevel(),
    )
    try:
        body = packing.dumps(parcel)
    except Exception as error:  # pickling runs the __reduce__ of any object, which may raise anything
        raise Invalid(f'task "{task.name}": it cannot be sent to another process: {error}') from error
    return body


def unpacked(answer: bytes) -> Any:
    """What the function returned; raises what it raised."""
    value, error = cloudpickle.loads(answer)
    if error is not None:
        raise error
    return value


def perform(parcel: bytes, wire: Wire) -> bytes:
    """Call the function here; what `unpacked` reads."""
    book: FarBook | None = None
    try:
        call: Parcel = cloudpickle.loads(parcel)
        book = FarBook(wire, call.lease, call.level)
        with book.written(), _belonging(call, book), heard(bool(call.task.log_prints or call.flow_prints)):
            return _told(_called(call), None)
    except BaseException as error:  # the flow's process raises it
        return _told(None, error)


def answered(book: Book, question: bytes) -> bytes:
    """The answer of the flow's own book to what `FarBook` asks."""
    try:
        return _told(book.ask(cloudpickle.loads(question)), None)
    except Exception as error:  # of the database, or of the request: whoever asked is told
        return _told(None, error)


class FarBook(Book):
    """The book of a process that has no store: the flow's process writes for it."""

    def __init__(self, wire: Wire, lease: str, level: int) -> None:
        super().__init__(SystemClock())
        self._wire, self._lease, self._level = wire, lease, level
        root = logging.getLogger()
        if root.getEffectiveLevel() > level:
            root.setLevel(level)

    @property
    def lease(self) -> str:
        """The lease of the flow's process."""
        return self._lease

    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Have the flow's process carry out the request."""
        with self._pen:
            if request.writes:
                self.flush()
            return unpacked(self._wire(packing.dumps(request)))

    def line(self, line: Columns) -> None:
        """Write a log line behind, if the flow's process would have heard it."""
        if line["level"] >= self._level or line["logger"].startswith(RUN_LOGGER):
            super().line(line)

    def bell(self, channel: str) -> Bell:
        """There is none here."""
        raise Unavailable(f"no bell for {channel} in a worker process of a task runner")

    @contextmanager
    def written(self) -> "Iterator[None]":
        """All that was written down inside has arrived at the end."""
        try:
            yield
        finally:
            self.close()

    def _deliver(self) -> None:
        batch = self._take()
        if (write := batch.write) is None:
            return
        try:
            refused = unpacked(self._wire(packing.dumps(write)))
        except BaseException:
            self._give_back(batch)
            raise
        batch.mark(refused)

    def _let_go(self) -> None:
        """Nothing is held."""


class FarContext(FlowContext):
    """A flow run at work elsewhere, for a task of it that is at work here."""

    def __init__(self, book: Book, call: Parcel) -> None:
        super().__init__(book, call.flow_run, deployed=False, resumes=False, log_prints=call.flow_prints)
        self._fence = call.fence

    @property
    def fence(self) -> tuple[UUID, int] | None:
        """The fence of the flow run at home."""
        return self._fence

    def number(self, name: str) -> int:
        """A number that nobody else has, likely: the counting is done elsewhere."""
        return uuid7().int % 1_000_000


@contextmanager
def _belonging(call: Parcel, book: Book) -> "Iterator[None]":
    flow = FarContext(book, call)
    with in_flow(flow):
        token = task_context.set(TaskContext(call.task_run, flow, bool(call.task.log_prints)))
        try:
            yield
        finally:
            task_context.reset(token)


def _called(call: Parcel) -> Any:
    step = Call(call.task.fn, call.args, call.kwargs, call.timeout_s, call.task_run["id"])
    return asyncio.run(step.suspend()) if call.task.is_async else step.block()


def _told(value: Any, error: BaseException | None) -> bytes:
    if error is not None:
        return _error(error)
    try:
        body = packing.dumps((value, None))
    except Exception as broken:  # as for `packed`
        return _error(Invalid(f"a result of type {type(value).__name__} cannot be sent to another process: {broken}"))
    return body


def _error(error: BaseException) -> bytes:
    """The error with its traceback as a note; one of a plain class in its place when it cannot cross."""
    there = "".join(traceback.format_exception(error)).rstrip()
    note = f"\nin process {os.getpid()} on {socket.gethostname()}:\n{there}"
    try:
        error.add_note(note)
        body = packing.dumps((None, error))
        cloudpickle.loads(body)
    except Exception:  # a class that cannot be pickled, or cannot be made again from its arguments
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(note)
        body = packing.dumps((None, plain))
    return body
