"""The automations on record: apply, get, list, switch, remove. Each change is an event, and hosts see it at once."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from pydantic import ValidationError
from sqlalchemy import update
from sqlmodel import Session, col, select

from tocsin.automations import closing, lifecycle
from tocsin.automations.builtin import BUILTIN, is_builtin
from tocsin.automations.kept import keep_secrets, shows_mask
from tocsin.automations.model import Automation
from tocsin.automations.secrets import COMPARED, STORED
from tocsin.automations.tables import RemovedAutomation, Rulebook, StoredAutomation
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
    revision_ = _next_revision(session)
    given = [_filled(session, one) for one in _permitted(automations)]
    applied = [_put(session, one, revision_, now) for one in given]
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

    One that is off fires no more; what it has opened it still resolves. What it counted is void.
    """
    revision_ = _next_revision(session)
    row = _row(session, name)
    if row.enabled == enabled:
        return "unchanged"
    row.enabled, row.updated, row.revision = enabled, now, revision_
    session.add(row)
    session.flush()
    closing.begin(session, _read(row), now)
    _tell(session, [lifecycle.changed(name, "updated", row.digest, now, cause)])
    return "updated"


def pause(session: Session, name: str, reason: str, now: datetime) -> None:
    """Switch the automation off because of `reason`, and say so; one that is gone or off is left alone."""
    known = session.get(StoredAutomation, name)
    if known is not None and enable(session, name, False, now) == "updated":
        append(session, [lifecycle.paused(name, reason, now)], now=now)


def remove(session: Session, name: str, now: datetime) -> None:
    """Forget the automation and what it counted; what it has planned is still done, what it has opened is resolved.

    Raises `NotFound`.
    """
    revision_ = _next_revision(session)
    row = _row(session, name)
    known = _known(session, name)
    if known is not None:
        closing.close(session, known, None, now)
    session.delete(row)
    session.flush()
    closing.forget(session, name)
    insert_new(session, RemovedAutomation, [{"name": name, "revision": revision_}])
    session.connection().execute(
        update(RemovedAutomation).where(col(RemovedAutomation.name) == name).values(revision=revision_)
    )
    _tell(session, [lifecycle.changed(name, "deleted", row.digest, now)])


def revision(session: Session, *, hold: bool = False) -> int:
    """How often the automations have changed; with `hold` nobody changes them before this transaction ends."""
    statement = select(Rulebook.revision)
    if hold:
        insert_new(session, Rulebook, [{"id": 1, "revision": 0}])
        statement = statement.with_for_update(read=True)
    return session.exec(statement).first() or 0


@dataclass(frozen=True)
class Changes:
    """What has changed since a revision: automations to put, and names of those that are gone."""

    revision: int
    put: list[Automation]
    removed: list[str]


def changes(session: Session, since: int) -> Changes:
    """What a host that knows revision `since` must learn; -1: it knows nothing, not even the built-in ones."""
    now = revision(session)
    if now == since:
        return Changes(now, [], [])
    rows = session.exec(select(StoredAutomation).where(col(StoredAutomation.revision) > since)).all()
    gone = session.exec(select(RemovedAutomation.name).where(col(RemovedAutomation.revision) > since)).all()
    found = [one.automation for one in _readable(rows)]
    known = {row.name for row in rows}
    put = [*BUILTIN, *found] if since < 0 else found
    unreadable = known - {one.name for one in found}
    return Changes(now, put, sorted({*(name for name in gone if name not in known), *unreadable}))


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


def _put(session: Session, automation: Automation, revision: int, now: datetime) -> Applied:
    row, before = session.get(StoredAutomation, automation.name), _known(session, automation.name)
    change = _change(row, automation)
    if change == "unchanged":
        return Applied(automation.name, change)
    definition: dict[str, Any] = automation.model_dump(mode="json", context=STORED, exclude={"enabled"})  # Any: JSON
    # Any: values of the table's columns
    fields: dict[str, Any] = {"digest": digest(automation), "definition": definition, "revision": revision}
    if row is None:
        row = StoredAutomation(name=automation.name, enabled=automation.enabled, created=now, updated=now, **fields)
    else:
        row.sqlmodel_update({**fields, "enabled": _switched(row, automation), "updated": now})
    session.add(row)
    session.flush()
    if before is not None:
        closing.close(session, before, automation, now)
    closing.begin(session, _read(row), now)
    return Applied(automation.name, change)


def _next_revision(session: Session) -> int:
    """The number of the revision that begins, if anything changes. Until the end nobody else changes anything."""
    insert_new(session, Rulebook, [{"id": 1, "revision": 0}])
    return session.exec(select(Rulebook.revision).with_for_update()).one() + 1


def _tell(session: Session, changes: list[Event]) -> None:
    """Write the changes to the log and count them, so that every host learns of them."""
    if not changes:
        return
    append(session, changes)
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
