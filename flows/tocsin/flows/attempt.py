"""One claimed attempt of a run, carried out in this thread: its flow is found, and run to its end."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tocsin.events.ids import uuid7
from tocsin.flows import spans
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns
from tocsin.flows.decide import Context
from tocsin.flows.entrypoint import load
from tocsin.flows.errors import Deferred, Parked, Superseded
from tocsin.flows.flow_requests import Report
from tocsin.flows.flows import Flow
from tocsin.flows.states import failed

DONE: Final = 0
FAILED: Final = 1
NOT_OURS: Final = 3
TERMINATED: Final = 143

# Any below: a flow's parameters and result.
Watcher = Callable[["asyncio.Task[object]"], None]

_importing = threading.Lock()


def carried_out(book: Book, run: Columns, entrypoint: str, path: str | None, entered: Watcher | None = None) -> int:
    """Run the flow; the exit code: 0 ended or given back for a later retry, 1 it failed.

    `entered` is told of the task of a flow that is a coroutine, from inside its event loop. Raises Superseded when the
    run is not this attempt's any more, Terminated and the like when it was broken off, which is on record by then.
    """
    spans.set_up()
    try:
        with _importing:  # a module that another thread has half imported is not to be used
            flow = load(entrypoint, path)
        flow.parameters.by_name(run["parameters"])
    except Exception as error:  # code of the user's: it may raise anything
        context = Context(attempt=run["attempt"], transition=uuid7().hex)
        traceback.print_exc()
        book.ask(Report(run_id=run["id"], state=failed(error), context=context, now=book.clock.now()))
        return FAILED
    return _ended(flow, run, entered)


def _ended(flow: Flow[..., Any], run: Columns, entered: Watcher | None) -> int:
    try:
        result = flow.resume(run)
        if inspect.iscoroutine(result):
            asyncio.run(_watched(result, entered))
    except (Deferred, Parked):
        return DONE
    except Superseded:
        raise
    except Exception:  # recorded with the run, its traceback among the run's log lines
        return FAILED
    return DONE


async def _watched(work: Coroutine[Any, Any, Any], entered: Watcher | None) -> Any:
    task = asyncio.current_task()
    if entered is not None and task is not None:
        entered(task)
    return await work
