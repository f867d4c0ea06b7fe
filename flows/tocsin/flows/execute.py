"""`python -m tocsin.flows.execute RUN_ID ATTEMPT`: run one claimed run in this process.

Exit codes: 0 ended or given back for a later retry, 1 the flow failed, 3 the run is not this attempt's (any more),
143 terminated. TOCSIN_CODE_PATH: the folder of the flow's code, where it is not that of the deployment. What the flow
logs is kept with the run; only what Python itself says goes to stderr.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final
from uuid import UUID

from tocsin.events.errors import TocsinError
from tocsin.flows import ledger
from tocsin.flows.attempt import NOT_OURS, TERMINATED, carried_out
from tocsin.flows.changes import Columns
from tocsin.flows.errors import Superseded, Terminated
from tocsin.flows.flow_requests import Code, FindCode, FindRun
from tocsin.flows.states import StateType

LAST_WORDS_S: Final = 5.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run the run; the exit code."""
    if argv[:1] == ["--afterwards"]:
        from tocsin.flows import afterwards

        return afterwards.main(argv[1:])
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
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # there is nothing left to stop
        ledger.close()


def _run(run_id: UUID, attempt: int) -> int:
    book = ledger.current()
    run: Columns = book.ask(FindRun(run_id=run_id))
    if run["state_type"] != StateType.PENDING or run["attempt"] != attempt:
        raise Superseded(f"it is {run['state_name']} at attempt {run['attempt']}, not pending at attempt {attempt}")
    code: Code = book.ask(FindCode(deployment=run["deployment"] or ""))
    path = os.environ.get("TOCSIN_CODE_PATH") or code.path
    if path:
        os.chdir(path)
    return carried_out(book, run, code.entrypoint, path)


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
