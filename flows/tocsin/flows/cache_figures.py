"""How much the cache saves: of the runs of a task that are over, how many took an earlier result."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import case, func, select
from sqlmodel import Session, col

from tocsin.flows.states import FINAL
from tocsin.flows.tables import TaskRun

CACHED: Final = "Cached"
_FINAL: Final = sorted(kind.value for kind in FINAL)


class Effect(msgspec.Struct, frozen=True):
    """Of `total` runs of a task that are over, `skipped` took a cached result."""

    task_key: str
    task_name: str
    total: int
    skipped: int

    @property
    def ratio(self) -> float:
        """Skipped / total, from 0 to 1."""
        return self.skipped / self.total if self.total else 0.0


def saved_executions(cached_tasks: int, runs: int, hit_rate: float) -> float:
    """Executions that a cache saves: of so many tasks, in so many runs of their flow, at this rate of hits (0 to 1)."""
    return cached_tasks * runs * hit_rate


def effects(session: Session, since: datetime, *, only_cached: bool = True) -> list[Effect]:
    """Each task's runs that began after `since` and are over; `only_cached`: of tasks that have skipped one."""
    skipped = func.sum(case((col(TaskRun.state_name) == CACHED, 1), else_=0))
    columns = (col(TaskRun.task_key), func.max(col(TaskRun.task_name)), func.count(), skipped)
    counted = select(*columns).where(col(TaskRun.id) >= first_id(since), col(TaskRun.state_type).in_(_FINAL))
    counted = counted.group_by(col(TaskRun.task_key)).order_by(col(TaskRun.task_key))
    if only_cached:
        counted = counted.having(skipped > 0)
    return [Effect(*row) for row in session.connection().execute(counted)]


def first_id(at: datetime) -> UUID:
    """No run that was made at `at` or later has a lower id: ids begin with the time (UUIDv7)."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)
