"""What runs have logged: of one run in its order, or searched over all runs."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlmodel import Session, col

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.tables import FlowRun, LogLine, TaskRun
from tocsin.server.views import LogLineView

MOST: Final = 1_000
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: from this level up, with this text in them (in any case), of tasks of this name, from then on."""

    level: int = 0
    text: str = ""
    task: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def level_of(name: str) -> int:
    """The number of a level by its name, or a number as text. Raises Invalid naming the levels."""
    if name.isascii() and name.isdigit() and len(name) < 4:
        return int(name)
    if name.upper() not in _LEVELS:
        raise Invalid(f"level {name!r}: it is one of {', '.join(_LEVELS).lower()}, or a number")
    return int(logging.getLevelNamesMapping()[name.upper()])


def of_run(
    session: Session, run: UUID, wanted: Wanted | None = None, *, after: int = 0, limit: int = MOST
) -> list[LogLineView]:
    """Lines of a flow run and its tasks behind line `after`, oldest first. Raises NotFound.

    A run's lines get their numbers in the order in which they were written down: following by them misses none.
    """
    statement = _of(session, run, wanted or Wanted()).where(col(LogLine.id) > after)
    return _read(session, statement.order_by(col(LogLine.id)).limit(limit))


def last_of_run(session: Session, run: UUID, wanted: Wanted, *, limit: int) -> list[LogLineView]:
    """The newest `limit` lines of a flow run and its tasks, oldest first. Raises NotFound."""
    return _read(session, _of(session, run, wanted).order_by(col(LogLine.id).desc()).limit(limit))[::-1]


def search(session: Session, wanted: Wanted, *, deployment: str | None = None, limit: int = MOST) -> list[LogLineView]:
    """Lines of all runs, or of those of one deployment, newest first."""
    statement = _lines(wanted)
    if deployment is not None:
        statement = statement.where(col(FlowRun.deployment) == deployment)
    return _read(session, statement.order_by(col(LogLine.at).desc(), col(LogLine.id).desc()).limit(limit))


def _of(session: Session, run: UUID, wanted: Wanted) -> "Select[Any]":  # Any: the columns of a line
    if session.get(FlowRun, run) is None:
        raise NotFound(f"no flow run has the id {run}; `tocsin run ls` lists them")
    tasks = select(TaskRun.id).where(col(TaskRun.flow_run_id) == run)  # type: ignore[call-overload]  # sqlmodel's types
    return _lines(wanted).where((col(LogLine.flow_run_id) == run) | col(LogLine.task_run_id).in_(tasks))


def _lines(wanted: Wanted) -> "Select[Any]":
    columns: Any = (LogLine, col(FlowRun.name), col(TaskRun.name))
    statement = (
        select(*columns)
        .outerjoin(FlowRun, col(FlowRun.id) == col(LogLine.flow_run_id))
        .outerjoin(TaskRun, col(TaskRun.id) == col(LogLine.task_run_id))
    )
    return statement.where(*_conditions(wanted))


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.level:
        found.append(col(LogLine.level) >= wanted.level)
    if wanted.text:
        found.append(col(LogLine.message).icontains(wanted.text, autoescape=True))
    if wanted.task:
        named = col(TaskRun.name) == wanted.task
        found.append(named | col(TaskRun.name).startswith(f"{wanted.task}-", autoescape=True))
    if wanted.since:
        found.append(col(LogLine.at) >= wanted.since)
    if wanted.until:
        found.append(col(LogLine.at) < wanted.until)
    return found


def _read(session: Session, statement: "Select[Any]") -> list[LogLineView]:
    rows = session.connection().execute(statement).all()
    return [_shown(row) for row in rows]


def _shown(row: Any) -> LogLineView:
    fields = row._mapping
    line = {name: fields[name] for name in ("id", "at", "level", "logger", "message", "flow_run_id", "task_run_id")}
    return LogLineView(**line, run=row[-2], task=row[-1])
