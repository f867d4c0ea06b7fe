"""Processes that call the functions of tasks: started when they are needed, used again, killed when they must."""

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Final

from tocsin.flows.errors import WorkerDied

FAREWELL_S: Final = 2.0
"""How long an idle process may take to go by itself."""

Answerer = Callable[[bytes], bytes]


class Killed(Exception):
    """A process was killed, because its call took longer than `timeout_s` seconds."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"killed after {timeout_s:g} s")
        self.timeout_s = timeout_s


class Child:
    """One process. `call` is for one thread at a time."""

    def __init__(self) -> None:
        self._wire, theirs = Pipe()
        command = [sys.executable, "-m", "tocsin.flows.child", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        theirs.close()
        self._started = False
        self._wire.send_bytes(b"S" + pickle.dumps(sys.path))

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def call(self, parcel: bytes, timeout_s: float | None, answer: Answerer) -> bytes:
        """What the function gave; questions on the way go to `answer`.

        Raises Killed when it takes longer, and kills the process; WorkerDied when that has ended by itself.
        """
        try:
            self._await_start()
            began = time.monotonic()
            until = None if timeout_s is None else began + timeout_s
            self._wire.send_bytes(b"J" + parcel)
            while True:
                if until is not None and not self._wire.poll(max(0.0, until - time.monotonic())):
                    self.kill()
                    raise Killed(until - began)
                message = self._wire.recv_bytes()
                if message[:1] == b"A":
                    return message[1:]
                self._wire.send_bytes(b"A" + answer(message[1:]))
        except (EOFError, ConnectionError) as error:
            raise WorkerDied(f"the process that it ran in {_fate(self._process.wait())}") from error

    def _await_start(self) -> None:
        """Its start, which may take a while on a busy machine, is nothing that a timeout is about."""
        if not self._started:
            self._wire.recv_bytes()
            self._started = True

    def end(self) -> None:
        """Have it go: it sees that the other end has closed."""
        self._wire.close()
        try:
            self._process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._process.kill()
        self._process.wait()


class Children:
    """The processes of one runner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()

    def call(self, parcel: bytes, timeout_s: float | None, answer: Answerer) -> bytes:
        """The same as `Child.call`, by one that is idle or by a new one."""
        child = self._hired()
        try:
            return child.call(parcel, timeout_s, answer)
        finally:
            with self._lock:
                self._busy.discard(child)
                if child.alive:
                    self._idle.append(child)

    def close(self) -> None:
        """End all of them; one that still works is killed."""
        with self._lock:
            idle, busy = self._idle, self._busy
            self._idle, self._busy = [], set()
        for child in busy:
            child.kill()
        for child in idle:
            child.end()

    def _hired(self) -> Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    break
            else:
                child = Child()
            self._busy.add(child)
        return child


def _fate(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"
