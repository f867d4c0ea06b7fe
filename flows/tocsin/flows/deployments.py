"""Deployments: flows that can be run by name, on a pool, with parameters, at times."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session, col, select

from tocsin.events import templates
from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.clock import SystemClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows import entrypoint as entrypoints
from tocsin.flows.changes import RUNS, Columns
from tocsin.flows.checks import checked_name
from tocsin.flows.flows import Flow
from tocsin.flows.ledger import current
from tocsin.flows.limits import apply_limits
from tocsin.flows.pools import DEFAULT, create_pool
from tocsin.flows.queues import DEFAULT as QUEUE
from tocsin.flows.queues import create_queue
from tocsin.flows.request import Request
from tocsin.flows.row_types import row_of
from tocsin.flows.serializers import same_after_json
from tocsin.flows.tables import DeploymentRow
from tocsin.store import log
from tocsin.store.bell import ring
from tocsin.store.engine import Store, touch

KINDS: Final = ("cron", "interval", "rrule")
SCHEDULES: Final = "schedules"

# Any below: parameters and schedules are JSON of their owner's choice.


class Definition(Protocol):
    """A schedule that has a JSON form, such as `tocsin.triggers.Cron`."""

    def to_dict(self) -> dict[str, Any]:
        """Its JSON form."""


class Deployment(BaseModel):
    """A flow under a name: `entrypoint` is `module:flow` or `path.py:flow`, looked up from the folder `path`.

    `work_queue`: that part of the pool which may be paused by itself. `schedules`: objects with one of `cron`,
    `interval` (seconds or a timedelta) and `rrule`, and if wanted `timezone`, `start`, `end`, `exdates`, `jitter`,
    `slug`, `parameters`, `active`, `catchup`, `catchup_window`, `overlap` (docs/schedules.md).
    `concurrency_limit`: how many of its runs may be under way at once, what becomes of one more is the
    `collision_strategy`; or limits of tasks by name, `{"fetch": 10}` (docs/limits.md).
    Nothing is stored before `apply`.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    entrypoint: str
    flow_name: str | None = None
    path: str | None = None
    work_pool: str = DEFAULT
    work_queue: str = QUEUE
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    schedules: list[dict[str, Any]] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    concurrency_limit: Annotated[int, Field(ge=1)] | dict[str, int] | None = None
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"

    def __init__(self, **given: Any) -> None:
        if isinstance(listed := given.get("schedules"), list | tuple):
            given["schedules"] = [_described(entry) for entry in listed]
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise Invalid(f"deployment {given.get('name')!r}: {_first(error)}") from error
        checked_name("deployment", self.name)
        self.schedules = [_schedule(self.name, index, entry) for index, entry in enumerate(self.schedules)]
        if not same_after_json(self.parameters):
            raise Invalid(f"deployment {self.name!r}: parameters must be JSON (text, numbers, lists, objects)")
        _check_templates(f"deployment {self.name!r}", self.parameters)
        for entry in self.schedules:
            _check_templates(f"deployment {self.name!r}, schedule {entry['slug']!r}", entry.get("parameters"))

    @classmethod
    def build_from_flow(
        cls,
        flow: Flow[..., Any],
        name: str,
        *,
        schedule: Mapping[str, Any] | Definition | None = None,
        schedules: Iterable[Mapping[str, Any] | Definition] = (),
        work_pool_name: str | None = None,
        work_queue_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        description: str | None = None,
        concurrency_limit: int | dict[str, int] | None = None,
        collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE",
    ) -> Self:
        """A deployment of a flow at hand. Raises Invalid when a worker could not import the flow."""
        entrypoint, path = entrypoints.of_flow(flow)
        return cls(
            name=name,
            entrypoint=entrypoint,
            flow_name=flow.name,
            path=path,
            work_pool=work_pool_name or DEFAULT,
            work_queue=work_queue_name or QUEUE,
            description=description if description is not None else flow.description,
            parameters=dict(parameters or {}),
            schedules=[*([schedule] if schedule else []), *schedules],
            tags=sorted({*flow.tags, *tags}),
            concurrency_limit=concurrency_limit,
            collision_strategy=collision_strategy,
        )

    def apply(self, store: Store | None = None, *, now: datetime | None = None) -> DeploymentRow:
        """Store it under its name; one that is there is changed, and stays paused if it is. Its pool is made.

        Raises Invalid when the entrypoint does not lead to a flow.
        """
        ready = self if self.flow_name else self._loaded()
        if store is not None:
            with store.begin() as session:
                return put_deployment(session, ready, now or SystemClock().now())
        book = current()
        put = PutDeployment(deployment=ready.model_dump(mode="json"), now=now or book.clock.now())
        return DeploymentRow(**book.ask(put))

    def _loaded(self) -> "Deployment":
        flow = entrypoints.load(self.entrypoint, self.path)
        return self.model_copy(
            update={
                "flow_name": flow.name,
                "path": self.path or str(Path.cwd()),
                "description": self.description or flow.description,
            }
        )


class PutDeployment(Request, frozen=True, kw_only=True):
    """Store a deployment, as JSON, under its name; the answer is its row."""

    answer: ClassVar[Any] = row_of(DeploymentRow)

    deployment: dict[str, Any]
    now: datetime

    def perform(self, session: Session) -> Columns:
        """Carry it out; the row as stored."""
        return put_deployment(session, Deployment(**self.deployment), self.now).model_dump()


def put_deployment(session: Session, deployment: Deployment, now: datetime) -> DeploymentRow:
    """Store the deployment under its name; an unchanged one is left alone, a changed one keeps `paused`."""
    create_pool(session, deployment.work_pool, now=now)
    if deployment.work_queue != QUEUE:
        create_queue(session, deployment.work_pool, deployment.work_queue, now=now)
    values = deployment.model_dump() | {"flow_name": deployment.flow_name or deployment.name}
    if isinstance(deployment.concurrency_limit, dict):
        apply_limits(session, deployment.concurrency_limit, now)
        values["concurrency_limit"] = None
    row = session.get(DeploymentRow, deployment.name, with_for_update=True)
    if row is None:
        row = DeploymentRow(**values, created=now, updated=now)
        session.add(row)
        _tell(session, "created", row, now)
    elif any(getattr(row, field) != value for field, value in values.items()):
        for field, value in values.items():
            setattr(row, field, value)
        row.version, row.updated = row.version + 1, now
        _tell(session, "updated", row, now)
    session.flush()
    return row


def get_deployment(session: Session, name: str) -> DeploymentRow:
    """The deployment of this name. Raises NotFound naming those that there are."""
    row = session.get(DeploymentRow, name)
    if row is None:
        known = ", ".join(found.name for found in list_deployments(session)[:10]) or "none"
        raise NotFound(f"deployment {name!r}: there is none of this name; known: {known}")
    return row


def list_deployments(session: Session) -> list[DeploymentRow]:
    """All deployments by name."""
    return list(session.exec(select(DeploymentRow).order_by(col(DeploymentRow.name))).all())


def pause_deployment(
    session: Session, name: str, *, paused: bool = True, cause: Cause = OUTSIDE, now: datetime
) -> DeploymentRow:
    """Its schedules rest until it goes on (`paused=False`); runs that are asked for still run. Raises NotFound."""
    row = get_deployment(session, name)
    if row.paused != paused:
        row.paused, row.updated = paused, now
        _tell(session, "paused" if paused else "resumed", row, now, cause)
    return row


def _described(entry: Any) -> Any:
    """The JSON form of a definition; anything else as it is, to be checked."""
    return entry.to_dict() if hasattr(entry, "to_dict") else entry


def _schedule(deployment: str, index: int, given: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        raise Invalid(f"deployment {deployment!r}: schedule {index + 1} has one of {', '.join(KINDS)}, not {kinds}")
    slug = given.get("slug") or (deployment if index == 0 else f"{deployment}-{index + 1}")
    return {key: _json(value) for key, value in ({"active": True} | dict(given) | {"slug": slug}).items()}


def _check_templates(of: str, parameters: Any) -> None:
    try:
        templates.check_value(parameters)
    except Invalid as error:
        raise Invalid(f"{of}: parameters: {error}") from error


def _json(value: Any) -> Any:
    match value:
        case timedelta():
            return value.total_seconds()
        case date():
            return value.isoformat()
        case list() | tuple():
            return [_json(part) for part in value]
        case _:
            return value


def _tell(session: Session, what: str, row: DeploymentRow, now: datetime, cause: Cause = OUTSIDE) -> None:
    related = [
        {RESOURCE_ID: f"tocsin.flow.{row.flow_name}", "tocsin.resource.role": "flow"},
        {RESOURCE_ID: f"tocsin.work-pool.{row.work_pool}", "tocsin.resource.role": "work-pool"},
    ]
    payload = {"version": row.version, "entrypoint": row.entrypoint, "schedules": row.schedules}
    event = Event(
        id=cause.identity("deployment", what, row.name),
        event=f"tocsin.deployment.{what}",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.deployment.{row.name}", RESOURCE_NAME: row.name, **cause.labels},
        related=related,
        payload=payload,
        follows=cause.event,
    )
    log.append(session, [event])
    ring(session, RUNS)
    touch(session, SCHEDULES)


def _first(error: ValidationError) -> str:
    problem = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    field = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(field, [*Deployment.model_fields], 1)
        return f"there is no field {field}; " + (
            f"is {near[0]} meant?" if near else f"known: {', '.join(Deployment.model_fields)}"
        )
    return f"{field}: {problem['msg']}"
