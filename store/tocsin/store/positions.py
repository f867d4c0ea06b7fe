"""How far a group of readers has come, stored in the transaction of what the records caused."""

from collections.abc import Sequence
from itertools import groupby
from typing import cast

from sqlalchemy import CursorResult, update
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
