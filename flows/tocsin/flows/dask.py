"""Tasks on a Dask cluster: `DaskTaskRunner`. The only module that imports `distributed` (extra `dask`).

    flow's process                          scheduler, workers
    engine ── client.submit(parcel) ──────▶ perform
           ◀── event: "a question" ──────── the book of the task, a variable, ...
           ── run: take the question ─────▶
           ── run: here is the answer ────▶ goes on
    engine ◀── what it returned or raised ──

Workers never see the store: what they write down is asked of the flow's process, over the connections that Dask has.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar, Final
from uuid import uuid4

from tocsin.events.errors import Invalid
from tocsin.flows.book import Book
from tocsin.flows.errors import WorkerDied
from tocsin.flows.far import answered, packed, perform, unpacked
from tocsin.flows.pool import Loop
from tocsin.flows.runner import Shared
from tocsin.flows.steps import Call
from tocsin.flows.submitting import Submission

try:
    import distributed
except ImportError as missing:
    raise Invalid("DaskTaskRunner needs the extra `dask`: pip install 'tocsin[dask]'") from missing

# Any below: users' results, and options of Dask's own classes.
Options = Mapping[str, Any]

LOOPBACK: Final = "127.0.0.1:0"
QUIET: Final[Options] = {
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": LOOPBACK},
    "worker_dashboard_address": LOOPBACK,
}
"""A local cluster has no dashboard unless it is asked for, and its little HTTP servers listen to this machine only."""


class DaskTaskRunner(Shared):
    """Tasks on the cluster at `address`, or on a local one made with `cluster_kwargs` for as long as the flow runs.

    Functions, arguments and results are pickled; workers need the modules that they import. A task whose worker dies
    is run again by Dask on another one, three times; then it is tried again if it has retries, and CRASHED if not.
    """

    in_line: ClassVar = False

    def __init__(
        self,
        address: str | None = None,
        cluster_kwargs: Options | None = None,
        client_kwargs: Options | None = None,
    ) -> None:
        super().__init__()
        if address is not None and cluster_kwargs:
            raise Invalid("DaskTaskRunner: give the address of a cluster or cluster_kwargs for a new one, not both")
        self.address, self.cluster_kwargs, self.client_kwargs = address, cluster_kwargs or {}, client_kwargs or {}
        self._loop = Loop()
        self._cluster: Any = None
        self._client: Any = None
        self._topic = f"tocsin-{uuid4()}"
        self._books: dict[str, Book] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def made_from(self) -> tuple[Any, ...]:
        """The address, and the options of Dask's own classes."""
        return self.address, self.cluster_kwargs, self.client_kwargs

    def take(self, submission: Submission) -> None:
        """Have its function called on the cluster."""
        self._loop.put(partial(submission.awaited, partial(self._call, submission)), submission.context)

    def start(self) -> None:
        """Connect to the cluster, or make it. Raises OSError when nobody answers at the address."""
        self._loop = Loop()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop.started()).result()
        except BaseException:
            self._loop.stop()
            raise

    def stop(self) -> None:
        """Let go of the cluster; the local one ends."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop.started()).result()
        self._loop.stop()

    async def _open(self) -> None:
        dask: Any = distributed  # its classes have no types
        if self.address is None:
            self._cluster = await dask.LocalCluster(asynchronous=True, **{**QUIET, **self.cluster_kwargs})
        known = {"asynchronous": True, "set_as_default": False} | dict(self.client_kwargs)
        try:
            self._client = await dask.Client(self.address or self._cluster, **known)
            self._client.subscribe_topic(self._topic, self._heard)
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        if client is not None:
            await client.close()
        if cluster is not None:
            await cluster.close()

    async def _call(self, submission: Submission, call: Call) -> Any:
        identity = str(uuid4())
        self._books[identity] = submission.ledger
        sent = packed(submission.task, call, call.timeout_s)
        key = f"{submission.task.name}-{identity}"
        future = self._client.submit(_performed, sent, self._topic, identity, key=key, pure=False)
        try:
            return unpacked(await future)
        except distributed.KilledWorker as error:
            raise WorkerDied(f"the Dask workers that it was given to died: {error}") from error
        except distributed.client.FutureCancelledError as error:
            raise WorkerDied(f"the Dask cluster let go of it: {error}") from error
        finally:
            future.release()
            del self._books[identity]

    def _heard(self, event: tuple[float, dict[str, str]]) -> None:
        """A worker has a question."""
        answering = asyncio.ensure_future(self._answer(**event[1]))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, worker: str, call: str, question: str) -> None:
        book, client = self._books.get(call), self._client
        if book is None or client is None:
            return  # the task is over, and so is the question
        asked = (await client.run(_taken, question, workers=[worker]))[worker]
        if asked is not None:
            answer = await asyncio.to_thread(answered, book, asked)
            await client.run(_deliver, question, answer, workers=[worker])


# What follows runs in a worker.

_questions: dict[str, bytes] = {}
_answers: dict[str, "SimpleQueue[bytes]"] = {}


def _performed(parcel: bytes, topic: str, call: str) -> bytes:
    worker = distributed.get_worker()

    def ask(body: bytes) -> bytes:
        question, answers = str(uuid4()), SimpleQueue[bytes]()
        _questions[question], _answers[question] = body, answers
        worker.log_event(topic, {"worker": worker.address, "call": call, "question": question})
        return answers.get()

    return perform(parcel, ask)


def _taken(question: str) -> bytes | None:
    return _questions.pop(question, None)


def _deliver(question: str, answer: bytes) -> None:
    if (waiting := _answers.pop(question, None)) is not None:
        waiting.put(answer)
