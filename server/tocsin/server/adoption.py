"""Deployments say when they are to run; here that becomes rows of the clock.

Each schedule of a deployment is put as it says, and one that it no longer has is paused. A schedule that a person has
paused stays paused through every redeploy, until the deployment itself says something else about it than before; that
the deployment as a whole rests, and goes on, says nothing about a schedule that was paused already.
Running this twice, or in two processes, changes nothing.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlmodel import Session

from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.deployments import SCHEDULES, list_deployments
from tocsin.flows.tables import DeploymentRow
from tocsin.server.views import SCHEDULE_EXTRAS
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import first
from tocsin.triggers.store import get_schedule, list_schedules, pause_schedule, policies, put_schedule
from tocsin.triggers.tables import Schedule

LOOK: Final = timedelta(seconds=1)

logger = structlog.get_logger(__name__)

Versions = tuple[tuple[str, int, bool, datetime], ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """One schedule as its deployment wants it."""

    slug: str
    deployment: str
    # Any, here: a schedule's JSON and a flow's parameters.
    spec: Mapping[str, Any]
    parameters: Mapping[str, Any]
    active: bool
    rests: bool
    catchup: Any
    catchup_window: Any
    overlap: Any


class Adoption:
    """Keeps the clock's rows as the deployments say, within a second of a change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._seen: Versions | None = None

    async def serve(self, stop: asyncio.Event) -> None:
        """Adopt what is there and what changes, until `stop`."""
        with self._store.watch(SCHEDULES) as watch:
            while not stop.is_set():
                try:
                    await self.look()
                except AWAY as error:
                    logger.warning("the database does not answer, trying again", reason=type(error).__name__)
                await first(watch.wait(LOOK), stop.wait())

    async def look(self) -> None:
        """Adopt once, if a deployment changed since the last time."""
        rows = await self._store.look(list_deployments)
        seen = tuple((row.name, row.version, row.paused, row.updated) for row in rows)
        if seen == self._seen:
            return
        wanted = wishes(rows)
        for wish in wanted.values():
            await self._store.run(lambda session, wish=wish: _adopt(session, wish, self._clock.now()))  # type: ignore[misc]
        await self._store.run(lambda session: _retire(session, wanted, self._clock.now()))
        self._seen = seen


def wishes(deployments: Sequence[DeploymentRow]) -> dict[str, Wish]:
    """What the deployments want, by slug; of two with one slug the deployment that comes first keeps it."""
    found: dict[str, Wish] = {}
    for wish in (wish for row in deployments for wish in _of(row)):
        if (other := found.setdefault(wish.slug, wish)) is not wish:
            logger.warning(
                "two deployments name one schedule", slug=wish.slug, kept=other.deployment, not_for=wish.deployment
            )
    return found


def _of(row: DeploymentRow) -> Iterator[Wish]:
    for entry in row.schedules:
        spec = {key: value for key, value in entry.items() if key not in SCHEDULE_EXTRAS and value is not None}
        yield Wish(
            slug=str(entry.get("slug") or row.name),
            deployment=row.name,
            spec=spec,
            parameters=entry.get("parameters") or {},
            active=bool(entry.get("active", True)) and not row.paused,
            rests=row.paused,
            catchup=entry.get("catchup"),
            catchup_window=entry.get("catchup_window"),
            overlap=entry.get("overlap"),
        )


def _adopt(session: Session, wish: Wish, now: datetime) -> None:
    if (owner := _other_owner(session, wish)) is not None:
        logger.warning("this schedule is somebody else's", slug=wish.slug, deployment=wish.deployment, owner=owner)
        return
    try:
        catchup, overlap = policies(wish.catchup, wish.catchup_window, wish.overlap)
        declared, rested = _standing(session, wish.slug)
        row = put_schedule(
            session,
            wish.slug,
            wish.spec,
            deployment=wish.deployment,
            parameters=wish.parameters,
            active=wish.active if wish.active != declared else None,
            catchup=catchup,
            overlap=overlap,
            now=now,
        )
        row.declared = declared if wish.rests and rested else wish.active
        session.add(row)
    except Invalid as error:
        # It harms only itself; what the row said before is not what the deployment says now.
        logger.error("a deployment's schedule is refused", deployment=wish.deployment, reason=str(error))
        _pause(session, wish.slug, now)


def _standing(session: Session, slug: str) -> tuple[bool | None, bool]:
    """What the deployment last asked of the schedule (None for a new one), and whether it is paused."""
    row = session.get(Schedule, slug)
    return (row.declared, not row.active) if row is not None else (None, False)


def _other_owner(session: Session, wish: Wish) -> str | None:
    """Who else has a schedule of this slug: nobody, somebody's own schedule, or a deployment that is still there."""
    try:
        owner = get_schedule(session, wish.slug).deployment
    except NotFound:
        return None
    if owner is None:
        return "no deployment"
    if owner == wish.deployment or session.get(DeploymentRow, owner) is None:
        return None
    return owner


def _retire(session: Session, wanted: Mapping[str, Wish], now: datetime) -> None:
    for row in list_schedules(session, active=True):
        if row.deployment is not None and row.slug not in wanted:
            logger.info("a deployment has dropped this schedule", slug=row.slug, deployment=row.deployment)
            _pause(session, row.slug, now)


def _pause(session: Session, slug: str, now: datetime) -> None:
    """Pause it in the deployment's name: what it says of the schedule next counts as something else than before."""
    try:
        row = pause_schedule(session, slug, now)
    except NotFound:
        return
    row.declared = False
    session.add(row)
