"""Pools of type `thread`: attempts in threads of the worker's own process, for tests and light work.

They start in a moment and share the process's book, its modules and its fate: a flow that brings the process down takes
all of them with it, and none can be killed. A run that is cancelled or suspended ends where it looks up: before its
next task, or, a coroutine, at its next `await`.
"""

import asyncio
import logging
import threading
from concurrent.futures import Future as Outcome
from typing import Final

from tocsin.flows import ledger
from tocsin.flows.attempt import NOT_OURS, TERMINATED, carried_out
from tocsin.flows.errors import Superseded, Terminated
from tocsin.flows.infrastructure import Exit, Handle, Infrastructure, Job, Template
from tocsin.store.engine import Store

logger = logging.getLogger(__name__)

RAISED: Final = 70


class ThreadTemplate(Template):
    """A thread leaves nothing to choose."""

    def infrastructure(self, store: Store) -> Infrastructure:
        """Threads on the worker's store."""
        return Threads(store)


class Strand:
    """The thread of one attempt."""

    def __init__(self, job: Job, book: ledger.Ledger) -> None:
        self._job, self._book = job, book
        self._outcome: Outcome[Exit] = Outcome()
        self._thread = threading.Thread(target=self._work, name=f"tocsin-run-{job.run['name']}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[object] | None = None
        self._ending, self._over = threading.Lock(), False
        book.tell_to_stop(job.run_id, stop=False)  # an attempt before this one may be about to notice that it is over
        self._thread.start()

    @property
    def place(self) -> str:
        """The thread's name."""
        return f"thread {self._thread.name}"

    async def wait(self) -> Exit:
        """How it ended."""
        return await asyncio.shield(asyncio.wrap_future(self._outcome))

    def terminate(self) -> None:
        """Its next task does not begin; a coroutine is cancelled where it awaits."""
        with self._ending:
            if self._over:
                return
            self._book.tell_to_stop(self._job.run_id)
        if self._loop is not None and self._main is not None:
            try:
                self._loop.call_soon_threadsafe(self._main.cancel)
            except RuntimeError:
                return  # its loop is closed: it has just ended

    def kill(self) -> bool:
        """No thread can be killed."""
        return False

    def _work(self) -> None:
        try:
            how = self._carried_out()
        finally:
            with self._ending:
                self._over = True
                self._book.tell_to_stop(self._job.run_id, stop=False)
        self._outcome.set_result(how)

    def _carried_out(self) -> Exit:
        run, name = self._job.run, self._job.run["name"]
        try:
            return Exit(carried_out(self._book, run, self._job.entrypoint, self._job.path, self._entered))
        except (Terminated, asyncio.CancelledError):
            return Exit(TERMINATED, "it was told to stop")
        except Superseded as error:
            logger.warning("run %s: %s", name, error)
            return Exit(NOT_OURS, str(error))
        except BaseException as error:
            logger.exception("run %s: its thread broke off", name)
            return Exit(RAISED, f"its thread broke off with {type(error).__name__}: {error}")

    def _entered(self, main: "asyncio.Task[object]") -> None:
        """From here on there is a coroutine that can be cancelled."""
        self._loop, self._main = main.get_loop(), main
        if self._job.run_id in self._book.cancelling:
            main.cancel()


class Threads:
    """Starts a thread for each job."""

    apart = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._book: ledger.Ledger | None = None

    async def open(self) -> None:
        """The process's book is one on the worker's store from here on. Raises Invalid when it is on another one."""
        self._book = ledger.adopt(self._store)

    async def start(self, job: Job) -> Handle:
        """A new thread."""
        assert self._book is not None
        return Strand(job, self._book)

    async def close(self) -> None:
        """Write down what the runs have said."""
        if self._book is not None:
            await asyncio.to_thread(ledger.give_back, self._book)
