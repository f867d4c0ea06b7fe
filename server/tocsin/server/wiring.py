"""The parts that roles are made of, opened as the settings say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from tocsin.events.bus import Bus
from tocsin.events.clock import Clock, SystemClock
from tocsin.server.logs import Redaction
from tocsin.server.settings import Settings, share
from tocsin.store.engine import Store

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
        from tocsin.events.kafka import KafkaBus

        return KafkaBus(settings.kafka_bootstrap_servers)
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


def _bus_name(settings: Settings) -> str:
    servers = settings.kafka_bootstrap_servers
    return f"Kafka at {servers}" if servers else "the database's log"
