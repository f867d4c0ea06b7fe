"""What the API and the command line change, in the rooms' own words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session

from tocsin.events.clock import Clock
from tocsin.events.errors import Conflict
from tocsin.events.ids import uuid7
from tocsin.server import reads, views
from tocsin.store.engine import Store


def run_deployment(
    session: Session,
    name: str,
    *,
    # Any: a flow's parameters are whatever JSON it takes.
    parameters: Mapping[str, Any],
    scheduled: datetime | None,
    key: str | None,
    now: datetime,
) -> views.RunView:
    """The new run of a deployment, or the one that has `key` already. Raises NotFound and Invalid."""
    from tocsin.flows.runs import create_run

    run = create_run(session, name, parameters=dict(parameters), scheduled=scheduled, key=key, now=now)
    return views.RunView.model_validate(run)


def retry(session: Session, run: UUID, *, scheduled: datetime | None, now: datetime) -> views.RunView:
    """The run, waiting for another attempt from `scheduled` (default: `now`). Raises NotFound and Conflict."""
    from tocsin.flows.runs import Refusal, retry_run

    reads.run_detail(session, run)
    answer = retry_run(
        session, run, scheduled=scheduled or now, budget=None, cause=None, key=f"asked:{uuid7()}", now=now
    )
    if isinstance(answer, Refusal):
        raise Conflict(f"flow run {run} is not tried again: {answer.reason}")
    return views.RunView.model_validate(answer)


def cancel(session: Session, run: UUID, *, now: datetime) -> views.RunView:
    """The run: cancelled, or on its way there. Raises NotFound and Conflict."""
    from tocsin.flows.runs import Refusal, cancel_run

    reads.run_detail(session, run)
    answer = cancel_run(session, run, now=now)
    if isinstance(answer, Refusal):
        raise Conflict(f"flow run {run} is not cancelled: {answer.reason}")
    return views.RunView.model_validate(answer)


def preview(session: Session, slug: str, *, now: datetime, count: int) -> list[datetime]:
    """The next `count` instants at which a schedule ticks. Raises NotFound."""
    raise NotImplementedError


async def test_notifier(store: Store, name: str, clock: Clock) -> views.TestResult:
    """How a notifier's channel answers to a test message. Raises NotFound."""
    raise NotImplementedError
