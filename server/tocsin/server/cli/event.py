"""`tocsin event`: emit, list and follow events; over HTTP when TOCSIN_API_URL is set, else on the database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from cyclopts import App, CycloptsError, Parameter

from tocsin.events.errors import Invalid
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.server.cli.out import Limit, Output, print_json, show_one, show_rows
from tocsin.server.cli.payloads import event_row, json_object, write_batch, write_one
from tocsin.server.settings import Settings, load, share

app = App(name="event", help="Emit, follow and list events.")

Name = Annotated[str | None, Parameter(help="Event name, or a prefix ending in `*`.")]
Resource = Annotated[str | None, Parameter(help="Resource id, or a prefix ending in `*`.")]
Related = Annotated[str | None, Parameter(help="Id of a related resource, or a prefix ending in `*`.")]

# Without `negative`, the help offers an `--empty-…` for each.
Repeated = Annotated[list[str] | None, Parameter(negative=())]


@app.command
def emit(
    name: Annotated[str | None, Parameter(help="Dotted name; those under `tocsin` are its own.")] = None,
    resource: Annotated[str | None, Parameter(help="Id of the resource it happened to.")] = None,
    /,
    *,
    label: Annotated[Repeated, Parameter(help="Label of the resource, `key=value`; repeat it.")] = None,
    related: Annotated[Repeated, Parameter(help="Related resource, `role=id`; repeat it.")] = None,
    payload: Annotated[str | None, Parameter(help="A JSON object, @FILE, or -.", allow_leading_hyphen=True)] = None,
    occurred: Annotated[datetime | None, Parameter(help="With a zone; default: now.")] = None,
    follows: Annotated[UUID | None, Parameter(help="Id of the event that caused this one.")] = None,
    event_id: Annotated[UUID | None, Parameter(name="--id", help="Makes a repeat harmless.")] = None,
    cloudevent: Annotated[
        str | None, Parameter(help="Instead of all this: a CloudEvent in JSON, @FILE, or -.", allow_leading_hyphen=True)
    ] = None,
    output: Output = "table",
) -> None:
    """Emit one event; it is kept when this returns."""
    _prepare()
    if cloudevent is not None:
        given = (name, resource, label, related, payload, occurred, follows, event_id)
        if any(value is not None for value in given):
            raise _usage("--cloudevent says everything of the event; leave out the rest")
        show_one(event_row(_emit_cloudevent(cloudevent)), output)
        return
    if name is None or resource is None:
        raise _usage("give NAME and RESOURCE, such as `orders.repaired orders`, or --cloudevent")
    from tocsin.events.emit import emit_event

    event = emit_event(
        name,
        {RESOURCE_ID: resource, **dict(_pair("--label", text) for text in label or [])},
        [{RESOURCE_ID: other, RESOURCE_ROLE: role} for role, other in (_pair("--related", t) for t in related or [])],
        json_object("--payload", payload) if payload is not None else None,
        occurred=occurred,
        follows=follows,
        event_id=event_id,
    )
    show_one(event_row(event), output)


@app.command
def ls(
    *,
    name: Name = None,
    resource: Resource = None,
    related: Related = None,
    since: Annotated[datetime | None, Parameter(help="Occurred at or after; with a zone.")] = None,
    until: Annotated[datetime | None, Parameter(help="Occurred before; with a zone.")] = None,
    limit: Limit = 50,
    output: Annotated[
        Literal["table", "json", "cloudevents"],
        Parameter(name=["--output", "-o"], help="A table, or JSON for programs: our own, or a batch of CloudEvents."),
    ] = "table",
) -> None:
    """List events, newest first."""
    from tocsin.server.cli import reading
    from tocsin.server.history import Filter

    settings = _prepare()
    wanted = Filter(name, resource, related, since, until)
    found = reading.search(settings, wanted, limit)
    if output == "cloudevents":
        write_batch(found, settings.cloudevents_source)
        return
    rows = [
        event_row(event) if output == "json" else {**event_row(event), "resource": event.resource_id} for event in found
    ]
    show_rows(rows, output, ("occurred", "event", "resource", "id"), "no events; emit one with `tocsin event emit`")


@app.command
def tail(
    *,
    name: Name = None,
    resource: Resource = None,
    related: Related = None,
    count: Annotated[int | None, Parameter(name=["--count", "-n"], help="End after so many.")] = None,
    output: Annotated[
        Literal["table", "json", "jsonl", "cloudevents"],
        Parameter(name=["--output", "-o"], help="A line for people, or one of JSON: our own, or a CloudEvent."),
    ] = "table",
) -> None:
    """Follow events as they happen, from now on, until interrupted. With `-o jsonl` one object a line."""
    from tocsin.server.cli import reading
    from tocsin.server.history import Filter

    settings = _prepare()
    for event in _first(reading.follow(settings, Filter(name, resource, related)), count):
        if output == "cloudevents":
            write_one(event, settings.cloudevents_source)
        elif output != "table":
            print_json(event_row(event))
        else:
            print(f"{event.occurred:%Y-%m-%d %H:%M:%S}Z  {event.event}  {event.resource_id}", flush=True)


def _prepare() -> Settings:
    settings = load()
    share(settings)
    return settings


def _first(events: Iterator[Event], count: int | None) -> Iterator[Event]:
    for number, event in enumerate(events, start=1):
        yield event
        if number == count:
            return


def _usage(reason: str) -> CycloptsError:
    return CycloptsError(msg=reason, command_chain=("event", "emit"))


def _emit_cloudevent(given: str) -> Event:
    from tocsin.events import cloudevents
    from tocsin.events.emit import emitter

    event = cloudevents.from_document(json_object("--cloudevent", given), datetime.now(UTC))
    emitter().emit([event])
    return event


def _pair(option: str, text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise Invalid(f"{option} {text[:80]!r}: give it as key=value")
    return key, value
