"""Reading back what happened: events of the log by filter, page by page, newest first."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, select

from tocsin.events.codec import decode
from tocsin.events.errors import Invalid
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store.log import HEARD
from tocsin.store.tables import LogEntry

SHOWN: Final = (EVENTS, EXTERNAL, HEARD)
MAX_PAGE: Final = 1_000
_SCAN: Final = 5_000
_HIGHEST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; None leaves a field open.

    `name`, `resource` and `related` are exact, or prefixes when they end in `*`; `since` is inclusive, `until`
    exclusive, both about `occurred`.
    """

    name: str | None = None
    resource: str | None = None
    related: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for field, pattern in (("name", self.name), ("resource", self.resource), ("related", self.related)):
            if pattern is not None and "*" in pattern[:-1]:
                raise Invalid(f"{field} {pattern!r}: `*` may only stand at the end, for a prefix")
        if self.since and self.until and self.since >= self.until:
            raise Invalid(f"since {self.since.isoformat()} is not before until {self.until.isoformat()}")

    def accepts(self, entry: LogEntry) -> bool:
        """Whether an entry of the log is wanted."""
        return (
            _fits(self.name, entry.event)
            and _fits(self.resource, entry.key)
            and (self.since is None or entry.occurred >= self.since)
            and (self.until is None or entry.occurred < self.until)
            and (self.related is None or any(_fits(self.related, other) for other in _related(entry)))
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, newest first, and the token that asks for older ones (None: there are none)."""

    entries: list[LogEntry]
    next: str | None


def search(session: Session, wanted: Filter, *, limit: int = 100, token: str | None = None) -> Page:
    """The newest `limit` entries that `wanted` accepts, older than the page that gave `token`.

    A page may be short, even empty, with a token: a search by related resource reads a bounded stretch at a time.
    """
    before = _before(token)
    entries: list[LogEntry] = []
    read = 0
    for entry in _newest(session, wanted, before, limit):
        read, before = read + 1, entry.seq
        if wanted.related is None or wanted.accepts(entry):
            entries.append(entry)
        if len(entries) == limit:
            break
    done = len(entries) < limit and read < _span(wanted, limit)
    return Page(entries, None if done else str(before))


def find(session: Session, event_id: UUID) -> Event | None:
    """The event with this id, or None; ours before one from outside that has taken the same id."""
    statement = select(LogEntry).where(col(LogEntry.id) == event_id, col(LogEntry.topic).in_(SHOWN))
    entries = sorted(session.exec(statement), key=lambda entry: SHOWN.index(entry.topic))
    return decode(entries[0].body) if entries else None


def latest(session: Session) -> int:
    """The log's newest sequence number, 0 for an empty log."""
    return session.exec(select(col(LogEntry.seq)).order_by(col(LogEntry.seq).desc()).limit(1)).first() or 0


def _newest(session: Session, wanted: Filter, before: int | None, limit: int) -> Iterator[LogEntry]:
    ranges = session.get_bind().dialect.name == "sqlite"
    statement = select(LogEntry).where(col(LogEntry.topic).in_(SHOWN), *_conditions(wanted, ranges))
    if before is not None:
        statement = statement.where(col(LogEntry.seq) < before)
    return iter(session.exec(statement.order_by(col(LogEntry.seq).desc()).limit(_span(wanted, limit))))


def _span(wanted: Filter, limit: int) -> int:
    return limit if wanted.related is None else _SCAN


def _conditions(wanted: Filter, ranges: bool) -> Iterator[ColumnElement[bool]]:
    if wanted.name is not None:
        yield from _pattern(col(LogEntry.event), wanted.name, ranges)
    if wanted.resource is not None:
        yield from _pattern(col(LogEntry.key), wanted.resource, ranges)
    if wanted.since is not None:
        yield col(LogEntry.occurred) >= wanted.since
    if wanted.until is not None:
        yield col(LogEntry.occurred) < wanted.until


def _pattern(column: Mapped[str], pattern: str, ranges: bool) -> Iterator[ColumnElement[bool]]:
    prefix = pattern.removesuffix("*")
    if prefix == pattern:
        yield column == pattern
    elif ranges:  # SQLite compares bytes, so its index serves a range; its LIKE would fold case and read everything
        yield column >= prefix
        yield column < prefix + _HIGHEST
    elif prefix:
        yield column.startswith(prefix, autoescape=True)


def _fits(pattern: str | None, text: str) -> bool:
    if pattern is None:
        return True
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _related(entry: LogEntry) -> Iterator[str]:
    return (labels[RESOURCE_ID] for labels in decode(entry.body).related)


def _before(token: str | None) -> int | None:
    if token is None:
        return None
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise Invalid(f"page {token[:40]!r} is not a token that this search gave")
    return int(token)
