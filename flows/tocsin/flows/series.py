"""Runs of one series, such as those of a schedule: what becomes of one while earlier ones are not finished.

A run with `room` waits until fewer than that many runs of its series are before it; `turn` is its place among them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, assert_never
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, text
from sqlmodel import Session

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.deployments import get_deployment
from tocsin.flows.runs import Refusal, cancel_run, create_run, known_run
from tocsin.flows.states import HELD
from tocsin.flows.tables import DeploymentRow, FlowRun

Overlap = Literal["allow", "skip", "queue", "cancel_running"]

_HELD: Final = sorted(kind.value for kind in HELD)
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:series, 0))"


class Series(msgspec.Struct, frozen=True):
    """Which series a run belongs to, and its `turn` in it, lower ones first.

    `overlap`: what becomes of it while earlier runs are not finished; `room`: how many may be under way at once
    (None: no bound of its own).
    """

    name: str
    turn: int
    overlap: Overlap = "allow"
    room: int | None = None


def create_run_of(
    session: Session,
    deployment: str,
    series: Series,
    *,
    parameters: Mapping[str, Any],  # Any: JSON
    scheduled: datetime,
    key: str,
    cause: Cause = OUTSIDE,
    creator: Mapping[str, str] | None = None,
    now: datetime,
) -> FlowRun | Refusal:
    """A new run in a series, or why there is none; with a `key` that a run has already, that run.

    One at a time for a deployment, so that two runs of a series always see each other. Raises NotFound and Invalid.
    """
    if (known := known_run(session, key)) is not None:
        return known
    if series.overlap != "allow":
        session.get(DeploymentRow, get_deployment(session, deployment).name, with_for_update=True)
        if (refusal := _made_way(session, series, now)) is not None:
            return refusal
    return create_run(
        session,
        deployment,
        parameters=parameters,
        scheduled=scheduled,
        key=key,
        cause=cause,
        creator=creator,
        place={"series": series.name, "turn": series.turn, "room": _room(series)},
        now=now,
    )


def its_turn() -> ColumnElement[bool]:
    """Whether a run may be under way as far as its series goes.

    First those that are, then those that were and wait to be tried again, then the others by their turn:
    as many as there is room for.
    """
    held = FLOW_RUN.c.state_type.in_(_HELD)
    order = (held.desc(), (FLOW_RUN.c.attempt > 0).desc(), FLOW_RUN.c.turn, FLOW_RUN.c.id)
    place = func.row_number().over(partition_by=FLOW_RUN.c.series, order_by=order)
    unfinished = (FLOW_RUN.c.series.is_not(None), FLOW_RUN.c.ended.is_(None))
    placed = select(FLOW_RUN.c.id, FLOW_RUN.c.room, place.label("place")).where(*unfinished).subquery()
    return or_(FLOW_RUN.c.room.is_(None), FLOW_RUN.c.id.in_(select(placed.c.id).where(placed.c.place <= placed.c.room)))


def still_its_turn(session: Session, runs: Sequence[tuple[UUID, str | None, int | None]]) -> list[UUID]:
    """Of runs (id, series, room) that a claim has found, those that it may take: others may be at the same series."""
    bound = sorted({series for _, series, room in runs if series is not None and room is not None})
    if not bound or session.get_bind().dialect.name != "postgresql":
        return [run for run, _, _ in runs]
    for series in bound:  # in one order for all, so that no two wait for each other
        session.connection().execute(text(_ALONE), {"series": series})
    wanted = [run for run, _, _ in runs]
    found = session.connection().execute(select(FLOW_RUN.c.id).where(FLOW_RUN.c.id.in_(wanted), its_turn()))
    turn = set(found.scalars())
    return [run for run in wanted if run in turn]


def _made_way(session: Session, series: Series, now: datetime) -> Refusal | None:
    """Why there is to be no run; else nothing, and what the new one replaces has been told to stop."""
    others = _unfinished(session, series)
    match series.overlap:
        case "allow" | "queue":
            return None
        case "skip":
            return _busy(others[0]) if others else None
        case "cancel_running":
            if later := [run for run in others if run["turn"] > series.turn]:
                return Refusal(
                    f"a later run of its schedule, {later[0]['name']}, replaces it: overlap is cancel_running"
                )
            for run in others:
                cancel_run(session, run["id"], reason="the next run of its schedule is due", now=now)
            return None
        case _ as never:
            assert_never(never)


def _busy(run: Mapping[str, Any]) -> Refusal:  # Any: columns
    return Refusal(f"an earlier run of its schedule, {run['name']}, is still {run['state_name']}: overlap is skip")


def _unfinished(session: Session, series: Series) -> Sequence[Mapping[str, Any]]:  # Any: columns
    columns = (FLOW_RUN.c.id, FLOW_RUN.c.name, FLOW_RUN.c.state_name, FLOW_RUN.c.turn)
    statement = select(*columns).where(FLOW_RUN.c.series == series.name, FLOW_RUN.c.ended.is_(None))
    found = session.connection().execute(statement.order_by(FLOW_RUN.c.turn, FLOW_RUN.c.id)).mappings().all()
    return [dict(run) for run in found]


def _room(series: Series) -> int | None:
    """A run that replaces another waits until that one has really stopped."""
    return 1 if series.overlap in ("queue", "cancel_running") else series.room
