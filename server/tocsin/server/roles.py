"""The roles of a deployment, and one program that runs any set of them.

A role is services that live as long as the process. A stop (SIGTERM, SIGINT) lets each finish what it is at; one that
ends by itself ends the process with an error, so that whoever supervises it starts it again: never half dead.
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

import structlog

from tocsin.events.errors import Invalid, TocsinError
from tocsin.server.logs import set_up
from tocsin.server.pulse import beat, note
from tocsin.server.settings import Settings, kafka_access
from tocsin.server.wiring import Parts, open_parts, topics_ready

GRACE: Final = timedelta(seconds=16)
CANCEL: Final = timedelta(seconds=3)

Serve = Callable[[asyncio.Event], Awaitable[None]]

logger = structlog.get_logger(__name__)


class RoleDied(TocsinError):
    """A service that must live as long as its process has ended."""


@dataclass(frozen=True, slots=True)
class Service:
    """One endless task of a role: `serve(stop)` returns soon after `stop` is set, and not before."""

    name: str
    serve: Serve


def _server(parts: Parts) -> Iterator[Service]:
    from tocsin.server.http import serve_http

    yield Service("api", lambda stop: serve_http(parts, stop))


def _scheduler(parts: Parts) -> Iterator[Service]:
    from tocsin.server.adoption import Adoption
    from tocsin.triggers.scheduler import Scheduler

    yield Service("adoption", Adoption(parts.store, parts.clock).serve)
    yield Service("clock", Scheduler(parts.store, parts.clock).serve)


def _processor(parts: Parts) -> Iterator[Service]:
    yield _sources(parts)
    if parts.settings.streams:
        yield from _stream(parts)
        return
    from tocsin.automations.host import Faring, Host

    def report(figures: Faring) -> None:
        note(parts.settings.home, "processor", figures._asdict())

    yield Service("host", Host(parts.store, parts.bus, clock=parts.clock, report=report).serve)


def _sources(parts: Parts) -> Service:
    from tocsin.triggers.sources import Sources

    address, prefix = parts.settings.kafka_bootstrap_servers, parts.settings.kafka_topic_prefix
    access = kafka_access(parts.settings)
    sources = Sources(parts.store, parts.bus, address=address, access=access, group_prefix=prefix, clock=parts.clock)
    return Service("sources", sources.serve)


def _stream(parts: Parts) -> Iterator[Service]:
    from tocsin.automations.stream_host import StreamHost
    from tocsin.automations.stream_lanes import Figures
    from tocsin.events.kafka import KafkaBus

    if not isinstance(parts.bus, KafkaBus):
        raise Invalid("TOCSIN_PROCESSOR=stream needs Kafka: set TOCSIN_KAFKA_BOOTSTRAP_SERVERS, or leave it at auto")

    def report(figures: Figures) -> None:
        logger.info("stream", **asdict(figures))
        note(parts.settings.home, "processor", asdict(figures))

    yield Service("stream", StreamHost(parts.store, parts.bus, clock=parts.clock, report=report).serve)


def _dispatcher(parts: Parts) -> Iterator[Service]:
    from tocsin.automations.perform import Performer
    from tocsin.flows.vigil import Vigil
    from tocsin.notifiers.dispatch import Dispatcher
    from tocsin.server.slack_listening import Listening
    from tocsin.server.sweeping import Sweeping
    from tocsin.server.tidying import Tidying

    performer = Performer(parts.store, parts.clock, source=parts.settings.cloudevents_source)
    yield Service("performer", performer.serve)
    yield Service("deliveries", Dispatcher(parts.store, parts.clock).serve)
    yield Service("slack", Listening(parts.store, parts.clock).serve)
    late_after = timedelta(seconds=parts.settings.late_after_s)
    yield Service("watchdog", Sweeping(parts.store, parts.clock, late_after).serve)
    yield Service("vigil", Vigil(parts.store, parts.clock).serve)
    yield Service("tidying", Tidying(parts.store, parts.clock).serve)
    if parts.settings.kafka_bootstrap_servers:
        from tocsin.store.relay import Relay

        yield Service("relay", Relay(parts.store, parts.bus).serve)
    if parts.settings.cloudevents_topic:
        from tocsin.server.cloudevents_out import outlet_of, write

        outlet = outlet_of(parts.settings)
        yield Service("cloudevents", lambda stop: write(parts, outlet, stop))


def _worker(parts: Parts) -> Iterator[Service]:
    from tocsin.server.working import worker_service

    yield Service("worker", worker_service(parts))


ROLES: Final[Mapping[str, Callable[[Parts], Iterator[Service]]]] = {
    "server": _server,
    "scheduler": _scheduler,
    "processor": _processor,
    "dispatcher": _dispatcher,
    "worker": _worker,
}

ON_THE_BUS: Final = frozenset({"processor", "dispatcher"})
"""Roles that read or write the bus; the others need the database only, and start while a broker is away."""


def services(names: Sequence[str], parts: Parts) -> list[Service]:
    """The services of these roles; each role imports its own libraries only. Raises Invalid for an unknown role."""
    for name in names:
        if name not in ROLES:
            raise Invalid(f"there is no role {name!r}; there are {', '.join(ROLES)}")
    return [service for name in names for service in ROLES[name](parts)]


async def run_roles(names: Sequence[str], settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run these roles in this process until `stop` is set or a signal comes; returns within 20 s and a drain of it.

    Raises RoleDied when a service ends by itself, Invalid and Unavailable when the settings do not hold.
    """
    set_up(settings, "+".join(names) if len(names) < len(ROLES) else "dev")
    stop = stop or asyncio.Event()
    async with open_parts(settings) as parts:
        logger.info("starts", roles=list(names))
        with stopping_on_signals(stop):
            found = services(names, parts)
            if not ON_THE_BUS & set(names) or await topics_ready(parts.bus, stop):
                with loaded():
                    await run_services([*found, pulse(settings, names)], stop, grace_of(names, settings))
        logger.info("stopped", roles=list(names))


def grace_of(names: Sequence[str], settings: Settings) -> timedelta:
    """How long these roles may take to stop: a worker lets its runs go on for a while."""
    return GRACE + timedelta(seconds=settings.worker_drain) if "worker" in names else GRACE


def pulse(settings: Settings, names: Sequence[str]) -> Service:
    """The service that marks these roles alive, for `tocsin health`."""
    return Service("pulse", lambda stop: beat(settings.home, list(names), stop))


async def run_services(found: Sequence[Service], stop: asyncio.Event, grace: timedelta = GRACE) -> None:
    """Run services until `stop`; those that do not end within `grace` are cancelled. Raises RoleDied."""
    tasks = {asyncio.create_task(_call(service, stop), name=service.name) for service in found}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        dead = [task for task in tasks if task.done()] if not stop.is_set() else []
        stop.set()
        await _wind_down(tasks, grace)
    finally:
        stopping.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if dead:
        raise _obituary(dead)
    if failed := [task for task in tasks if not task.cancelled() and task.exception()]:
        raise _obituary(failed)


async def _call(service: Service, stop: asyncio.Event) -> None:
    structlog.contextvars.bind_contextvars(service=service.name)
    await service.serve(stop)


async def _wind_down(tasks: set[asyncio.Task[None]], grace: timedelta) -> None:
    _, late = await asyncio.wait(tasks, timeout=grace.total_seconds())
    if late:
        logger.warning("cancelled what did not stop in time", services=sorted(task.get_name() for task in late))
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=CANCEL.total_seconds())


def _obituary(dead: Sequence[asyncio.Task[None]]) -> RoleDied:
    said = []
    for task in dead:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a service died", service=task.get_name(), exc_info=error)
        said.append(f"{task.get_name()} ended ({_cause(error)})")
    obituary = RoleDied(f"{', '.join(sorted(said))}; the process stops so that it can be started again")
    obituary.__cause__ = next((task.exception() for task in dead if not task.cancelled() and task.exception()), None)
    return obituary


def _cause(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error else "without an error"


@contextmanager
def loaded() -> Iterator[None]:
    """What is in memory now stays there: to look through all of it for rubbish would stop the loop for 50 ms a time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; outside the main thread signals are somebody else's."""
    loop = asyncio.get_running_loop()
    caught = []
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
            caught.append(number)
        except (ValueError, RuntimeError, NotImplementedError):
            break
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
