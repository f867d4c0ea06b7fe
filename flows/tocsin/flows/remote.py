"""The book of a process that has no database, only the address of a server: what it writes down is posted there.

A post is the buffer and at most one request, under an id of its own. One whose answer did not come is sent again as it
was, before anything else: the server carries out each id once. So nothing is lost, and nothing is done twice, when the
server restarts in the middle; runs wait until it is back.
"""

import logging
import threading
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tocsin.events.clock import SystemClock
from tocsin.events.errors import TocsinError, Unavailable
from tocsin.events.ids import uuid7
from tocsin.flows.beat import INTERVAL, every, here
from tocsin.flows.book import Batch, Book
from tocsin.flows.line import Line
from tocsin.flows.posts import Beat, Heard, Post, packed, read_answer
from tocsin.flows.request import Request
from tocsin.store.bell import Bell

PATIENCE_S: Final = 600.0
"""How long a run waits for a server that does not answer before its step fails."""
BEAT_S: Final = 5.0
MOST_LINES: Final = 1_000
"""Log lines in one post."""

logger = logging.getLogger(__name__)


class ServerClock:
    """The server's time, as far as it was told: all who write into one database go by one clock."""

    def __init__(self) -> None:
        self._system, self.offset = SystemClock(), timedelta()

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
        return self._system.now() + self.offset

    def told(self, before: datetime, then: datetime, after: datetime) -> None:
        """Note what time it was at the server, between two looks at our own clock."""
        self.offset = then - (before + (after - before) / 2)


class _Sent:
    """A post under way: its bytes stay as they are until it is answered."""

    def __init__(self, batch: Batch, request: Request | None) -> None:
        self.batch, self.request = batch, request
        self.body = msgspec.json.encode(Post(uuid7(), packed(batch.write), packed(request)))


class RemoteBook(Book):
    """The book of one process at the server of `url`."""

    def __init__(self, url: str, key: str, patience_s: float = PATIENCE_S) -> None:
        self._server = ServerClock()
        super().__init__(self._server)
        self._lines_to = (url, key, "/api/engine")
        self._posts, self._looks = Line(*self._lines_to), Line(*self._lines_to)
        self._patience_s = patience_s
        self._sent: _Sent | None = None
        self._lease = f"process:{uuid7()}"
        self._pulse: _Pulse | None = None

    @property
    def lease(self) -> str:
        """The name of this process's lease; taken at the first use."""
        if self._pulse is None:
            with self._pen:
                if self._pulse is None:
                    self._beat(self._patience_s)
                    self._pulse = _Pulse(self)
        return self._lease

    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Post the request, after all that was buffered before it when it writes; its answer."""
        if not request.writes:
            body = msgspec.json.encode(Post(uuid7(), request=packed(request)))
            return read_answer(self._looks.post("posts", body, self._patience_s), request)[1]
        with self._pen:
            self._finish()
            self._sent = _Sent(self._take_some(), request)
            return self._finish()

    def bell(self, channel: str) -> Bell:
        """A bell that rings when somebody tells of changes on the channel. Raises Unavailable."""
        return _Hanging(Line(*self._lines_to), channel)

    def _deliver(self) -> None:
        self._finish()
        while self._changes or self._lines:
            self._sent = _Sent(self._take_some(), None)
            self._finish()

    def _let_go(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()
            try:
                self._posts.post("release", msgspec.json.encode(Beat(self._lease, here())), BEAT_S)
            except TocsinError as error:
                logger.warning("the lease of this process could not be given up, it will run out: %s", error)
        self._posts.close()
        self._looks.close()

    def _take_some(self) -> Batch:
        batch = self._take()
        if len(batch.lines) > MOST_LINES:
            self._give_back(Batch([], batch.lines[MOST_LINES:]))
            batch.lines = batch.lines[:MOST_LINES]
        return batch

    def _finish(self) -> Any:  # Any: the request's answer
        """See that the post under way is answered; the answer to its request."""
        sent = self._sent
        if sent is None:
            return None
        try:
            body = self._posts.post("posts", sent.body, self._patience_s)
        except Unavailable:
            raise  # sent again as it is, next time
        except TocsinError:  # refused as a whole: nothing of it was done
            self._sent = None
            self._give_back(sent.batch)
            raise
        refused, answer = read_answer(body, sent.request)
        self._sent = None
        sent.batch.mark(refused)
        return answer

    def _beat(self, patience_s: float = 0.0) -> None:
        before = SystemClock().now()
        body = self._looks.post("beat", msgspec.json.encode(Beat(self._lease, here())), patience_s)
        heard = msgspec.json.decode(body, type=Heard)
        self._server.told(before, heard.now, SystemClock().now())
        self._heard_of(heard.stopped)


class _Pulse:
    """Tells the server at an interval that this process lives."""

    def __init__(self, book: RemoteBook) -> None:
        self._stopped, self._book = threading.Event(), book
        self._thread = threading.Thread(target=self._run, name="tocsin-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be silent from now on."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        every(INTERVAL, self._stopped, self._said)

    def _said(self) -> None:
        try:
            self._book._beat()
        except TocsinError as error:
            logger.warning("the server was not told that this process lives, trying again: %s", error)


class _Hanging:
    """A bell at the other end of the line: the server keeps the question until it rings."""

    exact = False

    def __init__(self, line: Line, channel: str) -> None:
        self._line, self._channel = line, channel
        self._rung = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="tocsin-bell", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as it may have been rung since the last `wait`, False after `timeout_s`."""
        rung = self._rung.wait(timeout_s)
        self._rung.clear()
        return rung

    def wake(self) -> None:
        """Make `wait` return True."""
        self._rung.set()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()

    def _listen(self) -> None:
        body = msgspec.json.encode({"channel": self._channel})
        while not self._closed.is_set():
            try:
                if msgspec.json.decode(self._line.post("bell", body, 0.0), type=bool):
                    self._rung.set()
            except TocsinError as error:
                logger.debug("the bell is not heard: %s", error)
                self._rung.set()
                self._closed.wait(1.0)
        self._line.close()
