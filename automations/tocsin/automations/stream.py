"""The only door to Faust: an app inside our own program hands packed signals to whoever owns their partition.

Faust runs the consumer group of `tocsin.signals`, its rebalances, the flow control and the commits. An offset moves
when the lane has said `done`, and not before; which partitions are ours is told by Faust's two signals.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final, Protocol

import faust
from mode.threads import ServiceThread, WorkerThread

from tocsin.automations.stream_lane import GROUP, Arrived
from tocsin.events.errors import Unavailable
from tocsin.events.kafka_access import OPEN, Access
from tocsin.events.topics import SIGNALS

SESSION: Final = timedelta(seconds=8)
LOOK_S: Final = 1.0
REQUEST_S: Final = 20.0
COMMIT_EVERY_S: Final = 1.0
BUFFERED: Final = 64
START_S: Final = 40.0
STOP_S: Final = 10.0
CANCEL_S: Final = 2.0
POLL_S: Final = 0.01

_LOG: Final = logging.getLogger("tocsin.automations.stream")

for _library in ("faust", "mode"):
    logging.getLogger(_library).setLevel(logging.WARNING)

# Any, in this file: Faust's own types are too loose to help.


class LeavableThread(WorkerThread):
    """The thread of Faust's consumer, of which nobody waits for the end with the whole event loop.

    Faust stops it so that the loop stands still until it has ended; and if that needs a word of the loop, for ever.
    """

    running: ClassVar[set["LeavableThread"]] = set()

    def __init__(self, service: Any, **settings: Any) -> None:
        super().__init__(service, **settings)
        self.daemon, self._app = True, getattr(service, "app", None)
        self.running.add(self)

    def stop(self) -> None:
        """Do not wait."""

    @classmethod
    async def ended(cls, app: Any) -> None:
        """Wait for a while until those of `app`, which was stopped, have ended."""
        mine = {one for one in cls.running if one._app is app}
        cls.running -= mine
        for _ in range(round(CANCEL_S / POLL_S)):
            if all(one.is_stopped.is_set() for one in mine):
                return
            await asyncio.sleep(POLL_S)


ServiceThread.Worker = LeavableThread


class Owner(Protocol):
    """Who decides what lies on the partitions that this member holds."""

    def dealt(self, partitions: set[int]) -> None:
        """These partitions are ours from now on, and no others."""
        ...

    def revoked(self) -> None:
        """No partition is ours."""
        ...

    async def put(self, partition: int, arrived: Arrived) -> None:
        """Take a record; waits while there is enough to do."""
        ...


class Intake:
    """One member of the group that decides. A new one is made for each start.

    One that is silent for `session` is taken for dead.
    """

    def __init__(
        self, address: str, prefix: str, owner: Owner, session: timedelta = SESSION, access: Access = OPEN
    ) -> None:
        self._address, self._owner = address, owner
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-stream-")
        self._app = _app(address, prefix, self._folder.name, session, access)
        self._feed(self._app.topic(prefix + SIGNALS, key_type=bytes, value_type=bytes))

    async def start(self) -> None:
        """Join the group. Raises `Unavailable` when the broker does not answer in time."""
        starting = asyncio.create_task(self._app.start())
        if not await _ended(starting, START_S):
            raise Unavailable(f"Kafka at {self._address}: the stream does not start within {START_S:.0f} s")
        if (error := starting.exception()) is not None:
            raise Unavailable(f"Kafka at {self._address}: the stream does not start: {error!r}") from error

    async def serve(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises `Unavailable` when Faust has given up."""
        while not stop.is_set():
            if self._app.should_stop or self._app.crashed:
                raise Unavailable(f"Kafka at {self._address}: the stream has crashed: {self._app.crash_reason!r}")
            await _either(stop, LOOK_S)

    async def stop(self) -> None:
        """Commit what is done, and leave."""
        stopping = asyncio.create_task(self._app.stop())
        if not await _ended(stopping, STOP_S):
            _LOG.error("Faust does not stop; the group will notice that this member is gone")
        elif (error := stopping.exception()) is not None:
            _LOG.error("Faust did not stop in order", exc_info=error)
        await LeavableThread.ended(self._app)
        self._folder.cleanup()

    def _feed(self, topic: Any) -> None:
        """Make the agent. It only hands on; nothing in it can fail but Faust itself."""

        async def feed(stream: Any) -> None:
            async for event in _unacknowledged(stream):
                message = event.message
                await self._owner.put(message.partition, Arrived(message.offset, event.value or b"", event.ack))

        async def dealt(app: Any, assigned: Iterable[Any], **_: Any) -> None:
            self._owner.dealt({place.partition for place in assigned if place.topic == topic.get_topic_name()})

        async def revoked(app: Any, revoked: Iterable[Any], **_: Any) -> None:
            self._owner.revoked()

        self._app.agent(topic, name="decide")(feed)
        self._app.on_partitions_assigned.connect(dealt, weak=False)
        self._app.on_partitions_revoked.connect(revoked, weak=False)


def _app(address: str, prefix: str, folder: str, session: timedelta, access: Access) -> Any:
    brokers = ";".join(f"kafka://{one.strip()}" for one in address.split(","))
    return faust.App(
        prefix + GROUP,
        broker=brokers,
        broker_credentials=_credentials(access),
        datadir=folder,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session.total_seconds(),
        broker_heartbeat_interval=session.total_seconds() / 8,
        broker_request_timeout=REQUEST_S,
        broker_rebalance_timeout=2 * session.total_seconds(),
        broker_commit_interval=COMMIT_EVERY_S,
        broker_max_poll_records=BUFFERED,
        stream_buffer_maxsize=BUFFERED,
        stream_wait_empty=False,
    )


def _credentials(access: Access) -> Any:
    """The same way in as aiokafka's, in Faust's words; None where everybody is let in."""
    context = access.tls()
    if access.sasl:
        return faust.SASLCredentials(
            username=access.sasl_username,
            password=access.sasl_password,
            mechanism=access.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


async def _unacknowledged(stream: Any) -> AsyncIterator[Any]:
    async for event in stream.noack().events():
        yield event


async def _ended(task: "asyncio.Task[None]", seconds: float) -> bool:
    """Whether it ends by itself within so many seconds; if not it is cancelled, and not waited for for long."""
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        return not task.cancelled()
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_S)
    return False


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
