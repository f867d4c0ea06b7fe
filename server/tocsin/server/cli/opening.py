"""The database a command works on, and the server it may ask instead."""

from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.server.settings import Settings, load
from tocsin.server.wiring import open_store
from tocsin.store.engine import Store


@contextmanager
def opened(settings: Settings | None = None) -> Iterator[Store]:
    """The database of the settings, closed at the end."""
    store = open_store(settings or load())
    try:
        yield store
    finally:
        store.close()
