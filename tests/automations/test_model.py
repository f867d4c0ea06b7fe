"""What people may write as an automation, in ours and in Prefect's words, and what is refused."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tocsin.automations import Automation, CallWebhook, RetryFlowRun, RunDeployment, SendNotification
from tocsin.automations.secrets import STORED, reveal
from tocsin.triggers import EventTrigger

TRIGGER = {"expect": ["orders.loaded"]}


def test_python_and_json_say_the_same() -> None:
    written = Automation(
        name="late",
        trigger=EventTrigger(expect={"orders.late"}),
        actions=[SendNotification(notifier="slack", body="{{ event.event }}"), RunDeployment(deployment="refresh")],
    )
    assert Automation.model_validate_json(written.model_dump_json()) == written


def test_a_prefect_automation_is_accepted_as_it_is() -> None:
    exported: dict[str, Any] = {
        "id": "0b8f",
        "name": "late",
        "description": None,
        "enabled": True,
        "tags": [],
        "owner_resource": None,
        "trigger": {
            "type": "event",
            "id": "5a1c",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "flow"},
            "after": [],
            "expect": ["prefect.flow-run.Failed"],
            "for_each": ["prefect.resource.id"],
            "posture": "Reactive",
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {"type": "run-deployment", "source": "selected", "deployment_id": "etl", "job_variables": None},
            {"type": "send-notification", "block_document_id": "slack", "subject": "s", "body": "b"},
            {"type": "call-webhook", "block_document_id": "hook", "payload": "{}"},
            {"type": "do-nothing"},
        ],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }
    automation = Automation.model_validate(exported)
    run, tell, call, _ = automation.actions
    assert isinstance(run, RunDeployment)
    assert run.deployment == "etl"
    assert isinstance(tell, SendNotification)
    assert tell.notifier == "slack"
    assert isinstance(call, CallWebhook)
    assert call.notifier == "hook"
    assert isinstance(automation.trigger, EventTrigger)
    assert automation.trigger.match == {"tocsin.resource.id": ["tocsin.flow-run.*", "prefect.flow-run.*"]}


REFUSED = [
    pytest.param({"actions": [{"type": "declare-incident"}]}, "Prefect Cloud's", id="an action of a cloud"),
    pytest.param({"actions": [{"type": "launch-rocket"}]}, "does not match any", id="an action nobody knows"),
    pytest.param({"actions": [{"deployment": "x"}]}, "discriminator", id="an action without a type"),
    pytest.param({"actions": [{"type": "run-deployment"}]}, "name the deployment", id="no deployment"),
    pytest.param(
        {"actions": [{"type": "run-deployment", "source": "inferred", "deployment": "x"}]},
        "takes the deployment from the event",
        id="inferred and named",
    ),
    pytest.param(
        {"actions": [{"type": "run-deployment", "deployment": "x", "job_variables": {"a": 1}}]},
        "job_variables are not there yet",
        id="job variables",
    ),
    pytest.param(
        {"actions": [{"type": "send-notification", "notifier": "a", "block_document_id": "b"}]},
        "are the same",
        id="ours and Prefect's name at once",
    ),
    pytest.param(
        {"actions": [{"type": "send-notification", "notifier": "a", "body": "{{ a + }}"}]}, "template", id="a template"
    ),
    pytest.param(
        {"actions": [{"type": "run-deployment", "deployment": "x", "parameters": {"a": ["{% macro b() %}"]}}]},
        "template",
        id="a template inside parameters",
    ),
    pytest.param({"actions": [{"type": "send-notification"}]}, "either notifier or route", id="nobody to tell"),
    pytest.param(
        {"actions": [{"type": "send-notification", "notifier": "a", "route": "b"}]},
        "either notifier or route",
        id="a notifier and a route",
    ),
    pytest.param({"actions": [{"type": "call-webhook"}]}, "either url or notifier", id="no address"),
    pytest.param(
        {"actions": [{"type": "call-webhook", "url": "file:///etc/passwd"}]}, "http or https", id="no http address"
    ),
    pytest.param({"actions": [{"type": "call-webhook", "url": "http://u:p@a"}]}, "into headers", id="a password"),
    pytest.param(
        {"actions": [{"type": "call-webhook", "url": "http://a", "headers": {"a": "b\r\nc: d"}}]},
        "no header",
        id="a header that is two",
    ),
    pytest.param(
        {"actions": [{"type": "call-webhook", "url": "http://a", "allow_private": ["a b"]}]}, "a b", id="allow-list"
    ),
    pytest.param({"actions": [{"type": "retry-flow-run", "budget": 0}]}, "greater than", id="no budget"),
    pytest.param({"name": ""}, "at least 1", id="no name"),
    pytest.param({"name": "a/b"}, "pattern", id="a slash in the name"),
    pytest.param({"name": "a\nb"}, "pattern", id="two lines in the name"),
    pytest.param({"actions_on_resolve": [{"type": "do-nothing"}]}, "without resolve_on", id="a resolve that never is"),
    pytest.param(
        {"resolve_on": {"expect": ["x"], "after": ["y"], "within": 5}}, "one wait ends it", id="a resolve with after"
    ),
    pytest.param({"resolve_on": {"expect": ["x"], "for_each": ["a"]}}, "the same key", id="another key"),
    pytest.param({"dedup_key": "{{ event.id }}"}, "event may be another when it is over", id="a key that changes"),
    pytest.param({"labels": {"team": "{{ a + }}"}}, "template", id="a label that is no template"),
    pytest.param({"severity": "bad"}, "'critical'", id="severity"),
    pytest.param({"enable": True}, "Extra inputs", id="a field nobody knows"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Automation.model_validate({"name": "rule", "trigger": TRIGGER, **fields})


def test_the_resolving_key_is_the_trigger_s_unless_it_has_its_own() -> None:
    trigger = EventTrigger(expect=["a"], for_each=["order"])
    shared = Automation(name="a", trigger=trigger, resolve_on=EventTrigger(expect=["b"]))
    own = Automation(name="a", trigger=trigger, resolve_on=EventTrigger(expect=["b"], for_each=["id"]))
    assert (shared.resolve_labels, own.resolve_labels) == (("order",), ("id",))


def test_secrets_are_masked_where_shown_and_sealed_where_stored() -> None:
    action = CallWebhook(url="http://a", secret=SecretStr("whsec_hush"), headers={"authorization": SecretStr("hush")})
    shown, stored = action.model_dump_json(), action.model_dump(mode="json", context=STORED)
    assert "hush" not in shown + str(stored) + repr(action)
    assert (reveal(stored["secret"]), reveal(stored["headers"]["authorization"])) == ("whsec_hush", "hush")
    again = CallWebhook.model_validate(stored)
    assert again.model_dump(mode="json", context=STORED) == stored


def test_a_number_of_seconds_is_a_span() -> None:
    retry = RetryFlowRun.model_validate({"delay": 90})
    assert retry == RetryFlowRun.model_validate({"delay": "PT90S"})
