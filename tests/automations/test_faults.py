"""`kill -9` in the middle of it: nothing is lost, nothing is done twice, nobody is told a second time by another id."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlmodel import select

from tests.automations.parts import START, calling, define, firings, happened, invocations, log, rule, told
from tocsin.automations import simulate
from tocsin.flows.deployments import Deployment
from tocsin.flows.tables import FlowRun
from tocsin.store.engine import Store

pytestmark = pytest.mark.faults

PROGRAM = str(Path(__file__).with_name("host_program.py"))
KILLS = 5
EACH = 40
LEASES_S = 120.0  # beyond every lease that a dead process may have held


class Counting(ThreadingHTTPServer):
    """Counts the requests by their `webhook-id`."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: Counting

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen[self.headers["webhook-id"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Be quiet."""


@pytest.fixture
def receiver() -> Iterator[Counting]:
    server = Counting()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


def processor(url: str, life: int) -> "subprocess.Popen[str]":
    """The next life of the processor, ready to work."""
    ahead = str(life * LEASES_S)
    process = subprocess.Popen([sys.executable, PROGRAM, url, ahead], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_until_done(store: Store, count: int) -> None:
    """Until `count` invocations are in the ledger and none of them is due."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = Counter(row.state for row in invocations(store))
        if states.total() == count and not states["due"]:
            return
        time.sleep(0.05)  # another process works; there is nothing to wait on but its rows
    pytest.fail(f"{states} after a minute, {count} expected")


def test_killed_again_and_again_it_loses_nothing_and_repeats_nothing(
    store_url: str, store: Store, receiver: Counting
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    Deployment(name="refresh", entrypoint="a:b", flow_name="refresh").apply(store, now=START)
    rules = [
        calling("call", "x", url=f"http://127.0.0.1:{receiver.server_port}/"),
        rule("count", {"type": "do-nothing"}, trigger={"expect": ["x"], "threshold": 3, "within": 5}),
        rule(
            "run", {"type": "run-deployment", "deployment": "refresh"}, trigger={"expect": ["x"], "match": {"o": "1"}}
        ),
    ]
    define(store, *rules)
    events = [
        happened("x", labels={"o": str(number % 5)}, payload={"n": number}, at=number + dice.random() * 3)
        for number in range(KILLS * EACH)
    ]
    for life in range(KILLS):
        process = processor(store_url, life)
        log(store, *events[life * EACH : (life + 1) * EACH])
        time.sleep(dice.uniform(0.02, 0.4))  # the moment of death
        end(process)
    last = processor(store_url, KILLS)
    expected = {(one.automation, one.event_id) for one in simulate(rules, events)}
    try:
        wait_until_done(store, len(expected))
    finally:
        end(last)
    assert {(one.automation, one.event_id) for one in firings(store)} == expected
    check_ledger(store, receiver)


def check_ledger(store: Store, receiver: Counting) -> None:
    """Each invocation is done and told once; each webhook was called under its id, each run exists once."""
    rows = invocations(store)
    assert {row.state for row in rows} == {"done"}
    called = {str(row.id) for row in rows if row.action == "call-webhook"}
    assert set(receiver.seen) == called
    assert receiver.seen.total() <= len(called) + KILLS * 8  # at most those under way when it was killed
    outcomes = Counter(event.payload["invocation"] for event in told(store, "tocsin.automation.action.executed"))
    assert outcomes == Counter(str(row.id) for row in rows)
    with store.read() as session:
        keys = [run.idempotency_key for run in session.exec(select(FlowRun))]
    assert Counter(keys) == Counter(str(row.id) for row in rows if row.action == "run-deployment")
