"""`tocsin work-pool`: where runs wait for workers."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows
from tocsin.server.cli.payloads import json_object

app = App(name="work-pool", help="Create and list work pools.")


@app.command
def create(
    name: Annotated[str, Parameter(help="How workers and deployments will call it.")],
    /,
    *,
    kind: Annotated[str | None, Parameter(name="--type", help="Where its runs run; default: process.")] = None,
    template: Annotated[str | None, Parameter(help="Choices of that type, as JSON, or @FILE with it.")] = None,
    concurrency: Annotated[int | None, Parameter(help="Runs at once over all workers; default: no bound.")] = None,
    output: Output = "table",
) -> None:
    """Create a work pool; one that is there keeps its runs and its type, and gets the new template and bound."""
    chosen = json_object("--template", template) if template is not None else None
    with opened() as store, store.begin() as session:
        view = commands.create_pool(
            session, name, kind=kind, template=chosen, concurrency=concurrency, now=datetime.now(UTC)
        )
    show_one(view, output)


@app.command
def show(name: str, /, *, output: Output = "table") -> None:
    """Show one work pool with its template."""
    with opened() as store, store.read() as session:
        view = reads.work_pool(session, name)
    show_one(view, output)


@app.command
def ls(*, output: Output = "table") -> None:
    """List work pools."""
    with opened() as store, store.read() as session:
        rows = reads.work_pools(session)
    columns = ("name", "type", "paused", "concurrency", "created")
    show_rows(rows, output, columns, "no work pools; `tocsin work-pool create NAME` makes one")
