"""A row that went to the driver as it is reads like one that SQLAlchemy wrote."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import insert
from sqlmodel import select

from tocsin.events.ids import uuid7
from tocsin.flows.changes import TASK_RUN, Columns, columns_of
from tocsin.flows.rows import insert_task_runs
from tocsin.flows.tables import TaskRun
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 9, 0, 0, 120, tzinfo=UTC)
FULL: dict[str, Any] = {
    "flow_run_id": uuid7(),
    "resume_key": "k",
    "tags": ["a", "ü"],
    "state_message": "half a \N{PILE OF POO}",
    "fault": {"type": "ValueError", "message": 'said "no"'},
    "scheduled": datetime(2026, 3, 2, 10, 0, tzinfo=timezone(timedelta(hours=1))),
    "result": {"kind": "json", "text": "[1.0, null]"},
    "lease": "process:1",
    "started": NOW,
    "ended": NOW,
}


def row(**also: Any) -> Columns:
    given = {
        "id": uuid7(),
        "name": "t-0",
        "task_name": "t",
        "task_key": "t",
        "state_type": "RUNNING",
        "state_name": "Running",
    }
    return columns_of(TaskRun, **(given | {"state_at": NOW, "created": NOW, "attempt": 1, "version": 1} | also))


@pytest.mark.parametrize("values", [{}, FULL], ids=["least", "every column"])
def test_both_ways_write_the_same(store: Store, values: dict[str, Any]) -> None:
    ours, theirs = row(**values), row(**values)
    with store.begin() as session:
        insert_task_runs(session, [ours])
        session.connection().execute(insert(TASK_RUN), [theirs])
        first, second = (
            session.exec(select(TaskRun).where(TaskRun.id == each["id"])).one().model_dump(exclude={"id"})
            for each in (ours, theirs)
        )
        stored = session.connection().exec_driver_sql("SELECT * FROM task_run").mappings().all()
    assert first == second
    raw, compiled = ({**each, "id": None} for each in stored)
    assert raw == compiled
