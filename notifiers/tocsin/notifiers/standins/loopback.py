"""An HTTP server on loopback, in threads of its own, that can be told to fail."""

import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tocsin.notifiers.standins.unreliable import Unreliable

MAX_BODY = 4 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fail:
    """Answer with this status and do nothing."""

    status: int = 500
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RateLimited:
    """Answer 429, with Retry-After in seconds when given."""

    retry_after: float | str | None = None


@dataclass(frozen=True)
class Error:
    """Answer with the channel's own error word (`invalid_blocks`), in the channel's own manner."""

    word: str


@dataclass(frozen=True)
class Hang:
    """Never answer; the request is carried out before when `accept`."""

    accept: bool = False


@dataclass(frozen=True)
class Reset:
    """Tear the connection down; the request is carried out before when `accept` (the answer is lost)."""

    accept: bool = False


@dataclass(frozen=True)
class Pass:
    """Nothing goes wrong: for a fault at a later request."""


Fault = Fail | RateLimited | Error | Hang | Reset | Pass


@dataclass(frozen=True)
class Request:
    """What came in; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:  # Any: whatever JSON was sent
        """The body as a JSON object; {} when it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True)
class Reply:
    """What goes back."""

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class StandIn(Unreliable[Fault]):
    """A server on 127.0.0.1 and a port of its own, which hears one request after the other; `requests` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self._closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop answering, tear down what is open."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._thread.join()

    def answer(self, request: Request) -> Reply:
        """Carry the request out; called with everything else locked out."""
        raise NotImplementedError

    def refuse(self, word: str, request: Request) -> Reply:
        """The service's own way of saying `word`."""
        raise NotImplementedError

    def respond(self, request: Request) -> Reply | None:
        """The reply to `request`, after the next fault; None to tear the connection down."""
        with self.changed:
            fault = self._faults.popleft() if self._faults else None
            self.requests += 1
            reply = self._faulty(fault, request) if fault else self.answer(request)
            self.changed.notify_all()
        if isinstance(fault, Hang):
            self._closing.wait()
        return reply

    def _faulty(self, fault: Fault, request: Request) -> Reply | None:
        match fault:
            case Fail(status, body, headers):
                return Reply(status, body, "text/plain", headers)
            case RateLimited(wait):
                headers = {} if wait is None else {"Retry-After": str(wait)}
                refused = self.refuse("ratelimited", request)
                return Reply(429, refused.body, refused.content_type, headers)
            case Error(word):
                return self.refuse(word, request)
            case Pass():
                return self.answer(request)
            case Hang(accept) | Reset(accept):
                if accept:
                    self.answer(request)
                return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:  # Any: the client's address, as socketserver types it
        """Accept one connection and remember it."""
        connection, client = super().get_request()
        self._open.add(connection)
        return connection, client

    # Any: socketserver's own signature.
    def shutdown_request(self, request: Any) -> None:
        """Close one connection and forget it."""
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every thread that waits for its client."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # Any: socketserver's own signature.
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Read the whole request, answer it. Of a client that went away before it had said all, nothing was heard."""
        length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        whole = len(body) == length
        reply = self.server.stand_in.respond(Request(self.command, self.path, headers, body)) if whole else None
        if reply is None:
            self._tear_down()
        else:
            self._write(reply)

    def do_GET(self) -> None:
        """The same: some calls put their arguments into the query."""
        self.do_POST()

    def _write(self, reply: Reply) -> None:
        body = reply.body.encode("utf-8", "replace")
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _tear_down(self) -> None:
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True

    # Any: http.server's own signature.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""
