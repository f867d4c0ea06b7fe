"""The notifiers on record: put, get, list. Secret fields are sealed before they reach the database."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import Session, col, select

from tocsin.events.errors import NotFound
from tocsin.notifiers.blocks import AnyBlock, join, split
from tocsin.notifiers.redact import MASK, learn
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import touch
from tocsin.store.secrets import seal, unseal

CHANNEL = "deliveries"


@dataclass(frozen=True, slots=True)
class Listed:
    """A notifier as it may be shown: of a secret URL the host, of another secret nothing."""

    name: str
    kind: str
    config: dict[str, Any]  # Any: the block's own public fields
    updated: datetime


def put_notifier(session: Session, block: AnyBlock, now: datetime | None = None) -> None:
    """Store `block` under its name, in the place of one that is there."""
    now = now or datetime.now(UTC)
    shown, hidden = split(block)
    learn(*hidden.values())
    row = session.get(NotifierRow, block.name)
    sealed = seal(json.dumps(hidden))
    config = {**shown, "shown": {name: _shown(value) for name, value in hidden.items()}}
    if row is None:
        row = NotifierRow(name=block.name, kind=block.kind, config=config, secrets=sealed, created=now, updated=now)
    else:
        row.kind, row.config, row.secrets, row.updated = block.kind, config, sealed, now
    session.add(row)
    touch(session, CHANNEL)


def get_notifier(session: Session, name: str) -> AnyBlock:
    """The block of this name, secrets and all. Raises NotFound naming the known ones, Invalid without the key."""
    row = session.get(NotifierRow, name)
    if row is None:
        raise NotFound(unknown(session, name))
    return read_row(row)


def read_row(row: NotifierRow) -> AnyBlock:
    """The block in a row; from here on the process's redactor knows its secrets."""
    hidden: dict[str, str] = json.loads(unseal(row.secrets))
    learn(*hidden.values())
    return join(row.name, row.kind, {name: value for name, value in row.config.items() if name != "shown"}, hidden)


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
    return {**{name: value for name, value in config.items() if name != "shown"}, **config.get("shown", {})}


def _shown(secret: str) -> str:
    """Of a URL its host; the path of a webhook is the credential."""
    if "://" not in secret:
        return MASK
    parts = urlsplit(secret)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{MASK}"
