"""A run that begins from the start again: what it has done stays on record, and is not found any more."""

from uuid import UUID

from sqlalchemy import delete, update
from sqlmodel import Session, col

from tocsin.flows.changes import FLOW_RUN, TASK_RUN
from tocsin.flows.input_tables import RunInput


def forget_done(session: Session, run_id: UUID) -> None:
    """Let the next attempt of a run do everything again: its tasks, its subflows, its questions to people.

    What is cached under the tasks' own keys, for all runs, stays cached.
    """
    connection = session.connection()
    connection.execute(update(TASK_RUN).where(TASK_RUN.c.flow_run_id == run_id).values(resume_key=None))
    inner = FLOW_RUN.c.parent_run_id == run_id, FLOW_RUN.c.deployment.is_(None)
    connection.execute(update(FLOW_RUN).where(*inner).values(idempotency_key=None))
    connection.execute(delete(RunInput).where(col(RunInput.flow_run_id) == run_id))
