"""What the API and the command line show of the cache."""

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlmodel import Session

from tocsin.flows import cache_figures, cache_shelf, results
from tocsin.flows.cache_figures import Effect
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.tables import CacheEntry
from tocsin.server.views import View


class EntryView(View):
    """A cached result: who made it, how large it is and where, until when it counts (None: for good)."""

    key: str
    task: str
    task_run_id: UUID
    created: datetime
    expires: datetime | None
    expired: bool
    bytes: int
    serializer: str
    storage: str

    @classmethod
    def of(cls, entry: CacheEntry, now: datetime) -> Self:
        """The view of a row."""
        inline = entry.result["kind"] == "json"
        return cls(
            key=entry.key,
            task=entry.task_key,
            task_run_id=entry.task_run_id,
            created=entry.created,
            expires=entry.expires,
            expired=entry.expires is not None and entry.expires <= now,
            bytes=results.size(entry.result),
            serializer="json" if inline else entry.result["serializer"],
            storage="database" if inline else entry.result["storage"] or "results folder",
        )


class EffectView(View):
    """Of `total` runs of a task that are over, `skipped` took a cached result; `effectiveness` in per cent."""

    task: str
    name: str
    total: int
    skipped: int
    effectiveness: float

    @classmethod
    def of(cls, effect: Effect) -> Self:
        """The view of figures."""
        return cls(
            task=effect.task_key,
            name=effect.task_name,
            total=effect.total,
            skipped=effect.skipped,
            effectiveness=round(100 * effect.ratio, 1),
        )


class FlightView(View):
    """A key whose result a task run computes, for which others may wait."""

    key: str
    task_run_id: UUID
    flow_run_id: UUID | None
    since: datetime

    @classmethod
    def of(cls, flight: CacheFlight) -> Self:
        """The view of a row."""
        return cls.model_validate(flight)


class ClearedView(View):
    """How many entries were taken out; files go when no row refers to them any more."""

    entries: int
    files: int = 0
    bytes: int = 0


def entries(
    session: Session, now: datetime, *, task: str | None = None, expired: bool | None = None, limit: int = 50
) -> list[EntryView]:
    """Cached results, newest first."""
    found = cache_shelf.list_entries(session, now, task=task, expired=expired, limit=limit)
    return [EntryView.of(entry, now) for entry in found]


def entry(session: Session, key: str, now: datetime) -> EntryView:
    """One cached result. Raises NotFound, and Invalid."""
    return EntryView.of(cache_shelf.get_entry(session, key), now)


def effects(session: Session, since: datetime, *, only_cached: bool) -> list[EffectView]:
    """Effectiveness per task."""
    return [EffectView.of(effect) for effect in cache_figures.effects(session, since, only_cached=only_cached)]


def flights(session: Session) -> list[FlightView]:
    """What is being computed."""
    return [FlightView.of(flight) for flight in cache_shelf.list_flights(session)]
