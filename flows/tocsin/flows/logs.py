"""What runs log: lines of any logger, and `print`, kept with the run that they belong to.

While a run is at work one handler sits on the root logger, so a module's own `logging.getLogger(__name__)` is heard
too, from INFO up. Where the program has set up no logging of its own, lines of runs are also shown on stderr.
"""

import builtins
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from tocsin.flows.context import flow_context, task_context
from tocsin.flows.portable import clean, masked

RUN_LOGGER: Final = "tocsin.run"
PRINTS: Final = "tocsin.run.prints"
LONGEST: Final = 100_000
_OURS: Final = ("tocsin.flows", "tocsin.store", "sqlalchemy")


def get_run_logger() -> logging.Logger:
    """The logger of the run at hand; its lines are kept with the run (`tocsin run logs`).

    Outside a run it is a plain logger, so that `my_task.fn()` works in a test.
    """
    return logging.getLogger(RUN_LOGGER)


class Keeper(logging.Handler):
    """Gives each record to the ledger of the run whose code logged it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line; a record from outside any run is not ours."""
        flow, task = flow_context.get(), task_context.get()
        if (flow is None and task is None) or record.name.startswith(_OURS):
            return
        try:
            line = {
                "flow_run_id": flow.id if flow else None,
                "task_run_id": task.run["id"] if task else None,
                "at": datetime.fromtimestamp(record.created, UTC),
                "level": record.levelno,
                "logger": clean(record.name),
                "message": clean(masked(self.format(record)), LONGEST),
            }
        except Exception:  # a broken format string is the line's fault, not the run's
            self.handleError(record)
            return
        _keep(line)
        if logging.getLogger().handlers == [self]:
            name = task.run["name"] if task else flow.run["name"] if flow else ""
            sys.stderr.write(f"{line['at']:%H:%M:%S} | {record.levelname:<7} | {name} | {line['message']}\n")


def _keep(line: dict[str, Any]) -> None:  # Any: the columns of a log line
    flow = flow_context.get()
    if flow is not None:
        flow.ledger.line(line)
        return
    from tocsin.flows.ledger import current  # only a task outside any flow comes here

    current().line(line)


class _Listening:
    """How many runs are at work; the handler and the changed level stay for as long."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0
        self.level = logging.WARNING
        self.keeper = Keeper()

    def begin(self) -> None:
        root = logging.getLogger()
        with self.lock:
            self.runs += 1
            if self.runs == 1:
                self.level = root.level
                if not root.handlers:  # the level of a program that set up its own logging is not ours to change
                    root.setLevel(min(root.level or logging.INFO, logging.INFO))
                root.addHandler(self.keeper)
                logging.getLogger(RUN_LOGGER).setLevel(logging.INFO)

    def end(self) -> None:
        root = logging.getLogger()
        with self.lock:
            self.runs -= 1
            if self.runs == 0:
                root.removeHandler(self.keeper)
                root.setLevel(self.level)


class _Printing:
    """How many runs have `log_prints`; `print` is ours for as long."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0
        self.former = builtins.print

    def begin(self) -> None:
        with self.lock:
            self.runs += 1
            if self.runs == 1:
                self.former = builtins.print
                builtins.print = self.print

    def end(self) -> None:
        with self.lock:
            self.runs -= 1
            if self.runs == 0:
                builtins.print = self.former

    def print(self, *values: object, **options: Any) -> None:  # Any: print's own options
        """`print` that logs inside a run with `log_prints`, when it would have gone to stdout."""
        task, flow = task_context.get(), flow_context.get()
        wanted = task.log_prints if task else flow.log_prints if flow else False
        if wanted and options.get("file") in (None, sys.stdout):
            separator = options.get("sep")
            logging.getLogger(PRINTS).info("%s", (" " if separator is None else separator).join(map(str, values)))
        else:
            self.former(*values, **options)


_listening = _Listening()
_printing = _Printing()


@contextmanager
def heard(log_prints: bool) -> Iterator[None]:
    """Keep what is logged while inside, and what is printed when `log_prints`."""
    _listening.begin()
    if log_prints:
        _printing.begin()
    try:
        yield
    finally:
        if log_prints:
            _printing.end()
        _listening.end()
