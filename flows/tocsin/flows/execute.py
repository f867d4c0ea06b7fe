"""`python -m tocsin.flows.execute RUN_ID ATTEMPT`: run one claimed run in this process.

Exit codes: 0 ended or given back for a later retry, 1 the flow failed, 3 the run is not this attempt's (any more),
143 terminated. What the flow logs is kept with the run; only what Python itself says goes to stderr.
"""

import asyncio
import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final
from uuid import UUID

from tocsin.events.errors import TocsinError
from tocsin.events.ids import uuid7
from tocsin.flows import ledger
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns
from tocsin.flows.decide import Context
from tocsin.flows.entrypoint import load as load_flow
from tocsin.flows.errors import Deferred, Parked, Superseded, Terminated
from tocsin.flows.flow_requests import Code, FindCode, FindRun, Report
from tocsin.flows.flows import Flow
from tocsin.flows.states import StateType, failed

FAILED: Final = 1
NOT_OURS: Final = 3
TERMINATED: Final = 143
LAST_WORDS_S: Final = 5.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run the run; the exit code."""
    if len(argv) != 2:
        sys.stderr.write("usage: python -m tocsin.flows.execute RUN_ID ATTEMPT\n")
        return 2
    logging.basicConfig(level=logging.INFO, handlers=[logging.NullHandler()])
    signal.signal(signal.SIGTERM, _terminate)
    _hold_on_to(os.environ.pop("TOCSIN_LIFELINE", None))
    try:
        return _run(UUID(argv[0]), int(argv[1]))
    except TocsinError as error:
        sys.stderr.write(f"run {argv[0]}: {error}\n")
        return NOT_OURS
    except Terminated as error:
        sys.stderr.write(f"run {argv[0]}: {error}\n")
        return TERMINATED
    finally:
        ledger.close()


def _run(run_id: UUID, attempt: int) -> int:
    book = ledger.current()
    run: Columns = book.ask(FindRun(run_id=run_id))
    if run["state_type"] != StateType.PENDING or run["attempt"] != attempt:
        raise Superseded(f"it is {run['state_name']} at attempt {run['attempt']}, not pending at attempt {attempt}")
    try:
        flow = _flow(book, run)
        flow.parameters.by_name(run["parameters"])
    except Exception as error:  # code of the user's: it may raise anything
        context = Context(attempt=attempt, transition=uuid7().hex)
        traceback.print_exc()
        book.ask(Report(run_id=run_id, state=failed(error), context=context, now=book.clock.now()))
        return FAILED
    return _ended(flow, run)


def _ended(flow: Flow[..., Any], run: Columns) -> int:  # Any: a flow's parameters and result
    try:
        result = flow.resume(run)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except (Deferred, Parked):
        return 0
    except Superseded:
        raise
    except Exception:  # recorded with the run, its traceback among the run's log lines
        return FAILED
    return 0


def _flow(book: Book, run: Columns) -> Flow[..., Any]:  # Any: a flow's parameters and result
    code: Code = book.ask(FindCode(deployment=run["deployment"] or ""))
    if code.path:
        os.chdir(code.path)
    return load_flow(code.entrypoint, code.path)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(f"terminated by signal {number}")


def _hold_on_to(lifeline: str | None) -> None:
    """End with the worker: the other end of this pipe closes when it dies, however it dies."""
    if lifeline is None:
        return

    def watch() -> None:
        os.read(int(lifeline), 1)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(LAST_WORDS_S)
        os._exit(TERMINATED)

    threading.Thread(target=watch, name="tocsin-lifeline", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
