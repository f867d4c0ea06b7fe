"""From a firing to invocations: rendered, under ids that a replay names again, guarded against loops."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.automations.firings import firing, planned_one
from tests.automations.parts import RUN, START, a_run, happened, rule
from tocsin.automations.actions import KNOWN
from tocsin.automations.actions_runs import RetryFlowRun
from tocsin.automations.builtin import SCHEDULES
from tocsin.automations.evaluate import decide
from tocsin.automations.guard import MAX_DEPTH
from tocsin.automations.invocation import Invocation, fired_id
from tocsin.automations.lifecycle import fired, outcome
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.rendered_messages import plain_words
from tocsin.automations.rendered_runs import retry_delay
from tocsin.automations.route import Index
from tocsin.events.codec import MAX_DEPTH as JSON_DEPTH
from tocsin.events.codec import decode, encode
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing, Part


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


# --- what is inferred, and deadlines ---

OTHER_RUN = "tocsin.flow-run.00000000-0000-0000-0000-00000000000b"
INFERRED = [
    pytest.param({"tocsin.resource.id": OTHER_RUN}, a_run("Failed"), "0b", id="the key comes first"),
    pytest.param({"related:flow-run:tocsin.resource.id": OTHER_RUN}, None, "0b", id="the key of a deadline"),
    pytest.param({"shop": "east"}, a_run("Failed"), "0a", id="else the event"),
    pytest.param(
        {},
        happened("x", related=[{"tocsin.resource.id": OTHER_RUN, "tocsin.resource.role": "flow-run"}]),
        "0b",
        id="else what the event is related to",
    ),
]


@pytest.mark.parametrize(("labels", "event", "run"), INFERRED)
def test_a_flow_run_is_inferred(labels: dict[str, str], event: Event | None, run: str) -> None:
    invocation = planned_one(rule("rule", {"type": "cancel-flow-run"}), event, labels=labels)
    assert (invocation.refused, invocation.arguments["run"][-2:]) == (None, run)


def test_a_flow_run_is_named_by_its_id_or_by_its_resource() -> None:
    for named in ("{{ event.payload.run }}", "tocsin.flow-run.{{ event.payload.run }}"):
        action = {"type": "suspend-flow-run", "flow_run": named}
        event = happened("x", payload={"run": OTHER_RUN.removeprefix("tocsin.flow-run.")})
        assert planned_one(rule("rule", action), event).arguments["run"][-2:] == "0b"


def test_the_witness_of_a_deadline_tells_what_it_is_about() -> None:
    action = {"type": "run-deployment", "source": "inferred", "parameters": {"run": "{{ flow_run.name }}"}}
    invocation = planned_one(rule("rule", action), None, at=90, witness=a_run("Running"))
    assert invocation.arguments["deployment"] == "etl"
    assert invocation.arguments["parameters"] == {"run": "brave-otter"}
    assert invocation.arguments["scheduled"] == (START + timedelta(seconds=90)).isoformat()
    assert (invocation.cause["event"], invocation.cause["resource"]) == (None, RUN)
    assert invocation.behind.event == fired_id(invocation.firing)


@pytest.mark.parametrize("kind", [kind for kind in KNOWN if kind not in ("do-nothing", "call-webhook")])
def test_a_deadline_without_a_witness_says_what_it_lacks(kind: str) -> None:
    needed = {"change-flow-run-state": {"state": "FAILED"}, "send-notification": {"notifier": "pager"}}
    own = {"emit-event": {"event": "x"}}
    chosen = {} if "flow-run" in kind or kind in own or kind in needed else {"source": "inferred"}
    invocation = planned_one(rule("rule", {"type": kind, **needed.get(kind, {}), **own.get(kind, {}), **chosen}), None)
    told = kind in ("send-notification", "emit-event")
    assert (invocation.refused is None) is told
    assert told or "this deadline" in str(invocation.refused)


SILENT = [
    pytest.param("{{ event.payload.x }}{{ event.id }}", None, None, id="an event there is not renders as nothing"),
    pytest.param("{{ event.event }}", a_run("Running"), "tocsin.flow-run.Running", id="the last one known"),
    pytest.param("{{ firing.posture }} {{ firing.count }}", None, "Proactive 0", id="the firing"),
    pytest.param("{{ labels.host }}", None, "db1", id="the key"),
    pytest.param("{{ events | length }}", None, 0, id="no events made it"),
    pytest.param("{{ flow_run.id }}{{ deployment.name }}", None, None, id="about no run"),
]


@pytest.mark.parametrize(("source", "witness", "value"), SILENT)
def test_templates_see_of_a_deadline(source: str, witness: Event | None, value: object) -> None:
    action = {"type": "run-deployment", "deployment": "refresh", "parameters": {"value": source}}
    invocation = planned_one(rule("rule", action), None, witness=witness, count=0, labels={"host": "db1"})
    assert (invocation.arguments["parameters"]["value"] or None) == (value or None)


def test_templates_see_the_children_of_a_composite() -> None:
    cause = a_run("Failed")
    first, second = Part(0, 5, "a", UUID(int=5)), Part(1, 6, str(cause.id), cause.id, count=3)
    source = "{{ firings | length }} {{ firings[1].count }} {{ events[0].id }} {{ events[1].event }} {{ firing.late }}"
    action = {"type": "run-deployment", "deployment": "refresh", "parameters": {"value": source}}
    invocation = planned_one(rule("rule", action), cause, children=(first, second), late=True)
    assert invocation.arguments["parameters"]["value"] == f"2 3 {UUID(int=5)} tocsin.flow-run.Failed True"


def test_people_are_told_of_a_deadline_in_plain_words() -> None:
    automation = rule("quiet", description="The hosts report each minute.")
    assert plain_words(automation, firing(None, labels={"host": "db1"})) == (
        "quiet: db1",
        "what was expected had not come by 2026-03-02T09:01:00+00:00\nThe hosts report each minute.",
    )
    _, body = plain_words(automation, firing(None, witness=happened("host.up")))
    assert "last seen: host.up at 2026-03-02T09:00:00+00:00" in body
