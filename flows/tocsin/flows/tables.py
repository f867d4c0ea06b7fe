"""The tables of work: runs of flows and tasks, deployments, pools, workers, log lines, cached results."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables
from tocsin.store.types import Json, Sequence, UtcDateTime

# Any in the Json columns: parameters, labels and results are whatever JSON their owner chose.


_UNTAKEN: Final = "state_type = 'SCHEDULED' AND state_name = 'Scheduled'"
_WAITING: Final = "waits_until IS NOT NULL"
_UNFINISHED: Final = "series IS NOT NULL AND ended IS NULL"


class FlowRun(SQLModel, table=True):
    """One run of a flow. `version` counts its states, `attempt` its claims; `lease` names who holds it.

    While it is paused, `waits_for` tells the input that it asks for (its key and JSON schema), `waits_until` how long.

    `depth` and `chain` tell which automations stand behind the run: behind its start, or behind what somebody else has
    done to it last. Of a `series` (the runs of a schedule) with `room` at most so many are under way, in the order of
    their `turn`.
    """

    __tablename__ = "flow_run"
    __table_args__ = (
        Index(None, "work_pool", "state_type", "scheduled"),
        Index(None, "state_type", "lease"),
        Index(None, "deployment", "created"),
        Index(None, "created"),
        Index(None, "scheduled", sqlite_where=text(_UNTAKEN), postgresql_where=text(_UNTAKEN)),
        Index(None, "waits_until", sqlite_where=text(_WAITING), postgresql_where=text(_WAITING)),
        Index(None, "series", sqlite_where=text(_UNFINISHED), postgresql_where=text(_UNFINISHED)),
    )

    id: UUID = Field(primary_key=True)
    name: str
    flow_name: str
    flow_version: str | None = None
    deployment: str | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    tags: list[str] = Field(default_factory=list, sa_type=Json)
    parent_run_id: UUID | None = Field(default=None, index=True)
    idempotency_key: str | None = Field(default=None, unique=True)
    creator: dict[str, str] | None = Field(default=None, sa_type=Json)
    cause: UUID | None = None
    depth: int = 0
    chain: str = Field(default="", sa_type=Text)
    series: str | None = None
    turn: int | None = Field(default=None, sa_type=BigInteger)
    room: int | None = None
    state_type: str
    state_name: str
    state_message: str = Field(default="", sa_type=Text)
    state_at: datetime = Field(sa_type=UtcDateTime)
    fault: dict[str, Any] | None = Field(default=None, sa_type=Json)
    scheduled: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempt: int = 0
    retries: int = 0
    reruns: int = 0
    version: int = 0
    transition: str | None = None
    lease: str | None = None
    worker: str | None = None
    result: dict[str, Any] | None = Field(default=None, sa_type=Json)
    created: datetime = Field(sa_type=UtcDateTime)
    started: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waits_for: dict[str, Any] | None = Field(default=None, sa_type=Json)
    waits_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class TaskRun(SQLModel, table=True):
    """One run of a task. `resume_key`: by which a later attempt of the same flow run finds its result."""

    __tablename__ = "task_run"
    __table_args__ = (Index(None, "flow_run_id", "resume_key"), Index(None, "state_type", "flow_run_id"))

    id: UUID = Field(primary_key=True)
    name: str
    task_name: str
    task_key: str
    flow_run_id: UUID | None = None
    resume_key: str | None = None
    tags: list[str] = Field(default_factory=list, sa_type=Json)
    state_type: str
    state_name: str
    state_message: str = Field(default="", sa_type=Text)
    state_at: datetime = Field(sa_type=UtcDateTime)
    fault: dict[str, Any] | None = Field(default=None, sa_type=Json)
    scheduled: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempt: int = 0
    retries: int = 0
    version: int = 0
    lease: str | None = None
    result: dict[str, Any] | None = Field(default=None, sa_type=Json)
    created: datetime = Field(sa_type=UtcDateTime)
    started: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Rerun(SQLModel, table=True):
    """A retry that somebody asked for, under the key by which the same request is known again."""

    __tablename__ = "flow_run_rerun"

    key: str = Field(primary_key=True)
    flow_run_id: UUID = Field(index=True)
    asked: datetime = Field(sa_type=UtcDateTime)
    cause: UUID | None = None


class DeploymentRow(SQLModel, table=True):
    """A flow that can be run by name: where its code is, with which parameters, on which pool, when.

    `concurrency_limit`: how many of its runs may be under way at once (None: no bound); `collision_strategy`: what
    becomes of one more, `ENQUEUE` or `CANCEL_NEW`.
    """

    __tablename__ = "deployment"

    name: str = Field(primary_key=True)
    flow_name: str
    entrypoint: str
    path: str | None = None
    work_pool: str = Field(index=True)
    work_queue: str = "default"
    description: str = Field(default="", sa_type=Text)
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    schedules: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    tags: list[str] = Field(default_factory=list, sa_type=Json)
    paused: bool = False
    concurrency_limit: int | None = None
    collision_strategy: str = "ENQUEUE"
    version: int = 1
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class WorkPool(SQLModel, table=True):
    """Where runs wait for workers. `concurrency`: how many may run at once over all workers (None: no bound).

    `type`: what starts them; `template`: the choices that this type leaves.
    """

    __tablename__ = "work_pool"

    name: str = Field(primary_key=True)
    type: str = "process"
    template: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    paused: bool = False
    concurrency: int | None = None
    created: datetime = Field(sa_type=UtcDateTime)


class WorkQueue(SQLModel, table=True):
    """A part of a pool that can be paused by itself. The queue `default` of a pool is there without a row.

    Workers take from the queue with the lowest `priority` first; `concurrency` as for pools.
    """

    __tablename__ = "work_queue"

    pool: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    paused: bool = False
    priority: int = 100
    concurrency: int | None = None
    created: datetime = Field(sa_type=UtcDateTime)


class WorkerRow(SQLModel, table=True):
    """A worker that serves a pool; it is alive while its lease is. `slots`: runs that it does at once.

    `queues`: those that it serves; None: all of its pool.
    """

    __tablename__ = "worker"

    name: str = Field(primary_key=True)
    work_pool: str = Field(index=True)
    queues: list[str] | None = Field(default=None, sa_type=Json)
    slots: int = 1
    lease: str
    host: str
    pid: int
    started: datetime = Field(sa_type=UtcDateTime)
    stopped: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LogLine(SQLModel, table=True):
    """One line that a run logged. `level`: the number of the standard library's logging."""

    __tablename__ = "log_line"
    __table_args__ = (Index(None, "flow_run_id", "id"), Index(None, "task_run_id", "id"), Index(None, "at"))

    id: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    at: datetime = Field(sa_type=UtcDateTime)
    level: int
    logger: str
    message: str = Field(sa_type=Text)


class CacheEntry(SQLModel, table=True):
    """The result of a task under its cache key; `expires` None: for good."""

    __tablename__ = "cache_entry"

    key: str = Field(primary_key=True)
    task_key: str
    result: dict[str, Any] = Field(sa_type=Json)
    task_run_id: UUID
    created: datetime = Field(sa_type=UtcDateTime)
    expires: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)


# The tables of areas with a module of their own: whoever knows this room's tables knows them too.
import tocsin.flows.artifact_tables  # noqa: E402
import tocsin.flows.block_tables  # noqa: E402
import tocsin.flows.cache_tables  # noqa: E402
import tocsin.flows.input_tables  # noqa: E402
import tocsin.flows.limit_tables  # noqa: E402
import tocsin.flows.presence_tables  # noqa: E402
import tocsin.flows.remote_tables  # noqa: E402
import tocsin.flows.variable_tables  # noqa: E402, F401
