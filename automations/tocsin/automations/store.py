"""The automations on record: apply, get, list, switch, remove. Each change is an event, and hosts see it at once."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from pydantic import ValidationError
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from tocsin.automations import lifecycle
from tocsin.automations.builtin import BUILTIN, is_builtin
from tocsin.automations.kept import keep_secrets, shows_mask
from tocsin.automations.model import Automation
from tocsin.automations.secrets import COMPARED, STORED
from tocsin.automations.tables import Rulebook, StoredAutomation, TriggerState
from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import Event
from tocsin.store.engine import insert_new, touch
from tocsin.store.log import append

CHANNEL: Final = "automations"

_LOG = logging.getLogger("tocsin.automations.store")

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class Applied:
    """What an apply did with one automation."""

    name: str
    change: Change


@dataclass(frozen=True)
class Foreseen:
    """What an apply would do with one automation: `given`, its secrets filled in, in the place of `stored`."""

    given: Automation
    stored: Automation | None
    change: Change


@dataclass(frozen=True)
class Listed:
    """An automation on record and when it last changed; its secrets are sealed."""

    automation: Automation
    created: datetime
    updated: datetime


def apply(session: Session, automations: Iterable[Automation], now: datetime) -> list[Applied]:
    """Put each automation on record under its name; one that is there as it is, is left alone.

    A secret that reads as its mask is the one on record. Raises `Invalid` for two of one name, for a name that is
    tocsin's own, and for a mask with nothing behind it.
    """
    given = [_filled(session, one) for one in _permitted(automations)]
    applied = [Applied(one.name, _put(session, one, now)) for one in given]
    changes: dict[str, Literal["created", "updated"]] = {}
    for one in applied:
        if one.change != "unchanged":
            changes[one.name] = one.change
    digests = {one.name: digest(one) for one in given}
    _tell(session, [lifecycle.changed(name, verb, digests[name], now) for name, verb in changes.items()])
    return applied


def foresee(session: Session, automations: Iterable[Automation]) -> list[Foreseen]:
    """What `apply` would do with each automation, and would refuse; nothing is written."""
    return [_foreseen(session, one) for one in _permitted(automations)]


def get(session: Session, name: str) -> Listed:
    """The automation of this name. Raises `NotFound` naming the known ones."""
    return _listed(_row(session, name))


def list_automations(session: Session) -> list[Listed]:
    """All automations on record, by name. One that this version cannot read is left out, and the log says so."""
    rows = session.exec(select(StoredAutomation).order_by(col(StoredAutomation.name)))
    return list(_readable(rows))


def enable(session: Session, name: str, enabled: bool, now: datetime, cause: Cause = OUTSIDE) -> Change:
    """Switch the automation on or off. Raises `NotFound`.

    One that is off fires no more; what it has opened it still resolves.
    """
    row = _row(session, name)
    if row.enabled == enabled:
        return "unchanged"
    row.enabled, row.updated = enabled, now
    session.add(row)
    session.flush()
    _tell(session, [lifecycle.changed(name, "updated", row.digest, now, cause)])
    return "updated"


def remove(session: Session, name: str, now: datetime) -> None:
    """Forget the automation and what it counted; what it has planned is still done. Raises `NotFound`."""
    row = _row(session, name)
    session.delete(row)
    session.flush()
    session.connection().execute(delete(TriggerState).where(col(TriggerState.automation) == name))
    _tell(session, [lifecycle.changed(name, "deleted", row.digest, now)])


def revision(session: Session) -> int:
    """How often the automations have changed."""
    return session.exec(select(Rulebook.revision)).first() or 0


def load(session: Session) -> list[Automation]:
    """Every automation that a host evaluates: the built-in ones and those on record."""
    return [*BUILTIN, *(one.automation for one in list_automations(session))]


def digest(automation: Automation) -> str:
    """What tells this definition from any other, switched on or off."""
    form = automation.model_dump(mode="json", context=COMPARED, exclude={"enabled"})
    return hashlib.sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def _permitted(automations: Iterable[Automation]) -> list[Automation]:
    seen: set[str] = set()
    given = list(automations)
    for one in given:
        if is_builtin(one.name):
            raise Invalid(f'automation "{one.name}": names that begin with "tocsin." are tocsin\'s own')
        if one.name in seen:
            raise Invalid(f'automation "{one.name}" is defined twice')
        seen.add(one.name)
    return given


def _filled(session: Session, automation: Automation) -> Automation:
    return keep_secrets(automation, _known(session, automation.name)) if shows_mask(automation) else automation


def _foreseen(session: Session, automation: Automation) -> Foreseen:
    given = _filled(session, automation)
    return Foreseen(given, _known(session, given.name), _change(session.get(StoredAutomation, given.name), given))


def _change(row: StoredAutomation | None, automation: Automation) -> Change:
    if row is None:
        return "created"
    same = (row.digest, row.enabled) == (digest(automation), _switched(row, automation))
    return "unchanged" if same else "updated"


def _switched(row: StoredAutomation, automation: Automation) -> bool:
    """Applying a file that does not say so switches nothing on."""
    return automation.enabled if "enabled" in automation.model_fields_set else row.enabled


def _put(session: Session, automation: Automation, now: datetime) -> Change:
    row = session.get(StoredAutomation, automation.name)
    change = _change(row, automation)
    if change == "unchanged":
        return change
    definition: dict[str, Any] = automation.model_dump(mode="json", context=STORED, exclude={"enabled"})  # Any: JSON
    # Any: values of the table's columns
    fields: dict[str, Any] = {"digest": digest(automation), "definition": definition, "updated": now}
    if row is None:
        session.add(StoredAutomation(name=automation.name, enabled=automation.enabled, created=now, **fields))
    else:
        row.sqlmodel_update({**fields, "enabled": _switched(row, automation)})
        session.add(row)
    session.flush()
    return change


def _tell(session: Session, changes: list[Event]) -> None:
    """Write the changes to the log and count them, so that every host loads the automations again."""
    if not changes:
        return
    append(session, changes)
    insert_new(session, Rulebook, [{"id": 1, "revision": 0}])
    session.connection().execute(update(Rulebook).values(revision=col(Rulebook.revision) + 1))
    touch(session, CHANNEL)


def _known(session: Session, name: str) -> Automation | None:
    """The automation on record, unless there is none that this version can read."""
    row = session.get(StoredAutomation, name)
    found = list(_readable([row])) if row is not None else []
    return found[0].automation if found else None


def _row(session: Session, name: str) -> StoredAutomation:
    row = session.get(StoredAutomation, name)
    if row is None:
        known = session.exec(select(StoredAutomation.name).order_by(col(StoredAutomation.name))).all()
        raise NotFound(f'unknown automation "{name}"; known: {", ".join(known) or "none"}')
    return row


def _readable(rows: Iterable[StoredAutomation]) -> Iterator[Listed]:
    for row in rows:
        try:
            yield _listed(row)
        except ValidationError as error:
            _LOG.error("automation %r is left out, apply it again: %s", row.name, error.errors(include_input=False))


def _listed(row: StoredAutomation) -> Listed:
    return Listed(_read(row), row.created, row.updated)


def _read(row: StoredAutomation) -> Automation:
    return Automation.model_validate({**row.definition, "enabled": row.enabled})
