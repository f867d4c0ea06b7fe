"""Firings and invocations on record, and the states of triggers: what a host writes down and reads back."""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec
from sqlalchemy import CursorResult, bindparam, delete, update
from sqlmodel import Session, col, func, select

from tocsin.automations.episode import NOTHING, State, due
from tocsin.automations.evaluate import Book, Place
from tocsin.automations.invocation import Invocation
from tocsin.automations.tables import StoredFiring, StoredInvocation, TriggerState
from tocsin.events.clock import Micros
from tocsin.events.ids import derive
from tocsin.store.engine import insert_new
from tocsin.triggers.steps import Firing

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
        found |= _remembered(session.exec(select(TriggerState).where(col(TriggerState.id).in_(part))))
    return found


def read_due(session: Session, until: Micros, limit: int = _AT_ONCE) -> Remembered:
    """The states that were due at or before `until`, the longest due first, at most `limit`."""
    statement = select(TriggerState).where(col(TriggerState.due) <= until).order_by(col(TriggerState.due)).limit(limit)
    return _remembered(session.exec(statement))


def next_due(session: Session) -> Micros | None:
    """When the first of all states is due."""
    return session.exec(select(func.min(TriggerState.due))).one()


def remembered(session: Session, automation: str | None = None) -> int:
    """Under how many keys the automation (none: all of them together) remembers something."""
    counted = select(func.count(col(TriggerState.id)))
    return session.exec(counted.where(TriggerState.automation == automation) if automation else counted).one()


def write_states(session: Session, book: Book, states: Mapping[Place, State], read: Remembered, now: datetime) -> bool:
    """Write the states that followed from `read`; False when another host wrote one of them since.

    A state that remembers nothing has no row.
    """
    new = [_row(book, place, state, now) for place, state in states.items() if place not in read and state != NOTHING]
    changed = [_change(book, place, state, read[place][1], now) for place, state in states.items() if place in read]
    ended = [change for change in changed if change["state"] is None]
    going = [change for change in changed if change["state"] is not None]
    return (
        insert_new(session, TriggerState, new) == len(new)
        and _written(session, _UPDATE, going)
        and _written(session, _DELETE, [{"b_id": one["b_id"], "b_version": one["b_version"]} for one in ended])
    )


def write_firings(session: Session, firings: Sequence[Firing], now: datetime) -> None:
    """Put firings on record; one that is there already is left alone."""
    insert_new(session, StoredFiring, [_firing_row(firing, now) for firing in firings])


def write_invocations(
    session: Session, invocations: Sequence[Invocation], now: datetime, done: Set[UUID] = frozenset()
) -> None:
    """Put invocations into the ledger, due now, the refused ones as failed; what is there already is left alone.

    Those in `done` have been carried out.
    """
    places: dict[UUID, int] = {}
    for one in invocations:
        places.setdefault(one.firing, len(places))
    insert_new(session, StoredInvocation, [_invocation_row(one, places[one.firing], now, done) for one in invocations])


def known_firings(session: Session, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these firings are on record."""
    found: set[UUID] = set()
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        found |= set(session.exec(select(StoredFiring.id).where(col(StoredFiring.id).in_(part))))
    return found


def firings_within(session: Session, automation: str, since: datetime, until: datetime) -> int:
    """How often the automation fired in (since, until], by event time."""
    statement = select(func.count()).where(StoredFiring.automation == automation, StoredFiring.state == "Triggered")
    return session.exec(statement.where(StoredFiring.at > since, StoredFiring.at <= until)).one()


def begins_still(session: Session, ending: UUID) -> bool:
    """Whether a notification is still due of the episode that the firing `ending` ends."""
    episode = session.exec(select(StoredFiring.episode).where(StoredFiring.id == ending)).first()
    return episode is not None and bool(begun_still(session, [episode]))


def begun_still(session: Session, episodes: Sequence[UUID]) -> set[UUID]:
    """Those of the episodes of which a notification that something has begun is still due."""
    found: set[UUID] = set()
    for start in range(0, len(episodes), _AT_ONCE):
        begun = (
            select(StoredFiring.episode)
            .join(StoredInvocation, col(StoredFiring.id) == col(StoredInvocation.firing_id))
            .where(col(StoredFiring.episode).in_(episodes[start : start + _AT_ONCE]), StoredFiring.state == "Triggered")
            .where(StoredInvocation.action == NOTIFICATION, StoredInvocation.state == DUE)
        )
        found |= set(session.exec(begun.distinct()))
    return found


def invocation_of(row: StoredInvocation) -> Invocation:
    """The invocation in a row of the ledger."""
    return Invocation(row.id, row.firing_id, row.automation, row.position, row.action, row.arguments, row.cause)


def state_id(place: Place) -> UUID:
    """Id of the row that holds what is remembered at `place`."""
    automation, key = place
    return derive("trigger-state", automation, *key)


def state_columns(book: Book, automation: str, state: State, now: datetime) -> dict[str, Any]:
    """The columns of a state's row that tell what it is. Any: values of the table's columns."""
    known = book.get(automation)
    return {
        "state": state.to_json(),
        "open_firing": state.open.firing if state.open else None,
        "due": due(known, state) if known is not None else None,
        "updated": now,
    }


def _remembered(rows: Iterable[TriggerState]) -> Remembered:
    return {(row.automation, tuple(row.key)): (State.from_json(row.state), row.version) for row in rows}


def _row(book: Book, place: Place, state: State, now: datetime) -> dict[str, Any]:  # Any: values of columns
    automation, key = place
    columns = state_columns(book, automation, state, now)
    return {"id": state_id(place), "automation": automation, "key": list(key), "version": 1, **columns}


def _change(book: Book, place: Place, state: State, version: Version, now: datetime) -> dict[str, Any]:  # Any: as above
    columns = state_columns(book, place[0], state, now) if state != NOTHING else {"state": None}
    named = {f"b_{name}" if name != "state" else name: value for name, value in columns.items()}
    return {"b_id": state_id(place), "b_version": version, "b_next": version + 1, **named}


_MINE: Final = col(TriggerState.id) == bindparam("b_id"), col(TriggerState.version) == bindparam("b_version")
_DELETE: Final = delete(TriggerState).where(*_MINE)
_UPDATE: Final = (
    update(TriggerState)
    .where(*_MINE)
    .values(
        state=bindparam("state"),
        open_firing=bindparam("b_open_firing"),
        due=bindparam("b_due"),
        updated=bindparam("b_updated"),
        version=bindparam("b_next"),
    )
)


def _written(session: Session, statement: Any, changes: list[dict[str, Any]]) -> bool:  # Any: an update or a delete
    """Whether every one of the changes met the version that it came from."""
    if not changes:
        return True
    done = cast(CursorResult[tuple[()]], session.connection().execute(statement, changes))
    return done.rowcount == len(changes)


def _firing_row(firing: Firing, now: datetime) -> dict[str, Any]:  # Any: values of the table's columns
    return {
        "id": firing.id,
        "automation": firing.automation,
        "key": list(firing.key),
        "state": firing.state,
        "episode": firing.episode,
        "at": firing.at,
        "recorded": now,
        "event_id": firing.event.id if firing.event else None,
        "count": firing.count,
        "labels": firing.labels,
        "children": msgspec.to_builtins(list(firing.children)),
        "late": firing.late,
        "lasting": firing.lasting,
    }


# Any: values of the table's columns.
def _invocation_row(invocation: Invocation, ordinal: int, now: datetime, done: Set[UUID]) -> dict[str, Any]:
    state = FAILED if invocation.refused is not None else DONE if invocation.id in done else DUE
    return {
        "id": invocation.id,
        "firing_id": invocation.firing,
        "automation": invocation.automation,
        "position": invocation.position,
        "ordinal": ordinal,
        "action": invocation.action,
        "arguments": invocation.arguments,
        "cause": invocation.cause,
        "state": state,
        "due": now,
        "tries": 1 if state == DONE else 0,
        "lease_until": None,
        "attempts": _attempts(state, invocation.refused, now),
        "reason": invocation.refused,
        "finished": None if state == DUE else now,
    }


def _attempts(state: str, refused: str | None, now: datetime) -> list[dict[str, Any]]:  # Any: JSON
    if state == DONE:
        return [{"at": now.isoformat(), "outcome": "executed"}]
    return [] if refused is None else [{"at": now.isoformat(), "outcome": "refused", "reason": refused}]
