"""What a flow that is paused asks of the book.

it comes to the place      Hold         Paused or Suspended; or what it was told there before
it stands still            LookAtPause  where the run is now
its time is over           EndPause     TimedOut
it cannot use the input    TakeBack     asks again
"""

from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import update
from sqlmodel import Session, SQLModel, col

from tocsin.flows.changes import Columns, crash_inner, load, propose
from tocsin.flows.decide import Accept, Context
from tocsin.flows.input_tables import RunInput
from tocsin.flows.request import Request
from tocsin.flows.states import PAUSED, State, StateType, crashed, timed_out
from tocsin.store.engine import insert_new

# Any below: JSON that a person gave, and JSON schemas.

_INPUT: Final = SQLModel.metadata.tables[str(RunInput.__tablename__)]


class Held(msgspec.Struct, frozen=True):
    """What came of a pause: an answer of before, or none yet (`answered` is False), or a refusal."""

    answered: bool = False
    input: Any = None
    refused: str | None = None


class Hold(Request, frozen=True, kw_only=True):
    """Pause the run at the place `key`, until `until`; nothing when it has been answered there before."""

    answer: ClassVar[Any] = Held

    run_id: UUID
    attempt: int
    transition: str
    key: str
    state: State
    wants: dict[str, Any] | None
    until: datetime | None
    now: datetime

    def perform(self, session: Session) -> Held:
        """Carry it out; what came of it."""
        load(session, self.run_id, lock=True)
        told = session.get(RunInput, (self.run_id, self.key))
        if told is not None and told.answered is not None:
            return Held(answered=True, input=told.input)
        insert_new(session, RunInput, [self._place()])
        stays = self.state.name == PAUSED
        also: dict[str, Any] = {} if stays else {"lease": None, "worker": None}
        also |= {"waits_for": {"key": self.key, "schema": self.wants}, "waits_until": self.until}
        context = Context(transition=self.transition, attempt=self.attempt)
        verdict, _ = propose(session, self.run_id, self.state, context, self.now, **also)
        return Held() if isinstance(verdict, Accept) else Held(refused=verdict.why)

    def _place(self) -> dict[str, Any]:
        return {"flow_run_id": self.run_id, "key": self.key, "asked": self.now, "answered": None, "input": None}


class Seen(msgspec.Struct, frozen=True):
    """Where a run is, and what it was told at a place."""

    type: StateType
    name: str
    message: str
    attempt: int
    until: datetime | None
    held: Held


class LookAtPause(Request, frozen=True, kw_only=True):
    """Where the run is now; with a `key`, what it was told there. Raises NotFound."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = Seen

    run_id: UUID
    key: str | None = None

    def perform(self, session: Session) -> Seen:
        """Look it up."""
        run = load(session, self.run_id)
        told = session.get(RunInput, (self.run_id, self.key)) if self.key is not None else None
        held = Held(answered=True, input=told.input) if told is not None and told.answered is not None else Held()
        kind = StateType(run["state_type"])
        return Seen(kind, run["state_name"], run["state_message"], run["attempt"], run["waits_until"], held)


class EndPause(Request, frozen=True, kw_only=True):
    """Give the run up when the time of its pause is over; `at_once`: in this state, because its process ends."""

    answer: ClassVar[Any] = type(None)

    run_id: UUID
    now: datetime
    at_once: State | None = None

    def perform(self, session: Session) -> None:
        """Carry it out."""
        run = load(session, self.run_id, lock=True)
        if run["state_type"] != StateType.PAUSED:
            return
        if self.at_once is not None:
            propose(session, self.run_id, self.at_once, Context(), self.now)
        else:
            end_pause(session, run, self.now)


class TakeBack(Request, frozen=True, kw_only=True):
    """Forget what was answered at a place."""

    answer: ClassVar[Any] = type(None)

    run_id: UUID
    key: str

    def perform(self, session: Session) -> None:
        """Carry it out."""
        place = col(RunInput.flow_run_id) == self.run_id, col(RunInput.key) == self.key
        session.connection().execute(update(_INPUT).where(*place).values(answered=None, input=None))


def end_pause(session: Session, run: Columns, now: datetime) -> bool:
    """Make a paused run TimedOut when its time is over; whether it was."""
    if run["waits_until"] is None or run["waits_until"] > now:
        return False
    reason = f"nobody resumed it until {run['waits_until'].isoformat(timespec='seconds')}"
    verdict, after = propose(session, run["id"], timed_out(reason), Context(), now)
    if isinstance(verdict, Accept):
        crash_inner(session, after, crashed(reason), now)
    return isinstance(verdict, Accept)
