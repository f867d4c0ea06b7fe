"""Sources on record: apply, get, list, remove. Each change is an event, and readers see it at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.store.engine import touch
from tocsin.store.log import append
from tocsin.triggers.source import KafkaSource, source_of
from tocsin.triggers.tables import Source

CHANNEL: Final = "sources"

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class Applied:
    """What an apply did with one source."""

    name: str
    change: Change


def apply(session: Session, sources: Iterable[KafkaSource], now: datetime) -> list[Applied]:
    """Put each source on record under its name. Raises `Invalid` for two of one name.

    A source goes on where it was as long as its name and topic stay, whatever else is changed.
    """
    given = list(sources)
    names = [source.name for source in given]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"source {twice!r} is defined twice; names are unique")
    return [Applied(source.name, _put(session, source, now)) for source in given]


def get(session: Session, name: str) -> KafkaSource:
    """The source of this name. Raises `NotFound` naming the known ones."""
    return source_of(get_row(session, name).spec)


def get_row(session: Session, name: str) -> Source:
    """The source of this name as it stands on record. Raises `NotFound` naming the known ones."""
    row = session.get(Source, name)
    if row is None:
        known = ", ".join(session.exec(select(Source.name).order_by(col(Source.name)))) or "none"
        raise NotFound(f"source {name!r} is not known; known: {known}")
    return row


def list_rows(session: Session) -> list[Source]:
    """All sources on record, by name."""
    return list(session.exec(select(Source).order_by(col(Source.name))))


def remove(session: Session, name: str, now: datetime) -> None:
    """Forget the source; how far it has come stays known, for one of the same name. Raises `NotFound`."""
    session.delete(get_row(session, name))
    _tell(session, name, "deleted", now)


def _put(session: Session, source: KafkaSource, now: datetime) -> Change:
    spec = source.model_dump(mode="json", exclude_defaults=True)
    row = session.get(Source, source.name)
    if row is None:
        session.add(Source(name=source.name, spec=spec, created=now, updated=now))
        _tell(session, source.name, "created", now)
        return "created"
    if row.spec == spec:
        return "unchanged"
    row.spec, row.updated = spec, now
    session.add(row)
    _tell(session, source.name, "updated", now)
    return "updated"


def _tell(session: Session, name: str, verb: str, now: datetime) -> None:
    session.flush()
    resource = {RESOURCE_ID: f"tocsin.source.{name}", RESOURCE_NAME: name}
    append(session, [Event(event=f"tocsin.source.{verb}", occurred=now, resource=resource)], now=now)
    touch(session, CHANNEL)
