"""Secrets by name: one place for whoever refers to one, notifiers and blocks of flows alike. Sealed in the database.

A room whose rows refer to secrets says so by an entry point of the group `tocsin.secrets`: a module with `refit`, which
gives a new value to those that hold a copy, and `users`, which names those that refer to a secret.
"""

from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from typing import Final, Protocol

from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.store.redact import learn
from tocsin.store.secrets import seal, unseal
from tocsin.store.tables import SecretRow

LONGEST: Final = 64_000
"""Characters of one secret."""


class Holder(Protocol):
    """A module of a room whose rows refer to secrets by name."""

    def refit(self, session: Session, name: str, value: str, now: datetime) -> None:
        """Give the new value to whoever holds a copy. Raises Invalid when it does not fit one of them."""
        ...

    def users(self, session: Session, name: str) -> tuple[str, ...]:
        """Who refers to the secret, by name."""
        ...


def put_value(session: Session, name: str, value: str, now: datetime) -> None:
    """Store the secret, in the place of one of this name; who refers to it has the new value with this transaction.

    Raises Invalid, and changes nothing, when the value is too long, or does not fit one that refers to it.
    """
    if not 1 <= len(value) <= LONGEST:
        raise Invalid(f'secret "{name}": it has {len(value):,} characters; 1 to {LONGEST:,} can be kept')
    learn(value)
    for holder in _holders():
        holder.refit(session, name, value, now)
    row = session.get(SecretRow, name, with_for_update=True)
    if row is None:
        row = SecretRow(name=name, sealed="", created=now, updated=now)
    row.sealed, row.updated = seal(value), now
    session.add(row)


def open_value(session: Session, name: str) -> str:
    """The value of the secret; the redactor knows it now. Raises NotFound naming the known ones, Invalid without the
    key that opens it."""
    row = session.get(SecretRow, name)
    if row is None:
        raise NotFound(f'unknown secret "{name}"; put it with `tocsin secret put`; known: {_known(session)}')
    value = unseal(row.sealed)
    learn(value)
    return value


def is_known(session: Session, name: str) -> bool:
    """Whether there is a secret of this name."""
    return session.get(SecretRow, name) is not None


def remove_value(session: Session, name: str) -> None:
    """Forget the secret. Raises NotFound, and Invalid while something refers to it."""
    row = session.get(SecretRow, name)
    if row is None:
        raise NotFound(f'unknown secret "{name}"; known: {_known(session)}')
    if users := secret_users(session, name):
        raise Invalid(f'secret "{name}" is referred to by {", ".join(users)}; change or remove what refers to it first')
    session.delete(row)
    session.flush()


def secret_users(session: Session, name: str) -> tuple[str, ...]:
    """Who refers to the secret, over all rooms."""
    return tuple(user for holder in _holders() for user in holder.users(session, name))


@cache
def _holders() -> tuple[Holder, ...]:
    return tuple(holder.load() for holder in sorted(entry_points(group="tocsin.secrets"), key=lambda one: one.name))


def _known(session: Session) -> str:
    return ", ".join(session.exec(select(SecretRow.name).order_by(col(SecretRow.name)))) or "none"
