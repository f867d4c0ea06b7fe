"""Spans for OpenTelemetry: what a program that traces sees of its runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tocsin.flows import flow, task

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tries = []

@task(retries=1)
def fetch(shop):
    with trace.get_tracer("mine").start_as_current_span("SELECT"):
        tries.append(shop)
    if len(tries) == 1:
        raise ValueError("closed")

@task
async def count(shop):
    return 1

@flow
def inner():
    count.map(["lagos", "oslo"]).wait()

@flow
def outer():
    fetch("berlin")
    inner()

outer()
print(json.dumps([
    {"name": span.name, "id": span.context.span_id, "trace": span.context.trace_id, "ok": span.status.is_ok,
     "above": span.parent.span_id if span.parent else 0, "about": dict(span.attributes)}
    for span in exporter.get_finished_spans()
]))
"""


def test_each_try_is_a_span_with_what_it_does_below_it(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True)
    spans: list[dict[str, Any]] = json.loads(done.stdout)
    names = {span["id"]: span["name"] for span in spans}
    tree = sorted((span["name"], names.get(span["above"], ""), span["ok"]) for span in spans)
    assert tree == [
        ("SELECT", "task fetch", True),
        ("SELECT", "task fetch", True),
        ("flow inner", "flow outer", True),
        ("flow outer", "", True),
        ("task count", "flow inner", True),
        ("task count", "flow inner", True),
        ("task fetch", "flow outer", False),
        ("task fetch", "flow outer", True),
    ]
    [outer] = [span for span in spans if span["name"] == "flow outer"]
    assert {span["trace"] for span in spans} == {outer["trace"]}
    assert f"{outer['trace']:032x}" == outer["about"]["tocsin.flow_run.id"].replace("-", "")
    assert sorted(span["about"]["tocsin.attempt"] for span in spans if span["name"] == "task fetch") == [1, 2]


def test_who_does_not_trace_imports_nothing_of_it(home: Path) -> None:
    program = "import sys; from tocsin.flows import flow\n@flow\ndef one(): pass\none(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert "tocsin.flows.spans" in done.stdout
    assert "opentelemetry" not in done.stdout


def test_a_deployed_run_is_exported_as_the_environment_says(home: Path, tmp_path: Path) -> None:
    program = (
        "from tocsin.flows import spans; from tocsin.flows import flow\n"
        "@flow\ndef nightly(): pass\n"
        "spans.set_up(); nightly()"
    )
    environment = os.environ | {"OTEL_TRACES_EXPORTER": "console"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    assert json.loads(done.stdout)["name"] == "flow nightly"
