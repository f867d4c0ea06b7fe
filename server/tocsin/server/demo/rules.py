"""What the demo applies: two deployments, a schedule, the notifiers and the automations that join them."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tocsin.automations.actions import RetryFlowRun, RunDeployment, SendNotification
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.events.errors import NotFound
from tocsin.flows.deployments import Deployment
from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn
from tocsin.store.engine import Store
from tocsin.triggers.event import EventTrigger

ETL: Final = "daily-order-etl"
DASHBOARD: Final = "refresh-dashboard"
PAGER: Final = "pagerduty"
SLACK: Final = "slack"
DAY: Final = "2024-01-15"
BUDGET: Final = 5

_OF_ETL: Final = {"tocsin.resource.role": "flow", "tocsin.resource.id": f"tocsin.flow.{ETL}"}


def automations() -> list[Automation]:
    """One that pages, retries and resolves; one that runs the retry early; one that goes on downstream."""
    return [
        Automation(
            name="orders-on-fire",
            description="Page, post and try again when the ETL fails; tell everybody when it has recovered.",
            severity="critical",
            trigger=EventTrigger(
                expect={"tocsin.flow-run.Failed", "tocsin.flow-run.Crashed"},
                match_related=_OF_ETL,
                for_each={"tocsin.resource.id"},
            ),
            resolve_on=EventTrigger(
                expect={"tocsin.flow-run.Completed"}, match_related=_OF_ETL, for_each={"tocsin.resource.id"}
            ),
            actions=[
                SendNotification(notifier=PAGER, subject=_SUBJECT, body=_BODY),
                SendNotification(notifier=SLACK, subject=_SUBJECT, body=_BODY),
                RetryFlowRun(budget=BUDGET, delay=timedelta(seconds=6), factor=1.5),
            ],
        ),
        Automation(
            name="retry-when-repaired",
            description="Whoever repaired the data names the run; its waiting retry need not wait any longer.",
            trigger=EventTrigger(expect={"orders.repaired"}),
            actions=[RetryFlowRun(budget=BUDGET, delay=timedelta(0))],
        ),
        Automation(
            name="dashboard-follows-orders",
            description="Fresh orders make a fresh dashboard.",
            trigger=EventTrigger(expect={"tocsin.flow-run.Completed"}, match_related=_OF_ETL),
            actions=[RunDeployment(deployment=DASHBOARD)],
        ),
    ]


_SUBJECT: Final = "{{ event.resource['tocsin.resource.name'] }}: {{ event.payload.to.name }}"
_BODY: Final = "{{ event.payload.error.message }}"


def deployments(due: datetime) -> list[Deployment]:
    """The ETL, due once at `due`, and the dashboard, which waits for an automation."""
    start = due.replace(microsecond=0).isoformat()
    once = {"slug": ETL, "rrule": "FREQ=SECONDLY;COUNT=1", "start": start, "timezone": "UTC"}
    return [
        Deployment(
            name=ETL,
            entrypoint=f"{example('daily_order_etl.py')}:daily_order_etl",
            parameters={"execution_date": DAY},
            schedules=[once],
        ),
        Deployment(name=DASHBOARD, entrypoint=f"{example('refresh_dashboard.py')}:refresh_dashboard"),
    ]


def notifiers(slack: SlackStandIn, pagerduty: PagerDutyStandIn) -> list[Slack | SlackWebhook | PagerDuty]:
    """The stand-ins of this machine, or the real channels that the environment names."""
    webhook, key = os.environ.get("SLACK_WEBHOOK_URL"), os.environ.get("PAGERDUTY_ROUTING_KEY")
    return [
        SlackWebhook.model_validate({"name": SLACK, "url": webhook})
        if webhook
        else Slack.model_validate(
            {"name": SLACK, "token": slack.token, "channel": slack.channel} | {"api_url": slack.api_url}
        ),
        PagerDuty.model_validate({"name": PAGER, "routing_key": key})
        if key
        else PagerDuty.model_validate({"name": PAGER, "routing_key": pagerduty.routing_key, "url": pagerduty.url}),
    ]


def apply_rules(store: Store, slack: SlackStandIn, pagerduty: PagerDutyStandIn, now: datetime, due: datetime) -> None:
    """Put everything into the database; what is there already stays as it is."""

    with store.begin() as session:
        for block in notifiers(slack, pagerduty):
            put_notifier(session, block, now)
        apply(session, automations(), now)
    for deployment in deployments(due):
        deployment.apply(store)


def example(name: str) -> Path:
    """Where the example's file is: beside this module in an installed wheel, in `examples/` in a clone."""
    packaged = Path(__file__).with_name("examples") / name
    cloned = Path(__file__).parents[4] / "examples" / name
    for path in (packaged, cloned):
        if path.is_file():
            return path
    raise NotFound(f"the example {name} is neither at {packaged} nor at {cloned}; reinstall tocsin")
