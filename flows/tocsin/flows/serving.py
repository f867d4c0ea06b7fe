"""`flow.serve`, `flow.deploy`, `serve`: a flow becomes a deployment, and this process the worker that runs it."""

import asyncio
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows import ledger
from tocsin.flows.deployments import Definition, Deployment, put_deployment
from tocsin.flows.flows import Flow
from tocsin.flows.pools import PROCESS, create_pool
from tocsin.flows.worker import LIMIT, Worker

# Any below: a flow's parameters and result, and schedules in their JSON form.
Schedule = Mapping[str, Any] | Definition

_LONGEST: Final = 200
_SERVED: Final = """served from here, by runs of type {kind}, until Ctrl-C: {names}
  tocsin deployment run {first}    asks for a run
Schedules tick where `tocsin scheduler` runs on this database, and become runs where `tocsin processor` and
`tocsin dispatcher` do; `tocsin dev` is all of them.
"""


def to_deployment(
    flow: Flow[..., Any],
    name: str,
    *,
    cron: str | None = None,
    interval: float | timedelta | None = None,
    rrule: str | None = None,
    timezone: str | None = None,
    schedule: Schedule | None = None,
    schedules: Iterable[Schedule] = (),
    parameters: Mapping[str, Any] | None = None,
    work_pool_name: str | None = None,
    work_queue_name: str | None = None,
    tags: Iterable[str] = (),
    description: str | None = None,
) -> Deployment:
    """A deployment of the flow that nothing is stored of yet. `interval`: seconds, or a timedelta.

    Raises Invalid for more than one kind of schedule, and for a flow that a worker could not import. Whether the text
    of a cron, a rule or a zone can be read the scheduler says in its log; `tocsin deployment apply` does so too.
    """
    kinds = {"cron": cron, "interval": interval, "rrule": rrule}
    given = [{kind: value} for kind, value in kinds.items() if value is not None]
    if len(given) > 1 or (given and schedule):
        raise Invalid(f"deployment {name!r}: give one of cron, interval, rrule and schedule; more of them in schedules")
    if timezone is not None and not given:
        raise Invalid(f"deployment {name!r}: timezone goes with cron, interval or rrule")
    zone = {"timezone": timezone} if timezone is not None else {}
    return Deployment.build_from_flow(
        flow,
        name,
        schedule={**given[0], **zone} if given else schedule,
        schedules=schedules,
        work_pool_name=work_pool_name,
        work_queue_name=work_queue_name,
        parameters=parameters,
        tags=tags,
        description=description,
    )


def deploy(flow: Flow[..., Any], name: str, *, work_pool_name: str | None = None, **options: Any) -> Deployment:
    """Store a deployment of the flow for the workers of a pool; the options are those of `to_deployment`."""
    deployment = to_deployment(flow, name, work_pool_name=work_pool_name, **options)
    deployment.apply()
    return deployment


def serve(
    *deployments: Deployment,
    limit: int = LIMIT,
    type: str = PROCESS,  # noqa: A002 - as a pool calls it
    drain: timedelta | float = 0,
    pool: str | None = None,
) -> None:
    """Store these deployments on a pool of their own (`pool`), and run what is asked of them until SIGTERM or Ctrl-C.

    At most `limit` runs at once, in processes or, `type="thread"`, in threads of this one; after a stop they may go on
    for `drain` seconds, and a second signal ends them. Several programs that serve the same share the work.
    """
    if not deployments:
        raise Invalid("serve needs a deployment: serve(my_flow.to_deployment('mine'))")
    book = ledger.local()
    names = [deployment.name for deployment in deployments]
    where = pool or f"serve-{'-'.join(names)}"[:_LONGEST]
    now = book.clock.now()
    with book.store.begin() as session:
        create_pool(session, where, kind=type, now=now)
        for deployment in deployments:
            put_deployment(session, deployment.model_copy(update={"work_pool": where}), now)
    print(_SERVED.format(kind=type, names=", ".join(names), first=names[0]), end="", flush=True)
    span = drain if isinstance(drain, timedelta) else timedelta(seconds=drain)
    asyncio.run(_serve(Worker(book.store, where, limit=limit, drain=span)))


async def _serve(worker: Worker) -> None:
    stop = asyncio.Event()

    def told() -> None:
        (worker.hurry if stop.is_set() else stop).set()

    with suppress(ValueError, RuntimeError, NotImplementedError):  # signals are the main thread's
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told)
    await hurried(worker, stop)


async def hurried(worker: Worker, stop: asyncio.Event) -> None:
    """Serve until `stop`; while it drains, another SIGTERM or SIGINT ends what it has at work."""
    serving = asyncio.create_task(worker.serve(stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        with suppress(ValueError, RuntimeError, NotImplementedError):
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, worker.hurry.set)
        await serving
    finally:
        stopping.cancel()
        serving.cancel()
