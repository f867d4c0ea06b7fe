"""Automations as Prefect's documentation and API write them are read as they are.

Sources: the pages "Event triggers", "Create automations" and "Detect zombie flows" of Prefect's documentation, and the
form in which its API returns an automation. Ids of deployments and blocks are names here.
"""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.automations.parts import START, happened
from tocsin.automations import DoNothing, RunDeployment, simulate
from tocsin.automations.documents import automation_from, parse
from tocsin.automations.export import export
from tocsin.events.errors import Invalid
from tocsin.events.model import Event

RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
WRITTEN = "prefect.block.remote-file-system.write_path.called"


def of_flow(name: str, event: str = WRITTEN) -> dict[str, Any]:
    related = {"prefect.resource.name": name, "prefect.resource.role": "flow"}
    return {"type": "event", "posture": "Reactive", "expect": [event], "match_related": related}


EXPORTS: dict[str, Any] = {
    "type": "compound",
    "require": "all",
    "within": 3600,
    "triggers": [of_flow("daily-customer-export"), of_flow("daily-revenue-export"), of_flow("daily-expenses-export")],
}
STUCK = {
    "match": RUNS,
    "match_related": {},
    "after": ["prefect.flow-run.Running"],
    "expect": ["prefect.flow-run.Completed"],
    "for_each": ["prefect.resource.id"],
    "posture": "Proactive",
    "threshold": 1,
    "within": 60,
}

TRIGGERS = [
    pytest.param(
        {"match": RUNS, "expect": ["prefect.flow-run.Completed"], "threshold": 2, "within": 60}, "event", id="two"
    ),
    pytest.param(
        {
            "type": "event", "id": "5a9f3f9e-8d7e-4a53-9f4e-0f5f6b7c8d9e",
            "match": {**RUNS, "prefect.resource.name": ["cute-*", "radical-*"]},
            "match_related": {"prefect.resource.id": "prefect.deployment.etl"}, "after": [], "expect": [],
            "for_each": [], "posture": "Reactive", "threshold": 1, "within": 0.0,
        },
        "event", id="as the API returns it",
    ),
    pytest.param(
        {
            "match": RUNS, "expect": ["prefect.flow-run.Completed"],
            "match_related": [
                {"prefect.resource.name": "k8s-pool", "prefect.resource.role": "work-pool"},
                {"prefect.resource.id": "!prefect.tag.test", "prefect.resource.role": "tag"},
            ],
        },
        "event", id="several related resources, one of them negative",
    ),
    pytest.param(
        {
            "match": {"prefect.resource.id": ["prefect.flow-run.*", "etl-events.transform"]},
            "match_related": {"prefect.resource.id": "prefect.deployment.etl"},
            "after": ["table-missing", "table-empty"], "expect": ["prefect.flow-run.Completed"], "within": 3600,
        },
        "event", id="after",
    ),
    pytest.param(STUCK, "event", id="proactive"),
    pytest.param(
        {
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.heartbeat", "prefect.flow-run.Completed", "prefect.flow-run.Crashed"],
            "match": {"prefect.resource.id": ["prefect.flow-run.*"]}, "for_each": ["prefect.resource.id"],
            "posture": "Proactive", "threshold": 1, "within": 90,
        },
        "event", id="zombies: an event in both",
    ),
    pytest.param(
        {
            "type": "metric", "match": RUNS,
            "match_related": {"prefect.resource.id": "prefect.tag.production", "prefect.resource.role": "tag"},
            "metric": {"name": "successes", "threshold": 0.9, "operator": "<", "range": 3600, "firing_for": 0},
        },
        "metric", id="success rate",
    ),
    pytest.param(
        {
            "type": "metric", "posture": "Metric", "match": RUNS,
            "match_related": {"prefect.resource.id": "prefect.work-pool.k8s", "prefect.resource.role": "work-pool"},
            "metric": {"name": "lateness", "threshold": 300, "operator": ">", "range": 86400, "firing_for": 600},
        },
        "metric", id="lateness",
    ),
    pytest.param(EXPORTS, "compound", id="all of three"),
    pytest.param(
        {"type": "sequence", "within": 7200, "triggers": [of_flow("init", "prefect.flow-run.Completed"), EXPORTS]},
        "sequence", id="a compound in a sequence",
    ),
    pytest.param(
        {
            "type": "compound", "require": "any",
            "triggers": [
                {
                    "type": "event", "posture": "Proactive", "after": ["prefect.flow-run.Pending"],
                    "expect": ["prefect.flow-run.Running", "prefect.flow-run.Crashed"],
                    "for_each": ["prefect.resource.id"],
                    "match_related": {"prefect.resource.name": "daily-export", "prefect.resource.role": "flow"},
                },
                {
                    "type": "event", "posture": "Reactive", "expect": ["prefect.work-pool.not-ready"],
                    "match": {"prefect.resource.name": "kubernetes-workers"},
                },
                {
                    "type": "metric",
                    "metric": {"name": "lateness", "operator": ">", "threshold": 600, "range": 3600, "firing_for": 300},
                },
            ],
        },
        "compound", id="any of three kinds",
    ),
    pytest.param({"require": 2, "triggers": EXPORTS["triggers"], "within": 60}, "compound", id="two, type left out"),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "kind"), TRIGGERS)
def test_a_trigger_of_prefect_is_read(trigger: dict[str, Any], kind: str) -> None:
    automation = automation_from({"name": "theirs", "trigger": trigger, "actions": [{"type": "do-nothing"}]})
    assert automation.trigger.type == kind
    read = automation.trigger.model_dump_json()
    assert "prefect.resource." not in read
    assert set(re.findall(r'"prefect\.([^"]+)"', read)) <= set(re.findall(r'"tocsin\.([^"]+)"', read))
    for form in ("yaml", "json"):
        assert parse(export([automation], form), f"x.{form}") == [automation]


ACTIONS: list[dict[str, Any]] = [
    {"type": "do-nothing"},
    {
        "type": "run-deployment", "source": "selected", "deployment_id": "etl", "job_variables": None,
        "schedule_after": 0, "parameters": {"day": {"__prefect_kind": "jinja", "template": "{{ event.id }}"}},
    },
    {"type": "run-deployment", "source": "inferred", "deployment_id": None, "parameters": None},
    {"type": "pause-deployment", "source": "selected", "deployment_id": "etl"},
    {"type": "resume-deployment", "source": "inferred", "deployment_id": None},
    {"type": "change-flow-run-state", "name": None, "state": "CRASHED", "message": "no heartbeat", "force": False},
    {"type": "change-flow-run-state", "name": None, "state": "FAILED", "message": None},
    {"type": "cancel-flow-run"},
    {"type": "suspend-flow-run"},
    {"type": "resume-flow-run"},
    {"type": "delete-flow-run"},
    {"type": "send-notification", "block_document_id": "slack", "subject": "{{ flow_run.name }}", "body": "failed"},
    {"type": "call-webhook", "block_document_id": "hook", "payload": "{\"run\": \"{{ flow_run.id }}\"}"},
    {"type": "pause-work-pool", "source": "selected", "work_pool_id": "k8s"},
    {"type": "resume-work-pool", "source": "inferred", "work_pool_id": None},
    {"type": "pause-work-queue", "source": "selected", "work_queue_id": "k8s/default"},
    {"type": "resume-work-queue", "source": "inferred", "work_queue_id": None},
    {"type": "pause-automation", "source": "selected", "automation_id": "other"},
    {"type": "resume-automation", "source": "inferred", "automation_id": None},
]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS, ids=[f"{one['type']} {one.get('source', '')}".strip() for one in ACTIONS])
def test_an_action_of_prefect_is_read(action: dict[str, Any]) -> None:
    automation = automation_from({"name": "theirs", "trigger": {"expect": ["x"]}, "actions": [action]})
    assert automation.actions[0].type == action["type"]
    for form in ("yaml", "json"):
        assert parse(export([automation], form), f"x.{form}") == [automation]


def test_a_queue_is_named_with_its_pool() -> None:
    action = {"type": "pause-work-queue", "work_queue_id": "5a9f3f9e-8d7e-4a53-9f4e-0f5f6b7c8d9e"}
    with pytest.raises(Invalid, match=r"actions\.0\.work_queue: .* name the queue as pool/queue"):
        automation_from({"name": "theirs", "trigger": {"expect": ["x"]}, "actions": [action]})


RETURNED = {
    "id": "0b0e9a0e-0000-4000-8000-000000000001",
    "created": "2026-01-02T03:04:05Z",
    "updated": "2026-01-02T03:04:05Z",
    "account": "00000000-0000-4000-8000-000000000002",
    "workspace": "00000000-0000-4000-8000-000000000003",
    "owner_resource": None,
    "name": "Cancel Long Running Flows",
    "description": "Cancels flows running longer than 30 minutes",
    "enabled": True,
    "tags": ["ops"],
    "trigger": {**STUCK, "type": "event", "id": "0b0e9a0e-0000-4000-8000-000000000004"},
    "actions": [{"type": "do-nothing"}],
    "actions_on_trigger": [],
    "actions_on_resolve": [],
}

FROM_THE_DOCS = """
automations:
  - name: Cancel Long Running Flows
    description: Cancels flows running longer than 30 minutes
    enabled: true
    trigger:
      type: event
      posture: Proactive
      after:
        - prefect.flow-run.Running
      expect:
        - prefect.flow-run.Completed
        - prefect.flow-run.Failed
      threshold: 1
      within: 1800  # 30 minutes
      for_each:
        - prefect.resource.id
    actions:
      - type: cancel-flow-run
  - name: woodchonk
    trigger: {expect: [animal.walked], match: {genus: Marmota, species: monax}, threshold: 3, within: 10}
    actions: [{type: cancel-flow-run}]
"""


def test_what_prefects_api_returns_is_read() -> None:
    [one] = parse(json.dumps([RETURNED]), "automations.json")
    assert (one.name, one.tags, one.actions) == ("Cancel Long Running Flows", ("ops",), (DoNothing(),))


def test_a_file_of_prefect_is_read() -> None:
    assert [one.name for one in parse(FROM_THE_DOCS, "theirs.yaml")] == ["Cancel Long Running Flows", "woodchonk"]


def jinja(template: str) -> dict[str, Any]:
    return {"__prefect_kind": "jinja", "template": template}


def as_json(value: Any) -> dict[str, Any]:
    return {"__prefect_kind": "json", "value": value}


PARAMETERS = [
    pytest.param(jinja("{{ event.id }}"), "{{ event.id }}", id="a template"),
    pytest.param([as_json("[1, null]")], [[1, None]], id="JSON"),
    pytest.param(as_json(jinja("{{ event.payload|tojson }}")), "{{ event.payload }}", id="JSON of one expression"),
    pytest.param({"__prefect_kind": None, "value": 1}, 1, id="no kind"),
]


@pytest.mark.parametrize(("theirs", "ours"), PARAMETERS)
def test_parameters_that_name_their_kind_are_read(theirs: Any, ours: Any) -> None:
    action = RunDeployment.model_validate({"deployment": "etl", "parameters": {"a": theirs}})
    assert action.parameters == {"a": ours}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"__prefect_kind": "workspace_variable", "variable_name": "x"}, "workspace variables are not there"),
        (as_json("{"), "is no JSON"),
        (as_json(jinja("{{ a }}, {{ b }}")), "keeps the value's type"),
        ({"__prefect_kind": "new"}, "cannot be read"),
    ],
)
def test_a_kind_that_is_not_there_is_refused(value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RunDeployment.model_validate({"deployment": "etl", "parameters": {"a": value}})


@pytest.mark.parametrize("prefix", ["prefect", "tocsin"])
def test_a_rule_of_prefect_fires_on_the_events_of_either(prefix: str) -> None:
    """A bridge from Prefect, or a file that was exported from it, has them under Prefect's names."""
    [rule] = parse(json.dumps([RETURNED]), "automations.json")
    run = f"{prefix}.flow-run.1"
    events = [happened(f"{prefix}.flow-run.Running", run), happened(f"{prefix}.flow-run.Running", "another")]
    told = simulate([rule], events, START + timedelta(minutes=10))
    assert [(one.at - START, one.labels) for one in told] == [(timedelta(seconds=60), {"tocsin.resource.id": run})]


def a_run(state: str, run: int, at: float, **payload: float) -> Event:
    """Run number `run` of the flow `daily-export` reaches a state, `at` seconds after the start."""
    flow = {
        "tocsin.resource.id": "tocsin.flow.1",
        "tocsin.resource.role": "flow",
        "tocsin.resource.name": "daily-export",
    }
    return happened(f"tocsin.flow-run.{state}", f"tocsin.flow-run.{run}", at=at, related=[flow], payload=payload)


def test_any_of_three_kinds_fires_with_each_under_its_own_key() -> None:
    [trigger] = [one.values[0] for one in TRIGGERS if one.id == "any of three kinds"]
    events = [
        a_run("Pending", 1, 0),
        a_run("Pending", 2, 1),
        a_run("Running", 2, 5, lateness_s=900),
        happened("tocsin.work-pool.not-ready", "k8s", at=20, labels={"tocsin.resource.name": "kubernetes-workers"}),
    ]
    told = simulate([automation_from({"name": "any", "trigger": trigger})], events, START + timedelta(minutes=10))
    assert [((one.at - START).total_seconds(), one.labels["tocsin.resource.id"]) for one in told] == [
        (10, "tocsin.flow-run.1"),  # pending for ten seconds, Prefect's least
        (20, ""),
        (305, ""),  # late on the average of all, for five minutes
    ]
