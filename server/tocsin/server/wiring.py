"""The parts that roles are made of, opened as the settings say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from tocsin.events.bus import Bus
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Unavailable
from tocsin.server.logs import Redaction
from tocsin.server.settings import Settings, kafka_access, share
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus

BROKER_PAUSE_S: Final = 2.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every role of one process shares."""

    settings: Settings
    store: Store
    bus: Bus
    clock: Clock


def open_store(settings: Settings) -> Store:
    """The database of the settings; Invalid with the way out when it is not ready for use."""
    share(settings)
    return Store.open(settings.url)


def open_bus(settings: Settings, store: Store) -> Bus:
    """Kafka when the settings name it, else the log table."""
    if settings.kafka_bootstrap_servers:
        return _kafka(settings, settings.kafka_bootstrap_servers)
    from tocsin.store.logbus import LogBus

    return LogBus(store)


@asynccontextmanager
async def open_parts(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Parts]:
    """Database and bus, closed at the end."""
    store = open_store(settings)
    try:
        bus = open_bus(settings, store)
        try:
            logger.info("uses", database=Redaction().text(store.url), bus=_bus_name(settings), home=str(settings.home))
            yield Parts(settings, store, bus, clock or SystemClock())
        finally:
            await bus.close()
    finally:
        store.close()


async def make_topics(settings: Settings) -> None:
    """Make the topics that the broker of the settings lacks; nothing without one. Raises Unavailable and Invalid."""
    if settings.kafka_bootstrap_servers:
        bus = _kafka(settings, settings.kafka_bootstrap_servers)
        try:
            await bus.prepare()
        finally:
            await bus.close()


async def topics_ready(bus: Bus, stop: asyncio.Event) -> bool:
    """See that a broker has our topics, waiting for one that is away; False when `stop` came first.

    Raises Invalid, with the mend, for topics that do not fit.
    """
    prepare = getattr(bus, "prepare", None)
    while prepare is not None and not stop.is_set():
        try:
            await prepare()
            return True
        except Unavailable as error:
            logger.warning("the broker does not answer, trying again", reason=str(error))
            await _either(stop, BROKER_PAUSE_S)
    return not stop.is_set()


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _kafka(settings: Settings, bootstrap_servers: str) -> "KafkaBus":
    from tocsin.events.kafka import KafkaBus

    access = kafka_access(settings)
    if access.bare:
        logger.warning("the password for Kafka travels unencrypted; SASL_SSL or a SCRAM mechanism hides it")
    return KafkaBus(bootstrap_servers, topic_prefix=settings.kafka_topic_prefix, access=access)


def _bus_name(settings: Settings) -> str:
    servers = settings.kafka_bootstrap_servers
    return f"Kafka at {servers} by {kafka_access(settings)}" if servers else "the database's log"
