"""`tocsin worker`: run deployments of one work pool; and `tocsin worker ls`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from tocsin.server import reads
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Output, show_rows
from tocsin.server.settings import load

app = App(name="worker", help="Run deployments of one work pool, until it is stopped; list workers.")

Pool = Annotated[str | None, Parameter(help="Whose runs to take (default: TOCSIN_WORK_POOL).")]
Limit = Annotated[int | None, Parameter(help="Runs under way at once (default: TOCSIN_WORKER_LIMIT).")]
Queues = Annotated[
    list[str] | None,
    Parameter(name="--queue", negative=(), help="Only this queue of the pool; may be given again. Default: all."),
]
Drain = Annotated[float | None, Parameter(help="Seconds that runs may go on after a stop (default: 0).")]
Scale = Annotated[
    str | None,
    Parameter(help="MIN:MAX: start so many workers as there is work for, each with `--limit` runs at once."),
]


@app.default
def work(
    *, pool: Pool = None, limit: Limit = None, queue: Queues = None, drain: Drain = None, scale: Scale = None
) -> None:
    """Take due runs of one work pool and run them as the pool says: in processes or threads.

    A first SIGTERM or Ctrl-C takes nothing new and lets runs go on for the drain time; a second one ends them.
    """
    from tocsin.server.roles import run_roles

    queues = ",".join(queue or []) or None
    asyncio.run(
        run_roles(
            ["worker"],
            load(work_pool=pool, worker_limit=limit, worker_queues=queues, worker_drain=drain, worker_scale=scale),
        )
    )


@app.command
def ls(
    *,
    pool: Annotated[str | None, Parameter(help="Of this pool only.")] = None,
    all: Annotated[bool, Parameter(negative=(), help="Those that are gone, too.")] = False,  # noqa: A002 - an option
    output: Output = "table",
) -> None:
    """List workers: their pool, whether they live, the runs they have at work, when they were heard of last."""
    with opened() as store, store.read() as session:
        rows = reads.workers(session, datetime.now(UTC), pool=pool, gone=all)
    columns = ("name", "pool", "queues", "alive", "at_work", "slots", "heard", "host", "pid")
    show_rows(rows, output, columns, "no worker lives; `tocsin worker` starts one, `--all` shows those that are gone")
