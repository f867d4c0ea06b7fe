"""Bringing every sealed secret to the newest key, wherever in the database it stands.

What `seal` made is known by its form and by a key that opens it, so no table has to be listed: a text or JSON column
that holds a token holds a secret. Each batch of rows is a transaction of its own; whoever stops in between, or runs it
twice, does no harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Column, ColumnElement, String, Table, Text, and_, cast, or_, select, update
from sqlmodel import Session, SQLModel

from tocsin.events.errors import Invalid
from tocsin.store.engine import Store
from tocsin.store.schema import load_tables
from tocsin.store.secrets import TOKEN, is_newest, reseal

BATCH: Final = 100

# Any, in this file: values of columns.
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What was done in one transaction: tokens brought to the newest key, tokens that no key opens."""

    table: str
    column: str
    resealed: int
    unreadable: int


def reseal_all(store: Store, rows: int = BATCH) -> Iterator[Batch]:
    """Go through the whole database, so many `rows` at once; a `Batch` for each transaction that has met a token."""
    load_tables()
    for table in SQLModel.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, String | Text | JSON) and not column.primary_key:
                yield from _column(store, table, column, rows)


def _column(store: Store, table: Table, column: Column[Any], limit: int) -> Iterator[Batch]:
    last: Key | None = None
    while True:
        with store.begin() as session:
            rows = _rows(session, table, column, last, limit)
            done = [_row(session, table, column, row[:-1], row[-1]) for row in rows]
        if not rows:
            return
        last = rows[-1][:-1]
        yield Batch(table.name, column.name, sum(one for one, _ in done), sum(other for _, other in done))


def _rows(session: Session, table: Table, column: Column[Any], last: Key | None, limit: int) -> list[Key]:
    """The next rows that hold what looks like a token: their key and the value; locked until the commit."""
    keys = list(table.primary_key.columns)
    wanted: ColumnElement[bool] = cast(column, Text).like("%gAAAA%")
    if last is not None:
        # Key after key: (a, b) > (x, y) is a > x or (a = x and b > y).
        later = [
            and_(*(keys[before] == last[before] for before in range(at)), keys[at] > last[at])
            for at in range(len(keys))
        ]
        wanted = and_(wanted, or_(*later))
    found = select(*keys, column).where(wanted).order_by(*keys).limit(limit).with_for_update()
    return [tuple(row) for row in session.connection().execute(found)]


def _row(session: Session, table: Table, column: Column[Any], key: Key, value: Any) -> tuple[int, int]:
    """Reseal what stands in one value; how many tokens, and how many that no key opens."""
    is_json = not isinstance(value, str)
    text = msgspec.json.encode(value).decode() if is_json else value
    counts = {"resealed": 0, "unreadable": 0}
    fresh = TOKEN.sub(lambda found: _token(found.group(), counts), text)
    if fresh != text:
        there = and_(*(part == given for part, given in zip(table.primary_key.columns, key, strict=True)))
        written = msgspec.json.decode(fresh) if is_json else fresh
        session.connection().execute(update(table).where(there).values({column.name: written}))
    return counts["resealed"], counts["unreadable"]


def _token(token: str, counts: dict[str, int]) -> str:
    if is_newest(token):
        return token
    try:
        fresh = reseal(token)
    except Invalid:
        counts["unreadable"] += 1
        return token
    counts["resealed"] += 1
    return fresh
