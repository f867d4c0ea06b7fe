"""The hooks on record: put, get, list, remove. Secrets are sealed before they reach the database."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.store.secrets import seal, unseal
from tocsin.triggers.hook import Hook, join, masked, split
from tocsin.triggers.hook_tables import HookRow

LETTERS: Final = "hooks"
"""The group under which the dead letters of hooks are found."""

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A hook as it may be shown."""

    name: str
    verified_by: str
    config: dict[str, Any]  # Any: the definition as JSON, secrets masked
    updated: datetime


def put_hook(session: Session, hook: Hook, now: datetime) -> Change:
    """Store `hook` under its name; what came of it. Secrets given as their mask stay what they are.

    Raises `Invalid` for a mask with nothing behind it.
    """
    row = session.get(HookRow, hook.name)
    before = read_row(row) if row else None
    hook = _unmasked(hook, before)
    if hook == before:
        return "unchanged"
    shown, secrets = split(hook)
    sealed = seal(json.dumps(secrets))
    if row is None:
        session.add(HookRow(name=hook.name, config=shown, secrets=sealed, created=now, updated=now))
        return "created"
    row.config, row.secrets, row.updated = shown, sealed, now
    session.add(row)
    return "updated"


def find_hook(session: Session, name: str) -> Hook | None:
    """The hook of this name, secrets and all. Raises `Invalid` without the key that opens them."""
    row = session.get(HookRow, name)
    return read_row(row) if row else None


def get_hook(session: Session, name: str) -> Hook:
    """The hook of this name. Raises `NotFound` naming the known ones."""
    hook = find_hook(session, name)
    if hook is None:
        raise NotFound(_unknown(session, name))
    return hook


def read_row(row: HookRow) -> Hook:
    """The hook in a row."""
    return join(row.config, tuple(json.loads(unseal(row.secrets))))


def list_hooks(session: Session) -> list[Listed]:
    """All hooks by name, their secrets masked."""
    return [_listed(row) for row in session.exec(select(HookRow).order_by(col(HookRow.name)))]


def show_hook(session: Session, name: str) -> Listed:
    """One hook, its secrets masked. Raises `NotFound`."""
    row = session.get(HookRow, name)
    if row is None:
        raise NotFound(_unknown(session, name))
    return _listed(row)


def remove_hook(session: Session, name: str) -> None:
    """Forget a hook: what is posted there from now on is refused. Raises `NotFound`."""
    row = session.get(HookRow, name)
    if row is None:
        raise NotFound(_unknown(session, name))
    session.delete(row)


def _listed(row: HookRow) -> Listed:
    verify = row.config["verify"]
    return Listed(row.name, verify["kind"] if verify else "insecure", row.config, row.updated)


def _unmasked(hook: Hook, before: Hook | None) -> Hook:
    if not masked(hook):
        return hook
    if hook.verify is None or before is None or before.verify is None or before.verify.kind != hook.verify.kind:
        raise Invalid(f'hook "{hook.name}": its secret is only shown, and none of this kind is stored; give it')
    return hook.model_copy(update={"verify": hook.verify.model_copy(update={"secret": before.verify.secret})})


def _unknown(session: Session, name: str) -> str:
    known = session.exec(select(HookRow.name).order_by(col(HookRow.name))).all()
    return f'unknown hook "{name}"; known: {", ".join(known) or "none"}'
