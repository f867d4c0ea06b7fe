"""`tocsin deployment`: flows that can be run by name."""

from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from tocsin.events.codec import strict_json
from tocsin.events.errors import BadEvent, Invalid
from tocsin.flows.deployments import Deployment
from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows
from tocsin.server.definitions import deployments_in

app = App(name="deployment", help="Apply, list and run deployments.")

_COLUMNS = ("name", "flow_name", "work_pool", "schedules", "paused", "updated")


@app.command
def apply(
    target: Annotated[str, Parameter(help="A .yaml, .json or .py file, a module's name, or `flows.py:flow`.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Its name, when TARGET is a flow (default: the flow's).")] = None,
    pool: Annotated[str, Parameter(help="Its work pool, when TARGET is a flow.")] = "default",
    cron: Annotated[str | None, Parameter(help="Its schedule, when TARGET is a flow.")] = None,
    timezone: Annotated[str | None, Parameter(help="Zone of the schedule.")] = None,
    output: Output = "table",
) -> None:
    """Put deployments on record; the scheduler takes up their schedules within a second."""
    if ":" in target:
        found = [_of_flow(target, name, pool, cron, timezone)]
    elif name or cron or timezone or pool != "default":
        raise Invalid(f"{target}: --name, --pool, --cron and --timezone are for a flow, such as flows.py:etl")
    else:
        found = deployments_in(target)
    with opened() as store:
        rows = commands.apply_deployments(store, found, datetime.now(UTC))
    show_rows(rows, output, _COLUMNS, "")


@app.command
def run(
    name: Annotated[str, Parameter(help="Which deployment.")],
    /,
    *,
    parameters: Annotated[str | None, Parameter(help="A JSON object, over the deployment's own.")] = None,
    scheduled: Annotated[datetime | None, Parameter(name="--at", help="With a zone; default: at once.")] = None,
    key: Annotated[str | None, Parameter(help="The same key gives the same run, nothing new.")] = None,
    output: Output = "table",
) -> None:
    """Ask for a run; a worker of its pool takes it."""
    with opened() as store, store.begin() as session:
        view = commands.run_deployment(
            session, name, parameters=_object(parameters), scheduled=scheduled, key=key, now=datetime.now(UTC)
        )
    show_one(view, output)


@app.command
def ls(*, output: Output = "table") -> None:
    """List deployments."""
    with opened() as store, store.read() as session:
        rows = reads.deployments(session)
    show_rows(rows, output, _COLUMNS, "no deployments; `tocsin deployment apply FILE` puts some on record")


def _of_flow(target: str, name: str | None, pool: str, cron: str | None, timezone: str | None) -> Deployment:
    schedule = {"cron": cron, "timezone": timezone} if cron else None
    if timezone and not cron:
        raise Invalid("--timezone says nothing without --cron")
    return Deployment(
        name=name or target.rpartition(":")[2],
        entrypoint=target,
        work_pool=pool,
        schedules=[{key: value for key, value in schedule.items() if value}] if schedule else [],
    )


def _object(text: str | None) -> dict[str, Any]:  # Any: a flow's parameters are whatever JSON it takes
    if text is None:
        return {}
    hint = 'give a JSON object, such as \'{"day": "2026-03-02"}\''
    try:
        found = strict_json(text)
    except BadEvent as error:
        raise Invalid(f"--parameters {text[:80]!r}: {error}; {hint}") from error
    if not isinstance(found, dict):
        raise Invalid(f"--parameters {text[:80]!r}: {hint}")
    return found
