"""What the API and the command line do to a flow run; every answer is the run, or Conflict with the reason."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, assert_never
from uuid import UUID

from sqlmodel import Session

from tocsin.events.errors import Conflict, Invalid
from tocsin.events.ids import uuid7
from tocsin.flows.forget import delete_run
from tocsin.flows.runs import Refusal, cancel_run, pause_run, resume_run, retry_run, suspend_run
from tocsin.flows.tables import FlowRun
from tocsin.server.views import RunView

Steer = Literal["cancel", "pause", "suspend"]


def retry(
    session: Session,
    run: UUID,
    *,
    scheduled: datetime | None = None,
    force: bool = False,
    keep: bool | None = None,
    budget: int | None = None,
    key: str | None = None,
    now: datetime,
) -> RunView:
    """The run, waiting for another attempt from `scheduled` (default: `now`); see `tocsin.flows.runs.retry_run`.

    Raises NotFound, Invalid and Conflict.
    """
    if scheduled is not None and scheduled.tzinfo is None:
        raise Invalid(f"{scheduled.isoformat()}: no time zone; write Z or an offset")
    asked = f"asked:{key or uuid7()}"
    answer = retry_run(
        session, run, scheduled=scheduled or now, budget=budget, force=force, keep=keep, key=asked, now=now
    )
    return _shown(run, "tried again", answer)


def steer(session: Session, run: UUID, how: Steer, *, reason: str = "", now: datetime) -> RunView:
    """The run: cancelled, paused or suspended, or on its way there. Raises NotFound and Conflict."""
    act, done = _acts(how)
    return _shown(run, done, act(session, run, reason=reason, now=now))


def resume(session: Session, run: UUID, *, run_input: Any = None, reason: str = "", now: datetime) -> RunView:
    """The run, going on. Any: the JSON that it waits for. Raises NotFound, Conflict, and Invalid naming the field."""
    return _shown(run, "resumed", resume_run(session, run, run_input=run_input, reason=reason, now=now))


def remove(session: Session, run: UUID, *, now: datetime) -> None:
    """Forget the run and what belongs to it; once more is no failure. Raises NotFound and Conflict."""
    refusal = delete_run(session, run, now=now)
    if refusal is not None:
        raise Conflict(f"flow run {run} is not removed: {refusal.reason}")


def _acts(how: Steer) -> tuple[Callable[..., FlowRun | Refusal], str]:
    match how:
        case "cancel":
            return cancel_run, "cancelled"
        case "pause":
            return pause_run, "paused"
        case "suspend":
            return suspend_run, "suspended"
        case _ as never:
            assert_never(never)


def _shown(run: UUID, done: str, answer: FlowRun | Refusal) -> RunView:
    if isinstance(answer, Refusal):
        raise Conflict(f"flow run {run} is not {done}: {answer.reason}")
    return RunView.model_validate(answer)
