"""From a firing to invocations: rendered, under ids that a replay names again, guarded against loops."""

from datetime import timedelta
from typing import Any

import pytest

from tests.automations.parts import RUN, START, a_run, happened, rule
from tocsin.automations.actions_runs import RetryFlowRun
from tocsin.automations.builtin import SCHEDULES
from tocsin.automations.evaluate import decide
from tocsin.automations.guard import MAX_DEPTH
from tocsin.automations.invocation import Invocation
from tocsin.automations.lifecycle import fired, outcome
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.rendered_runs import retry_delay
from tocsin.automations.route import Index
from tocsin.events.codec import MAX_DEPTH as JSON_DEPTH
from tocsin.events.codec import decode, encode
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing


def fires(automation: Automation, *events: Event) -> list[Firing]:
    index = Index([automation])
    signals = [signal for event in events for signal in index.route(event)]
    return decide(index.automations, {}, signals).firings


def planned(automation: Automation, *events: Event) -> list[Invocation]:
    """The invocations of the last firing."""
    return plan(automation, fires(automation, *events)[-1])


def arguments(action: dict[str, Any], event: Event | None = None) -> dict[str, Any]:
    [invocation] = planned(rule("rule", action), event or a_run("Failed"))
    assert invocation.refused is None
    return invocation.arguments


SEEN = [
    pytest.param("{{ event.id }}", "00000000-0000-0000-0000-000000000007", id="the event's id"),
    pytest.param("{{ event.event }}", "tocsin.flow-run.Failed", id="its name"),
    pytest.param("{{ event.occurred }}", "2026-03-02T09:00:00+00:00", id="its time"),
    pytest.param("{{ event.resource['tocsin.resource.id'] }}", RUN, id="a label"),
    pytest.param("{{ event.resource['prefect.resource.id'] }}", RUN, id="a label by Prefect's name"),
    pytest.param("{{ event.resource.name }}", "brave-otter", id="the resource's name"),
    pytest.param("{{ event.payload.error.type }}", "ValueError", id="the payload"),
    pytest.param("{{ event.related[0].role }}{{ event.related[0]['tocsin.resource.role'] }}", "flow", id="related"),
    pytest.param("{{ flow_run.id }} {{ flow_run.name }}", f"{RUN[16:]} brave-otter", id="the flow run"),
    pytest.param("{{ flow_run.state.name }}: {{ flow_run.message }}", "Failed: it is Failed", id="its state"),
    pytest.param("{{ flow_run.attempt }}", 2, id="its attempt"),
    pytest.param("{{ flow_run.parameters.day }}", "2026-03-01", id="its parameters"),
    pytest.param("{{ flow.name }} {{ deployment.name }}", "daily etl", id="its flow and deployment"),
    pytest.param("{{ automation.name }} {{ automation.severity }}", "rule error", id="the automation"),
    pytest.param("{{ firing.state }} {{ firing.count }}", "Triggered 1", id="the firing"),
    pytest.param("{{ labels['tocsin.resource.id'] }}", RUN, id="the labels"),
]


@pytest.mark.parametrize(("source", "value"), SEEN)
def test_templates_see(source: str, value: object) -> None:
    action = {"type": "run-deployment", "deployment": "refresh", "parameters": {"value": source}}
    assert arguments(action, a_run("Failed", attempt=2, number=7))["parameters"] == {"value": value}


def test_a_deployment_is_named_or_that_of_the_event() -> None:
    named = arguments({"type": "run-deployment", "deployment": "refresh", "schedule_after": 60})
    inferred = arguments({"type": "run-deployment", "source": "inferred"})
    assert (named["deployment"], named["scheduled"]) == ("refresh", "2026-03-02T09:01:00+00:00")
    assert (inferred["deployment"], inferred["scheduled"]) == ("etl", "2026-03-02T09:00:00+00:00")
    assert named["creator"] == {"tocsin.resource.id": "tocsin.automation.rule"}


DELAYS = [
    pytest.param(1, 10, id="the first retry"),
    pytest.param(2, 20, id="the second"),
    pytest.param(3, 40, id="the third"),
    pytest.param(10, 60, id="never beyond the ceiling"),
    pytest.param(100_000, 60, id="however late"),
]


@pytest.mark.parametrize(("attempt", "seconds"), DELAYS)
def test_retries_come_later_and_later(attempt: int, seconds: int) -> None:
    action = RetryFlowRun(delay=timedelta(seconds=10), factor=2, ceiling=timedelta(minutes=1))
    assert retry_delay(action, attempt) == timedelta(seconds=seconds)
    made = arguments(action.model_dump(mode="json"), a_run("Failed", attempt=attempt))
    assert made["run"] == RUN.removeprefix("tocsin.flow-run.")
    assert made["scheduled"] == (START + timedelta(seconds=seconds)).isoformat()


def test_a_notification_is_one_incident_an_episode() -> None:
    tell = {"type": "send-notification", "notifier": "pager", "subject": "{{ flow_run.name }}"}
    lasting = rule("rule", tell, resolve_on={"expect": ["tocsin.flow-run.Completed"]}, severity="critical")
    first, again, over = fires(lasting, a_run("Failed"), a_run("Failed", at=1), a_run("Completed", at=2))
    [told], [told_again], [ended] = (plan(lasting, firing) for firing in (first, again, over))
    assert told.arguments["incident_key"] == told_again.arguments["incident_key"] == ended.arguments["incident_key"]
    assert [one.arguments["action"] for one in (told, told_again, ended)] == ["trigger", "trigger", "resolve"]
    assert (told.arguments["subject"], told.arguments["severity"], told.arguments["lasting"]) == (
        "brave-otter",
        "critical",
        True,
    )
    assert ended.arguments["subject"] == "Resolved: rule: brave-otter"


def test_news_that_nothing_resolves_is_told_each_time() -> None:
    automation = rule("rule", {"type": "send-notification", "notifier": "pager"})
    keys = [plan(automation, one)[0].arguments for one in fires(automation, a_run("Failed"), a_run("Failed", at=1))]
    assert keys[0]["incident_key"] != keys[1]["incident_key"]
    assert not keys[0]["lasting"]


def test_an_action_of_its_own_takes_the_place_of_the_automatic_end() -> None:
    automation = rule(
        "rule",
        {"type": "send-notification", "notifier": "pager"},
        {"type": "send-notification", "notifier": "slack"},
        actions_on_trigger=[{"type": "send-notification", "notifier": "slack"}],
        actions_on_resolve=[
            {"type": "do-nothing"},
            {"type": "send-notification", "notifier": "slack", "subject": "fine: {{ flow_run.state_name }}"},
        ],
        resolve_on={"expect": ["tocsin.flow-run.Completed"]},
    )
    over = planned(automation, a_run("Failed"), a_run("Completed", at=1))
    assert [(one.action, one.arguments.get("notifier"), one.arguments.get("subject")) for one in over] == [
        ("do-nothing", None, None),
        ("send-notification", "slack", "fine: Completed"),
        ("send-notification", "pager", "Resolved: rule: brave-otter"),
    ]


def test_people_are_told_even_when_the_template_fails() -> None:
    made = arguments({"type": "send-notification", "notifier": "pager", "subject": "{{ 1 / 0 }}", "body": "fine"})
    assert made["subject"].startswith("rule: brave-otter\n(template")
    assert made["body"] == "fine"


REFUSED = [
    pytest.param({"type": "run-deployment", "source": "inferred"}, "related to no deployment", id="no deployment"),
    pytest.param({"type": "retry-flow-run"}, "about no flow run", id="no flow run"),
    pytest.param(
        {"type": "run-deployment", "deployment": "x", "parameters": "{{ event.payload.n }}"},
        "must be an object",
        id="parameters that are a number",
    ),
    pytest.param(
        {"type": "run-deployment", "deployment": "x", "parameters": {"a": "{{ 1 / 0 }}"}},
        "division by zero",
        id="a template that fails",
    ),
    pytest.param({"type": "call-webhook", "url": "http://a", "payload": "{{ 'x' * 99999 }}"}, "65536", id="too much"),
]


@pytest.mark.parametrize(("action", "reason"), REFUSED)
def test_what_the_event_does_not_allow_is_refused(action: dict[str, Any], reason: str) -> None:
    automation = rule("rule", action, {"type": "do-nothing"}, trigger={"expect": ["orders.late"]})
    refused, other = planned(automation, happened("orders.late", payload={"n": 3}))
    assert reason in str(refused.refused)
    assert other.refused is None


def test_a_run_whose_id_is_none_is_refused() -> None:
    automation = rule("rule", {"type": "retry-flow-run"})
    [refused] = planned(automation, a_run("Failed", run="tocsin.flow-run.abc"))
    assert refused.refused == "abc is no flow run's id"


@pytest.mark.parametrize(("depth", "refused"), [(0, False), (MAX_DEPTH - 1, False), (MAX_DEPTH, True)])
def test_a_chain_of_automations_ends(depth: int, refused: bool) -> None:
    [invocation] = planned(rule("rule", {"type": "do-nothing"}), a_run("Failed", depth=depth))
    assert (invocation.refused is not None) is refused


def test_what_tells_of_a_refusal_fires_nothing_but_may_resolve() -> None:
    automation = rule("rule", resolve_on={"expect": ["tocsin.flow-run.Completed"]})
    deep = MAX_DEPTH + 1
    assert fires(automation, a_run("Failed", depth=deep)) == []
    told = fires(automation, a_run("Failed"), a_run("Completed", depth=deep, at=1))
    assert [firing.state for firing in told] == ["Triggered", "Resolved"]


def test_the_end_is_told_at_any_depth() -> None:
    tell = {"type": "send-notification", "notifier": "pager"}
    automation = rule("rule", tell, resolve_on={"expect": ["tocsin.flow-run.Completed"]})
    [over] = planned(automation, a_run("Failed"), a_run("Completed", depth=MAX_DEPTH, at=1))
    assert over.refused is None


def test_a_replay_names_the_same_things_again() -> None:
    automation = rule("rule", {"type": "do-nothing"}, {"type": "retry-flow-run"})
    first, second = (planned(automation, a_run("Failed", number=3)) for _ in range(2))
    assert first == second
    assert len({one.id for one in first}) == 2


def test_a_tick_runs_its_deployment_with_the_times_it_asks_for() -> None:
    tick = happened(
        "tocsin.schedule.tick",
        "tocsin.schedule.nightly",
        related=[{"tocsin.resource.id": "tocsin.deployment.etl", "tocsin.resource.role": "deployment"}],
        payload={"data_interval_end": "2026-03-02", "parameters": {"day": "{{ data_interval_end }}", "n": 3}},
    )
    [run] = planned(SCHEDULES, tick)
    assert run.arguments["deployment"] == "etl"
    assert run.arguments["parameters"] == {"day": "2026-03-02", "n": 3}
    assert run.arguments["creator"] == {"tocsin.resource.id": "tocsin.schedule.nightly"}


def test_a_tick_without_parameters_runs_with_none() -> None:
    related = [{"tocsin.resource.id": "tocsin.deployment.etl", "tocsin.resource.role": "deployment"}]
    [run] = planned(SCHEDULES, happened("tocsin.schedule.tick", "tocsin.schedule.nightly", related=related))
    assert run.arguments["parameters"] == {}


def test_what_is_reported_follows_its_cause_one_deeper() -> None:
    automation = rule("rule", {"type": "do-nothing"})
    cause = a_run("Failed", depth=2)
    [firing] = fires(automation, cause)
    triggered = fired(firing)
    executed = outcome(plan(automation, firing)[0], "executed", START, {"status_code": 204})
    assert (triggered.event, executed.event) == ("tocsin.automation.triggered", "tocsin.automation.action.executed")
    assert {triggered.follows, executed.follows} == {cause.id}
    assert {triggered.depth, executed.depth} == {3}
    assert triggered.payload["triggering_event"]["id"] == str(cause.id)
    roles = [labels["tocsin.resource.role"] for labels in executed.related]
    assert roles == ["triggering-event", "automation-triggered-event", "target"]
    assert executed.related[1]["tocsin.resource.id"] == f"tocsin.event.{triggered.id}"
    assert decode(encode(executed)) == executed


def test_an_event_at_the_limits_can_still_be_reported() -> None:
    deep: dict[str, Any] = {}
    for _ in range(JSON_DEPTH - 1):
        deep = {"a": deep}
    for payload in (deep, {"text": "x" * 900_000}):
        cause = happened("orders.late", payload=payload)
        [firing] = fires(rule(trigger={"expect": ["orders.late"]}), cause)
        assert fired(firing).payload["triggering_event"]["id"] == str(cause.id)
        encode(fired(firing))
