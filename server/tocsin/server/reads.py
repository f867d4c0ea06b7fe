"""The lists that the API and the command line show; each newest first and bounded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from sqlmodel import Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from tocsin.automations import store as stored
from tocsin.automations.ledger import remembered
from tocsin.automations.tables import StoredFiring, StoredInvocation, Tally
from tocsin.events.bus import DeadLetter
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.topics import DEAD_LETTERS
from tocsin.flows.deployments import get_deployment, list_deployments
from tocsin.flows.pools import get_pool, list_pools
from tocsin.flows.scaling import demand_of
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.flows.workers import list_workers
from tocsin.notifiers.registry import list_notifiers
from tocsin.server import views
from tocsin.store.log import UNREAD
from tocsin.store.tables import LogEntry
from tocsin.triggers.hooks import LETTERS, list_hooks, show_hook
from tocsin.triggers.store import list_schedules

MOST: Final = 1_000

Row = TypeVar("Row", bound=SQLModel)
Shown = TypeVar("Shown", bound=views.View)


def run_detail(session: Session, run: UUID) -> views.RunDetail:
    """A flow run with its task runs. Raises NotFound."""
    row = _row(session, run)
    statement = select(TaskRun).where(TaskRun.flow_run_id == run).order_by(col(TaskRun.created))
    tasks = _all(session, statement, views.TaskRunView, 10_000)
    return views.RunDetail(**views.RunView.model_validate(row).model_dump(), tasks=tasks)


def run_named(session: Session, text: str) -> UUID:
    """The id of the flow run that `text` means: an id, its first letters (4 or more), or a name (the latest run).

    Raises NotFound, and Invalid when several ids begin so.
    """
    try:
        return UUID(text)
    except ValueError:
        pass
    named = session.exec(
        select(FlowRun.id).where(FlowRun.name == text).order_by(col(FlowRun.created).desc()).limit(1)
    ).first()
    if named is not None:
        return named
    return _beginning(session, text)


def _beginning(session: Session, text: str) -> UUID:
    recent = session.exec(select(FlowRun.id).order_by(col(FlowRun.created).desc()).limit(10_000))
    found = [run for run in recent if len(text) >= 4 and str(run).startswith(text.lower())]
    match found:
        case [run]:
            return run
        case []:
            raise NotFound(f"no flow run has the id or the name {text!r}; `tocsin run ls` lists them")
        case _:
            raise Invalid(f"{len(found)} flow runs have ids that begin with {text!r}; give more of it")


def deployments(session: Session) -> list[views.DeploymentView]:
    """Deployments by name."""
    return [views.DeploymentView.model_validate(row) for row in list_deployments(session)]


def deployment(session: Session, name: str) -> views.DeploymentView:
    """One deployment. Raises NotFound."""
    return views.DeploymentView.model_validate(get_deployment(session, name))


def work_pools(session: Session) -> list[views.WorkPoolView]:
    """Work pools by name."""
    return [views.WorkPoolView.model_validate(row) for row in list_pools(session)]


def work_pool(session: Session, name: str) -> views.WorkPoolView:
    """One work pool. Raises NotFound."""
    return views.WorkPoolView.model_validate(get_pool(session, name))


def workers(session: Session, now: datetime, *, pool: str | None = None, gone: bool = False) -> list[views.WorkerView]:
    """Workers by name; those that live only, unless `gone`."""
    return [views.WorkerView.model_validate(listed) for listed in list_workers(session, now, pool=pool, gone=gone)]


def demand(session: Session, pool: str, now: datetime) -> views.DemandView:
    """How much work waits in a pool. Raises NotFound."""
    found = demand_of(session, pool, now)
    return views.DemandView(
        waiting=found.waiting,
        running=found.running,
        slots_free=found.slots_free,
        oldest_wait_s=found.oldest_wait.total_seconds(),
        room=found.room,
    )


def schedules(session: Session, *, deployment: str | None = None, limit: int = MOST) -> list[views.ScheduleView]:
    """Schedules by slug."""
    rows = list_schedules(session, deployment=deployment, limit=limit)
    return [views.ScheduleView.model_validate(row) for row in rows]


def hooks(session: Session) -> list[views.HookView]:
    """Hooks by name."""
    return [views.HookView.model_validate(listed) for listed in list_hooks(session)]


def hook(session: Session, name: str) -> views.HookView:
    """One hook. Raises NotFound."""
    return views.HookView.model_validate(show_hook(session, name))


def lost_posts(session: Session, *, hook: str | None = None, limit: int = 50) -> list[views.LostPostView]:
    """Posts that hooks could make no events of, newest first."""
    statement = select(LogEntry).where(LogEntry.topic == DEAD_LETTERS, col(LogEntry.event) == UNREAD)
    if hook is not None:
        statement = statement.where(LogEntry.key == hook)
    found: list[views.LostPostView] = []
    for entry in session.exec(statement.order_by(col(LogEntry.seq).desc()).execution_options(yield_per=500)):
        letter = msgspec.json.decode(entry.body, type=DeadLetter)
        if letter.group == LETTERS:
            body = letter.body.decode(errors="replace")
            found.append(views.LostPostView(recorded=entry.recorded, hook=letter.key, reason=letter.reason, body=body))
        if len(found) == limit:
            break
    return found


def automations(session: Session) -> list[views.AutomationView]:
    """Automations by name."""
    return [views.AutomationView.of(listed) for listed in stored.list_automations(session)]


def automation(session: Session, name: str) -> views.AutomationView:
    """One automation. Raises NotFound."""
    return views.AutomationView.of(stored.get(session, name))


def tally(session: Session, automation: str) -> views.TallyView:
    """How often an automation was concerned, fired and failed. Raises NotFound."""
    stored.get(session, automation)
    row = session.get(Tally, automation) or Tally(automation=automation)
    everything = session.get(Tally, "") or Tally(automation="")
    return views.TallyView.of(row, everything.concerned, remembered(session, automation))


def firings(session: Session, *, automation: str | None = None, limit: int = 50) -> list[views.FiringView]:
    """Firings, newest first."""
    statement = select(StoredFiring).order_by(col(StoredFiring.recorded).desc())
    if automation is not None:
        statement = statement.where(StoredFiring.automation == automation)
    return _all(session, statement, views.FiringView, limit)


def invocations(
    session: Session, *, automation: str | None = None, state: str | None = None, limit: int = 50
) -> list[views.InvocationView]:
    """Invocations, the latest due first; `state` is due, done or failed."""
    statement = select(StoredInvocation).order_by(col(StoredInvocation.due).desc())
    if automation is not None:
        statement = statement.where(StoredInvocation.automation == automation)
    if state is not None:
        statement = statement.where(StoredInvocation.state == state)
    return _all(session, statement, views.InvocationView, limit)


def notifiers(session: Session) -> list[views.NotifierView]:
    """Notifiers by name."""
    return [views.NotifierView.model_validate(listed) for listed in list_notifiers(session)]


def _row(session: Session, run: UUID) -> FlowRun:
    row = session.get(FlowRun, run)
    if row is None:
        raise NotFound(f"no flow run has the id {run}; `tocsin run ls` lists them")
    return row


def _all(session: Session, statement: "SelectOfScalar[Row]", view: type[Shown], limit: int) -> list[Shown]:
    rows: Sequence[Row] = session.exec(statement.limit(limit)).all()
    return [view.model_validate(row) for row in rows]
