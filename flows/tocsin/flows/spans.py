"""Spans of runs for OpenTelemetry: one for each try, from Running to its end, with what its code does below it.

    trace of a flow run (its id is the run's)
      flow daily-order-etl                    attempt 1
        task extract-orders                   attempt 1, failed
        task extract-orders                   attempt 2
          SELECT orders                       by whatever instruments the database

A program that has set up OpenTelemetry is traced; without, nothing is imported and nothing is paid. The process of a
deployed run sets it up itself when the environment names an exporter (OTEL_TRACES_EXPORTER or
OTEL_EXPORTER_OTLP_ENDPOINT).
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from uuid import UUID

_ASKED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_NOTHING: Final = nullcontext()
_LOW: Final = 2**64 - 1

logger = logging.getLogger(__name__)

# Any below: the columns of a run, and OpenTelemetry's objects, which are not imported before they are wanted.
Attributes = dict[str, str | int]


def of_flow(run: Mapping[str, Any]) -> AbstractContextManager[None]:
    """The span of a flow run's try; the code inside belongs to it."""
    if not _traced():
        return _NOTHING
    about: Attributes = {
        "tocsin.flow.name": run["flow_name"],
        "tocsin.flow_run.id": str(run["id"]),
        "tocsin.flow_run.name": run["name"],
        "tocsin.deployment.name": run["deployment"] or "",
        "tocsin.cause": str(run["cause"] or ""),
    }
    return _span(f"flow {run['flow_name']}", run, about)


def of_task(run: Mapping[str, Any]) -> AbstractContextManager[None]:
    """The span of a task run's try; the code inside belongs to it."""
    if not _traced():
        return _NOTHING
    task = run["name"].rpartition("-")[0] or run["name"]
    about: Attributes = {
        "tocsin.task.key": run["task_key"],
        "tocsin.task_run.id": str(run["id"]),
        "tocsin.task_run.name": run["name"],
    }
    return _span(f"task {task}", run, about)


def set_up() -> None:
    """Export spans as the environment says, if it says so and nobody has done it; a missing package is told of."""
    if _traced() or not any(os.environ.get(name) for name in _ASKED) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return
    if os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    try:
        _provide()
    except ImportError as error:
        logger.warning("spans are asked for and cannot be sent (%s); install tocsin[otel]", error)


def _traced() -> bool:
    """Whether this program has an SDK of OpenTelemetry at work: then it is imported already."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return False
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    return isinstance(trace.get_tracer_provider(), TracerProvider)


@contextmanager
def _span(name: str, run: Mapping[str, Any], about: Attributes) -> Iterator[None]:
    from opentelemetry import trace

    known = {key: value for key, value in about.items() if value} | {"tocsin.attempt": run["attempt"]}
    tracer = trace.get_tracer("tocsin.flows")
    with tracer.start_as_current_span(name, context=_above(run["id"]), attributes=known):
        yield


def _above(run_id: UUID) -> Any:
    """What the span belongs to: the one that is current, else all of this run's, whichever process they come from."""
    from opentelemetry import trace

    if trace.get_current_span().get_span_context().is_valid:
        return None
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    above = trace.SpanContext(run_id.int, (run_id.int & _LOW) or 1, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(above))


def _provide() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    exporter: SpanExporter
    if os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        exporter = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "tocsin")}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
