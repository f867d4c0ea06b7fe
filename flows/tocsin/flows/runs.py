"""Runs of deployments: asked for, tried again, cancelled, looked up. All inside the caller's session."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from tocsin.events import codec, templates
from tocsin.events.chain import OUTSIDE, Cause, joined
from tocsin.events.errors import Invalid
from tocsin.events.ids import uuid7
from tocsin.flows import states
from tocsin.flows.afresh import forget_done
from tocsin.flows.changes import (
    FLOW_RUN,
    Columns,
    columns_of,
    crash_inner,
    load,
    propose,
    start,
    state_of,
    unfinished_inner,
)
from tocsin.flows.decide import Accept, Context
from tocsin.flows.deployments import get_deployment
from tocsin.flows.input_tables import RunInput
from tocsin.flows.inputs import check_input
from tocsin.flows.serializers import same_after_json
from tocsin.flows.states import (
    HELD,
    PAUSED,
    RESUMING,
    State,
    StateType,
    awaiting_retry,
    cancelled,
    cancelling,
    crashed,
    paused,
    pending,
    resuming,
    running,
    suspended,
)
from tocsin.flows.tables import DeploymentRow, FlowRun, Rerun
from tocsin.flows.variables import values
from tocsin.store.engine import insert_new
from tocsin.store.tables import LogEntry

# Any below: parameters are JSON of the flow's choice.

_OF_A_PROGRAM: Final = (
    "it was started by a program, not by a deployment; nobody else can run it: call the flow again, or deploy it and "
    "use `tocsin deployment run`"
)


class Refusal(msgspec.Struct, frozen=True):
    """Why a run is left as it is."""

    reason: str


def create_run(
    session: Session,
    deployment_name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    scheduled: datetime | None = None,
    key: str | None = None,
    cause: Cause = OUTSIDE,
    creator: Mapping[str, str] | None = None,
    place: Columns | None = None,
    now: datetime,
) -> FlowRun:
    """A new run of a deployment, due at `scheduled` (default: now); with a `key` that a run has already, that run.

    `cause`: what led to it; `creator`: labels of the automation or schedule; `place`: its columns in a series
    (`tocsin.flows.series`). Raises NotFound, and Invalid for parameters that are not JSON.
    """
    deployment = get_deployment(session, deployment_name)
    if key is not None and (known := known_run(session, key)) is not None:
        return known
    if not same_after_json(dict(parameters or {})):
        raise Invalid(f"run of {deployment_name!r}: parameters must be JSON (text, numbers, lists, objects)")
    at = scheduled or now
    given = {**_rendered(session, deployment.parameters, at, cause.event), **(parameters or {})}
    columns = _columns(deployment, given, now) | {
        "idempotency_key": key,
        "cause": cause.event,
        "creator": dict(creator) if creator else None,
        **behind(cause),
        **(place or {}),
    }
    run = start(session, columns, states.scheduled(at), now)
    if run is None:  # somebody else has stored the key in the meantime
        known = known_run(session, key or "")
        assert known is not None
        return known
    return FlowRun(**run)


def retry_run(
    session: Session,
    run_id: UUID,
    *,
    scheduled: datetime,
    budget: int | None = None,
    force: bool = False,
    keep: bool | None = None,
    cause: Cause = OUTSIDE,
    key: str,
    now: datetime,
) -> FlowRun | Refusal:
    """Let a failed or crashed run start again at `scheduled`; what it has completed is not done again.

    With `force` also one that was completed or cancelled. `keep=False`: begin from the start, do everything again; so
    it is by default for a run that was completed, of which nothing would be left to do.

    The same `key` asks only once. At most `budget` retries from outside (None: no bound). A run that waits for a retry
    already is brought forward when `scheduled` is earlier; that costs no budget. The run stands where it stood in the
    chain of automations: the budget is what ends a loop. Raises NotFound.
    """
    run = load(session, run_id, lock=True)
    if run["deployment"] is None:
        return Refusal(_OF_A_PROGRAM)
    if session.get(Rerun, key) is not None:
        return FlowRun(**run)
    proposed = _proposed_retry(run, scheduled, force)
    if isinstance(proposed, Refusal):
        return proposed
    context = Context(transition=key, budget=budget, forced=force)
    afresh = not (keep if keep is not None else run["state_type"] != StateType.COMPLETED.value)
    verdict, after = propose(session, run_id, proposed, context, now, **({"result": None} if afresh else {}))
    if not isinstance(verdict, Accept):
        return Refusal(verdict.why)
    if afresh:
        forget_done(session, run_id)
    insert_new(session, Rerun, [{"key": key, "flow_run_id": run_id, "asked": now, "cause": cause.event}])
    return FlowRun(**after)


def cancel_run(
    session: Session, run_id: UUID, *, reason: str = "", cause: Cause = OUTSIDE, now: datetime
) -> FlowRun | Refusal:
    """Cancel a run that has not begun; ask one that is under way to stop. Raises NotFound."""
    run = load(session, run_id, lock=True)
    kind = StateType(run["state_type"])
    if kind in (StateType.CANCELLED, StateType.CANCELLING):
        return FlowRun(**run)
    stands = kind is StateType.PAUSED and run["lease"] is not None
    proposed = cancelling(reason) if stands or kind in (StateType.PENDING, StateType.RUNNING) else cancelled(reason)
    after = brought(session, run_id, proposed, cause, now)
    if isinstance(after, FlowRun):
        for child, _ in unfinished_inner(session, run_id):
            cancel_run(session, child, reason=reason or "its parent is cancelled", cause=cause, now=now)
    return after


def suspend_run(
    session: Session, run_id: UUID, *, reason: str = "", cause: Cause = OUTSIDE, now: datetime
) -> FlowRun | Refusal:
    """Take a run out of work until it is resumed; the process of one that is under way is ended. Raises NotFound."""
    run = load(session, run_id, lock=True)
    if run["deployment"] is None:
        return Refusal(_OF_A_PROGRAM)
    if run["state_type"] == StateType.PAUSED.value:
        return FlowRun(**run)
    return brought(session, run_id, suspended(reason), cause, now)


def pause_run(
    session: Session, run_id: UUID, *, reason: str = "", cause: Cause = OUTSIDE, now: datetime
) -> FlowRun | Refusal:
    """Hold a run back until it is resumed: the process of one at work stays, and begins nothing more. Raises NotFound.

    A process looks about once a second what is wanted of its run; what is under way in it comes to its end.
    """
    run = load(session, run_id, lock=True)
    if run["state_type"] == StateType.PAUSED.value:
        return FlowRun(**run)
    if run["state_type"] != StateType.RUNNING.value and run["deployment"] is None:
        return Refusal(_OF_A_PROGRAM)
    return brought(session, run_id, paused(reason), cause, now)


def resume_run(
    session: Session,
    run_id: UUID,
    *,
    run_input: Any = None,
    reason: str = "",
    cause: Cause = OUTSIDE,
    now: datetime,
) -> FlowRun | Refusal:
    """Let a paused or suspended run go on, not before the time it was scheduled for, with the JSON that it asks for.

    Raises NotFound, and Invalid, with nothing changed, when the input is not what the run waits for.
    """
    run = load(session, run_id, lock=True)
    if run["state_type"] != StateType.PAUSED.value:
        asked = run["state_name"] == RESUMING or (cause.request and run["transition"] == str(cause.request))
        return FlowRun(**run) if asked else Refusal(f"it is {run['state_name']}, not paused and not suspended")
    _answer(session, run, run_input, now)
    if run["state_name"] == PAUSED and run["lease"] is not None:
        return _gone_on(session, run, reason, cause, now)
    at = max(now, run["scheduled"]) if run["scheduled"] is not None else now
    return brought(session, run_id, resuming(at, reason), cause, now)


def _answer(session: Session, run: Columns, given: Any, now: datetime) -> None:
    wanted = run["waits_for"] or {}
    owner = f"flow run {run['name']}"
    if wanted.get("schema") is not None:
        check_input(wanted["schema"], {} if given is None and _all_optional(wanted["schema"]) else given, owner)
    elif given is not None:
        raise Invalid(f"{owner} waits for no input; resume it without")
    if wanted:
        place = {"flow_run_id": run["id"], "key": wanted["key"]}
        told = session.get_one(RunInput, tuple(place.values()), populate_existing=True)
        told.answered, told.input = now, {} if given is None and wanted.get("schema") else given
        session.flush()


def _all_optional(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" and not schema.get("required")


def _gone_on(session: Session, run: Columns, reason: str, cause: Cause, now: datetime) -> FlowRun | Refusal:
    """Its process goes on: under the same attempt, from where it stands."""
    after = brought(session, run["id"], resuming(now, reason), cause, now)
    holder = Context(attempt=run["attempt"])
    for state in (pending("its process goes on"), running()):
        if isinstance(after, Refusal):
            return after
        verdict, columns = propose(session, run["id"], state, holder, now)
        after = FlowRun(**columns) if isinstance(verdict, Accept) else Refusal(verdict.why)
    return after


def change_run(
    session: Session, run_id: UUID, state: State, *, force: bool = False, cause: Cause = OUTSIDE, now: datetime
) -> FlowRun | Refusal:
    """Bring a run into `state`, by a step that `decide` allows; with `force` it ends, or starts again, from anywhere.

    A process that is at work at it finds out when its next task ends; what it reports then counts no more. Raises
    NotFound.
    """
    run = load(session, run_id, lock=True)
    if state.type in (StateType.SCHEDULED, StateType.PAUSED) and run["deployment"] is None:
        return Refusal(_OF_A_PROGRAM)
    after = brought(session, run_id, state, cause, now, force=force)
    if state.final and run["state_type"] in HELD and isinstance(after, FlowRun):
        crash_inner(session, run, crashed(f"its flow run was made {state.name}"), now)
    return after


def brought(
    session: Session, run_id: UUID, state: State, cause: Cause, now: datetime, *, force: bool = False
) -> FlowRun | Refusal:
    """The run after somebody has brought it into `state`; the same request brings it there once."""
    transition = str(cause.request) if cause.request is not None else None
    context = Context(transition=transition, forced=force, unbound=force)
    verdict, after = propose(session, run_id, state, context, now, **behind(cause))
    return FlowRun(**after) if isinstance(verdict, Accept) else Refusal(verdict.why)


def behind(cause: Cause) -> Columns:
    """The columns that tell which automations stand behind a run."""
    return {"depth": cause.depth, "chain": joined(cause.path)}


def known_run(session: Session, key: str) -> FlowRun | None:
    """The run that has this idempotency key already."""
    statement = select_columns(FLOW_RUN).where(FLOW_RUN.c.idempotency_key == key)
    row = session.connection().execute(statement).mappings().one_or_none()
    return FlowRun(**row) if row is not None else None


def get_run(session: Session, run_id: UUID) -> FlowRun:
    """The run. Raises NotFound."""
    return FlowRun(**load(session, run_id))


def list_runs(
    session: Session,
    *,
    state_types: Collection[StateType] = (),
    state_names: Collection[str] = (),
    deployment: str | None = None,
    flow_name: str | None = None,
    parent: UUID | None = None,
    before: datetime | None = None,
    limit: int = 100,
) -> list[FlowRun]:
    """Runs, the newest first; every filter that is given must fit."""
    statement = select(FlowRun).order_by(col(FlowRun.created).desc(), col(FlowRun.id).desc()).limit(limit)
    if state_types:
        statement = statement.where(col(FlowRun.state_type).in_([kind.value for kind in state_types]))
    if state_names:
        statement = statement.where(col(FlowRun.state_name).in_(list(state_names)))
    if deployment is not None:
        statement = statement.where(FlowRun.deployment == deployment)
    if flow_name is not None:
        statement = statement.where(FlowRun.flow_name == flow_name)
    if parent is not None:
        statement = statement.where(FlowRun.parent_run_id == parent)
    if before is not None:
        statement = statement.where(FlowRun.created < before)
    return list(session.exec(statement).all())


def _columns(deployment: DeploymentRow, parameters: dict[str, Any], now: datetime) -> Columns:
    identity = uuid7()
    return columns_of(
        FlowRun,
        id=identity,
        name=f"{deployment.name}-{identity.hex[-6:]}",
        flow_name=deployment.flow_name,
        deployment=deployment.name,
        work_pool=deployment.work_pool,
        work_queue=deployment.work_queue,
        parameters=parameters,
        tags=list(deployment.tags),
        created=now,
    )


def _rendered(session: Session, parameters: dict[str, Any], at: datetime, cause: UUID | None) -> dict[str, Any]:
    """Templates among a deployment's parameters, filled in from the tick that led to the run, else from its time."""
    instant = at.isoformat()
    times: dict[str, Any] = dict.fromkeys(("scheduled_time", "data_interval_start", "data_interval_end"), instant)
    written = repr(parameters)
    named = {"variables": values(session)} if "{{" in written and "variables" in written else {}
    times |= named
    if cause is None or "{{" not in written:
        return dict(templates.render_value(parameters, times))
    entry = session.exec(select(LogEntry).where(LogEntry.id == cause)).one_or_none()
    if entry is None:
        return dict(templates.render_value(parameters, times))
    event = codec.decode(entry.body)
    context = times | event.payload | named | {"event": msgspec.to_builtins(event)}
    return dict(templates.render_value(parameters, context))


def _proposed_retry(run: Columns, at: datetime, force: bool) -> State | Refusal:
    state = state_of(run)
    if state.name != "AwaitingRetry":
        if force and state.type in (StateType.COMPLETED, StateType.CANCELLED):
            return states.scheduled(at, "asked for again")
        if state.type not in (StateType.FAILED, StateType.CRASHED):
            ended = ", and by force one that has ended otherwise" if state.final else ""
            return Refusal(f"it is {state.name}; only a failed or crashed run is tried again{ended}")
        return awaiting_retry(at, "asked for from outside", state.fault)
    if run["lease"] is not None:
        return Refusal("it waits for its own retry, inside its process")
    if state.scheduled is None or state.scheduled <= at:
        return Refusal("it is tried again sooner already")
    return awaiting_retry(at, "brought forward", state.fault)
