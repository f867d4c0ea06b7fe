"""Roles: a stop lets each finish, one that dies ends the process, and each starts without the others' libraries."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.events.errors import Invalid, Unavailable
from tocsin.server import wiring
from tocsin.server.pulse import age, beat
from tocsin.server.roles import ROLES, RoleDied, Service, run_services, services
from tocsin.server.settings import Settings
from tocsin.server.wiring import open_parts, topics_ready

NONE = timedelta(0)
SOON = timedelta(seconds=60)


def endless(name: str, ended: list[str]) -> Service:
    async def serve(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append(name)

    return Service(name, serve)


def ending(name: str, error: Exception | None = None) -> Service:
    async def serve(stop: asyncio.Event) -> None:
        await asyncio.sleep(0)
        if error is not None:
            raise error

    return Service(name, serve)


async def test_a_stop_lets_each_service_finish() -> None:
    ended: list[str] = []
    stop = asyncio.Event()
    running = asyncio.create_task(run_services([endless("a", ended), endless("b", ended)], stop))
    await asyncio.sleep(0)
    stop.set()
    await running
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "said"), [(None, "without an error"), (ValueError("boom"), "ValueError: boom")], ids=["ends", "raises"]
)
async def test_a_service_that_dies_stops_the_others_and_is_named(error: Exception | None, said: str) -> None:
    ended: list[str] = []
    with pytest.raises(RoleDied, match=f"clock ended.*{said}") as death:
        await run_services([endless("a", ended), ending("clock", error)], asyncio.Event())
    assert ended == ["a"]
    assert death.value.__cause__ is error


async def test_an_error_while_stopping_is_told() -> None:
    async def serve(stop: asyncio.Event) -> None:
        await stop.wait()
        raise ValueError("half done")

    stop = asyncio.Event()
    stop.set()
    with pytest.raises(RoleDied, match="half done"):
        await run_services([Service("a", serve)], stop)


async def test_what_does_not_stop_in_time_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def serve(stop: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    stop = asyncio.Event()
    stop.set()
    await run_services([Service("a", serve)], stop, grace=NONE)
    assert cancelled == [True]


async def test_an_unknown_role_is_named_with_those_there_are(home: Path) -> None:
    async with open_parts(Settings(home=home)) as parts:
        with pytest.raises(Invalid, match=r"'procesor'; there are server, scheduler, processor, dispatcher, worker"):
            services(["procesor"], parts)


async def test_every_role_has_services(home: Path) -> None:
    async with open_parts(Settings(home=home)) as parts:
        assert [service.name for service in services(list(ROLES), parts)] == [
            "api", "adoption", "clock", "sources", "host", "performer", "deliveries", "slack", "watchdog", "vigil",
            "tidying", "worker",
        ]  # fmt: skip


# What a role must not load: the libraries of others.
FOREIGN = {
    "server": ["faust", "apscheduler", "slack_sdk", "pdpyras", "aiokafka"],
    "scheduler": ["faust", "fastapi", "uvicorn", "slack_sdk", "pdpyras", "aiokafka", "aiohttp"],
    "processor": ["faust", "fastapi", "uvicorn", "slack_sdk", "pdpyras", "aiokafka", "apscheduler", "aiohttp"],
    "dispatcher": ["faust", "fastapi", "uvicorn", "aiokafka", "apscheduler"],
    "worker": ["faust", "fastapi", "uvicorn", "slack_sdk", "pdpyras", "aiokafka", "apscheduler", "aiohttp"],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_loads_only_its_own_libraries(role: str) -> None:
    program = f"""
import asyncio, sys
from tocsin.server.logs import set_up
from tocsin.server.roles import services
from tocsin.server.settings import load
from tocsin.server.wiring import open_parts
set_up(load())
async def main():
    async with open_parts(load()) as parts:
        services([{role!r}], parts)
asyncio.run(main())
print(*sorted(set({FOREIGN[role]}) & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tocsin.server", *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def alive(home: Path, role: str) -> None:
    async with asyncio.timeout(60):
        while age(home, role) is None:
            await asyncio.sleep(0.02)


SIGNALS = [*((role, signal.SIGTERM) for role in ROLES), ("server", signal.SIGINT)]


@pytest.mark.parametrize(("role", "number"), SIGNALS, ids=lambda value: getattr(value, "name", value))
async def test_a_signal_stops_a_role_in_order(role: str, number: signal.Signals, home: Path) -> None:
    process = start(role, TOCSIN_PORT="0")
    await alive(home, role)
    process.send_signal(number)
    output, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert '"event": "stopped"' in errors
    assert (output, age(home, role)) == ("", None)


async def test_a_role_that_needs_no_broker_starts_while_it_is_away(home: Path) -> None:
    process = start("scheduler", TOCSIN_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    await alive(home, "scheduler")
    process.terminate()
    await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0


async def test_a_role_that_waits_for_its_broker_says_so_and_stops_in_order(home: Path) -> None:
    process = start("processor", TOCSIN_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while "the broker does not answer" not in await asyncio.to_thread(process.stderr.readline):
            pass
    process.terminate()
    await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, age(home, "processor")) == (0, None)


async def test_a_killed_role_starts_again(home: Path) -> None:
    for _ in range(2):
        process = start("scheduler")
        await alive(home, "scheduler")
        process.kill()
        process.communicate()
        (home / "pulse" / "scheduler").unlink()


def test_a_role_that_cannot_start_says_why_in_one_line() -> None:
    process = start("server", TOCSIN_HOST="0.0.0.0")
    _, errors = process.communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith("tocsin: ")
    assert "TOCSIN_API_KEY" in last
    assert "Traceback" not in last


async def test_a_pulse_is_fresh_while_its_loop_turns(tmp_path: Path) -> None:
    stop = asyncio.Event()
    beating = asyncio.create_task(beat(tmp_path, ["worker"], stop))
    await asyncio.sleep(0)
    found = age(tmp_path, "worker")
    assert found is not None
    assert found < SOON
    stop.set()
    await beating
    assert age(tmp_path, "worker") is None


class AwayBroker:
    """A bus whose broker answers at the third asking."""

    def __init__(self) -> None:
        self.asked = 0

    async def prepare(self) -> None:
        self.asked += 1
        if self.asked < 3:
            raise Unavailable("not yet")


async def test_a_role_waits_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "BROKER_PAUSE_S", 0.001)
    broker = AwayBroker()
    assert await topics_ready(broker, asyncio.Event())  # type: ignore[arg-type]
    assert broker.asked == 3


async def test_a_stop_ends_the_wait_for_a_broker() -> None:
    stop = asyncio.Event()
    stop.set()
    assert not await topics_ready(AwayBroker(), stop)  # type: ignore[arg-type]
