"""Which run the code at hand belongs to: two context variables that follow threads and coroutines."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tocsin.flows.book import Book
from tocsin.flows.parameters import Parameters

if TYPE_CHECKING:
    from tocsin.flows.futures import Future
    from tocsin.flows.runner import TaskRunner

LOOK_S: Final = 1.0
"""How often a flow run that begins tasks looks what others want of it."""

# Any below: the columns of a row and the results of users' functions.


class FlowContext:
    """A flow run at work in this process, over all its attempts.

    `done`: references of results by resume key; `waiting`: task runs that wait for a retry, by the same; `inner`: the
    `done` of subflow runs; `key`: under which the parent, if it resumes, finds this one. `deployed`: others could run
    it too, so results are kept and changes are fenced.
    """

    def __init__(self, ledger: Book, run: dict[str, Any], *, deployed: bool, resumes: bool, log_prints: bool) -> None:
        self.ledger, self.run = ledger, run
        self.deployed = deployed
        self.resumes = resumes
        self.key: str | None = None
        self.log_prints = log_prints
        self.parameters: Mapping[str, Any] = {}
        """As its function gets them."""
        self.done: dict[str, Any] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.inner: dict[str, dict[str, Any]] = {}
        self.futures: list[Future[Any]] = []
        self.runner: TaskRunner | None = None
        """What its submitted tasks are handed to; None: the pool that all flows of this process share."""
        self.is_async = False
        self.out_of_time = False
        """Its function took too long in this attempt: nothing more begins in it."""
        self.held_back = False
        self._looked = time.monotonic()
        self._lock = threading.Lock()
        self._names: Counter[str] = Counter()
        self._ordinals: Counter[str] = Counter()

    @property
    def id(self) -> UUID:
        """The flow run's id."""
        identity: UUID = self.run["id"]
        return identity

    @property
    def fence(self) -> tuple[UUID, int] | None:
        """Under which attempt changes of tasks may be stored; None where nobody else could run this flow run."""
        return (self.id, self.run["attempt"]) if self.deployed else None

    def wants_a_look(self) -> bool:
        """Whether to look what others want of the run before something begins in it: once a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_S and not self.held_back:
            return False
        self._looked = now
        return True

    def begin_attempt(self) -> None:
        """Count tasks from the beginning again: equal tasks get the same places as in the attempt before."""
        with self._lock:
            self._names.clear()
            self._ordinals.clear()
            self.futures = []
            self.out_of_time = False

    def number(self, name: str) -> int:
        """How many runs of this name came before."""
        return self._count(self._names, name)

    def resume_key(self, task_key: str, inputs: str) -> str:
        """By which a later attempt finds this task's result: its key, its inputs, its place among equal ones."""
        key = f"{task_key}:{inputs}"
        return f"{key}:{self._count(self._ordinals, key)}"

    def _count(self, counter: Counter[str], key: str) -> int:
        with self._lock:
            before = counter[key]
            counter[key] = before + 1
        return before


class TaskContext:
    """A task run at work. `run` holds its columns; `call`: its parameters, and what it was called with."""

    __slots__ = ("call", "flow", "log_prints", "run")

    def __init__(
        self,
        run: dict[str, Any],
        flow: FlowContext | None,
        log_prints: bool | None,
        call: tuple[Parameters, tuple[Any, ...], Mapping[str, Any]] | None = None,
    ) -> None:
        """`log_prints` None: as its flow."""
        self.run, self.flow, self.call = run, flow, call
        self.log_prints = (flow is not None and flow.log_prints) if log_prints is None else log_prints


flow_context: ContextVar[FlowContext | None] = ContextVar("tocsin_flow_run", default=None)
task_context: ContextVar[TaskContext | None] = ContextVar("tocsin_task_run", default=None)


@contextmanager
def in_flow(context: FlowContext) -> Iterator[None]:
    """Code inside belongs to this flow run, and to no task run."""
    flow, task = flow_context.set(context), task_context.set(None)
    try:
        yield
    finally:
        task_context.reset(task)
        flow_context.reset(flow)
