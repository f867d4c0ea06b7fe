"""What the API and the command line change, in the rooms' own words."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session

from tocsin.automations import store as automations
from tocsin.automations.documents import Loaded, automation_from
from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid, TocsinError
from tocsin.flows import entrypoint
from tocsin.flows.deployments import Deployment
from tocsin.flows.pools import create_pool as make_pool
from tocsin.flows.runs import create_run
from tocsin.notifiers.registry import put_notifier
from tocsin.server import routing, views
from tocsin.store.engine import Store
from tocsin.triggers import backfill as afterwards
from tocsin.triggers import preview as coming
from tocsin.triggers.schedules import from_dict
from tocsin.triggers.store import get_schedule, pause_schedule, policies, resume_schedule
from tocsin.triggers.ticks import definition
from tocsin.triggers.timetable import Timetable


def run_deployment(
    session: Session,
    name: str,
    *,
    # Any: a flow's parameters are whatever JSON it takes.
    parameters: Mapping[str, Any],
    scheduled: datetime | None,
    key: str | None,
    now: datetime,
) -> views.RunView:
    """The new run of a deployment, or the one that has `key` already. Raises NotFound and Invalid."""
    when = _aware(scheduled)
    return views.RunView.model_validate(
        create_run(session, name, parameters=parameters, scheduled=when, key=key, now=now)
    )


def create_pool(
    session: Session,
    name: str,
    *,
    kind: str | None = None,
    # Any: a template is JSON, which the model of the pool's type checks.
    template: Mapping[str, Any] | None = None,
    concurrency: int | None,
    now: datetime,
) -> views.WorkPoolView:
    """The work pool of this name, made when there is none. Raises Invalid."""
    pool = make_pool(session, name, kind=kind, template=template, concurrency=concurrency, now=now)
    return views.WorkPoolView.model_validate(pool)


def apply_deployments(store: Store, deployments: Sequence[Deployment], now: datetime) -> list[views.DeploymentView]:
    """Put deployments on record. Raises Invalid, before any is stored, for a flow or a schedule that cannot be."""
    for deployment in deployments:
        _check_entrypoint(deployment)
        for entry in deployment.schedules:
            _check_schedule(deployment.name, entry)
    return [views.DeploymentView.model_validate(deployment.apply(store, now=now)) for deployment in deployments]


def _check_entrypoint(deployment: Deployment) -> None:
    if deployment.flow_name:
        return  # made from the flow itself
    try:
        entrypoint.load(deployment.entrypoint, deployment.path)
    except TocsinError:
        raise
    except Exception as error:  # whatever a person's module raises, it is the module that has to be mended
        raise Invalid(f"{deployment.entrypoint}: {type(error).__name__}: {error}") from error


def apply_automations(session: Session, found: Loaded, now: datetime) -> list[automations.Applied]:
    """Put the notifiers, then the routes and then the automations of a file on record. Raises Invalid."""
    for block in found.notifiers:
        put_notifier(session, block, now)
    routing.apply(session, found.routing, now)
    return automations.apply(session, found.automations, now)


def put_automation(
    session: Session,
    name: str,
    # Any: what a client sent, before it is checked.
    document: Any,
    now: datetime,
) -> views.AutomationView:
    """The automation as a JSON document describes it, on record under `name`. Raises Invalid with the field.

    A secret that reads as its mask, as it is shown, stays what it is.
    """
    if isinstance(document, dict):
        document = {"name": name, **document}
    automation = automation_from(document)
    if automation.name != name:
        raise Invalid(f"the address says {name!r}, the document {automation.name!r}")
    automations.apply(session, [automation], now)
    return views.AutomationView.of(automations.get(session, name))


def preview(
    session: Session, slug: str, *, now: datetime, count: int, start: datetime | None = None
) -> list[views.ComingView]:
    """The next `count` ticks of a schedule: those that are sent from `now` on, or are due from `start` on.

    Raises NotFound and Invalid.
    """
    row = get_schedule(session, slug)
    if start is not None:
        return preview_of(definition(row), start, count, slug)
    told = row.cursor if row.active else now
    return _previewed(coming.upcoming(definition(row), slug, told, now, count))


def preview_of(schedule: Timetable, start: datetime, count: int, slug: str | None = None) -> list[views.ComingView]:
    """The first `count` ticks due from `start` on of a definition, as they are sent under `slug`. Raises Invalid."""
    return _previewed(coming.preview(schedule, start, count, inclusive=True, slug=slug))


def _previewed(found: Iterable[coming.Coming]) -> list[views.ComingView]:
    return [views.ComingView.model_validate(one) for one in found]


def backfill(
    session: Session,
    slug: str,
    begin: datetime,
    end: datetime,
    *,
    dry_run: bool,
    max_active: int,
    reverse: bool,
    now: datetime,
) -> list[views.BackfillView]:
    """The ticks of that time that were never sent, in the order of their sending; now they are, unless `dry_run`.

    Raises NotFound and Invalid.
    """
    if dry_run:
        ticks = afterwards.missing(session, slug, begin, end, reverse=reverse, now=now)
    else:
        ticks = afterwards.backfill(session, slug, begin, end, max_active=max_active, reverse=reverse, now=now)
    return [views.BackfillView(scheduled_time=tick.at, data_interval_start=tick.previous) for tick in ticks]


def switch_schedule(session: Session, slug: str, *, active: bool, now: datetime) -> views.ScheduleView:
    """The schedule, resumed (`active`) or paused. Raises NotFound."""
    row = resume_schedule(session, slug, now) if active else pause_schedule(session, slug, now)
    return views.ScheduleView.model_validate(row)


async def test_notifier(store: Store, name: str, clock: Clock) -> views.AttemptView:
    """How a notifier's channel answered to a test message. Raises NotFound and Invalid."""
    from tocsin.notifiers.probe import send_test  # brings the HTTP clients, which no other command needs

    return views.AttemptView.model_validate(await send_test(store, name, clock=clock))


def _check_schedule(deployment: str, entry: Mapping[str, Any]) -> None:
    spec = {key: value for key, value in entry.items() if key not in views.SCHEDULE_EXTRAS and value is not None}
    try:
        from_dict(spec)
        policies(entry.get("catchup"), entry.get("catchup_window"), entry.get("overlap"))
    except Invalid as error:
        raise Invalid(f"deployment {deployment!r}, schedule {entry.get('slug')!r}: {error}") from error


def _aware(instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        raise Invalid(f"{instant.isoformat()}: no time zone; write Z or an offset")
    return instant
