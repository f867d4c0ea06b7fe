"""What a library complains of a hundred times a second while its server is away is heard once; a password never."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

EVERY: Final = timedelta(seconds=30)


class Hush(logging.Filter):
    """Lets a warning or error through once in `every`; told apart by logger and template, not by its arguments."""

    def __init__(self, every: timedelta = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._clock = every.total_seconds(), clock
        self._told: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be heard; what is below a warning always is."""
        if record.levelno < logging.WARNING:
            return True
        key, now = (record.name, str(record.msg)), self._clock()
        if now - self._told.get(key, -self._every_s) < self._every_s:
            return False
        self._told[key] = now
        return True


class Discreet(logging.Filter):
    """Keeps back what aiokafka writes at DEBUG of a login: the request, with the password in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be heard."""
        said = record.args if isinstance(record.args, tuple) else (record.args,)
        return not any(type(one).__name__.startswith("SaslAuthenticateRequest") for one in said)


def hush(library: str, filter_: logging.Filter) -> None:
    """Put the filter on every logger that `library` has made so far: a logger's filter does not hear its children."""
    for name in list(logging.root.manager.loggerDict):
        if name == library or name.startswith(f"{library}."):
            logging.getLogger(name).addFilter(filter_)
