"""What a worker has to do about a run that it has at work: one pure function of what the database says."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlmodel import Session

from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.states import FINAL, PAUSED, RESUMING, StateType


class Order(StrEnum):
    """What is to be done about an attempt."""

    KEEP = "keep"
    """It is ours, and shall go on."""
    STOP = "stop"
    """It is cancelled or suspended; or it has been given up, or begun anew elsewhere, while we were not heard."""
    LEAVE = "leave"
    """It is over, or waits in the database: its process is about to end by itself."""


# Any below: columns of a run.


def order_for(run: Mapping[str, Any] | None, claimed: Mapping[str, Any], lease: str) -> Order:
    """What to do about an attempt of a run that stands like this (None: it is not there any more).

    `claimed`: the run as it was when the attempt was claimed under this lease.
    """
    if run is None or run["state_type"] == StateType.CRASHED:
        return Order.STOP
    in_place = run["lease"] == lease and run["attempt"] > claimed["attempt"]  # its process tries it again by itself
    if run["reruns"] != claimed["reruns"] or not (in_place or run["attempt"] == claimed["attempt"]):
        return Order.STOP
    if run["lease"] != lease:
        return Order.LEAVE
    suspended = run["state_type"] == StateType.PAUSED and run["state_name"] != PAUSED  # one that is Paused stands still
    stopped = suspended or run["state_type"] == StateType.CANCELLING or run["state_name"] == RESUMING
    return Order.STOP if stopped else Order.KEEP


def standing_of(session: Session, runs: list[UUID]) -> dict[UUID, Mapping[str, Any]]:
    """How these runs stand, by id."""
    wanted = ("id", "attempt", "reruns", "lease", "state_type", "state_name")
    columns = [FLOW_RUN.c[name] for name in wanted]
    found = session.connection().execute(select(*columns).where(FLOW_RUN.c.id.in_(runs))).mappings()
    return {row["id"]: dict(row) for row in found}


def is_over(session: Session, run: UUID) -> bool:
    """Whether the run has come to an end: as nearly always when its process has, and then nothing is to be stored."""
    statement = select(FLOW_RUN.c.state_type).where(FLOW_RUN.c.id == run)
    return session.connection().execute(statement).scalar() in FINAL
