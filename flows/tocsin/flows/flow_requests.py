"""What the engine of a flow run asks of the book.

Each request names the run it is about and the attempt that asks, tells the time, and brings the id of a new run or of
its step (`transition`) with it: a request that is sent again because its answer was lost finds what it has done, and
answers the same. States, contexts and rows are values that JSON brings back (`tocsin.flows.row_types`).

    a run begins            StartRun         its row and first state
    a state is reported     Report           what `decide` made of it
    tried again in place    TryAgain         Pending and Running in one step
    a subflow of before     FindSubflow, then RestartSubflow
    what was done before    Recall           task runs of earlier attempts
    in a worker's process   FindRun, FindCode
"""

from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlmodel import Session

from tocsin.events.errors import NotFound
from tocsin.flows.changes import FLOW_RUN, TASK_RUN, Columns, columns_of, crash_inner, load, propose, start
from tocsin.flows.decide import Accept, Context
from tocsin.flows.request import Request
from tocsin.flows.row_types import FlowRow, TaskRow
from tocsin.flows.states import State, StateType, crashed, pending, running, scheduled
from tocsin.flows.tables import DeploymentRow, FlowRun

TIMED_OUT: Final = "TimedOut"


class Reported(msgspec.Struct, frozen=True):
    """The run after a report; `refused` tells why it is not what was reported."""

    run: FlowRow
    state: State | None = None
    refused: str | None = None


class Code(msgspec.Struct, frozen=True):
    """Where the flow of a deployment is."""

    entrypoint: str
    path: str | None


class StartRun(Request, frozen=True, kw_only=True):
    """Store a new run, `run` with the columns that are not at their defaults. None: its idempotency key is taken."""

    answer: ClassVar[Any] = FlowRow | None

    run: FlowRow
    state: State
    now: datetime

    def perform(self, session: Session) -> Columns | None:
        """Carry it out; the run as stored."""
        run = start(session, columns_of(FlowRun, **self.run), self.state, self.now)
        return run or _one(session, FLOW_RUN.c.id == self.run["id"])


class Report(Request, frozen=True, kw_only=True):
    """What the process of a run says of it; `also`: columns that change with it. Raises NotFound."""

    answer: ClassVar[Any] = Reported

    run_id: UUID
    state: State
    context: Context
    now: datetime
    also: FlowRow = msgspec.field(default_factory=dict)

    def perform(self, session: Session) -> Reported:
        """Carry it out; what became of it."""
        verdict, run = propose(session, self.run_id, self.state, self.context, self.now, **self.also)
        if isinstance(verdict, Accept):
            if verdict.state.name == TIMED_OUT:  # what it has left at work ends with it
                crash_inner(session, run, crashed("its flow run is out of time"), self.now)
            return Reported(run, verdict.state)
        return Reported(run, refused=verdict.why)


class TryAgain(Request, frozen=True, kw_only=True):
    """Let a run that waits for its next try in this process begin it."""

    answer: ClassVar[Any] = Reported

    run_id: UUID
    attempt: int
    transition: str
    now: datetime

    def perform(self, session: Session) -> Reported:
        """Carry it out; what became of it."""
        return _begun_again(session, self.run_id, Context(attempt=self.attempt), self.transition, self.now, {})


class FindSubflow(Request, frozen=True, kw_only=True):
    """The run under this idempotency key; None: there is none."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = FlowRow | None

    key: str

    def perform(self, session: Session) -> Columns | None:
        """Look it up."""
        return _one(session, FLOW_RUN.c.idempotency_key == self.key)


class RestartSubflow(Request, frozen=True, kw_only=True):
    """Let the run of a subflow begin again under `lease`, whatever became of it, because its parent does."""

    answer: ClassVar[Any] = Reported

    run_id: UUID
    lease: str
    transition: str
    now: datetime

    def perform(self, session: Session) -> Reported:
        """Carry it out; what became of it."""
        if load(session, self.run_id)["transition"] != self.transition:
            again = scheduled(self.now, "its parent is tried again")
            propose(session, self.run_id, again, Context(forced=True), self.now)
        return _begun_again(session, self.run_id, Context(), self.transition, self.now, {"lease": self.lease})


class Recall(Request, frozen=True, kw_only=True):
    """The task runs of a flow run that a later attempt may find again."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = list[TaskRow]

    run_id: UUID

    def perform(self, session: Session) -> list[Columns]:
        """Look them up."""
        statement = select(TASK_RUN).where(TASK_RUN.c.flow_run_id == self.run_id, TASK_RUN.c.resume_key.is_not(None))
        return [dict(row) for row in session.connection().execute(statement).mappings()]


class FindRun(Request, frozen=True, kw_only=True):
    """The columns of a flow run. Raises NotFound."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = FlowRow

    run_id: UUID

    def perform(self, session: Session) -> Columns:
        """Look it up."""
        return load(session, self.run_id)


class FindCode(Request, frozen=True, kw_only=True):
    """Where the flow of a deployment is. Raises NotFound."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = Code

    deployment: str

    def perform(self, session: Session) -> Code:
        """Look it up."""
        row = session.get(DeploymentRow, self.deployment)
        if row is None:
            raise NotFound(f"deployment {self.deployment!r}: there is none of this name (any more)")
        return Code(row.entrypoint, row.path)


def _begun_again(
    session: Session, run_id: UUID, context: Context, transition: str, now: datetime, also: Columns
) -> Reported:
    """The run taken and at work in one step; the one of this `transition` is at work already."""
    run = load(session, run_id)
    if run["transition"] == transition and run["state_type"] == StateType.RUNNING:
        return Reported(run, running(run["attempt"]))
    verdict, run = propose(session, run_id, pending(), context, now, **also)
    if isinstance(verdict, Accept):
        taken = Context(attempt=verdict.attempt, transition=transition)
        verdict, run = propose(session, run_id, running(verdict.attempt), taken, now)
    return Reported(run, verdict.state) if isinstance(verdict, Accept) else Reported(run, refused=verdict.why)


def _one(session: Session, condition: Any) -> Columns | None:  # Any: sqlalchemy's conditions
    row = session.connection().execute(select(FLOW_RUN).where(condition)).mappings().one_or_none()
    return dict(row) if row is not None else None
