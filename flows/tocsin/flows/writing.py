"""How changes of task runs and log lines are stored: many at once, each only if the one before it is there.

A change is data. It holds the whole row as it is after it, so of several of one run only the newest is written, and its
`version` tells what must be in the database: the row with the version before the first of them, or none.

    in the database     changes                        written
    nothing             v1 Running, v2 Completed       insert the row of v2
    v1                  v2 AwaitingRetry, v3 Pending   update to the row of v3 where the version is 1
    v2 (not ours)       v2 Completed                   nothing: refused, somebody else has given the run up
"""

from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

from tocsin.events.model import Event
from tocsin.flows import tables
from tocsin.flows.changes import FLOW_RUN, TASK_RUN
from tocsin.flows.request import Request
from tocsin.flows.row_types import LogRow, TaskRow
from tocsin.flows.rows import insert_task_runs
from tocsin.store import log
from tocsin.store.engine import Transaction

_OWNED: Final = frozenset({"RUNNING", "CANCELLING"})
_HELD_BACK: Final = frozenset({"PENDING", "PAUSED"})
"""While its process still holds a run in one of these, what was under way in it may come to its end."""
_LOG_LINE: Final = SQLModel.metadata.tables[str(tables.LogLine.__tablename__)]
_INSERT_LINE: Final = insert(_LOG_LINE)


class Change(msgspec.Struct, frozen=True, gc=False):
    """One state of a task run to be stored. `fence`: the flow run and the attempt under which it may be."""

    row: TaskRow
    event: Event
    fence: tuple[UUID, int] | None = None


class Write(Request, frozen=True, kw_only=True):
    """Store the changes in their order, and the log lines. The answer: why a change was refused, by its place.

    Sent again, alone or with changes behind it, it finds what was stored then by its version and time. Log lines have
    no id of their own, and are stored again.
    """

    answer: ClassVar[Any] = dict[int, str]

    changes: list[Change]
    lines: list[LogRow] = msgspec.field(default_factory=list)

    def perform(self, session: Transaction) -> dict[int, str]:
        """Carry it out; the answer."""
        refused = _superseded(session, self.changes)
        new, known = _newest(self.changes, refused)
        if new and insert_task_runs(session, [self.changes[places[-1]].row for places in new]) < len(new):
            known = [*new, *known]  # some were stored before
        for places in known:
            if why := _updated(session, [self.changes[place].row for place in places]):
                refused.update(dict.fromkeys(places, why))
        if events := [change.event for place, change in enumerate(self.changes) if place not in refused]:
            log.append(session, events)
        if self.lines:
            session.connection().execute(_INSERT_LINE, self.lines)
        return refused


def _newest(changes: list[Change], refused: dict[int, str]) -> tuple[list[list[int]], list[list[int]]]:
    """The places of the changes of each run, oldest first: of runs that are new, and of those that are stored."""
    places: dict[UUID, list[int]] = {}
    for place, change in enumerate(changes):
        if place not in refused:
            places.setdefault(change.row["id"], []).append(place)
    new = [each for each in places.values() if changes[each[0]].row["version"] == 1]
    return new, [each for each in places.values() if changes[each[0]].row["version"] > 1]


def _superseded(session: Transaction, changes: list[Change]) -> dict[int, str]:
    refused: dict[int, str] = {}
    for fence in {change.fence for change in changes if change.fence is not None}:
        run_id, attempt = fence
        statement = select(FLOW_RUN.c.attempt, FLOW_RUN.c.state_type, FLOW_RUN.c.lease).where(FLOW_RUN.c.id == run_id)
        row = session.connection().execute(statement.with_for_update(read=True)).one()
        held = row.state_type in _OWNED or (row.state_type in _HELD_BACK and row.lease is not None)
        if row.attempt == attempt and held:
            continue
        why = f"flow run {run_id} is {row.state_type} at attempt {row.attempt}; this was attempt {attempt}"
        refused |= {place: why for place, change in enumerate(changes) if change.fence == fence}
    return refused


def _updated(session: Transaction, rows: list[TaskRow]) -> str | None:
    """Why the last of these states of a run is not what is stored now, None when it is."""
    if _replaced(session, rows[0]["version"] - 1, rows[-1]):
        return None
    where = TASK_RUN.c.id == rows[0]["id"]
    columns = select(TASK_RUN.c.version, TASK_RUN.c.state_at)
    stored = session.connection().execute(columns.where(where)).one_or_none()
    ours = stored is not None and (stored.version, stored.state_at) in [
        (row["version"], row["state_at"]) for row in rows
    ]
    if stored is None or not ours:
        return "it was given up by somebody else"
    if stored.version < rows[-1]["version"]:
        _replaced(session, stored.version, rows[-1])
    return None


def _replaced(session: Transaction, version: int, row: TaskRow) -> bool:
    where = TASK_RUN.c.id == row["id"], TASK_RUN.c.version == version
    return bool(session.connection().execute(update(TASK_RUN).where(*where).values(**row)).rowcount)
