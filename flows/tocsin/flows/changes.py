"""Carries out what `decide` says: the row by compare-and-set, and the event of the change, in one transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import select, update
from sqlmodel import Session, SQLModel

from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.flows import tables
from tocsin.flows.announce import flow_run_event, task_run_event
from tocsin.flows.decide import Accept, Context, Standing, Verdict, decide
from tocsin.flows.states import AWAITING_RETRY, FINAL, HELD, PAUSED, RESUMING, Fault, State, StateType
from tocsin.store import log
from tocsin.store.bell import ring
from tocsin.store.engine import insert_new, touch

RUNS: Final = "runs"
FLOW_RUN: Final = SQLModel.metadata.tables[str(tables.FlowRun.__tablename__)]
TASK_RUN: Final = SQLModel.metadata.tables[str(tables.TaskRun.__tablename__)]

_AT_WORK: Final = (StateType.PENDING.value, StateType.RUNNING.value)
"""States that leave nothing to do for other processes."""
_TRIES: Final = 8
Columns = dict[str, Any]  # Any: values of a table's columns


def columns_of(table: type[SQLModel], **values: Any) -> Columns:  # Any: values of the columns
    """All columns of a new row, those not given at their defaults."""
    given = table.model_construct(**values).model_dump()
    return {name: given.get(name) for name in table.model_fields}


def load(session: Session, run_id: UUID, *, lock: bool = False) -> Columns:
    """The columns of a flow run. Raises NotFound."""
    statement = select(FLOW_RUN).where(FLOW_RUN.c.id == run_id)
    if lock:
        statement = statement.with_for_update()
    row = session.connection().execute(statement).mappings().one_or_none()
    if row is None:
        raise NotFound(f"flow run {run_id}: there is none; see `tocsin run ls`")
    return dict(row)


def start(session: Session, columns: Columns, state: State, now: datetime) -> Columns | None:
    """Store a new flow run in its first state; the columns as stored, None when its idempotency key is taken."""
    verdict = decide(Standing(), state, Context(), now)
    if not isinstance(verdict, Accept):
        raise Invalid(f"flow run {columns['name']}: {verdict.why}")
    run = columns | moved(columns, verdict, now)
    if not insert_new(session, tables.FlowRun, [run]):
        return None
    log.append(session, [flow_run_event(run, None, state, now)])
    _wake(session, run)
    return run


def propose(
    session: Session, run_id: UUID, state: State, context: Context, now: datetime, **also: Any
) -> tuple[Verdict, Columns]:
    """Let `decide` judge the step and store it; `also`: columns to change with it. The columns are those after it.

    Raises NotFound; Conflict when the run keeps changing under it.
    """
    for _ in range(_TRIES):
        run = load(session, run_id)
        verdict = decide(standing(run), state, context, now)
        if not isinstance(verdict, Accept) or not verdict.changed:
            return verdict, run
        change = moved(run, verdict, now) | {"transition": context.transition or run["transition"]} | also
        if _swap(session, run, change):
            _tell(session, run, run | change, verdict.state, now)
            return verdict, run | change
    raise Conflict(f"flow run {run_id} changes faster than this change could be stored; try again")


def being_stopped(session: Session, lease: str) -> list[UUID]:
    """Runs under this lease whose process is to end: cancelled, or suspended, and perhaps resumed since.

    The process of one that is Paused stays, and waits.
    """
    stopped = FLOW_RUN.c.state_type.in_([StateType.CANCELLING.value, StateType.PAUSED.value])
    wanted = (stopped & (FLOW_RUN.c.state_name != PAUSED)) | (FLOW_RUN.c.state_name == RESUMING)
    statement = select(FLOW_RUN.c.id).where(FLOW_RUN.c.lease == lease, wanted)
    return list(session.connection().execute(statement).scalars().all())


def standing(run: Mapping[str, Any]) -> Standing:
    """The run as `decide` sees it."""
    return Standing(
        state=state_of(run),
        attempt=run["attempt"],
        retries=run["retries"],
        reruns=run.get("reruns", 0),
        transition=run.get("transition"),
    )


def state_of(run: Mapping[str, Any]) -> State:
    """The state that the columns spell out."""
    fault = msgspec.convert(run["fault"], Fault) if run["fault"] else None
    kind = StateType(run["state_type"])
    return State(kind, run["state_name"], run["state_message"], scheduled=run["scheduled"], fault=fault)


def moved(run: Mapping[str, Any], verdict: Accept, now: datetime) -> Columns:
    """The columns that an accepted step changes, in a flow run and in a task run alike."""
    state = verdict.state
    change: Columns = {
        "state_type": state.type.value,
        "state_name": state.name,
        "state_message": state.message,
        "state_at": now,
        "fault": {"type": state.fault.type, "message": state.fault.message} if state.fault else None,
        "attempt": verdict.attempt,
        "retries": verdict.retries,
        "version": run["version"] + 1,
    }
    if "reruns" in run:
        change["reruns"] = verdict.reruns
    if state.scheduled is not None:
        change["scheduled"] = state.scheduled
    if state.type is StateType.RUNNING and run["started"] is None:
        change["started"] = now
    if state.final:
        change |= {"ended": now, "lease": None}
    elif run["ended"] is not None:
        change["ended"] = None
    if run.get("waits_until") is not None or run.get("waits_for") is not None:
        change |= {"waits_for": None, "waits_until": None}
    return change


def crash_inner(session: Session, run: Columns, state: State, now: datetime) -> None:
    """What is inside a flow run ends with it: what was under way in `state` (a crash), what waited as failed.

    A subflow run that was asked to stop is cancelled. A task that waits for a retry stays, if its flow run may go on.
    """
    for child, kind in unfinished_inner(session, run["id"]):
        verdict, columns = propose(session, child, _inner_end(kind, state), Context(), now)
        if isinstance(verdict, Accept):
            crash_inner(session, columns, state, now)
    mine, ended = TASK_RUN.c.flow_run_id == run["id"], [kind.value for kind in FINAL]
    statement = select(TASK_RUN).where(mine, TASK_RUN.c.state_type.not_in(ended))
    if run["deployment"] is not None or run["parent_run_id"] is not None:
        statement = statement.where(TASK_RUN.c.state_name != AWAITING_RETRY)
    for row in session.connection().execute(statement).mappings().all():
        crash_task(session, dict(row), run, _inner_end(StateType(row["state_type"]), state), now)


def unfinished_inner(session: Session, run_id: UUID) -> list[tuple[UUID, StateType]]:
    """The subflow runs of a run that have not ended, with the types of their states."""
    columns = select(FLOW_RUN.c.id, FLOW_RUN.c.state_type)
    inner = FLOW_RUN.c.parent_run_id == run_id, FLOW_RUN.c.deployment.is_(None), FLOW_RUN.c.ended.is_(None)
    return [(child, StateType(kind)) for child, kind in session.connection().execute(columns.where(*inner)).all()]


def _inner_end(kind: StateType, state: State) -> State:
    """What was not at work cannot crash: it fails, for the same reason."""
    return state if kind in HELD else State(StateType.FAILED, "Failed", state.message, fault=state.fault)


def crash_task(session: Session, task: Columns, run: Columns | None, state: State, now: datetime) -> None:
    """Store that a task run ended without a word."""
    verdict = decide(standing(task), state, Context(), now)
    if not isinstance(verdict, Accept):
        return
    change = moved(task, verdict, now)
    if _swap(session, task, change, TASK_RUN):
        log.append(session, [task_run_event(task | change, run, state_of(task), verdict.state)])


def _swap(session: Session, run: Columns, change: Columns, table: Any = FLOW_RUN) -> bool:  # Any: sqlalchemy's Table
    statement = update(table).where(table.c.id == run["id"], table.c.version == run["version"]).values(**change)
    return bool(session.connection().execute(statement).rowcount)


def _tell(session: Session, before: Columns, after: Columns, state: State, now: datetime) -> None:
    log.append(session, [flow_run_event(after, state_of(before), state, now)])
    _wake(session, after)


def _wake(session: Session, run: Columns) -> None:
    """Workers elsewhere hear of it when there may be something to do for them."""
    if run["state_type"] in _AT_WORK:
        touch(session, RUNS)
    else:
        ring(session, RUNS)
