"""OpenLineage: what Airflow, dbt, Spark and others tell of their runs, as events.

```text
RunEvent.eventType   event             openlineage.run.start, .running, .complete, .abort, .fail, .other
job                  resource          <namespace>/<name>, with labels openlineage.*
run, parent, root    related           roles run, parent, root
inputs, outputs      related           roles input, output: <namespace>/<name>
owners               related           role owner
all of it            payload           without the facets where these are too large or too deep
```

A DatasetEvent reads as `openlineage.dataset`, a JobEvent as `openlineage.job`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event

# Any, in this file: a RunEvent's own JSON; facets are anybody's.

STATES: Final = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")


Labels = dict[str, str]


def from_document(document: Any, now: datetime) -> Event:
    """The event that an OpenLineage event (parsed JSON) tells of; sent again it has the same id. Raises `BadEvent`."""
    if not isinstance(document, dict):
        raise BadEvent("an OpenLineage event is a JSON object")
    name, resource = _subject(document)
    related = list(_related(document))[: codec.MAX_RELATED]
    occurred = _instant(_text(document, "eventTime"))
    told = [document.get("eventTime"), name, resource[RESOURCE_ID], resource.get("openlineage.run.id", "")]
    event = Event(
        id=derive("openlineage", *told), event=name, occurred=occurred, resource=resource, related=related, payload={}
    )
    return _with_payload(event, document, now)


def _with_payload(event: Event, document: dict[str, Any], now: datetime) -> Event:
    """The event with all of the document as payload, or without its facets: a Spark plan may be too large, too deep."""
    admitted = codec.admit(event, now)
    whole = msgspec.structs.replace(admitted, payload=document)
    try:
        codec.encode(whole)
    except BadEvent:
        whole = msgspec.structs.replace(admitted, payload=_without_facets(document))
        codec.encode(whole)
    return whole


def _without_facets(value: Any) -> Any:
    """The value without members that hold facets; nothing below them is looked at."""
    match value:
        case dict():
            return {name: _without_facets(item) for name, item in value.items() if not name.lower().endswith("facets")}
        case list():
            return [_without_facets(item) for item in value]
    return value


def _subject(document: dict[str, Any]) -> tuple[str, Labels]:
    """The name of the event, and the labels of the job (or dataset) that it is about."""
    match document:
        case {"eventType": str(kind), "run": {"runId": str(run)}, "job": dict(job)}:
            if kind.upper() not in STATES:
                raise BadEvent(f"eventType {kind[:80]!r}; OpenLineage has {', '.join(STATES)}")
            state = {"openlineage.run.id": run, "openlineage.run.state": kind.upper()}
            return f"openlineage.run.{kind.lower()}", _job(job) | state | _producer(document)
        case {"run": {"runId": str(run)}, "job": dict(job)}:  # eventType is optional; the specification's OTHER
            state = {"openlineage.run.id": run, "openlineage.run.state": "OTHER"}
            return "openlineage.run.other", _job(job) | state | _producer(document)
        case {"job": dict(job)} if "run" not in document:
            return "openlineage.job", _job(job) | _producer(document)
        case {"dataset": dict(dataset)}:
            return "openlineage.dataset", _named("dataset", dataset) | _producer(document)
    raise BadEvent("neither a RunEvent (run.runId, job) nor a JobEvent (job) nor a DatasetEvent (dataset)")


def _job(job: dict[str, Any]) -> Labels:
    labels = _named("job", job)
    match job:
        case {"facets": {"jobType": dict(kind)}}:
            for label, member in (
                ("integration", "integration"),
                ("type", "jobType"),
                ("processing", "processingType"),
            ):
                if isinstance(kind.get(member), str):
                    labels[f"openlineage.job.{label}"] = kind[member]
    return labels


def _named(what: str, found: dict[str, Any]) -> Labels:
    namespace, name = _text(found, "namespace"), _text(found, "name")
    return {
        RESOURCE_ID: _identity(namespace, name),
        RESOURCE_NAME: name,
        f"openlineage.{what}.namespace": namespace,
        f"openlineage.{what}.name": name,
    }


def _identity(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name.lstrip('/')}"


def _producer(document: dict[str, Any]) -> Labels:
    producer = document.get("producer")
    return {"openlineage.producer": producer} if isinstance(producer, str) else {}


def _related(document: dict[str, Any]) -> Iterator[Labels]:
    """Those concerned: the run, who started it, owners, then what it wrote and read."""
    match document:
        case {"run": {"runId": str(run)}}:
            yield {RESOURCE_ID: f"openlineage.run.{run}", RESOURCE_ROLE: "run"}
    match document:
        case {"run": {"facets": {"parent": dict(parent)}}}:
            yield from _starter("parent", parent)
            if isinstance(root := parent.get("root"), dict):
                yield from _starter("root", root)
    match document:
        case {"job": {"facets": {"ownership": {"owners": list(owners)}}}}:
            names = [owner.get("name") for owner in owners if isinstance(owner, dict)]
            yield from ({RESOURCE_ID: name, RESOURCE_ROLE: "owner"} for name in names if isinstance(name, str) and name)
    for role, member in (("output", "outputs"), ("input", "inputs")):
        for dataset in document.get(member) or []:
            yield _dataset(role, dataset)


def _starter(role: str, found: dict[str, Any]) -> Iterator[Labels]:
    match found:
        case {"job": {"namespace": str(namespace), "name": str(name)}}:
            labels = {RESOURCE_ID: _identity(namespace, name), RESOURCE_ROLE: role, RESOURCE_NAME: name}
            match found:
                case {"run": {"runId": str(run)}}:
                    labels["openlineage.run.id"] = run
            yield labels


def _dataset(role: str, dataset: Any) -> Labels:
    if not isinstance(dataset, dict):
        raise BadEvent(f"{role}s: a dataset is an object with namespace and name")
    return {**_named("dataset", dataset), RESOURCE_ROLE: role}


def _text(found: dict[str, Any], member: str) -> str:
    value = found.get(member)
    if not isinstance(value, str) or not value:
        raise BadEvent(f"OpenLineage: {member} is missing or no text")
    return value


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BadEvent(f"eventTime {text[:80]!r} is no time in ISO 8601") from error
