"""Firings and invocations on record, and the states of triggers: what a host writes down and reads back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, update
from sqlmodel import Session, col, select

from tocsin.automations.episode import State
from tocsin.automations.evaluate import Place
from tocsin.automations.plan import Invocation
from tocsin.automations.tables import StoredFiring, StoredInvocation, TriggerState
from tocsin.events.ids import derive
from tocsin.store.engine import insert_new
from tocsin.triggers.window import Firing

CHANNEL: Final = "invocations"

DUE: Final = "due"
DONE: Final = "done"
FAILED: Final = "failed"

NOTIFICATION: Final = "send-notification"

_AT_ONCE: Final = 400

Version = int
Remembered = dict[Place, tuple[State, Version]]


def read_states(session: Session, places: Iterable[Place]) -> Remembered:
    """What the triggers remember at `places`; one that remembers nothing is left out."""
    wanted = [state_id(place) for place in places]
    found: Remembered = {}
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        for row in session.exec(select(TriggerState).where(col(TriggerState.id).in_(part))):
            found[row.automation, tuple(row.key)] = State.from_json(row.state), row.version
    return found


def write_states(session: Session, states: Mapping[Place, State], read: Remembered, now: datetime) -> bool:
    """Write the states that followed from `read`; False when another host wrote one of them since."""
    return all(_write_state(session, place, state, read.get(place), now) for place, state in states.items())


def write_firings(session: Session, firings: Sequence[Firing], now: datetime) -> None:
    """Put firings on record; one that is there already is left alone."""
    insert_new(session, StoredFiring, [_firing_row(firing, now) for firing in firings])


def write_invocations(session: Session, invocations: Sequence[Invocation], now: datetime) -> None:
    """Put invocations into the ledger, due now, the refused ones as failed; what is there already is left alone."""
    insert_new(session, StoredInvocation, [_invocation_row(one, now) for one in invocations])


def begins_still(session: Session, ending: UUID) -> bool:
    """Whether a notification is still due of the episode that the firing `ending` ends."""
    episode = select(StoredFiring.episode).where(StoredFiring.id == ending).scalar_subquery()
    begun = (
        select(StoredInvocation.id)
        .join(StoredFiring, col(StoredFiring.id) == col(StoredInvocation.firing_id))
        .where(col(StoredFiring.episode) == episode, StoredFiring.state == "Triggered")
        .where(StoredInvocation.action == NOTIFICATION, StoredInvocation.state == DUE)
    )
    return session.exec(begun.limit(1)).first() is not None


def invocation_of(row: StoredInvocation) -> Invocation:
    """The invocation in a row of the ledger."""
    return Invocation(row.id, row.firing_id, row.automation, row.position, row.action, row.arguments, row.cause)


def state_id(place: Place) -> UUID:
    """Id of the row that holds what is remembered at `place`."""
    automation, key = place
    return derive("trigger-state", automation, *key)


def _write_state(
    session: Session, place: Place, state: State, read: tuple[State, Version] | None, now: datetime
) -> bool:
    values = {
        "state": state.to_json(),
        "open_firing": state.open.firing if state.open else None,
        "due": None,
        "updated": now,
    }
    if read is None:
        automation, key = place
        row = {"id": state_id(place), "automation": automation, "key": list(key), "version": 1, **values}
        return insert_new(session, TriggerState, [row]) == 1
    statement = (
        update(TriggerState)
        .where(col(TriggerState.id) == state_id(place), col(TriggerState.version) == read[1])
        .values(version=read[1] + 1, **values)
    )
    return cast(CursorResult[tuple[()]], session.connection().execute(statement)).rowcount == 1


def _firing_row(firing: Firing, now: datetime) -> dict[str, Any]:  # Any: values of the table's columns
    return {
        "id": firing.id,
        "automation": firing.automation,
        "key": list(firing.key),
        "state": firing.state,
        "episode": firing.episode,
        "at": firing.at,
        "recorded": now,
        "event_id": firing.event.id,
        "count": firing.count,
        "labels": firing.labels,
        "children": [],
        "late": False,
        "lasting": False,
    }


def _invocation_row(invocation: Invocation, now: datetime) -> dict[str, Any]:  # Any: values of the table's columns
    refused = invocation.refused
    return {
        "id": invocation.id,
        "firing_id": invocation.firing,
        "automation": invocation.automation,
        "position": invocation.position,
        "ordinal": 0,
        "action": invocation.action,
        "arguments": invocation.arguments,
        "cause": invocation.cause,
        "state": DUE if refused is None else FAILED,
        "due": now,
        "tries": 0,
        "lease_until": None,
        "attempts": [] if refused is None else [{"at": now.isoformat(), "outcome": "refused", "reason": refused}],
        "reason": refused,
        "finished": None if refused is None else now,
    }
