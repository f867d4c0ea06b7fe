"""Secrets by name: put once, referred to by any number of notifiers. Sealed, and never shown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlmodel import Session, col, select

from tocsin.notifiers.blocks import Name
from tocsin.store.tables import SecretRow
from tocsin.store.vault import open_value, put_value, remove_value, secret_users


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
    """A secret as it may be shown: when it was put, and which notifiers and blocks refer to it."""

    name: str
    created: datetime
    updated: datetime
    used_by: tuple[str, ...]


def put_secret(session: Session, secret: Secret, now: datetime | None = None) -> None:
    """Store the secret; notifiers that refer to it have the new value from their next message on.

    Raises Invalid, and changes nothing, when the value does not fit one of them.
    """
    put_value(session, secret.name, secret.value.get_secret_value(), now or datetime.now(UTC))


def get_secret(session: Session, name: str) -> SecretStr:
    """The secret of this name. Raises NotFound naming the known ones, Invalid without the key that opens it."""
    return SecretStr(open_value(session, name))


def list_secrets(session: Session) -> list[Listed]:
    """All secrets by name, without their values."""
    rows = session.exec(select(SecretRow).order_by(col(SecretRow.name))).all()
    return [Listed(row.name, row.created, row.updated, secret_users(session, row.name)) for row in rows]


def remove_secret(session: Session, name: str) -> None:
    """Forget the secret. Raises NotFound, and Invalid while a notifier or a block refers to it."""
    remove_value(session, name)
