"""Events that have happened, in the order in which they came: from a file of JSON lines, or from the log.

A line is an event as the codec writes it, and may say when it was `received`; else that is when it occurred.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from tocsin.events import codec
from tocsin.events.clock import Micros, instant, micros
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store.log import HEARD, ascending, number
from tocsin.store.tables import LogEntry

_AT_ONCE: Final = 1_000
_SHOWN: Final = (EVENTS, EXTERNAL, HEARD)

_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Recorded(NamedTuple):
    """An event and when it came onto the bus, in UTC."""

    event: Event
    received: datetime


class Logged(NamedTuple):
    """An event in the log: when it was recorded, and its number."""

    event: Event
    received: datetime
    seq: int


@dataclass(frozen=True)
class Recording:
    """What a file holds, in the order of `received`; `skipped`: how many lines are no events."""

    events: list[Recorded]
    skipped: int = 0


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    event: str
    resource: dict[str, str]
    occurred: _Instant
    id: UUID | None = None
    related: list[dict[str, str]] = []
    # Any: a payload is whatever JSON its producer chose.
    payload: dict[str, Any] = {}
    follows: UUID | None = None
    received: _Instant | None = None


_decoder: Final = msgspec.json.Decoder(_Line)


def read_recording(path: Path, *, skip_bad: bool = False) -> Recording:
    """The events of a file, one JSON object a line, sorted by when they were received.

    Raises `Invalid` with file and line for one that is no event, unless `skip_bad`.
    """
    try:
        with path.open("rb") as lines:
            return recording(lines, str(path), skip_bad=skip_bad)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def recording(lines: Iterable[bytes], source: str, *, skip_bad: bool = False) -> Recording:
    """The same of lines at hand; `source` names them in errors."""
    found: list[Recorded] = []
    skipped = 0
    for place, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            found.append(_read(line, place))
        except BadEvent as error:
            if not skip_bad:
                raise Invalid(f"{source}, line {place}: {error}") from error
            skipped += 1
    found.sort(key=lambda one: one.received)
    return Recording(found, skipped)


def from_log(session: Session, since: datetime | None = None, until: datetime | None = None) -> Iterator[Recorded]:
    """The events of the log that came from `since` on and before `until`, in its order, received as its readers see
    it: not before what stands before them.
    """
    return _ascending(_from_log(session, since, until))


def _from_log(session: Session, since: datetime | None, until: datetime | None) -> Iterator[Recorded]:
    conditions: list[ColumnElement[bool]] = [col(LogEntry.topic).in_(_SHOWN)]
    conditions += [col(LogEntry.recorded) >= since] if since is not None else []
    conditions += [col(LogEntry.recorded) < until] if until is not None else []
    after = 0
    while True:
        statement = select(LogEntry).where(col(LogEntry.seq) > after, *conditions)
        entries = session.exec(statement.order_by(col(LogEntry.seq)).limit(_AT_ONCE)).all()
        for entry in entries:
            yield Recorded(codec.decode(entry.body), entry.recorded)
        if len(entries) < _AT_ONCE:
            return
        after = number(entries[-1])


def find(session: Session, event_id: UUID) -> Logged | None:
    """The event of this id in the log, or None; ours before one from outside that has taken the same id."""
    found = session.exec(select(LogEntry).where(col(LogEntry.id) == event_id, col(LogEntry.topic).in_(_SHOWN))).all()
    entry = min(found, key=lambda one: _SHOWN.index(one.topic), default=None)
    return Logged(codec.decode(entry.body), entry.recorded, number(entry)) if entry is not None else None


def leading_up(session: Session, to: Logged, since: datetime, limit: int) -> list[Recorded]:
    """The events of the log that came from `since` on, in its order, up to `to`, which is the last: `limit` and it."""
    statement = select(LogEntry).where(
        col(LogEntry.seq) < to.seq, col(LogEntry.recorded) >= since, col(LogEntry.topic).in_(_SHOWN)
    )
    entries = session.exec(statement.order_by(col(LogEntry.seq).desc()).limit(limit)).all()
    before = [Recorded(codec.decode(one.body), one.recorded) for one in reversed(entries)]
    return list(_ascending([*before, Recorded(to.event, to.received)]))


def _ascending(logged: Iterable[Recorded]) -> Iterator[Recorded]:
    received: Micros = 0
    for event, recorded in logged:
        received = ascending(received, micros(recorded))
        yield Recorded(event, instant(received))


def _read(line: bytes, place: int) -> Recorded:
    try:
        read = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(str(error)) from error
    event = Event(
        # A line that has no id gets the same one each time.
        id=read.id or derive("line", place, line.strip().decode(errors="replace")),
        event=read.event,
        occurred=read.occurred.astimezone(UTC),
        resource=codec.our_labels(read.resource),
        related=[codec.our_labels(labels) for labels in read.related],
        payload=read.payload,
        follows=read.follows,
    )
    codec.check(event)
    return Recorded(event, (read.received or event.occurred).astimezone(UTC))
