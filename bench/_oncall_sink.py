"""A process that takes whatever is posted, as fast as a Python server can: PagerDuty's answers, a webhook's, or 429.

`/v2/enqueue` is answered as PagerDuty does, `/limited` with 429 and Retry-After, all else with 204. It notes when each
request came (CLOCK_MONOTONIC, which all processes of a machine share) and hands that over when asked.
"""

import asyncio
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

RETRY_AFTER_S = 2
LIMITED = "/limited"
_PAGER = json.dumps({"status": "success", "message": "Event processed", "dedup_key": "k"}).encode()


class Arrival(NamedTuple):
    """A request: when, where, and what in the bodies tells requests apart."""

    at: float
    path: str
    mark: str


class Sink:
    """The other side of the process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.address = f"http://127.0.0.1:{pipe.recv()}"

    def arrivals(self) -> list[Arrival]:
        """What has come since it was last asked."""
        self._pipe.send("arrivals")
        return [Arrival(*one) for one in self._pipe.recv()]

    def stop(self) -> None:
        """It ends."""
        self._pipe.send("stop")


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    found = Sink(ours)
    try:
        yield found
    finally:
        found.stop()
        process.join(10)


class _Http(asyncio.Protocol):
    """Keeps connections open, reads bodies by their length, and does little else."""

    def __init__(self, arrived: list[Arrival]) -> None:
        self._arrived, self._read = arrived, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].decode("latin-1")
            length = next((int(line[15:]) for line in head.split("\r\n") if line[:15].lower() == "content-length:"), 0)
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            self._answer(head.split(" ", 2)[1], body)

    def _answer(self, path: str, body: bytes) -> None:
        self._arrived.append(Arrival(time.monotonic(), path, _mark(body)))
        if path == LIMITED:
            head = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {RETRY_AFTER_S}\r\nContent-Length: 0\r\n\r\n"
            self._transport.write(head.encode())
        elif path.startswith("/v2/"):
            head = f"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {len(_PAGER)}\r\n\r\n"
            self._transport.write(head.encode() + _PAGER)
        else:
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def _mark(body: bytes) -> str:
    """The host that the message is about."""
    start = body.find(b"host-")
    return body[start : body.find(b".", start)].decode() if start >= 0 else ""


def _serve(pipe: Connection) -> None:
    arrived: list[Arrival] = []
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Http(arrived), "127.0.0.1", 0, backlog=512))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    pipe.send(server.sockets[0].getsockname()[1])
    while pipe.recv() == "arrivals":
        count = len(arrived)
        pipe.send([tuple(one) for one in arrived[:count]])
        del arrived[:count]
