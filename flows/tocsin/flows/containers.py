"""What the containers of runs have in common, wherever they run: template, name, labels, command, variables."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from pydantic import Field

from tocsin.flows.infrastructure import Exit, Job, Template

DATABASE: Final = "TOCSIN_DATABASE_URL"
SERVER: Final = "TOCSIN_API_URL"
CODE: Final = "TOCSIN_CODE_PATH"
RUN_ID: Final = "tocsin.run-id"
ATTEMPT: Final = "tocsin.attempt"
COMMAND: Final = ("python", "-m", "tocsin.flows.execute")
GONE: Final = 255
"""The exit code of what was removed before anybody saw it end."""
TAIL: Final = 20
"""Lines of its output that tell why a run has crashed."""
LONGEST: Final = 2_000

Attempt = tuple[UUID, int]


class ContainerTemplate(Template):
    """What the owner of a pool may choose about a container."""

    image: str = Field(min_length=1, pattern=r"^\S+$", description="With tocsin and the flow's code in it.")
    command: list[str] = Field(
        default=list(COMMAND), min_length=1, description="The run's id and attempt are added to it."
    )
    env: dict[str, str] = Field(default_factory=dict, description="Variables; they win over those of the worker.")
    working_dir: str | None = Field(default=None, description="Where the code is; unset: where it was deployed from.")
    labels: dict[str, str] = Field(default_factory=dict, description="Added to those of tocsin.")


def name_of(job: Job) -> str:
    """The one name of this attempt: made twice, it is found the second time."""
    return f"tocsin-{job.run_id}-{job.attempt}{'-afterwards' if job.afterwards else ''}"


def labels_of(job: Job, template: ContainerTemplate) -> dict[str, str]:
    """The template's labels, and by which attempt the container is found again."""
    return {**template.labels, RUN_ID: str(job.run_id), ATTEMPT: str(job.attempt)}


def attempt_of(labels: Mapping[str, str] | None) -> Attempt | None:
    """Whose container has these labels; None: not one of ours."""
    try:
        return UUID((labels or {})[RUN_ID]), int((labels or {})[ATTEMPT])
    except (KeyError, ValueError):
        return None


def variables_of(job: Job, template: ContainerTemplate, secret: frozenset[str] = frozenset()) -> dict[str, str]:
    """What the run needs to report, and what the template says; `secret`: variables that come from elsewhere.

    A run that reports to a server is not told where the database is.
    """
    needed = dict(job.environment)
    if SERVER in template.env or SERVER in secret:
        needed.pop(DATABASE, None)
    if template.working_dir is not None:
        needed[CODE] = template.working_dir
    return {name: value for name, value in {**needed, **template.env}.items() if name not in secret}


def ended(code: int, why: str, output: str) -> Exit:
    """How a container ended: why, and the last of what it said."""
    if code == 0 and not why:
        return Exit(0)
    said = "\n".join(output.strip().splitlines()[-TAIL:])[-LONGEST:]
    reason = why or f"its container exited with code {code} before the run had ended"
    return Exit(code, f"{reason}; it said last:\n{said}" if said else reason)
