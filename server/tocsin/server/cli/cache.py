"""`tocsin cache`: which results are used again, how much that saves, and taking them out."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.events.errors import Invalid
from tocsin.flows import cache_shelf
from tocsin.flows.cache_sweep import Swept, sweep_files
from tocsin.notifiers.spans import read_span
from tocsin.server import cache_views
from tocsin.server.cache_views import ClearedView
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, show_one, show_rows

app = App(name="cache", help="List and clear cached results; say how much they save.")

Task = Annotated[str | None, Parameter(help="Only those of this task, by its key: shop.orders.extract.")]

_COLUMNS = ("key", "bytes", "serializer", "storage", "created", "expires", "expired")
_EFFECTS = ("task", "name", "total", "skipped", "effectiveness")
_FLIGHTS = ("key", "task_run_id", "flow_run_id", "since")


@app.command
def ls(
    *,
    task: Task = None,
    expired: Annotated[bool | None, Parameter(help="Only those that have expired, or have not.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List cached results, newest first."""
    with opened() as store, store.read() as session:
        rows = cache_views.entries(session, datetime.now(UTC), task=task, expired=expired, limit=limit)
    show_rows(rows, output, _COLUMNS, "nothing is cached; `@task(cache_policy=INPUTS)` caches", limit=limit)


@app.command
def show(
    key: Annotated[str, Parameter(help="A key, or its beginning.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """Show one cached result: who made it, where it lies, until when it counts."""
    with opened() as store, store.read() as session:
        found = cache_views.entry(session, key, datetime.now(UTC))
    show_one(found, output)


@app.command
def stats(
    *,
    last: Annotated[str, Parameter(help="Of the runs of this span: 1h, 7d.")] = "1d",
    every: Annotated[bool, Parameter(name="--all", help="Tasks that skipped nothing, too.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Say how effective the cache is: per task, how many of its runs took an earlier result."""
    with opened() as store, store.read() as session:
        rows = cache_views.effects(session, datetime.now(UTC) - _span(last), only_cached=not every)
    show_rows(rows, output, _EFFECTS, f"no run of the last {last} took a cached result")


@app.command
def flights(*, output: Output = "table") -> None:
    """List the keys whose result a task run computes right now, for which others may wait."""
    with opened() as store, store.read() as session:
        rows = cache_views.flights(session)
    show_rows(rows, output, _FLIGHTS, "nothing is being computed for the cache", short={"task_run_id", "flow_run_id"})


@app.command
def clear(
    *,
    key: Annotated[str | None, Parameter(help="This one: a key, or its beginning.")] = None,
    task: Task = None,
    expired: Annotated[bool, Parameter(help="Those that have expired.", negative=())] = False,
    everything: Annotated[bool, Parameter(name="--all", help="All of them.", negative=())] = False,
    output: Output = "table",
) -> None:
    """Take results out of the cache: what fits all that is given.

    Then the files in the configured storage go to which no run and no entry refers, once they are an hour old.
    """
    now = datetime.now(UTC)
    with opened() as store:
        with store.begin() as session:
            count = cache_shelf.clear(session, now, key=key, task=task, expired=expired, everything=everything)
        swept: Swept = sweep_files(store)
    show_one(ClearedView(entries=count, files=swept.files, bytes=swept.size), output)


def _span(text: str) -> timedelta:
    try:
        return read_span(text)
    except ValueError as error:
        raise Invalid(f"--last {text}: {error}") from error
