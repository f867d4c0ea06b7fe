"""`tocsin work-pool`: where runs wait for workers."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import commands, reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows

app = App(name="work-pool", help="Create and list work pools.")


@app.command
def create(
    name: Annotated[str, Parameter(help="How workers and deployments will call it.")],
    /,
    *,
    concurrency: Annotated[int | None, Parameter(help="Runs at once over all workers; default: no bound.")] = None,
    output: Output = "table",
) -> None:
    """Create a work pool; one that is there keeps its runs and gets the new bound."""
    with opened() as store, store.begin() as session:
        view = commands.create_pool(session, name, concurrency=concurrency, now=datetime.now(UTC))
    show_one(view, output)


@app.command
def ls(*, output: Output = "table") -> None:
    """List work pools."""
    with opened() as store, store.read() as session:
        rows = reads.work_pools(session)
    columns = ("name", "type", "paused", "concurrency", "created")
    show_rows(rows, output, columns, "no work pools; `tocsin work-pool create NAME` makes one")
