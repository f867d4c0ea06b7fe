"""Pools of type `docker`: each attempt in a container of its own on a Docker engine.

    create (its name is the attempt's: 409 = found) ──▶ start ──▶ wait ──▶ exit code, last lines ──▶ remove

A worker that dies leaves its containers behind; their attempts are over as soon as that is seen, so whatever they
report is refused. The next worker of such a pool on the same engine removes them.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from tocsin.events.errors import Conflict, NotFound, TocsinError, Unavailable
from tocsin.flows.chores import Chores
from tocsin.flows.containers import (
    GONE,
    Attempt,
    ContainerTemplate,
    attempt_of,
    ended,
    labels_of,
    name_of,
    variables_of,
)
from tocsin.flows.infrastructure import Exit, Handle, Infrastructure, Job
from tocsin.flows.insisting import Caller
from tocsin.flows.leftovers import Sweep
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.flows.docker_engine import Engine

# Any below: the engine's JSON.
Json = dict[str, Any]

THREADS: Final = 8
MANY: Final = 10_000
"""Threads that wait for a container each: as many as the worker has runs at work."""
AGAIN_S: Final = 0.5
TERMINATED: Final = 143
KEPT: Final = "tocsin.kept"
"""The label of containers that stay when they have ended."""

logger = logging.getLogger(__name__)


class DockerTemplate(ContainerTemplate):
    """The choices of a pool of type `docker`."""

    host: str | None = Field(default=None, description="The engine's address; unset: DOCKER_HOST of the worker.")
    pull: Literal["missing", "always", "never"] = Field(default="missing", description="When the image is fetched.")
    volumes: list[str] = Field(default_factory=list, description="`/on/the/host:/inside`, or `:ro` behind it.")
    networks: list[str] = Field(default_factory=list, description="More than one needs Docker 25 or later.")
    memory: str | None = Field(default=None, pattern=r"^[1-9]\d*[bkmg]$", description="At the most, such as `512m`.")
    cpus: float | None = Field(default=None, gt=0, description="At the most, such as 1.5.")
    user: str | None = Field(default=None, description="Name or id; unset: the image's.")
    auto_remove: bool = Field(default=True, description="Whether it is removed when it has ended.")

    def infrastructure(self, store: Store) -> Infrastructure:
        """Containers on the engine."""
        return Containers(store, self.host)


def config_of(job: Job, template: DockerTemplate) -> Json:
    """What the engine is to create."""
    labels = labels_of(job, template)
    networks: Json = {name: {} for name in template.networks}
    return {
        "Image": template.image,
        "Entrypoint": template.command,
        "Cmd": list(job.arguments),
        "Env": [f"{name}={value}" for name, value in variables_of(job, template).items()],
        "Labels": labels if template.auto_remove else {**labels, KEPT: "true"},
        "WorkingDir": template.working_dir or "",
        "User": template.user or "",
        "HostConfig": {
            "Init": True,
            "Binds": template.volumes,
            "NetworkMode": template.networks[0] if networks else "default",
            "Memory": bytes_of(template.memory) if template.memory else 0,
            "NanoCpus": int((template.cpus or 0) * 1e9),
        },
        "NetworkingConfig": {"EndpointsConfig": networks},
    }


def bytes_of(size: str) -> int:
    """The number of bytes of `512m` and the like."""
    power: int = 1024 ** "bkmg".index(size[-1])
    return int(size[:-1]) * power


def exit_of(state: Json, template: DockerTemplate, output: str) -> Exit:
    """How a container in this state ended."""
    why: str = state.get("Error") or ""
    if state.get("OOMKilled"):
        why = f"its container used more memory than it may ({template.memory or 'all of the machine'}) and was killed"
    return ended(state["ExitCode"], why, output)


def leftover(container: Json) -> bool:
    """Whether it may be removed when its attempt is over."""
    return container.get("State") == "running" or KEPT not in container["Labels"]


class Container:
    """The container of one attempt. `making`: it is not there yet, because its image has to be fetched first."""

    def __init__(
        self, place: "Containers", name: str, template: DockerTemplate, making: "asyncio.Task[None] | None" = None
    ) -> None:
        self._containers, self._name, self._template, self._making = place, name, template, making
        self._killed = False
        self._ended = place.chores.begin(self._follow(), name)

    @property
    def place(self) -> str:
        """Its name."""
        return f"container {self._name}"

    async def wait(self) -> Exit:
        """Its exit code; for one that failed its last lines, too."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """SIGTERM to its first process; while its image is fetched, there will be none."""
        self._say("SIGTERM")

    def kill(self) -> bool:
        """SIGKILL to all of it."""
        self._killed = True
        self._say("SIGKILL")
        return True

    def _say(self, signal: str) -> None:
        if self._making is None or self._making.done():
            self._containers.signal(self._name, signal)
        else:
            self._making.cancel()

    async def _follow(self) -> Exit:
        how = await self._not_made() if self._making is not None else None
        how = how or await self._outcome()
        if self._template.auto_remove:
            await self._containers.remove(self._name)
        return how

    async def _not_made(self) -> Exit | None:
        """Why there is no container; None: there is one."""
        assert self._making is not None
        await asyncio.wait({self._making})
        if self._making.cancelled():
            await self._containers.remove(self._name)
            return Exit(TERMINATED, "it was told to stop before it had begun")
        error = self._making.exception()
        return Exit(GONE, f"it could not be started: {error}") if error is not None else None

    async def _outcome(self) -> Exit:
        while True:
            try:
                state = await self._containers.waited(self._name)
            except NotFound:
                return Exit(GONE, "its container is gone: somebody removed it")
            except TocsinError as error:
                if self._killed:
                    return Exit(GONE, f"nobody knows whether its container has ended: {error}")
                logger.warning("%s: asking again: %s", self.place, error)
            else:
                if state is not None:
                    output = await self._containers.tail(self._name) if state["ExitCode"] else ""
                    return exit_of(state, self._template, output)
            await asyncio.sleep(AGAIN_S)


class Containers:
    """Starts a container for each job."""

    apart = True

    def __init__(self, store: Store, host: str | None) -> None:
        self._host = host
        self._calls, self._waits = Caller("tocsin-docker", THREADS), Caller("tocsin-docker-wait", MANY)
        self.chores = Chores()
        """What follows its containers, and what is still to be said to them."""
        self._sweep = Sweep(store, self._found, self.remove)
        self._sweeping: asyncio.Task[None] | None = None
        self._known: Engine | None = None

    @property
    def sweep(self) -> Sweep:
        """What removes the containers of workers that are gone."""
        return self._sweep

    async def open(self) -> None:
        """Reach the engine. Raises Invalid without the extra, Unavailable when there is none."""
        self._known = await self._calls.insist(partial(_reached, self._host))
        self._sweeping = asyncio.create_task(self._sweep.serve(), name="tocsin-docker-sweep")

    async def start(self, job: Job) -> Handle:
        """A container of the attempt's name: a new one, or the one that was made of this attempt before.

        An image that is not there is fetched without keeping the worker waiting.
        """
        template = job.template
        assert isinstance(template, DockerTemplate)
        name = name_of(job)
        if template.pull != "always":
            try:
                await self._run(name, job, template)
            except NotFound:
                if template.pull == "never":
                    raise
            else:
                return Container(self, name, template)
        making = self.chores.begin(self._fetch_and_run(name, job, template), f"{name}-image")
        return Container(self, name, template, making)

    def signal(self, name: str, signal: str) -> None:
        """Send it without waiting; one that has ended gets none."""
        self.chores.begin(self._signal(name, signal), f"{name}-{signal}")

    async def waited(self, name: str) -> Json | None:
        """Its state when it has ended."""
        return await self._waits.once(partial(self._engine.waited, name))

    async def tail(self, name: str) -> str:
        """Its last lines, or nothing when they cannot be had."""
        try:
            return await self._calls.insist(partial(self._engine.tail, name))
        except TocsinError as error:
            logger.warning("container %s: its output cannot be read: %s", name, error)
            return ""

    async def remove(self, name: str) -> None:
        """Remove it; when that fails, a sweep will."""
        try:
            await self._calls.insist(partial(self._engine.remove, name))
        except TocsinError as error:
            logger.warning("container %s: it could not be removed: %s", name, error)

    async def close(self) -> None:
        """Say what is still to be said, see the last containers end, and let the engine go."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        await self.chores.finish()
        self._calls.close()
        self._waits.close()
        if self._known is not None:
            self._known.close()

    @property
    def _engine(self) -> "Engine":
        assert self._known is not None
        return self._known

    async def _fetch_and_run(self, name: str, job: Job, template: DockerTemplate) -> None:
        try:
            await self._waits.insist(partial(self._engine.pull, template.image))
        except TocsinError as error:
            raise Unavailable(f"image {template.image}: it could not be pulled: {error}") from error
        await self._run(name, job, template)

    async def _run(self, name: str, job: Job, template: DockerTemplate) -> None:
        if await self._made(name, job, template):
            try:
                await self._calls.insist(partial(self._engine.start, name))
            except TocsinError:
                await self.remove(name)
                raise

    async def _made(self, name: str, job: Job, template: DockerTemplate) -> bool:
        """Whether there is a container of this name that has not been started. Raises Unavailable for a strange one."""
        try:
            await self._calls.insist(partial(self._engine.create, name, config_of(job, template)))
        except Conflict:
            found = await self._calls.insist(partial(self._engine.inspect, name))
            if attempt_of(found["Config"]["Labels"]) != (job.run_id, job.attempt):
                raise Unavailable(f"container {name}: it is there, and not of this attempt; remove it") from None
            return bool(found["State"]["Status"] == "created")
        return True

    async def _signal(self, name: str, signal: str) -> None:
        try:
            await self._calls.insist(partial(self._engine.signal, name, signal))
        except (NotFound, Conflict):
            return  # it has ended
        except TocsinError as error:
            logger.error("container %s: %s could not be sent: %s", name, signal, error)

    async def _found(self) -> dict[str, Attempt]:
        listed = await self._calls.once(self._engine.list)
        owners = {one["Id"]: attempt_of(one["Labels"]) for one in listed if leftover(one)}
        return {container: attempt for container, attempt in owners.items() if attempt is not None}


def _reached(host: str | None) -> "Engine":
    from tocsin.flows.docker_engine import Engine

    return Engine(host)
