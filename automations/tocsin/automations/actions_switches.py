"""Actions that pause things and let them go on: deployments, schedules, work pools, work queues, automations."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tocsin.automations.action import Chosen, Name


def _in_a_pool(name: str) -> str:
    """A queue is known by its pool and its name. Raises ValueError for less."""
    if "{{" not in name and not all(name.partition("/")[::2]):
        raise ValueError(f'"{name}": name the queue as pool/queue; an id is not known here')
    return name


Queue = Annotated[str, Field(min_length=3, max_length=300), AfterValidator(_in_a_pool)]


class OnDeployment(Chosen):
    """A deployment: paused, its schedules rest."""

    THING: ClassVar[str] = "deployment"
    deployment: Name | None = None


class PauseDeployment(OnDeployment):
    """Lets a deployment's schedules rest; runs that are asked for still run."""

    type: Literal["pause-deployment"] = "pause-deployment"


class ResumeDeployment(OnDeployment):
    """Lets a deployment's schedules go on from now."""

    type: Literal["resume-deployment"] = "resume-deployment"


class OnSchedule(Chosen):
    """One schedule, by its slug."""

    THING: ClassVar[str] = "schedule"
    schedule: Name | None = None


class PauseSchedule(OnSchedule):
    """No ticks of a schedule until it is resumed."""

    type: Literal["pause-schedule"] = "pause-schedule"


class ResumeSchedule(OnSchedule):
    """Ticks of a schedule again, from now."""

    type: Literal["resume-schedule"] = "resume-schedule"


class OnWorkPool(Chosen):
    """A work pool."""

    THING: ClassVar[str] = "work_pool"
    work_pool: Name | None = None


class PauseWorkPool(OnWorkPool):
    """Workers take nothing more from a pool."""

    type: Literal["pause-work-pool"] = "pause-work-pool"


class ResumeWorkPool(OnWorkPool):
    """Workers take runs from a pool again."""

    type: Literal["resume-work-pool"] = "resume-work-pool"


class OnWorkQueue(Chosen):
    """A queue of a work pool, named `pool/queue`."""

    THING: ClassVar[str] = "work_queue"
    work_queue: Queue | None = None


class PauseWorkQueue(OnWorkQueue):
    """Workers take nothing more from a queue; the pool's other queues go on."""

    type: Literal["pause-work-queue"] = "pause-work-queue"


class ResumeWorkQueue(OnWorkQueue):
    """Workers take runs from a queue again."""

    type: Literal["resume-work-queue"] = "resume-work-queue"


class OnAutomation(Chosen):
    """An automation, by its name."""

    THING: ClassVar[str] = "automation"
    automation: Name | None = None


class PauseAutomation(OnAutomation):
    """Switches an automation off: it fires no more, and still resolves what it has opened."""

    type: Literal["pause-automation"] = "pause-automation"


class ResumeAutomation(OnAutomation):
    """Switches an automation on."""

    type: Literal["resume-automation"] = "resume-automation"


Switch = OnDeployment | OnSchedule | OnWorkPool | OnWorkQueue | OnAutomation
