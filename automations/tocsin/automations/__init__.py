"""From event to action: automations, their actions, and what would have fired."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.automations.actions import CallWebhook, DoNothing, RetryFlowRun, RunDeployment, SendNotification
    from tocsin.automations.model import Automation
    from tocsin.automations.simulation import Simulated, simulate

__all__ = [
    "Automation",
    "CallWebhook",
    "DoNothing",
    "RetryFlowRun",
    "RunDeployment",
    "SendNotification",
    "Simulated",
    "simulate",
]

__getattr__ = exports(
    __name__,
    {
        "Automation": "model",
        "CallWebhook": "actions",
        "DoNothing": "actions",
        "RetryFlowRun": "actions",
        "RunDeployment": "actions",
        "SendNotification": "actions",
        "Simulated": "simulation",
        "simulate": "simulation",
    },
)
