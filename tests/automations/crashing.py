"""Hosts in processes that are killed, events meanwhile, and at the end what the checker says.

world ──0s────────────7s+────────────14s+───     at each death the clock of the world jumps ahead, so that the
hosts   [A    ✝]        [B  ✝]         [C         leases of the dead are over, and deadlines fall into the gap
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlmodel import Session, col, func, select

from tests.automations.checker import Report, Span, check, log_of
from tests.automations.host_program import World
from tests.automations.load import Load
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.automations.tables import StoredInvocation, TriggerState
from tocsin.events.bus import Message
from tocsin.events.clock import Micros, micros
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.log import STREAM, append, publish
from tocsin.store.tables import LogEntry

PROGRAM = str(Path(__file__).with_name("host_program.py"))
JUMP_S = 7.0
"""Beyond the seat of the log and the lease of a call (`host_program.LEASE`)."""
SETTLED_S = 2.0
PATIENCE_S = 300.0
PAUSE_S = 0.15
FROM_OUTSIDE = 0.3
UNREADABLE = 0.02
SLOW = 0.1
SLOW_S = 0.03
"""How long a producer may take to commit."""


class Receiver(ThreadingHTTPServer):
    """Counts the requests by what they carry and their `webhook-id`."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: dict[str, Counter[str]] = defaultdict(Counter)
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/"


class _Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.seen[body][self.headers["webhook-id"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Be quiet."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that serves."""
    server = Receiver()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class Processor:
    """A process with a host and a performer; `up` tells from when to when, by the clock of the world."""

    def __init__(self, url: str, clock: Path, fate: str = "") -> None:
        command = [sys.executable, PROGRAM, url, str(clock), fate]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"a processor ended with {self._process.wait()} before it was ready")

    def dies(self) -> None:
        """Wait until it has killed itself."""
        self._process.wait(timeout=PATIENCE_S)

    def send(self, number: signal.Signals) -> None:
        """Freeze it, or let it go on."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, and wait."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Producers:
    """Threads that write events of a seeded load to the log until they are told to stop.

    Some come from outside, and may repeat the id of one of ours; some are no events; some take long to commit.
    """

    def __init__(self, store: Store, world: World, seeds: range | list[int], pause_s: float = PAUSE_S) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._produce, args=(store, world, seed, pause_s)) for seed in seeds]

    def __enter__(self) -> "Producers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, store: Store, world: World, seed: int, pause_s: float) -> None:
        load, dice = Load(seed), random.Random(seed)
        while not self._stop.wait(dice.expovariate(1 / pause_s)):
            with store.begin() as session:
                topic = EXTERNAL if dice.random() < FROM_OUTSIDE else EVENTS
                append(session, load.batch(world.now()), topic, world.now())
                if dice.random() < UNREADABLE:
                    publish(session, [Message(topic, "k", b"poison")], world.now())
                if dice.random() < SLOW:
                    time.sleep(dice.uniform(0, SLOW_S))


class Trial:
    """A database, rules, a receiver and the clock of the world: what hosts work on until they are killed."""

    def __init__(self, url: str, folder: Path, rules: Callable[[str], list[Automation]]) -> None:
        self.url, self.clock = url, folder / "clock"
        self.world = World.new(self.clock)
        self.store = Store.open(url, create=True)
        self._receiving = receiving()
        self._rules = rules
        self.up: list[Span] = []
        self._processors: list[Processor] = []

    def __enter__(self) -> "Trial":
        self.receiver = self._receiving.__enter__()
        self.rules = self._rules(self.receiver.url)
        now = self.world.now()
        self.begun = micros(now)
        with self.store.begin() as session:
            apply(session, self.rules, now)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._processors:
            one.kill()  # again, if it comes to that
        self._receiving.__exit__(None, None, None)
        self.store.close()

    @property
    def now(self) -> Micros:
        """The clock of the world."""
        return micros(self.world.now())

    def start(self, fate: str = "") -> Processor:
        """The next processor."""
        self._processors.append(Processor(self.url, self.clock, fate))
        return self._processors[-1]

    @contextmanager
    def awake(self, settled_s: float = SETTLED_S) -> Iterator[None]:
        """Deadlines that fall into this time, once a host has settled, should be met in time."""
        start = self.now + int(settled_s * 1e6)
        yield
        self.up.append((start, self.now))

    def settle(self) -> Micros:
        """Wait until all is decided that is on the log, and all is done that was decided; by when that is."""
        until = self.now
        wait_for(lambda: self.store_says(lambda session: _rest(session, until)) == (0, 0, 0), self._left)
        return until

    def store_says(self, look: Callable[[Session], tuple[int, int, int]]) -> tuple[int, int, int]:
        """What is read in one transaction."""
        with self.store.read() as session:
            return look(session)

    def check(self, until: Micros, late: Micros = 100_000) -> Report:
        """What the checker says; whoever still works is killed first."""
        for one in self._processors:
            one.kill()
        return check(
            self.store,
            self.rules,
            log_of(self.store),
            begun=self.begun,
            until=until,
            up=self.up,
            effects=self.receiver.seen,
            late=late,
        )

    def _left(self) -> str:
        return f"{self.store_says(lambda session: _rest(session, self.now))} events, deadlines, actions are left"


def wait_for(done: Callable[[], bool], why: Callable[[], str]) -> None:
    """Until it is so; other processes work, and there is nothing to wait on but their rows."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not done in {PATIENCE_S:.0f} s: {why()}")
        time.sleep(0.05)


def _rest(session: Session, until: Micros) -> tuple[int, int, int]:
    handled = positions.offsets(session, "automations").get((STREAM, 0), 0)
    unread = select(func.count()).where(col(LogEntry.topic).in_([EVENTS, EXTERNAL]), col(LogEntry.seq) >= handled)
    overdue = select(func.count()).where(col(TriggerState.due) <= until)
    open_actions = select(func.count()).where(StoredInvocation.state == "due")
    return session.exec(unread).one(), session.exec(overdue).one(), session.exec(open_actions).one()
