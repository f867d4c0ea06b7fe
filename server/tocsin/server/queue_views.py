"""Work queues as the API and the command line show and change them."""

from datetime import datetime

from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.flows.pools import list_pools
from tocsin.flows.queues import create_queue, list_queues, pause_queue
from tocsin.server.views import View


class QueueView(View):
    """A work queue; workers take from the lowest priority first. A pool's `default` has none until it is changed."""

    pool: str
    name: str
    priority: int
    concurrency: int | None
    paused: bool
    created: datetime


def queues(session: Session, pool: str | None = None) -> list[QueueView]:
    """Queues by pool and name."""
    pools = [pool] if pool is not None else [one.name for one in list_pools(session)]
    return [QueueView.model_validate(queue) for one in pools for queue in list_queues(session, one)]


def put_queue(
    session: Session,
    pool: str,
    name: str,
    *,
    priority: int | None = None,
    concurrency: int | None = None,
    paused: bool | None = None,
    now: datetime,
) -> QueueView:
    """The queue, made when there is none; what is None stays. Raises NotFound for the pool, and Invalid."""
    queue = create_queue(session, pool, name, priority=priority, concurrency=concurrency, now=now)
    if paused is not None:
        queue = pause_queue(session, pool, name, paused=paused, now=now)
    return QueueView.model_validate(queue)


def parts(text: str) -> tuple[str, str]:
    """Pool and name of `POOL/QUEUE`. Raises Invalid."""
    pool, slash, name = text.partition("/")
    if not (slash and pool and name):
        raise Invalid(f"work queue {text!r}: write POOL/QUEUE, such as default/urgent")
    return pool, name
