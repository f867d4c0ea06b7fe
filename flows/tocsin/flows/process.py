"""Pools of type `process`: each attempt in a process of its own on the worker's machine.

A pipe is the child's lifeline: its other end is the worker's, and closes however the worker dies. So the child ends
itself at once, without anybody who would have to find it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import Field

from tocsin.flows.forking import Forks
from tocsin.flows.infrastructure import Exit, Handle, Infrastructure, Job, Template
from tocsin.store.engine import Store

PROGRAM: Final = "tocsin.flows.execute"
FORKS: Final = sys.platform == "linux"
"""Elsewhere the system's own libraries do not bear to be forked."""


class ProcessTemplate(Template):
    """The choices of a pool of type `process`."""

    env: dict[str, str] = Field(default_factory=dict, description="Variables over those of the worker.")
    working_dir: str | None = Field(default=None, description="Where it starts; unset: where the worker did.")
    python: str | None = Field(default=None, description="The interpreter; unset: the worker's own.")
    command: list[str] | None = Field(
        default=None, min_length=1, description="Instead of an interpreter: the run's id and attempt are added to it."
    )

    def infrastructure(self, store: Store) -> Infrastructure:
        """Child processes."""
        return Processes()

    @property
    def plain(self) -> bool:
        """Whether a fork of the worker's interpreter will do: nothing is asked for that is settled when one starts."""
        early = any(name.startswith(("PYTHON", "LD_")) for name in self.env)
        return self.command is None and self.python is None and not early

    def command_of(self, job: Job) -> list[str]:
        """What is started."""
        head = self.command or [self.python or sys.executable, "-m", PROGRAM]
        return [*head, *job.arguments]

    def environment_of(self, job: Job) -> dict[str, str]:
        """What it is started with: the worker's variables, the template's, and those that it needs."""
        return {**os.environ, **self.env, **job.environment}


class Child:
    """The process of one attempt."""

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._ended = asyncio.create_task(self._wait(lifeline), name=f"child {process.pid}")

    @property
    def place(self) -> str:
        """Its process id."""
        return f"process {self._process.pid}"

    async def wait(self) -> Exit:
        """Its exit code."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """SIGTERM to it and all that it started."""
        self._send(signal.SIGTERM)

    def kill(self) -> bool:
        """SIGKILL to it and all that it started."""
        self._send(signal.SIGKILL)
        return True

    async def _wait(self, lifeline: int) -> Exit:
        try:
            return Exit(await self._process.wait())
        finally:
            os.close(lifeline)

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class Processes:
    """Starts a process for each job: a fork of one that has imported what is needed, else a new interpreter."""

    apart = True

    def __init__(self) -> None:
        self._forks = Forks()

    async def open(self) -> None:
        """Get the nursery going."""
        if FORKS:
            await self._forks.open()

    async def start(self, job: Job) -> Handle:
        """A new process, in a group of its own."""
        template = job.template
        assert isinstance(template, ProcessTemplate)
        if FORKS and template.plain:
            variables = {**template.env, **job.environment}
            return await self._forks.start(list(job.arguments), variables, template.working_dir)
        command, environment = template.command_of(job), template.environment_of(job)
        return await spawned(command, environment, template.working_dir)

    async def close(self) -> None:
        """Let the nursery go."""
        await self._forks.close()


async def spawned(command: list[str], environment: Mapping[str, str], folder: str | Path | None) -> Child:
    """A process at the end of a lifeline. Raises OSError when there is no such program or folder."""
    theirs, ours = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**environment, "TOCSIN_LIFELINE": str(theirs)},
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs,),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return Child(process, ours)
