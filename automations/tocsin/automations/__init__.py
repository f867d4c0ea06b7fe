"""From event to action: automations, their actions, and what would have fired."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.automations.actions import DoNothing
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
    from tocsin.automations.model import Automation
    from tocsin.automations.simulation import Simulated, simulate

__all__ = [
    "Automation",
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
    "Simulated",
    "SuspendFlowRun",
    "simulate",
]

__getattr__ = exports(
    __name__,
    {
        "Automation": "model",
        "CallWebhook": "actions_messages",
        "CancelFlowRun": "actions_runs",
        "ChangeFlowRunState": "actions_runs",
        "DeleteFlowRun": "actions_runs",
        "DoNothing": "actions",
        "EmitEvent": "actions_messages",
        "PauseAutomation": "actions_switches",
        "PauseDeployment": "actions_switches",
        "PauseSchedule": "actions_switches",
        "PauseWorkPool": "actions_switches",
        "PauseWorkQueue": "actions_switches",
        "ResumeAutomation": "actions_switches",
        "ResumeDeployment": "actions_switches",
        "ResumeFlowRun": "actions_runs",
        "ResumeSchedule": "actions_switches",
        "ResumeWorkPool": "actions_switches",
        "ResumeWorkQueue": "actions_switches",
        "RetryFlowRun": "actions_runs",
        "RunDeployment": "actions_runs",
        "SendNotification": "actions_messages",
        "Simulated": "simulation",
        "SuspendFlowRun": "actions_runs",
        "simulate": "simulation",
    },
)
