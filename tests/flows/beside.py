"""What tests of waiting runs share: a flow that runs beside the test, and one that runs as a deployment, here."""

import threading
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from tests.flows.conftest import Book
from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.flows import Flow
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.tables import FlowRun

PATIENCE_S = 30


class Approval(BaseModel):
    """What a person is asked."""

    ok: bool
    by: str = "nobody"
    until: date | None = None


def nothing() -> None:
    """No work at all."""


class Beside:
    """A flow that runs in a thread of its own, until it has ended."""

    def __init__(self, book: Book, call: Callable[[], Any]) -> None:
        self.book = book
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.value = call()
        except BaseException as error:
            self.error = error

    def met(self, condition: Callable[[], Any]) -> Any:
        for _ in range(PATIENCE_S * 200):
            alive = self._thread.is_alive()
            if answer := condition():
                return answer
            if not alive:
                break
            self._thread.join(0.005)
        raise AssertionError(f"not met; the runs are {[run.state_name for run in self.book.flow_runs()]}, {self.error}")

    def in_state(self, *names: str) -> FlowRun:
        found: FlowRun = self.met(lambda: next((r for r in self.book.flow_runs() if r.state_name in names), None))
        return found

    def end(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


class Deployed:
    """A flow of this file as a deployment, and a worker that runs it here."""

    def __init__(self, book: Book, what: Flow[..., Any]) -> None:
        self.book, self.flow = book, what
        with book.store.begin() as session:
            put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), self.now())
            self.id = create_run(session, "d", now=self.now()).id

    def now(self) -> Any:
        return self.book.ledger.clock.now()

    def work(self) -> Any:
        """Claim it and run it to its end here."""
        with self.book.store.begin() as session:
            (taken,) = claim(session, "default", 1, lease="worker:1", worker="w", now=self.now())
        return self.flow.resume(taken)

    def row(self) -> FlowRun:
        return get(self.book, self.id)


def get(book: Book, run_id: UUID) -> FlowRun:
    with book.store.read() as session:
        return get_run(session, run_id)


def flow_events(book: Book) -> list[str]:
    names = [event.event for event in book.events()]
    return [name.removeprefix("tocsin.flow-run.") for name in names if name.startswith("tocsin.flow-run.")]
