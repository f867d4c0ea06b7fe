"""OpenLineage: what Airflow, dbt and Spark really send.

Recorded from Airflow 2.10.5 (provider 2.0.0), dbt 1.8 (openlineage-dbt 1.54.0) and Spark 3.5.3 (openlineage-spark
1.53.0).
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.events.codec import MAX_RELATED, decode, encode
from tocsin.events.errors import BadEvent
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger, covers
from tocsin.triggers.openlineage import from_document

FOLDER = Path(__file__).parent / "openlineage"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
RUN: dict[str, Any] = {
    "eventType": "COMPLETE",
    "eventTime": "2026-03-02T08:59:00.5Z",
    "producer": "https://example.com/spark",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": "0197c1f2-8a34-7cc1-9f6e-4f3f7c1d2a10", "facets": {}},
    "job": {"namespace": "spark-prod", "name": "daily_orders.execute_insert", "facets": {}},
    "inputs": [],
    "outputs": [{"namespace": "s3://lake", "name": "/orders"}],
}


def recorded(tool: str) -> list[Event]:
    return [from_document(json.loads(line), NOW) for line in (FOLDER / f"{tool}.jsonl").read_text().splitlines()]


def related(event: Event, role: str) -> list[str]:
    return [labels["tocsin.resource.id"] for labels in event.related_as(role)]


def test_airflow() -> None:
    told = recorded("airflow")
    assert [(event.event, event.resource_id) for event in told] == [
        ("openlineage.run.start", "airflow-prod/daily_orders.load"),
        ("openlineage.run.complete", "airflow-prod/daily_orders.load"),
        ("openlineage.run.start", "airflow-prod/daily_orders.check"),
        ("openlineage.run.fail", "airflow-prod/daily_orders.check"),
        ("openlineage.run.fail", "airflow-prod/daily_orders"),
    ]
    assert [event.resource["openlineage.job.type"] for event in told] == ["TASK"] * 4 + ["DAG"]
    assert {event.resource["openlineage.job.integration"] for event in told} == {"AIRFLOW"}
    assert related(told[0], "parent") == ["airflow-prod/daily_orders"]
    assert related(told[0], "owner") == ["data-team"]
    assert related(told[0], "input") == ["s3://lake/raw/orders"]
    assert related(told[0], "output") == ["postgres://shop:5432/shop.public.orders"]
    assert "returned a non-zero exit code 3" in json.dumps(told[3].payload["run"]["facets"]["errorMessage"])


def test_dbt() -> None:
    told = recorded("dbt")
    model = "dbt-prod/shop.main.shop.large_orders.build.run"
    assert [event.event for event in told if event.resource_id == model] == [
        "openlineage.run.start",
        "openlineage.run.fail",
    ]
    assert [event.event for event in told if event.resource["openlineage.job.type"] == "TEST"] == [
        "openlineage.run.start",
        "openlineage.run.complete",
    ]
    failed = next(event for event in told if event.event == "openlineage.run.fail" and event.resource_id == model)
    assert related(failed, "parent") == related(failed, "root") == ["dbt-prod/dbt-run-shop"]
    assert related(failed, "input") == ["duckdb://shop.duckdb/shop.main.orders"]


def test_spark() -> None:
    """Its listener calls a write complete that ended in an error: a rule should look at the data, or at the caller."""
    told = recorded("spark")
    write = "spark-prod/daily_orders.execute_insert_into_hadoop_fs_relation_command"
    assert [(event.event, event.resource_id) for event in told] == [
        ("openlineage.run.start", "spark-prod/daily_orders"),
        ("openlineage.run.start", f"{write}.lake_large_orders"),
        ("openlineage.run.complete", f"{write}.lake_large_orders"),
        ("openlineage.run.start", f"{write}.lake_broken"),
        ("openlineage.run.complete", f"{write}.lake_broken"),
        ("openlineage.run.complete", "spark-prod/daily_orders"),
    ]
    assert {event.resource["openlineage.job.type"] for event in told} == {"APPLICATION", "SQL_JOB"}
    assert related(told[2], "input") == ["file/data/lake/orders"]
    assert related(told[2], "output") == ["file/data/lake/large_orders"]
    assert related(told[2], "parent") == ["spark-prod/daily_orders"]


@pytest.mark.parametrize("tool", ["airflow", "dbt", "spark"])
def test_each_is_whole_and_the_same_when_it_is_sent_again(tool: str) -> None:
    told = recorded(tool)
    assert [decode(encode(event)) for event in told] == told == recorded(tool)
    assert len({event.id for event in told}) == len(told)


def test_a_rule_waits_for_the_failure_of_any_dbt_model() -> None:
    trigger = EventTrigger(
        expect=["openlineage.run.fail"],
        match={"openlineage.job.integration": "DBT", "openlineage.job.type": "MODEL"},
        match_related={"tocsin.resource.role": "input", "tocsin.resource.id": "*shop.main.orders"},
    )
    assert [event.resource["openlineage.job.name"] for event in recorded("dbt") if covers(trigger, event)] == [
        "shop.main.shop.large_orders.build.run"
    ]


def test_a_name_that_begins_with_a_slash_is_joined_by_one() -> None:
    assert related(from_document(RUN, NOW), "output") == ["s3://lake/orders"]


@pytest.mark.parametrize("plan", ["x" * 1_000_000, [[]]], ids=["too large", "too deep"])
def test_facets_that_do_not_fit_are_left_out_and_the_run_is_told_of(plan: Any) -> None:
    for _ in range(70 if isinstance(plan, list) else 0):
        plan = [plan]
    document = {**RUN, "run": {**RUN["run"], "facets": {"spark.logicalPlan": plan}}}
    event = from_document(document, NOW)
    assert event.payload["run"] == {"runId": RUN["run"]["runId"]}
    assert event.payload["outputs"] == RUN["outputs"]
    assert event.event == "openlineage.run.complete"


def test_of_many_datasets_outputs_go_first_and_as_many_as_fit() -> None:
    many = [{"namespace": "n", "name": str(number)} for number in range(150)]
    event = from_document({**RUN, "inputs": many}, NOW)
    assert len(event.related) == MAX_RELATED
    assert related(event, "output") == ["s3://lake/orders"]
    assert len(event.payload["inputs"]) == 150


OTHERS = [
    pytest.param({"eventType": ...}, "openlineage.run.other", id="without a type"),
    pytest.param({"eventType": "running"}, "openlineage.run.running", id="in small letters"),
    pytest.param({"run": ..., "eventType": ...}, "openlineage.job", id="a JobEvent"),
    pytest.param(
        {"run": ..., "job": ..., "eventType": ..., "dataset": {"namespace": "n", "name": "d"}},
        "openlineage.dataset",
        id="a DatasetEvent",
    ),
]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**RUN, **changes}.items() if value is not ...}


@pytest.mark.parametrize(("changes", "name"), OTHERS)
def test_other_events(changes: dict[str, Any], name: str) -> None:
    assert from_document(changed(changes), NOW).event == name


BAD = [
    pytest.param({"eventType": "DONE"}, "eventType 'DONE'; OpenLineage has", id="an unknown type"),
    pytest.param({"eventTime": ...}, "eventTime is missing", id="no time"),
    pytest.param({"eventTime": "soon"}, "no time in ISO 8601", id="words for a time"),
    pytest.param({"eventTime": "2026-03-02T08:59:00"}, "no time zone", id="a time without a zone"),
    pytest.param({"eventTime": (NOW + timedelta(days=9)).isoformat()}, "a day from now", id="a wrong clock"),
    pytest.param({"job": {"namespace": "n"}}, "name is missing", id="a job without a name"),
    pytest.param({"inputs": [5]}, "a dataset is an object", id="a dataset that is none"),
    pytest.param({"run": {}, "job": 5}, "neither a RunEvent", id="nothing of the kind"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_what_is_no_run_event_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadEvent, match=reason):
        from_document(changed(changes), NOW)
