"""From event to action: automations, their actions, and what would have fired."""

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
