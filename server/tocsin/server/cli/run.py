"""`tocsin run`: look at flow runs, and change what becomes of them."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_one, show_rows
from tocsin.server.cli.run_logs import logs

app = App(name="run", help="List, show, retry and cancel flow runs; read their logs.")

app.command(logs)

Run = Annotated[str, Parameter(help="Id of a flow run, its first letters, or its name.")]


@app.command
def ls(
    *,
    state: Annotated[str | None, Parameter(help="Only runs in this state: failed, AwaitingRetry, …")] = None,
    deployment: Annotated[str | None, Parameter(help="Only runs of this deployment.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List flow runs, newest first."""
    with opened() as store, store.read() as session:
        rows = reads.runs(session, state=state, deployment=deployment, limit=limit)
    columns = ("created", "name", "flow_name", "deployment", "state_name", "attempt", "id")
    show_rows(rows, output, columns, "no flow runs; start one with `tocsin deployment run NAME`, or call a flow")


@app.command
def show(run: Run, /, *, output: Output = "table") -> None:
    """Show a flow run and its task runs."""
    with opened() as store, store.read() as session:
        detail = reads.run_detail(session, reads.run_named(session, run))
    if output == "json":
        show_one(detail, output)
        return
    show_one({name: value for name, value in detail.model_dump().items() if name != "tasks"}, output)
    print()
    show_rows(detail.tasks, output, ("name", "state_name", "attempt", "started", "ended", "state_message"), "no tasks")


@app.command
def retry(run: Run, /, *, output: Output = "table") -> None:
    """Try a failed or crashed flow run again; tasks that completed are not run again."""
    with opened() as store, store.begin() as session:
        view = commands.retry(session, reads.run_named(session, run), scheduled=None, now=datetime.now(UTC))
    show_one(view, output)


@app.command
def cancel(run: Run, /, *, output: Output = "table") -> None:
    """Cancel a flow run."""
    with opened() as store, store.begin() as session:
        view = commands.cancel(session, reads.run_named(session, run), now=datetime.now(UTC))
    show_one(view, output)
