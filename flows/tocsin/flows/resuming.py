"""Letting a paused or suspended run go on, from anywhere: `resume_flow_run`."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlmodel import Session

from tocsin.events.chain import Cause
from tocsin.events.errors import Conflict
from tocsin.events.ids import uuid7
from tocsin.flows.ledger import current
from tocsin.flows.request import Request
from tocsin.flows.runs import Refusal, resume_run

# Any below: JSON of the shape that the flow asks for.


def resume_flow_run(flow_run_id: UUID | str, run_input: Any = None, *, reason: str = "") -> None:
    """Let a paused or suspended run go on; `run_input`: the JSON that it waits for (or a pydantic model).

    Raises NotFound, Conflict for a run that is not paused, and Invalid, with nothing changed, when the input is not
    what the run asks for.
    """
    book, given = current(), run_input.model_dump(mode="json") if hasattr(run_input, "model_dump") else run_input
    run_id, now = UUID(str(flow_run_id)), book.clock.now()
    answer = book.ask(ResumeRun(run_id=run_id, run_input=given, reason=reason, request=uuid7(), now=now))
    if isinstance(answer, Refusal):
        raise Conflict(f"flow run {flow_run_id} is not resumed: {answer.reason}")


class ResumeRun(Request, frozen=True, kw_only=True):
    """Let the run go on, with `run_input` (JSON). Raises NotFound, and Invalid for an input that does not fit."""

    answer: ClassVar[Any] = Refusal | None

    run_id: UUID
    run_input: Any  # JSON of the shape that the flow asks for
    reason: str
    request: UUID
    now: datetime

    def perform(self, session: Session) -> Refusal | None:
        """Carry it out; why the run stays as it is, None when it does not."""
        cause = Cause(request=self.request)
        found = resume_run(
            session, self.run_id, run_input=self.run_input, reason=self.reason, cause=cause, now=self.now
        )
        return found if isinstance(found, Refusal) else None
