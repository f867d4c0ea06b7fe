"""What the stand-ins of both engines have in common: an HTTP server on loopback, faults, and what containers do.

What a container does is told by its image: `flows` really runs the command, the others do as `PROGRAMS` says.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
OOM = 137


class Program(NamedTuple):
    """What a container does: it ends at once with `code`, or (None) at a signal that is not ignored."""

    code: int | None
    output: str = ""
    ignores: str = ""


PROGRAMS = {
    "done": Program(0),
    "fails": Program(7, "".join(f"line {i}\n" for i in range(40)) + "KeyError: 'region'\n"),
    "hungry": Program(OOM),
    "holds": Program(None),
    "stubborn": Program(None, ignores="SIGTERM"),
}


class Body:
    """A container at work. `told`: called when it has ended."""

    def __init__(self, image: str, command: list[str], env: Mapping[str, str], told: Callable[[], None]) -> None:
        self.ended, self.code, self.output = threading.Event(), -1, ""
        self._told, self._process = told, None
        if image == "flows":
            whole = [sys.executable, *command[1:]]
            variables = {**os.environ, **env}
            self._process = subprocess.Popen(whole, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            threading.Thread(target=self._wait, daemon=True).start()
            return
        self._program = PROGRAMS[image]
        if self._program.code is not None:
            self._end(self._program.code, self._program.output)

    def signal(self, name: str) -> None:
        if self._process is not None:
            self._process.send_signal({"SIGTERM": 15, "SIGKILL": 9}[name])
        elif self._program.ignores != name:
            self._end({"SIGTERM": 143, "SIGKILL": 137}[name], "")

    def _wait(self) -> None:
        assert self._process is not None
        output, _ = self._process.communicate()
        self._end(self._process.returncode, output.decode())

    def _end(self, code: int, output: str) -> None:
        if not self.ended.is_set():
            self.code, self.output = code, output
            self.ended.set()
            self._told()


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: Json


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Engine:
    """An engine: what there is in it, what was asked of it, and the faults that are still to come."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.closing = False
        self.asked: list[str] = []
        self.url = ""
        self._faults: list[tuple[str, str, int | str]] = []

    def fail(self, method: str, part: str, *faults: int | str) -> None:
        """The next requests like this are answered with these statuses, or `reset`: done, but the answer is lost."""
        self._faults += [(method, part, fault) for fault in faults]

    def fault(self, request: Request) -> int | str | None:
        with self.lock:
            for index, (method, part, fault) in enumerate(self._faults):
                if method == request.method and part in request.path:
                    del self._faults[index]
                    return fault
        return None

    def ring(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def close(self) -> None:
        self.closing = True
        self.ring()

    def answer(self, request: Request) -> Any:
        """JSON, bytes, or an iterator of lines. Raises Refused."""
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> Json:
        raise NotImplementedError


class _Door(BaseHTTPRequestHandler):
    engine: Engine
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, url.path, query, json.loads(body) if body else {})
        self.engine.asked.append(f"{request.method} {request.path}")
        fault = self.engine.fault(request)
        if isinstance(fault, int):
            self._send(fault, self.engine.refusal(fault, "injected"))
            return
        try:
            status, answer = 200, self.engine.answer(request)
        except Refused as refused:
            status, answer = refused.status, self.engine.refusal(refused.status, refused.message)
        if fault == "reset":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(status, answer)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server calls them

    def _send(self, status: int, answer: Any) -> None:
        if isinstance(answer, Iterator):
            self._stream(answer)
            return
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, lines: Iterator[Json]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in lines:
                chunk = json.dumps(line).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Connections break on purpose."""


@contextmanager
def served(engine: Engine) -> Iterator[None]:
    """The engine behind `engine.url`."""
    server = _Server(("127.0.0.1", 0), type("Door", (_Door,), {"engine": engine}))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    engine.url = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        engine.close()
        server.shutdown()
        thread.join()
        server.server_close()
