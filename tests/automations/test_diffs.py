"""What a plan tells is what an apply does, field by field."""

from typing import Any

import pytest
from pydantic import SecretStr

from tests.automations.parts import START, define
from tocsin.automations import store as stored
from tocsin.automations.diffs import ABSENT, differences
from tocsin.automations.documents import Loaded, load
from tocsin.automations.model import Automation
from tocsin.automations.proposal import propose
from tocsin.automations.secrets import MASK
from tocsin.events.errors import Invalid
from tocsin.notifiers import SlackWebhook, put_notifier
from tocsin.store.engine import Store

BEFORE: dict[str, Any] = {
    "name": "late",
    "trigger": {"expect": ["orders.late"], "for_each": ["warehouse"], "threshold": 5, "within": 600},
    "actions": [
        {"type": "send-notification", "notifier": "slack"},
        {"type": "call-webhook", "url": "https://example.com/", "secret": "whsec_hush", "headers": {"a": "1", "b": ""}},
    ],
}


def slack(path: str) -> SlackWebhook:
    return SlackWebhook(name="slack", url=SecretStr(f"https://hooks.slack.test/{path}"))


NOTIFY, CALL = BEFORE["actions"]

ROWS = [
    pytest.param({}, [], id="the same"),
    pytest.param({"severity": "critical"}, [("severity", "error", "critical")], id="a field of its own"),
    pytest.param(
        {"trigger": {**BEFORE["trigger"], "threshold": 6, "within": "PT10M", "expect": "x"}},
        [("trigger.expect", ["orders.late"], ["x"]), ("trigger.threshold", 5, 6)],
        id="inside the trigger, spans compared as spans",
    ),
    pytest.param(
        {"actions": [{**NOTIFY, "notifier": "pager"}, {**CALL, "headers": {"b": "2"}, "secret": "whsec_new"}]},
        [
            ("actions.0.notifier", "slack", "pager"),
            ("actions.1.headers.a", MASK, ABSENT),
            ("actions.1.headers.b", "", MASK),
            ("actions.1.secret", MASK, MASK),
        ],
        id="secrets are compared and not shown",
    ),
    pytest.param({"enabled": False}, [("enabled", True, False)], id="switched off where it is said"),
]


@pytest.mark.parametrize(("change", "expected"), ROWS)
def test_differences_name_field_before_and_after(change: dict[str, Any], expected: list[tuple[str, Any, Any]]) -> None:
    before, after = Automation.model_validate(BEFORE), Automation.model_validate({**BEFORE, **change})
    assert [(one.field, one.before, one.after) for one in differences(before, after)] == expected


def test_an_action_that_is_gone_or_new_is_one_difference() -> None:
    before, after = Automation.model_validate(BEFORE), Automation.model_validate({**BEFORE, "actions": [NOTIFY]})
    [gone] = differences(before, after)
    [new] = differences(after, before)
    assert (gone.field, gone.after, gone.before["secret"]) == ("actions.1", ABSENT, MASK)
    assert (new.field, new.before, new.after["type"]) == ("actions.1", ABSENT, "call-webhook")


@pytest.mark.parametrize(("change", "expected"), ROWS)
def test_a_plan_is_what_an_apply_does(store: Store, change: dict[str, Any], expected: list[Any]) -> None:
    define(store, Automation.model_validate(BEFORE))
    given = [Automation.model_validate({**BEFORE, **change}), Automation.model_validate({**BEFORE, "name": "new"})]
    with store.begin() as session:
        planned = propose(session, Loaded(tuple(given)))
        assert propose(session, Loaded(tuple(given))) == planned
        applied = stored.apply(session, given, START)
    assert [(one.name, one.change) for one in planned] == [(one.name, one.change) for one in applied]
    assert len(planned[0].differences) == len(expected)


def test_a_plan_refuses_what_an_apply_refuses(store: Store) -> None:
    twice = (Automation.model_validate(BEFORE),) * 2
    with store.read() as session, pytest.raises(Invalid, match="defined twice"):
        propose(session, Loaded(twice))


RULES = """
- name: a
  trigger: {expect: [x]}
  actions:
    - type: send-notification
      notifier: slak
    - type: run-deployment
      deployment: "{{ event.payload.name }}"
    - type: run-deployment
      deployment: etl
"""


def test_a_name_that_nobody_has_is_a_warning_with_its_line(store: Store, tmp_path: Any) -> None:
    with store.begin() as session:
        put_notifier(session, slack("x"))
    (tmp_path / "rules.yaml").write_text(RULES)
    with store.read() as session:
        [planned] = propose(session, load(str(tmp_path / "rules.yaml")))
    assert planned.warnings == (
        'line 6, actions.0.notifier: unknown notifier "slak"; did you mean slack?',
        'line 10, actions.2.deployment: unknown deployment "etl"; known: none',
    )


def test_a_notifier_of_the_same_file_is_there_and_is_planned_too(store: Store) -> None:
    block = slack("x")
    other = slack("y")
    automation = Automation.model_validate({**BEFORE, "actions": [NOTIFY]})
    for given, change in ((block, "created"), (block, "unchanged"), (other, "updated")):
        with store.begin() as session:
            planned = propose(session, Loaded((automation,), (given,)))
            put_notifier(session, given)
        assert (planned[0].kind, planned[0].change, planned[1].warnings) == ("notifier", change, ())
