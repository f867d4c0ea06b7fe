"""How far a group of readers has come, stored in the transaction of what the records caused."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import cast

from sqlalchemy import CursorResult, delete, update
from sqlmodel import Session, col, select

from tocsin.events.bus import Record
from tocsin.store.engine import insert_new
from tocsin.store.tables import Position

Place = tuple[str, int]


def offsets(session: Session, consumer: str) -> dict[Place, int]:
    """For each (stream, partition) the first offset that the group has not yet handled."""
    rows = session.exec(select(Position).where(Position.consumer == consumer))
    return {(row.stream, row.partition): row.next_offset for row in rows}


def advance(session: Session, consumer: str, records: Sequence[Record]) -> bool:
    """Move the group past `records`, which it has just handled in this transaction.

    False when the group is already past the first of them on some partition: another member has handled it, and this
    transaction must be rolled back.
    """
    ordered = sorted(records, key=_place)
    return all(_advance(session, consumer, place, list(group)) for place, group in groupby(ordered, _place))


def reach(session: Session, consumer: str, reached: Mapping[Place, int]) -> None:
    """Note that the group has come so far, which is kept elsewhere; what is further already stays."""
    for (stream, partition), offset in reached.items():
        key = {"consumer": consumer, "stream": stream, "partition": partition}
        if not insert_new(session, Position, [{**key, "next_offset": offset}]):
            mine = update(Position).where(col(Position.consumer) == consumer, col(Position.stream) == stream)
            mine = mine.where(col(Position.partition) == partition, col(Position.next_offset) < offset)
            session.connection().execute(mine.values(next_offset=offset))


def forget(session: Session, consumer: str, place: Place) -> None:
    """The group has handled nothing of this partition: it is another one under the same name."""
    stream, partition = place
    mine = delete(Position).where(col(Position.consumer) == consumer, col(Position.stream) == stream)
    session.connection().execute(mine.where(col(Position.partition) == partition))


def _place(record: Record) -> Place:
    return record.stream, record.partition


def _advance(session: Session, consumer: str, place: Place, records: list[Record]) -> bool:
    stream, partition = place
    found = [record.offset for record in records]
    key = {"consumer": consumer, "stream": stream, "partition": partition}
    if insert_new(session, Position, [{**key, "next_offset": max(found) + 1}]):
        return True
    statement = (
        update(Position)
        .where(col(Position.consumer) == consumer, col(Position.stream) == stream)
        .where(col(Position.partition) == partition, col(Position.next_offset) <= min(found))
        .values(next_offset=max(found) + 1)
    )
    moved = cast(CursorResult[tuple[()]], session.connection().execute(statement))
    return moved.rowcount == 1
