"""`tocsin work-queue`: parts of a pool with a priority, a limit and a pause of their own."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import queue_views
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_one, show_rows

app = App(name="work-queue", help="Create, list, pause and resume the queues of work pools.")

Name = Annotated[str, Parameter(help="POOL/QUEUE, such as default/urgent.")]
_COLUMNS = ("pool", "name", "priority", "concurrency", "paused", "created")


@app.command
def create(
    name: Name,
    /,
    *,
    priority: Annotated[int | None, Parameter(help="Lower goes first; default for a new one: 100.")] = None,
    concurrency: Annotated[int | None, Parameter(help="Runs at once over all workers; default: no bound.")] = None,
    output: Output = "table",
) -> None:
    """Create a queue; one that is there keeps its runs and gets what is given."""
    _put(name, output, priority=priority, concurrency=concurrency)


@app.command
def ls(
    pool: Annotated[str | None, Parameter(help="Of this pool (default: of all).")] = None,
    /,
    *,
    output: Output = "table",
) -> None:
    """List queues; a pool's `default` when it was ever changed."""
    with opened() as store, store.read() as session:
        rows = queue_views.queues(session, pool)
    show_rows(rows, output, _COLUMNS, "no queues; `tocsin work-queue create POOL/QUEUE` makes one")


@app.command
def pause(name: Name, /, *, output: Output = "table") -> None:
    """Let workers take nothing more from a queue."""
    _put(name, output, paused=True)


@app.command
def resume(name: Name, /, *, output: Output = "table") -> None:
    """Let workers take from a queue again."""
    _put(name, output, paused=False)


def _put(
    name: str,
    output: Output,
    *,
    priority: int | None = None,
    concurrency: int | None = None,
    paused: bool | None = None,
) -> None:
    pool, queue = queue_views.parts(name)
    with opened() as store, store.begin() as session:
        view = queue_views.put_queue(
            session, pool, queue, priority=priority, concurrency=concurrency, paused=paused, now=datetime.now(UTC)
        )
    show_one(view, output)
