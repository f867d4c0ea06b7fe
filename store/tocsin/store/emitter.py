"""Events from any program straight into the log of its database."""

from collections.abc import Sequence

from tocsin.events.model import Event
from tocsin.events.topics import EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.log import append


class LogEmitter:
    """Appends to the log; open the store once and keep it. For what others say, hence the external topic."""

    def __init__(self, url: str | None = None) -> None:
        self._store = Store.open(url)

    def emit(self, events: Sequence[Event]) -> None:
        """Return when they are committed."""
        with self._store.begin() as session:
            append(session, events, EXTERNAL)
