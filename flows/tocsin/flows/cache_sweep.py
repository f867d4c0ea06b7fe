"""Files of results to which no row refers any more: results of runs that were deleted, of entries that were cleared.

A file is written before its row, so a young one is left alone; and one that has a name of its user's choice always.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from tocsin.flows.storage import Storage, configured, storage_at
from tocsin.flows.tables import CacheEntry, FlowRun, TaskRun
from tocsin.store.engine import Store

YOUNG: Final = timedelta(hours=1)
"""So long a file needs no row."""

_OURS: Final = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}\.\d+\.[0-9a-f]+")
"""A result under its hash, or the draft of one that a killed process has left."""

_WHO_REFERS: Final = (CacheEntry, TaskRun, FlowRun)


class Swept(NamedTuple):
    """What was taken away."""

    files: int
    size: int


def orphans(sizes: Mapping[str, tuple[int, float | None]], young: timedelta) -> dict[str, int]:
    """Of the files of a storage (size and age in seconds by name), those that may go unless a row refers to them."""
    return {
        name: size
        for name, (size, age_s) in sizes.items()
        if _OURS.fullmatch(name) and age_s is not None and age_s >= young.total_seconds()
    }


def sweep_files(store: Store, storage: Storage | None = None, young: timedelta = YOUNG) -> Swept:
    """Take away the files of `storage` (default: the configured one) that no row refers to. Raises Unavailable."""
    place = storage if storage is not None else storage_at(configured())
    found = orphans({file.name: (file.size, file.age_s) for file in place.files()}, young)
    if found:
        with store.read() as session:
            for table in _WHO_REFERS:
                _spare(session, table, found)
    for name in found:
        place.remove(name)
    return Swept(len(found), sum(found.values()))


def _spare(session: Session, table: type[SQLModel], found: dict[str, int]) -> None:
    # Any: the column of a table of ours
    result: Any = SQLModel.metadata.tables[str(table.__tablename__)].c.result
    named = select(result["file"].as_string()).where(result["kind"].as_string() == "file")
    for name in session.connection().execute(named.execution_options(yield_per=1000)).scalars():
        found.pop(name, None)
