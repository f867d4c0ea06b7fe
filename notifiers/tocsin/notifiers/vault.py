"""Secrets by name: put once, referred to by any number of notifiers. Sealed, and never shown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.blocks import Name
from tocsin.notifiers.channel_tables import SecretRow
from tocsin.notifiers.redact import learn
from tocsin.notifiers.registry import opened_secret, referring, refit
from tocsin.store.secrets import seal


class Secret(BaseModel):
    """A value that nobody sees again. `Secret.ref("name")` stands for it in any secret field of a notifier."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    value: Annotated[SecretStr, Field(min_length=1, max_length=64_000)]

    @staticmethod
    def ref(name: str) -> SecretStr:
        """What stands for the secret of this name, whenever it is put."""
        return SecretStr(f"secret:{name}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A secret as it may be shown: when it was put, and which notifiers refer to it."""

    name: str
    created: datetime
    updated: datetime
    used_by: tuple[str, ...]


def put_secret(session: Session, secret: Secret, now: datetime | None = None) -> None:
    """Store the secret; notifiers that refer to it have the new value from their next message on.

    Raises Invalid, and changes nothing, when the value does not fit one of them.
    """
    now, value = now or datetime.now(UTC), secret.value.get_secret_value()
    learn(value)
    refit(session, secret.name, value, now)
    row = session.get(SecretRow, secret.name)
    if row is None:
        row = SecretRow(name=secret.name, sealed="", created=now, updated=now)
    row.sealed, row.updated = seal(value), now
    session.add(row)


def get_secret(session: Session, name: str) -> SecretStr:
    """The secret of this name. Raises NotFound naming the known ones, Invalid without the key that opens it."""
    return SecretStr(opened_secret(session, name))


def list_secrets(session: Session) -> list[Listed]:
    """All secrets by name, without their values."""
    rows = session.exec(select(SecretRow).order_by(col(SecretRow.name))).all()
    return [Listed(row.name, row.created, row.updated, _users(session, row.name)) for row in rows]


def remove_secret(session: Session, name: str) -> None:
    """Forget the secret. Raises NotFound, and Invalid while a notifier refers to it."""
    opened = session.get(SecretRow, name)
    if opened is None:
        known = session.exec(select(SecretRow.name).order_by(col(SecretRow.name))).all()
        raise NotFound(f'unknown secret "{name}"; known: {", ".join(known) or "none"}')
    if users := _users(session, name):
        raise Invalid(f'secret "{name}" is referred to by {", ".join(users)}; change or remove those notifiers first')
    session.delete(opened)


def _users(session: Session, name: str) -> tuple[str, ...]:
    return tuple(row.name for row in referring(session, name))
