"""`python -m tocsin.flows.afterwards RUN_ID`: run the hooks of a run whose process is gone, where its flow's code is.

A run that crashes or is cancelled tells its `on_crashed` or `on_cancellation` hooks itself, if it still can. When its
process is dead somebody else has to: whoever puts the end on record starts this.

Exit codes: 0 the hooks were told, or there are none; 1 the flow's code could not be loaded; 3 the run has not ended so.
"""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from tocsin.events.errors import TocsinError
from tocsin.flows import ledger
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns, state_of
from tocsin.flows.context import FlowContext, in_flow
from tocsin.flows.entrypoint import load
from tocsin.flows.flow_requests import Code, FindCode, FindRun
from tocsin.flows.flows import Flow
from tocsin.flows.hooks import told
from tocsin.flows.logs import heard
from tocsin.flows.run_states import RunState
from tocsin.flows.states import StateType
from tocsin.flows.steps import drive
from tocsin.flows.tables import FlowRun

NOT_LOADED: Final = 1
NOT_OVER: Final = 3
ENDS: Final = frozenset({StateType.CRASHED.value, StateType.CANCELLED.value})


def main(argv: Sequence[str]) -> int:
    """Tell the hooks; the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m tocsin.flows.afterwards RUN_ID\n")
        return 2
    logging.basicConfig(level=logging.INFO, handlers=[logging.NullHandler()])
    try:
        return _told(ledger.current(), UUID(argv[0]))
    except (TocsinError, ValueError) as error:
        sys.stderr.write(f"run {argv[0]}: {error}\n")
        return NOT_OVER
    finally:
        ledger.close()


def tell(book: Book, flow: Flow[..., Any], run: Columns) -> None:  # Any: a flow's parameters and result
    """Tell the flow's hooks of the state that the run is in; what they raise is logged with it."""
    context = FlowContext(book, run, deployed=True, resumes=False, log_prints=bool(flow.log_prints))
    context.parameters = run["parameters"]
    with in_flow(context), heard(context.log_prints):
        drive(told(flow, RunState(state_of(run)), lambda: FlowRun(**run)))


def _told(book: Book, run_id: UUID) -> int:
    run: Columns = book.ask(FindRun(run_id=run_id))
    if run["state_type"] not in ENDS or run["deployment"] is None:
        sys.stderr.write(f"run {run['name']} is {run['state_name']}: no hooks to be told by others\n")
        return NOT_OVER
    code: Code = book.ask(FindCode(deployment=run["deployment"]))
    try:
        path = os.environ.get("TOCSIN_CODE_PATH") or code.path
        if path:
            os.chdir(path)
        flow = load(code.entrypoint, path)
    except Exception:  # code of the user's: it may raise anything
        traceback.print_exc()
        return NOT_LOADED
    tell(book, flow, run)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
