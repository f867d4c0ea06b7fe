"""What the API and the command line show of the rooms' rows: no secrets, no leases, the same names in both."""

from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from tocsin.automations.store import Listed
from tocsin.automations.tables import Tally

# Any in these models: parameters, specifications and errors are whatever JSON their owner chose.


SCHEDULE_EXTRAS: Final = ("slug", "active", "parameters", "catchup", "catchup_window", "overlap")
"""What a deployment's schedule says besides its own definition."""


class View(BaseModel):
    """Something shown; made from a row by `model_validate(row)`."""

    model_config = ConfigDict(from_attributes=True)


class RunView(View):
    """A flow run and the state it is in."""

    id: UUID
    name: str
    flow_name: str
    deployment: str | None
    work_pool: str | None
    state_type: str
    state_name: str
    state_message: str
    state_at: datetime
    attempt: int
    reruns: int
    parameters: dict[str, Any]
    tags: list[str]
    fault: dict[str, Any] | None
    creator: dict[str, str] | None
    cause: UUID | None
    parent_run_id: UUID | None
    worker: str | None
    scheduled: datetime | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    waits_for: dict[str, Any] | None
    waits_until: datetime | None


class TaskRunView(View):
    """A task run and the state it is in."""

    id: UUID
    name: str
    task_key: str
    flow_run_id: UUID | None
    state_type: str
    state_name: str
    state_message: str
    state_at: datetime
    attempt: int
    fault: dict[str, Any] | None
    created: datetime
    started: datetime | None
    ended: datetime | None


class RunDetail(RunView):
    """A flow run with its task runs, oldest first."""

    tasks: list[TaskRunView]


class LogLineView(View):
    """One line that a run logged; `level` as the standard library numbers it."""

    id: int
    at: datetime
    level: int
    logger: str
    message: str
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    run: str | None = None
    task: str | None = None


class DeploymentView(View):
    """A flow that can be run by name."""

    name: str
    flow_name: str
    entrypoint: str
    path: str | None
    work_pool: str
    description: str
    parameters: dict[str, Any]
    schedules: list[dict[str, Any]]
    tags: list[str]
    paused: bool
    version: int
    created: datetime
    updated: datetime


class WorkPoolView(View):
    """Where runs wait for workers."""

    name: str
    type: str
    template: dict[str, Any]
    paused: bool
    concurrency: int | None
    created: datetime


class WorkerView(View):
    """A worker: whether it lives, the runs it has at work, when it was heard of last."""

    name: str
    pool: str
    queues: list[str] | None
    slots: int
    at_work: int
    alive: bool
    heard: datetime | None
    host: str
    pid: int
    started: datetime
    stopped: datetime | None


class DemandView(View):
    """How much work a pool has: runs that are due, and that run; what its workers and its own bound leave room for."""

    waiting: int
    running: int
    slots_free: int
    oldest_wait_s: float
    room: int | None


class ScheduleView(View):
    """A schedule and how far it has come."""

    slug: str
    kind: str
    spec: dict[str, Any]
    timezone: str
    active: bool
    catchup: str
    window_s: float | None
    overlap: str
    deployment: str | None
    parameters: dict[str, Any]
    previous_at: datetime | None
    next_at: datetime | None
    version: int
    updated: datetime


class BackfillView(View):
    """A tick that a backfill sends: its instant, which is the end of its data interval, and the interval's begin."""

    scheduled_time: datetime
    data_interval_start: datetime


class HookView(View):
    """A hook; `verified_by` is the kind of its verification, or `insecure`. Secrets are masked in `config`."""

    name: str
    verified_by: str
    config: dict[str, Any]
    updated: datetime


class SourceView(View):
    """A source: `config` is its definition, `handled` how many messages it has come past."""

    name: str
    topic: str
    format: str
    config: dict[str, Any]
    handled: int
    updated: datetime


class LostPostView(View):
    """A post that its hook could make no event of; `body` as text."""

    recorded: datetime
    hook: str
    reason: str
    body: str


class AutomationView(View):
    """An automation as it was applied; secrets in its definition are masked."""

    name: str
    enabled: bool
    definition: dict[str, Any]
    created: datetime
    updated: datetime

    @classmethod
    def of(cls, listed: Listed) -> Self:
        """What may be shown of an automation on record."""
        one = listed.automation
        definition = one.model_dump(mode="json")
        return cls(
            name=one.name, enabled=one.enabled, definition=definition, created=listed.created, updated=listed.updated
        )


class TallyView(View):
    """What an automation met: events that concerned it and events that did not match, firings, late events, errors.

    `remembered`: under how many keys something is counted, awaited or open (embedded; a stream tells it by partition).
    """

    concerned: int
    not_matched: int
    fired: int
    late: int
    errors: int
    remembered: int
    last_concerned: datetime | None
    last_fired: datetime | None
    last_error: str | None

    @classmethod
    def of(cls, tally: Tally, evaluated: int, remembered: int) -> Self:
        """The counts of one automation, of all the events that were `evaluated`."""
        fields = {name: getattr(tally, name) for name in cls.model_fields if name not in ("not_matched", "remembered")}
        return cls(**fields, not_matched=max(0, evaluated - tally.concerned), remembered=remembered)


class FiringView(View):
    """That an automation fired, or that what it fired for is over. A deadline has no `event_id`."""

    id: UUID
    automation: str
    key: list[str]
    state: str
    at: datetime
    recorded: datetime
    event_id: UUID | None
    count: int
    labels: dict[str, str]
    children: list[dict[str, Any]]
    late: bool


class InvocationView(View):
    """One action of one firing, and how it went."""

    id: UUID
    firing_id: UUID
    automation: str
    position: int
    action: str
    state: str
    due: datetime
    tries: int
    attempts: list[dict[str, Any]]
    reason: str | None
    finished: datetime | None


class NotifierView(View):
    """Who can be told; the secrets stay sealed."""

    name: str
    kind: str
    config: dict[str, Any]
    updated: datetime


class AttemptView(View):
    """One try to tell a receiver, and how it went; `waited_ms` is how long it was due before its turn came."""

    receiver: str
    action: str
    at: datetime
    outcome: str
    status: int | None
    took_ms: int
    waited_ms: int
    reason: str | None


class ComingView(View):
    """A coming tick: the instant, what the clocks show then, and `gap` or `fold` where a clock change touches it.

    `sent_at`: when it is sent, its jitter reckoned in; null for a jittered definition without a slug.
    """

    instant: datetime
    wall: datetime
    note: str
    sent_at: datetime | None
