"""Slots under `kill -9`: processes hammer a limit and are killed while they hold it; never too many, none leaked."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.flows.limits import get_limit, set_limits

HOLDER = Path(__file__).with_name("slot_holder.py")
SLOTS, PROCESSES = 2, 5
PATIENCE_S = 90.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


class Crowd:
    """Processes that take slots, and the files of their witness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        for number in range(SLOTS):
            (folder / f"slot-{number}").touch()
        for _ in range(PROCESSES):
            self.add()

    def add(self) -> None:
        command = [sys.executable, str(HOLDER), str(self.folder), str(SLOTS)]
        self.processes.append(subprocess.Popen(command))

    def kill(self, holder: bool) -> None:
        """Kill one that is inside right now, or one that is not and waits, and start another one."""
        victim = met(lambda: self._found(holder))
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        self.processes.remove(victim)
        self.add()

    def done(self) -> int:
        """How often somebody has been inside."""
        return sum(file.stat().st_size for file in self.folder.glob("done-*"))

    def more(self, times: int) -> None:
        """Return when somebody has been inside so many times more."""
        before = self.done()
        met(lambda: self.done() > before + times)

    def stop(self) -> list[int]:
        """Exit codes of those that are left."""
        (self.folder / "stop").touch()
        return [process.wait(PATIENCE_S) for process in self.processes]

    def _found(self, holder: bool) -> "subprocess.Popen[bytes] | None":
        inside = {(self.folder / f"slot-{number}").read_text() for number in range(SLOTS)}
        return next((one for one in self.processes if (str(one.pid) in inside) == holder), None)


def met(condition: Callable[[], Any]) -> Any:
    """The condition's value as soon as it is true."""
    tick, end = threading.Event(), monotonic() + PATIENCE_S
    while not (value := condition()):
        assert monotonic() < end
        tick.wait(0.002)
    return value


@pytest.fixture
def crowd(book: Book, tmp_path: Path) -> Iterator[Crowd]:
    set_limits({"global:db": SLOTS})
    crowd = Crowd(tmp_path)
    yield crowd
    for process in crowd.processes:
        process.kill()
        process.wait()


def test_holders_that_are_killed_leak_no_slot_and_let_in_nobody_else(book: Book, crowd: Crowd) -> None:
    met(lambda: crowd.done() > 20)
    for holder in (True, False, True, True):
        crowd.kill(holder)
        crowd.more(5)  # when all slots are the dead's: after their leases
    assert crowd.stop() == [0] * PROCESSES
    assert not (crowd.folder / "exceeded").exists(), (crowd.folder / "exceeded").read_text()
    met(lambda: _taken(book) == 0)


def _taken(book: Book) -> int | None:
    with book.store.read() as session:
        return get_limit(session, "global", "db", datetime.now(UTC)).taken
