"""What a change of an automation owes to what it has begun: whoever was told that it fires is told that it is over.

An edit that leaves an open episode without an end (its key is made of other labels, nothing resolves it, somebody who
was told is no longer) ends it by the definition that opened it; so does a removal.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from tocsin.automations import ledger, lifecycle
from tocsin.automations.episode import NOTHING, Open, goes_on, start_key, started
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.tables import StoredFiring, TriggerState
from tocsin.events.clock import micros
from tocsin.store.engine import touch
from tocsin.store.log import append
from tocsin.triggers.steps import Firing, Key

_AT_ONCE: Final = 400


def close(session: Session, old: Automation, new: Automation | None, now: datetime) -> list[Firing]:
    """End the open episodes of `old` that could not be ended under `new` (None: it is removed); their last firings."""
    if not old.lasting:
        return []
    firings = [
        _end(old, opening, now)
        for opening in _open(session, old.name)
        if new is None or not goes_on(new, _opened(old, opening))
    ]
    if firings:
        ledger.write_firings(session, firings, now)
        ledger.write_invocations(session, [one for firing in firings for one in plan(old, firing)], now)
        append(session, [lifecycle.fired(firing) for firing in firings], now=now)
        _let_go(session, [firing.episode for firing in firings])
        touch(session, ledger.CHANNEL)
    return firings


def begin(session: Session, automation: Automation, now: datetime) -> None:
    """Start what `automation` waits for from its beginning on; what runs already goes on."""
    place = automation.name, start_key(automation)
    read = ledger.read_states(session, [place])
    state, _ = read.get(place, (NOTHING, 0))
    first = started(automation, state, micros(now))
    if first is not None:
        ledger.write_states(session, {automation.name: automation}, {place: first}, read, now)


def forget(session: Session, name: str) -> None:
    """Drop what the automation remembers."""
    session.connection().execute(delete(TriggerState).where(col(TriggerState.automation) == name))


def _open(session: Session, name: str) -> list[StoredFiring]:
    """The firings that opened the automation's episodes which nothing has ended."""
    end = aliased(StoredFiring)
    over = exists().where(col(end.episode) == StoredFiring.episode, col(end.state) == "Resolved")
    mine = select(StoredFiring).where(StoredFiring.automation == name, StoredFiring.state == "Triggered")
    opening = mine.where(col(StoredFiring.lasting), StoredFiring.id == StoredFiring.episode)
    return list(session.exec(opening.where(~over)))


def _let_go(session: Session, episodes: list[UUID]) -> None:
    """Drop the states in which these episodes are open."""
    for start in range(0, len(episodes), _AT_ONCE):
        part = episodes[start : start + _AT_ONCE]
        session.connection().execute(delete(TriggerState).where(col(TriggerState.open_firing).in_(part)))


def _opened(automation: Automation, opening: StoredFiring) -> Open:
    told = tuple(sorted({one.target for one in automation.told}))
    return Open(opening.id, micros(opening.at), automation.key_labels, told, automation.closes)


def _end(automation: Automation, opening: StoredFiring, now: datetime) -> Firing:
    key = tuple(opening.key)
    return Firing(
        automation=automation.name,
        key=key,
        at=now,
        names=_names(opening.labels, key),
        count=0,
        over=True,
        opened=opening.id,
    )


def _names(labels: dict[str, str], key: Key) -> tuple[str, ...]:
    """The names of the key's labels in its order, which the database's JSON does not keep."""
    left = dict(labels)
    return tuple([_taken(left, value) for value in key])


def _taken(labels: dict[str, str], value: str) -> str:
    name = next(name for name, text in labels.items() if text == value)
    del labels[name]
    return name
