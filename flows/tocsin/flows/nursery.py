"""`python -m tocsin.flows.nursery FD`: starts processes for runs by forking; none has to import all anew.

A worker speaks to it over the socket FD, one JSON object a packet; it lives as long as the other end is open.

    worker ── Birth + the lifeline ──▶ nursery ── fork ──▶ child: a group of its own, `tocsin.flows.execute`
           ◀── News(pid) ── News(code) ──

It has one thread, no database and no code of users, so a child starts as clean as a new interpreter does.
"""

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import msgspec
from sqlalchemy.orm import configure_mappers

from tocsin.flows import execute
from tocsin.flows.nursery_words import PACKET, Birth, News


class Nursery:
    """Forks until the socket closes. `run` gives what a child has to do, and None in the nursery itself."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}
        self._bell, ring = socket.socketpair()
        ring.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(ring.fileno(), warn_on_full_buffer=False)
        self._ring = ring

    def run(self) -> Callable[[], int] | None:
        """Serve the worker."""
        while True:
            ready, _, _ = select.select([self._control, self._bell], [], [])
            if self._bell in ready:
                self._bell.recv(4096)
                self._bury()
            if self._control in ready:
                packet, files, _, _ = socket.recv_fds(self._control, PACKET, 1)
                if not packet:
                    return None
                if (work := self._bear(msgspec.json.decode(packet, type=Birth), files)) is not None:
                    return work

    def _bear(self, birth: Birth, files: list[int]) -> Callable[[], int] | None:
        pid = os.fork()
        if pid == 0:
            self._leave()
            return lambda: _grown(birth, files[0])
        for file in files:
            os.close(file)
        _lead(pid)
        self._children[pid] = birth.number
        self._tell(News(birth.number, pid))
        return None

    def _bury(self) -> None:
        with suppress(ChildProcessError):
            while (gone := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = gone
                self._tell(News(self._children.pop(pid), pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, news: News) -> None:
        with suppress(OSError):  # nobody is there any more: the next `recv` says so
            self._control.send(msgspec.json.encode(news))

    def _leave(self) -> None:
        """A child keeps nothing of this."""
        _lead(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._control, self._bell, self._ring):
            end.close()


def _lead(pid: int) -> None:
    """Make it a group: by both, for whoever comes first sends or gets signals by it."""
    with suppress(OSError):
        os.setpgid(pid, pid)


def _grown(birth: Birth, lifeline: int) -> int:
    os.environ.update(birth.environment)
    os.environ["TOCSIN_LIFELINE"] = str(lifeline)
    if birth.folder is not None:
        os.chdir(birth.folder)
        sys.path[0] = birth.folder
    return execute.main(birth.arguments)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The wake-up is all."""


def _warm() -> None:
    """What every child needs besides: the drivers of both databases, and the tables' mappers."""
    import psycopg  # noqa: F401
    import sqlalchemy.dialects.postgresql.psycopg
    import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401

    configure_mappers()
    gc.collect()
    gc.freeze()


def main() -> int:
    """Serve the socket whose number is the argument; in a child, run its run."""
    _warm()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        work = Nursery(control).run()
    return work() if work is not None else 0


if __name__ == "__main__":
    sys.exit(main())
