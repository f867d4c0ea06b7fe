"""Stand-ins for Slack, PagerDuty and a webhook's receiver: local, strict, with faults on demand. For demos and tests.

```python
with SlackStandIn() as slack, PagerDutyStandIn() as pagerduty:
    put_notifier(session, SlackWebhook(name="slack", url=slack.url))
    put_notifier(session, PagerDuty(name="pagerduty", routing_key=pagerduty.routing_key, url=pagerduty.url))
    slack.fail(RateLimited(1.5), Reset(accept=True))     # the next two requests go wrong
    ...
    assert not slack.violations and pagerduty.alerts[0].state == "resolved"
```
"""

from tocsin.notifiers.standins.loopback import Error, Fail, Fault, Hang, RateLimited, Reset
from tocsin.notifiers.standins.pagerduty import Alert, PagerDutyStandIn
from tocsin.notifiers.standins.receiver import WebhookStandIn
from tocsin.notifiers.standins.slack import SlackMessage, SlackStandIn

__all__ = [
    "Alert",
    "Error",
    "Fail",
    "Fault",
    "Hang",
    "PagerDutyStandIn",
    "RateLimited",
    "Reset",
    "SlackMessage",
    "SlackStandIn",
    "WebhookStandIn",
]
