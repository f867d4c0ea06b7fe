"""Stand-ins for the services behind notifiers: local, strict, with faults on demand. For demos and tests.

```python
with SlackStandIn() as slack, PagerDutyStandIn() as pagerduty:
    put_notifier(session, SlackWebhook(name="slack", url=slack.url))
    put_notifier(session, PagerDuty(name="pagerduty", routing_key=pagerduty.routing_key, url=pagerduty.url))
    slack.fail(RateLimited(1.5), Reset(accept=True))     # the next two requests go wrong
    ...
    assert not slack.violations and pagerduty.alerts[0].state == "resolved"
```
"""

from tocsin.notifiers.standins.loopback import Error, Fail, Fault, Hang, Pass, RateLimited, Reset
from tocsin.notifiers.standins.pagerduty import Alert, PagerDutyStandIn, Subscription
from tocsin.notifiers.standins.receiver import WebhookStandIn
from tocsin.notifiers.standins.slack import SlackMessage, SlackStandIn
from tocsin.notifiers.standins.slack_socket import SlackSocket
from tocsin.notifiers.standins.smtp import Mail, SmtpFault, SmtpStandIn

__all__ = [
    "Alert",
    "Error",
    "Fail",
    "Fault",
    "Hang",
    "Mail",
    "PagerDutyStandIn",
    "Pass",
    "RateLimited",
    "Reset",
    "SlackMessage",
    "SlackSocket",
    "SlackStandIn",
    "SmtpFault",
    "SmtpStandIn",
    "Subscription",
    "WebhookStandIn",
]
