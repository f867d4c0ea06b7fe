"""The actions of automations, as people write them: all kinds, told apart by their `type`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field

from tocsin.automations.action import Step
from tocsin.automations.actions_messages import CallWebhook, EmitEvent, SendNotification
from tocsin.automations.actions_runs import (
    CancelFlowRun,
    ChangeFlowRunState,
    DeleteFlowRun,
    ResumeFlowRun,
    RetryFlowRun,
    RunDeployment,
    SuspendFlowRun,
)
from tocsin.automations.actions_switches import (
    PauseAutomation,
    PauseDeployment,
    PauseSchedule,
    PauseWorkPool,
    PauseWorkQueue,
    ResumeAutomation,
    ResumeDeployment,
    ResumeSchedule,
    ResumeWorkPool,
    ResumeWorkQueue,
)

__all__ = [
    "KINDS",
    "KNOWN",
    "Action",
    "CallWebhook",
    "CancelFlowRun",
    "ChangeFlowRunState",
    "DeleteFlowRun",
    "DoNothing",
    "EmitEvent",
    "PauseAutomation",
    "PauseDeployment",
    "PauseSchedule",
    "PauseWorkPool",
    "PauseWorkQueue",
    "ResumeAutomation",
    "ResumeDeployment",
    "ResumeFlowRun",
    "ResumeSchedule",
    "ResumeWorkPool",
    "ResumeWorkQueue",
    "RetryFlowRun",
    "RunDeployment",
    "SendNotification",
    "SuspendFlowRun",
]

NOT_HERE: Final = ("send-email-notification", "declare-incident")
"""Actions of Prefect's cloud that tocsin does not have."""


class DoNothing(Step):
    """Does nothing; its outcome is an event all the same."""

    type: Literal["do-nothing"] = "do-nothing"


def _known(given: Any) -> Any:  # Any: what a person gave
    if isinstance(given, Mapping) and given.get("type") in NOT_HERE:
        raise ValueError(
            f"action {given['type']} is Prefect Cloud's; send-notification tells people through a notifier"
        )
    return given


_Union = (
    RunDeployment
    | RetryFlowRun
    | CancelFlowRun
    | SuspendFlowRun
    | ResumeFlowRun
    | DeleteFlowRun
    | ChangeFlowRunState
    | SendNotification
    | CallWebhook
    | EmitEvent
    | PauseDeployment
    | ResumeDeployment
    | PauseSchedule
    | ResumeSchedule
    | PauseWorkPool
    | ResumeWorkPool
    | PauseWorkQueue
    | ResumeWorkQueue
    | PauseAutomation
    | ResumeAutomation
    | DoNothing
)
Action = Annotated[Annotated[_Union, Field(discriminator="type")], BeforeValidator(_known)]
KINDS: Final[tuple[type[Step], ...]] = get_args(_Union)
KNOWN: Final = tuple(str(kind.model_fields["type"].default) for kind in KINDS)
"""The `type` of each."""
