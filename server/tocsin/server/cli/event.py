"""`tocsin event`: emit, list and follow events; over HTTP when TOCSIN_API_URL is set, else on the database."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter

from tocsin.events.errors import Invalid
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.server.cli.out import Limit, Output, print_json, show_one, show_rows
from tocsin.server.settings import Settings, load, share

app = App(name="event", help="Emit, follow and list events.")

Name = Annotated[str | None, Parameter(help="Event name, or a prefix ending in `*`.")]
Resource = Annotated[str | None, Parameter(help="Resource id, or a prefix ending in `*`.")]
Related = Annotated[str | None, Parameter(help="Id of a related resource, or a prefix ending in `*`.")]

# Without `negative`, the help offers an `--empty-…` for each.
Repeated = Annotated[list[str] | None, Parameter(negative=())]


@app.command
def emit(
    name: Annotated[str, Parameter(help="Dotted name; those under `tocsin` are its own.")],
    resource: Annotated[str, Parameter(help="Id of the resource it happened to.")],
    /,
    *,
    label: Annotated[Repeated, Parameter(help="Label of the resource, `key=value`; repeat it.")] = None,
    related: Annotated[Repeated, Parameter(help="Related resource, `role=id`; repeat it.")] = None,
    payload: Annotated[str | None, Parameter(help="A JSON object.")] = None,
    occurred: Annotated[datetime | None, Parameter(help="With a zone; default: now.")] = None,
    event_id: Annotated[UUID | None, Parameter(name="--id", help="Makes a repeat harmless.")] = None,
    output: Output = "table",
) -> None:
    """Emit one event; it is kept when this returns."""
    from tocsin.events.emit import emit_event

    _prepare()
    event = emit_event(
        name,
        {RESOURCE_ID: resource, **dict(_pair("--label", text) for text in label or [])},
        [{RESOURCE_ID: other, RESOURCE_ROLE: role} for role, other in (_pair("--related", t) for t in related or [])],
        _payload(payload),
        occurred=occurred,
        event_id=event_id,
    )
    show_one(_row(event), output)


@app.command
def ls(
    *,
    name: Name = None,
    resource: Resource = None,
    related: Related = None,
    since: Annotated[datetime | None, Parameter(help="Occurred at or after; with a zone.")] = None,
    until: Annotated[datetime | None, Parameter(help="Occurred before; with a zone.")] = None,
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List events, newest first."""
    from tocsin.server.cli import reading
    from tocsin.server.history import Filter

    settings = _prepare()
    wanted = Filter(name, resource, related, since, until)
    found = reading.search(settings, wanted, limit)
    rows = [_row(event) if output == "json" else {**_row(event), "resource": event.resource_id} for event in found]
    show_rows(rows, output, ("occurred", "event", "resource", "id"), "no events; emit one with `tocsin event emit`")


@app.command
def tail(
    *,
    name: Name = None,
    resource: Resource = None,
    related: Related = None,
    count: Annotated[int | None, Parameter(name=["--count", "-n"], help="End after so many.")] = None,
    output: Output = "table",
) -> None:
    """Follow events as they happen, from now on, until interrupted. With `-o json` one object a line."""
    from tocsin.server.cli import reading
    from tocsin.server.history import Filter

    settings = _prepare()
    for event in _first(reading.follow(settings, Filter(name, resource, related)), count):
        if output == "json":
            print_json(_row(event))
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


def _row(event: Event) -> dict[str, Any]:  # Any: members of JSON
    import msgspec

    return {**msgspec.structs.asdict(event), "resource": event.resource, "id": str(event.id)}


def _payload(text: str | None) -> dict[str, Any] | None:  # Any: members of JSON
    from tocsin.events.codec import strict_json

    if text is None:
        return None
    payload = strict_json(text)
    if not isinstance(payload, dict):
        raise Invalid(f"--payload {text[:80]!r}: give a JSON object, such as '{{\"rows\": 3}}'")
    return payload


def _pair(option: str, text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise Invalid(f"{option} {text[:80]!r}: give it as key=value")
    return key, value
