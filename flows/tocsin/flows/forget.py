"""Forgetting a flow run, with what is kept of it; its events stay in the log."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select
from sqlmodel import Session, SQLModel, col

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import NotFound
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.events.topics import EVENTS
from tocsin.flows.artifact_tables import ArtifactRow
from tocsin.flows.changes import FLOW_RUN, TASK_RUN, Columns, load
from tocsin.flows.input_tables import RunInput
from tocsin.flows.runs import Refusal
from tocsin.flows.states import HELD
from tocsin.flows.tables import LogLine, Rerun
from tocsin.store import log
from tocsin.store.tables import LogEntry


def delete_run(session: Session, run_id: UUID, *, cause: Cause = OUTSIDE, now: datetime) -> Refusal | None:
    """Delete a run that no process works at, with its tasks, lines, artifacts, subflow runs; why it is left, else None.

    One that was deleted before stays so. Raises NotFound for one that never was.
    """
    try:
        run = load(session, run_id, lock=True)
    except NotFound:
        told = select(LogEntry).where(col(LogEntry.id) == _told(run_id), col(LogEntry.topic) == EVENTS)
        if session.connection().execute(told).first() is None:
            raise
        return None
    if run["state_type"] in HELD or run["lease"] is not None:
        return Refusal(f"it is {run['state_name']}, a process works at it; cancel it first")
    _forget(session, run_id)
    log.append(session, [_deleted(run, cause, now)])
    return None


def _forget(session: Session, run_id: UUID) -> None:
    children = select(FLOW_RUN.c.id).where(FLOW_RUN.c.parent_run_id == run_id)
    for child in session.connection().execute(children).scalars().all():
        _forget(session, child)
    tasks = select(TASK_RUN.c.id).where(TASK_RUN.c.flow_run_id == run_id)
    _delete(session, LogLine, (col(LogLine.flow_run_id) == run_id) | col(LogLine.task_run_id).in_(tasks))
    _delete(session, ArtifactRow, (col(ArtifactRow.flow_run_id) == run_id) | col(ArtifactRow.task_run_id).in_(tasks))
    _delete(session, RunInput, col(RunInput.flow_run_id) == run_id)
    _delete(session, Rerun, col(Rerun.flow_run_id) == run_id)
    session.connection().execute(delete(TASK_RUN).where(TASK_RUN.c.flow_run_id == run_id))
    session.connection().execute(delete(FLOW_RUN).where(FLOW_RUN.c.id == run_id))


def _delete(session: Session, table: type[SQLModel], where: ColumnElement[bool]) -> None:
    session.connection().execute(delete(table).where(where))


def _deleted(run: Columns, cause: Cause, now: datetime) -> Event:
    return Event(
        id=_told(run["id"]),
        event="tocsin.flow-run.deleted",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.flow-run.{run['id']}", RESOURCE_NAME: run["name"], **cause.labels},
        payload={"flow_name": run["flow_name"], "deployment": run["deployment"], "state": run["state_name"]},
        follows=cause.event,
    )


def _told(run_id: UUID) -> UUID:
    return derive("flow-run-deleted", run_id)
