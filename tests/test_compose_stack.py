"""The services of docker-compose.yml as processes: its commands, settings, secrets and health checks, no containers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kafka.broker import ApacheBroker
from tests.ports import free_port
from tocsin.events.codec import decode
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import EXTERNAL

ROOT = Path(__file__).parents[1]
# Any: the form of the compose file.
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
TOCSIN = [sys.executable, "-m", "tocsin.server"]
PATIENCE_S = 120.0

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.apache, pytest.mark.timeout(300)]


class Stack:
    """Our services with their addresses changed to those of the test's Kafka and PostgreSQL, each in its own folder."""

    def __init__(self, folder: Path, kafka: str, database: str) -> None:
        self.folder, self.port, self.key = folder, free_port(), "a" * 43
        self.secrets = {
            "tocsin_database_url": database,
            "tocsin_api_key": self.key,
            "tocsin_secret_key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        }
        self.changed = {
            "TOCSIN_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TOCSIN_HOST": "127.0.0.1",
            "TOCSIN_PORT": str(self.port),
            "TOCSIN_API_URL": f"http://127.0.0.1:{self.port}",
        }

    def environment(self, name: str) -> dict[str, str]:
        """What the compose file gives the service, and only that; its secrets are files in a folder of its own."""
        home, secrets = self.folder / name / "home", self.folder / name / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        for secret in OURS[name]["secrets"]:
            (secrets / secret).write_text(self.secrets[secret])
        given = {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in OURS[name]["environment"].items()}
        given |= {key: value for key, value in self.changed.items() if key in given}
        return {"PATH": os.environ["PATH"], **given, "TOCSIN_HOME": str(home), "TOCSIN_SECRETS_DIR": str(secrets)}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [*TOCSIN, *OURS[name]["command"]]
            return subprocess.Popen(command, env=self.environment(name), cwd=ROOT, stdout=log, stderr=log)

    def said(self, name: str) -> str:
        return f"{name}:\n" + (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def healthy(self, name: str) -> bool:
        command = OURS[name]["healthcheck"]["test"][2:]
        run = subprocess.run([*TOCSIN, *command], env=self.environment(name), capture_output=True, check=False)
        return run.returncode == 0

    def post(self, event: dict[str, Any]) -> int:
        body, headers = json.dumps(event).encode(), {"Authorization": f"Bearer {self.key}"}
        headers["Content-Type"] = "application/json"
        address = f"http://127.0.0.1:{self.port}/api/events"
        with urllib.request.urlopen(
            urllib.request.Request(address, body, headers, method="POST"), timeout=PATIENCE_S
        ) as answer:
            status: int = answer.status
            return status


@pytest.fixture
def stack(tmp_path: Path, apache_kafka: ApacheBroker, postgres_url: str) -> Stack:
    return Stack(tmp_path, apache_kafka.address, postgres_url)


@pytest.fixture
def roles(stack: Stack) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Everything the compose file starts of ours, after `migrate` has ended well."""
    assert stack.start("migrate").wait(PATIENCE_S) == 0, stack.said("migrate")
    with ExitStack() as running:
        started = {}
        for name in OURS.keys() - {"migrate"}:
            started[name] = running.enter_context(stack.start(name))
            running.callback(started[name].kill)
        yield started


def wait_until_healthy(stack: Stack, roles: dict[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    waiting = set(roles)
    while waiting:
        for name in waiting:
            assert roles[name].poll() is None, stack.said(name)
            assert time.monotonic() < deadline, stack.said(name)
        waiting = {name for name in waiting if not stack.healthy(name)}
        time.sleep(0.5 if waiting else 0)  # asking costs more than waiting


async def arrived(address: str, name: str) -> bool:
    """Whether an event of this name is on the external topic of Kafka before the patience is over."""
    bus = KafkaBus(address)
    deadline = time.monotonic() + PATIENCE_S
    try:
        async with bus.subscribe(f"test-{name}", [EXTERNAL]) as subscription:
            while time.monotonic() < deadline:
                records = await subscription.fetch(wait=timedelta(seconds=1))
                if any(decode(record.body).event == name for record in records):
                    return True
    finally:
        await bus.close()
    return False


async def test_every_service_gets_well_carries_an_event_and_stops_when_asked(
    stack: Stack, roles: dict[str, subprocess.Popen[bytes]], apache_kafka: ApacheBroker
) -> None:
    wait_until_healthy(stack, roles)
    assert stack.post({"event": "orders.late", "resource": {"tocsin.resource.id": "orders"}}) in (200, 201, 202)
    assert await arrived(apache_kafka.address, "orders.late"), stack.said("dispatcher")
    for process in roles.values():
        process.send_signal(signal.SIGTERM)
    ended = {name: process.wait(PATIENCE_S) for name, process in roles.items()}
    assert ended == dict.fromkeys(roles, 0), "\n".join(stack.said(name) for name, code in ended.items() if code)
    secrets = [value for name, value in stack.secrets.items() if name != "tocsin_database_url"]
    logs = "".join((stack.folder / f"{name}.log").read_text(errors="replace") for name in [*roles, "migrate"])
    assert [secret for secret in secrets if secret in logs] == []


async def test_a_service_without_its_health_is_found_ill(stack: Stack) -> None:
    assert [name for name in sorted(OURS.keys() - {"migrate"}) if stack.healthy(name)] == []
