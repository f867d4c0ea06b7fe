"""Where the runs of a work pool run: one protocol, and the types of pool that there are.

    pool (type, template) ──▶ Template ──▶ Infrastructure.start(job) ──▶ Handle ──▶ Exit
                               checked      once a worker               once an attempt

A new type is a module with a `Template` and an `Infrastructure`, and a line in `TYPES`. Whatever it starts has to
end up in `python -m tocsin.flows.execute RUN_ID ATTEMPT` with the variables of `Job.environment`, somewhere from
where it reaches the database. The worker does the rest: it claims, counts, tells a run to stop and stores how it ended.
A handle that outlives its worker does no harm: what it reports is refused, because its attempt is over.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from tocsin.events.errors import Invalid
from tocsin.flows.changes import Columns
from tocsin.store.engine import Store

# Any below: a template is JSON until its model has checked it.

TYPES: Final[dict[str, str]] = {
    "process": "tocsin.flows.process:ProcessTemplate",
    "thread": "tocsin.flows.thread:ThreadTemplate",
    "docker": "tocsin.flows.docker:DockerTemplate",
    "kubernetes": "tocsin.flows.kubernetes:KubernetesTemplate",
}
"""The types of pools, and where the model of their template is; it is imported when a pool of the type is met."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of a run that is to be started. `run`: its columns; `entrypoint` and `path`: where its flow is.

    `afterwards`: it has ended without a word, and is started again only to tell the flow's hooks so.
    """

    run: Columns
    entrypoint: str
    path: str | None
    template: "Template"
    environment: Mapping[str, str] = field(repr=False)
    afterwards: bool = False

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        identity: UUID = self.run["id"]
        return identity

    @property
    def attempt(self) -> int:
        """The number under which it reports."""
        number: int = self.run["attempt"]
        return number

    @property
    def arguments(self) -> tuple[str, str]:
        """What `tocsin.flows.execute` is called with."""
        return ("--afterwards", str(self.run_id)) if self.afterwards else (str(self.run_id), str(self.attempt))


@dataclass(frozen=True, slots=True)
class Exit:
    """How an attempt's process ended: its exit code, negative for the signal that killed it.

    `reason`: what is known besides, such as that a container used too much memory.
    """

    code: int
    reason: str = ""

    def said(self) -> str:
        """Why a run that had not ended has crashed."""
        if self.reason:
            return self.reason
        if self.code >= 0:
            return f"its process exited with code {self.code} before the run had ended"
        try:
            name = f" ({signal.Signals(-self.code).name})"
        except ValueError:
            name = ""
        return f"killed by signal {-self.code}{name}"


class Handle(Protocol):
    """One attempt at work."""

    @property
    def place(self) -> str:
        """What a person looks for: `process 4711`, a container's id."""
        ...

    async def wait(self) -> Exit:
        """How it ended, as soon as it has; any number may wait."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM): the run says its last words and goes. May be called again, and when it is gone."""
        ...

    def kill(self) -> bool:
        """End it without asking (SIGKILL), with all that it started; False where that cannot be done."""
        ...


class Infrastructure(Protocol):
    """Starts attempts in one kind of place. `apart`: outside this process, where they can end without a word."""

    apart: bool

    async def open(self) -> None:
        """Get ready; called once, before the first start."""
        ...

    async def start(self, job: Job) -> Handle:
        """Start it and return without waiting. Raises OSError or Unavailable when it cannot be; the run has crashed."""
        ...

    async def close(self) -> None:
        """Let go of everything; whatever still runs has been ended before."""
        ...


class Template(BaseModel):
    """What the owner of a pool may choose about the place of its runs. A subclass names its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def infrastructure(self, store: Store) -> Infrastructure:
        """What starts jobs of this kind of template, for one worker. A job brings the template as it is by then."""
        raise NotImplementedError


def template_of(kind: str, given: Mapping[str, Any] | None = None) -> Template:
    """The checked template of a pool of this type. Raises Invalid naming the types, or the field that is wrong."""
    if kind not in TYPES:
        raise Invalid(f"work pool type {kind!r}: there is none; known: {', '.join(TYPES)}")
    module, _, name = TYPES[kind].partition(":")
    model: type[Template] = getattr(import_module(module), name)
    try:
        return model.model_validate(dict(given or {}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        known = ", ".join(model.model_fields) or "nothing"
        raise Invalid(f"template of a pool of type {kind}: {place}: {first['msg']}; it may hold: {known}") from error
