"""`emit_event`: from any program, kept when it returns, refused with the reason."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest
from sqlmodel import select

from tocsin.events import BadEvent, Event, Unavailable, emit_event, emit_event_async
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

ORDERS = {"tocsin.resource.id": "orders"}


def logged() -> list[LogEntry]:
    store = Store.open()
    with store.read() as session:
        entries = list(session.exec(select(LogEntry)))
    store.close()
    return entries


def test_an_emitted_event_is_in_the_log_when_the_call_returns() -> None:
    event = emit_event("orders.loaded", resource=ORDERS, payload={"rows": 3})
    assert isinstance(event, Event)
    assert [(entry.id, entry.event, entry.topic) for entry in logged()] == [
        (event.id, "orders.loaded", "tocsin.external")
    ]


async def test_a_coroutine_emits_without_holding_up_its_loop() -> None:
    emitted = await asyncio.gather(*(emit_event_async("orders.loaded", ORDERS, payload={"n": n}) for n in range(20)))
    assert {entry.id for entry in logged()} == {event.id for event in emitted}


def test_an_event_emitted_twice_under_one_id_is_kept_once() -> None:
    for _ in range(2):
        emit_event("orders.loaded", ORDERS, event_id=UUID(int=7))
    assert [entry.id for entry in logged()] == [UUID(int=7)]


def test_a_program_that_ends_at_once_has_emitted(home: object) -> None:
    program = (
        "from tocsin.events import emit_event; emit_event('a.b', {'tocsin.resource.id': 'r'}); import os; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert [entry.event for entry in logged()] == ["a.b"]


@pytest.mark.parametrize(
    ("name", "resource", "occurred", "words"),
    [
        pytest.param("tocsin.flow-run.Failed", ORDERS, None, "kept for tocsin itself", id="one of our names"),
        pytest.param("orders.loaded", {}, None, "'tocsin.resource.id' is missing", id="no resource id"),
        pytest.param("orders.loaded", ORDERS, datetime(2026, 1, 1), "no time zone", id="naive time"),  # noqa: DTZ001
    ],
)
def test_what_may_not_be_emitted_is_refused_and_leaves_nothing(
    name: str, resource: dict[str, str], occurred: datetime | None, words: str
) -> None:
    with pytest.raises(BadEvent, match=words):
        emit_event(name, resource, occurred=occurred)
    Store.open().close()
    assert logged() == []


class _Server(BaseHTTPRequestHandler):
    answer: tuple[int, bytes] = (201, b"{}")
    seen: list[tuple[str, str | None, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, self.headers["authorization"], body))
        self.send_response(self.answer[0])
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *args: object) -> None:
        return


@contextmanager
def api(status: int, body: bytes = b"{}") -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    seen: list[tuple[str, str | None, bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Server", (_Server,), {"answer": (status, body), "seen": seen}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_with_an_api_url_the_event_goes_there_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with api(201) as (url, seen):
        monkeypatch.setenv("TOCSIN_API_URL", f"{url}/")
        monkeypatch.setenv("TOCSIN_API_KEY", "secret")
        event = emit_event("orders.loaded", ORDERS)
    ((path, key, body),) = seen
    assert (path, key) == ("/api/events", "Bearer secret")
    assert json.loads(body)[0]["id"] == str(event.id)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(422, BadEvent, "too deep"), (429, Unavailable, "429"), (500, Unavailable, "500"), (401, Unavailable, "401")],
)
def test_what_the_api_says_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception], words: str
) -> None:
    with api(status, b'{"detail": "too deep"}') as (url, _):
        monkeypatch.setenv("TOCSIN_API_URL", url)
        with pytest.raises(error, match=words):
            emit_event("orders.loaded", ORDERS)


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_API_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"127.0.0.1:9.*tocsin server"):
        emit_event("orders.loaded", ORDERS)
