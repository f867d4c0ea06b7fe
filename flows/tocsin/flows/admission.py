"""Which waiting runs of flows may be claimed: pure, over what is left of the limits they are under.

The order is the caller's. A run whose deployment or queue is full lets those behind it pass; a full pool stops all.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A run that is due and waits."""

    id: UUID
    deployment: str | None = None
    queue: str | None = None


class Rooms(msgspec.Struct, frozen=True):
    """How many more runs there is room for: in the pool (None: no bound), and by the names that have a limit."""

    pool: int | None = None
    queues: Mapping[str, int] = {}
    deployments: Mapping[str, int] = {}

    @property
    def closed(self) -> bool:
        """Nothing more fits into the pool."""
        return self.pool is not None and self.pool <= 0

    @property
    def any_full(self) -> bool:
        """Something has no room left."""
        return self.closed or bool(self.full_queues or self.full_deployments)

    @property
    def full_queues(self) -> list[str]:
        """Queues with no room left."""
        return sorted(name for name, room in self.queues.items() if room <= 0)

    @property
    def full_deployments(self) -> list[str]:
        """Deployments with no room left."""
        return sorted(name for name, room in self.deployments.items() if room <= 0)


def admit(waiting: Iterable[Candidate], rooms: Rooms) -> tuple[list[Candidate], Rooms]:
    """Those that may be claimed together, in order, and what is left after them."""
    admitted = []
    for run in waiting:
        if rooms.closed:
            break
        if fits(run, rooms):
            admitted.append(run)
            rooms = without(run, rooms)
    return admitted, rooms


def fits(run: Candidate, rooms: Rooms) -> bool:
    """Whether there is room for the run."""
    queue, deployment = rooms.queues.get(run.queue or "", 1), rooms.deployments.get(run.deployment or "", 1)
    return not rooms.closed and queue > 0 and deployment > 0


def without(run: Candidate, rooms: Rooms) -> Rooms:
    """The room that is left when the run has taken its own."""
    return Rooms(
        rooms.pool if rooms.pool is None else rooms.pool - 1,
        _less(rooms.queues, run.queue),
        _less(rooms.deployments, run.deployment),
    )


def _less(rooms: Mapping[str, int], name: str | None) -> Mapping[str, int]:
    return {**rooms, name: rooms[name] - 1} if name is not None and name in rooms else rooms
