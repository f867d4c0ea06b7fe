"""The worker as a service of a role: with the settings' options, and in a hurry when it is told to stop twice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from tocsin.flows.pools import create_pool
from tocsin.flows.serving import hurried
from tocsin.flows.worker import Worker
from tocsin.server.staffing import Staffing, bounds_of, command_of
from tocsin.server.wiring import Parts


def worker_service(parts: Parts) -> Callable[[asyncio.Event], Awaitable[None]]:
    """What serves the settings' pool: one worker, or with a scale as many as there is work for. Raises Invalid."""
    settings = parts.settings
    if settings.worker_scale:
        bounds = bounds_of(settings.worker_scale, settings.worker_limit)
        with parts.store.begin() as session:
            create_pool(session, settings.work_pool, now=parts.clock.now())
        return Staffing(parts.store, parts.clock, settings.work_pool, bounds, _command(parts)).serve
    worker = Worker(
        parts.store,
        settings.work_pool,
        limit=settings.worker_limit,
        queues=[queue for queue in settings.worker_queues.split(",") if queue],
        drain=timedelta(seconds=settings.worker_drain),
        clock=parts.clock,
    )
    return lambda stop: hurried(worker, stop)


def _command(parts: Parts) -> list[str]:
    settings = parts.settings
    options = ["--pool", settings.work_pool, "--limit", str(settings.worker_limit)]
    queues = [part for queue in settings.worker_queues.split(",") if queue for part in ("--queue", queue)]
    return command_of([*options, *queues, "--drain", str(settings.worker_drain)])
