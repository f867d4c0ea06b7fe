"""The notifiers on record: put, get, list. Secret fields are sealed before they reach the database.

A field that refers to a secret on record (`Secret.ref`) is stored with that secret's value, and with its name: who
changes the secret changes the notifiers that refer to it, in the same transaction (`tocsin.store.vault`).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.blocks import AnyBlock, join, reference, split
from tocsin.notifiers.credentials import credentials
from tocsin.notifiers.redact import MASK, learn
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import touch
from tocsin.store.secrets import seal, unseal
from tocsin.store.vault import open_value

CHANNEL = "deliveries"
_NOTES = ("shown", "refs")


@dataclass(frozen=True, slots=True)
class Listed:
    """A notifier as it may be shown: of a secret URL the host, of another secret nothing."""

    name: str
    kind: str
    config: dict[str, Any]  # Any: the block's own public fields
    updated: datetime


def put_notifier(session: Session, block: AnyBlock, now: datetime | None = None) -> None:
    """Store `block` under its name, in the place of one that is there.

    Raises NotFound for a reference to a secret that is not on record, Invalid when its value does not fit.
    """
    now = now or datetime.now(UTC)
    shown, hidden = split(block)
    refs = {field: name for field in hidden if (name := reference(getattr(block, field)))}
    opened = {**hidden, **{field: open_value(session, name) for field, name in refs.items()}}
    learn(*credentials(_fitted(block, shown, opened, refs) if refs else block))
    row = session.get(NotifierRow, block.name)
    sealed = seal(json.dumps(opened))
    config = {**shown, "shown": {name: _shown(value) for name, value in hidden.items()}}
    config |= {"refs": refs} if refs else {}
    if row is None:
        row = NotifierRow(name=block.name, kind=block.kind, config=config, secrets=sealed, created=now, updated=now)
    else:
        row.kind, row.config, row.secrets, row.updated = block.kind, config, sealed, now
    session.add(row)
    touch(session, CHANNEL)


def is_on_record(session: Session, block: AnyBlock) -> bool:
    """Whether exactly this block is stored under its name. Raises NotFound when none is."""
    row = session.get(NotifierRow, block.name)
    if row is None:
        raise NotFound(unknown(session, block.name))
    refs: dict[str, str] = row.config.get("refs", {})
    stored = _opened(row) | {field: f"secret:{name}" for field, name in refs.items()}
    return join(row.name, row.kind, _fields(row), stored) == block


def get_notifier(session: Session, name: str) -> AnyBlock:
    """The block of this name, secrets and all. Raises NotFound naming the known ones, Invalid without the key."""
    row = session.get(NotifierRow, name)
    if row is None:
        raise NotFound(unknown(session, name))
    return read_row(row)


def read_row(row: NotifierRow) -> AnyBlock:
    """The block in a row; from here on the process's redactor knows its secrets."""
    block = join(row.name, row.kind, _fields(row), _opened(row))
    learn(*credentials(block))
    return block


def refit(session: Session, name: str, value: str, now: datetime) -> None:
    """Give the new value of the secret `name` to every notifier that refers to it. Raises Invalid if it fits not."""
    for row in _referring(session, name):
        hidden = _opened(row) | {field: value for field, ref in row.config["refs"].items() if ref == name}
        try:
            learn(*credentials(join(row.name, row.kind, _fields(row), hidden)))
        except Invalid as error:
            raise Invalid(f'secret "{name}" does not fit the notifier "{row.name}", which refers to it') from error
        row.secrets, row.updated = seal(json.dumps(hidden)), now
        session.add(row)
        touch(session, CHANNEL)


def users(session: Session, name: str) -> tuple[str, ...]:
    """The names of the notifiers that refer to the secret of this name."""
    return tuple(row.name for row in _referring(session, name))


def _referring(session: Session, name: str) -> list[NotifierRow]:
    rows = session.exec(select(NotifierRow).order_by(col(NotifierRow.name)))
    return [row for row in rows if name in row.config.get("refs", {}).values()]


def _opened(row: NotifierRow) -> dict[str, str]:
    opened: dict[str, str] = json.loads(unseal(row.secrets))
    learn(*opened.values())
    return opened


def _fields(row: NotifierRow) -> dict[str, Any]:  # Any: the block's own public fields
    return {name: value for name, value in row.config.items() if name not in _NOTES}


# Any: the block's own public fields.
def _fitted(block: AnyBlock, shown: dict[str, Any], opened: dict[str, str], refs: dict[str, str]) -> AnyBlock:
    """`block` with the values of the secrets that it refers to."""
    try:
        return join(block.name, block.kind, shown, opened)
    except Invalid as error:
        said = ", ".join(f'secret "{name}" in {field}' for field, name in sorted(refs.items()))
        raise Invalid(f'notifier "{block.name}": it does not fit with {said}; put another value there') from error


def list_notifiers(session: Session) -> list[Listed]:
    """All notifiers by name, without their secrets."""
    rows = session.exec(select(NotifierRow).order_by(col(NotifierRow.name))).all()
    return [Listed(row.name, row.kind, _public(row.config), row.updated) for row in rows]


def remove_notifier(session: Session, name: str) -> None:
    """Forget the notifier; what is still owed to it becomes a dead delivery. Raises NotFound."""
    row = session.get(NotifierRow, name)
    if row is None:
        raise NotFound(unknown(session, name))
    session.delete(row)
    touch(session, CHANNEL)


def unknown(session: Session, name: str) -> str:
    """The message for a name that nobody has: `unknown notifier "slak"; known: pagerduty, slack`."""
    known = session.exec(select(NotifierRow.name).order_by(col(NotifierRow.name))).all()
    return f'unknown notifier "{name}"; known: {", ".join(known) or "none"}'


def _public(config: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in config.items() if name not in _NOTES}, **config.get("shown", {})}


def _shown(secret: str) -> str:
    """Of a URL its host; the path of a webhook is the credential."""
    if secret.startswith("secret:"):
        return secret
    if not secret.startswith(("http://", "https://")):
        return MASK
    parts = urlsplit(secret)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{MASK}"
