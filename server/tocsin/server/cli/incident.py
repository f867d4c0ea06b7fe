"""`tocsin incident`: what is wrong, what was done about it, and why somebody was told of it, or was not."""

import getpass
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.spans import read_span
from tocsin.server import oncall, oncall_acts, oncall_explain
from tocsin.server.cli import oncall_lines
from tocsin.server.cli.opening import opened
from tocsin.server.cli.out import Limit, Output, plain, print_json, show_one, show_rows
from tocsin.server.oncall import State
from tocsin.server.oncall_explain import Paged
from tocsin.server.routing import labels_in

app = App(name="incident", help="Show, acknowledge, resolve, silence, explain incidents.")

Incident = Annotated[str, Parameter(help="Id of an incident, or its first letters.")]
By = Annotated[str | None, Parameter(help="Who (default: you).")]
_COLUMNS = ("id", "opened", "state", "severity", "subject", "firing", "route", "acked_by", "suppressed")
_NOTHING = "no incidents"


@app.command
def ls(
    *,
    state: Annotated[State | None, Parameter(help="Only those; `live`: not over yet.")] = None,
    route: Annotated[
        str | None, Parameter(help="Only those by this route, or a child of it: oncall, oncall/db.")
    ] = None,
    label: Annotated[tuple[str, ...], Parameter(help="Only those with such an alert: team=db. May be repeated.")] = (),
    limit: Limit = 50,
    output: Output = "table",
) -> None:
    """List incidents, the latest opened first."""
    labels = labels_in(label)
    with opened() as store, store.read() as session:
        rows = oncall.incidents(session, state=state, route=route, labels=labels, limit=limit)
    show_rows(rows, output, _COLUMNS, _NOTHING, short={"id"}, limit=limit)


@app.command
def show(
    incident: Incident,
    /,
    *,
    alerts: Annotated[int, Parameter(help="So many alerts, the newest.")] = oncall.ALERTS,
    output: Output = "table",
) -> None:
    """Show an incident: its alerts, who knows of it, what happened, what comes next and when."""
    with opened() as store, store.read() as session:
        found = oncall.incident(session, oncall.incident_named(session, incident), datetime.now(UTC), alerts)
    if output == "json":
        print_json(found.model_dump())
        return
    for line in oncall_lines.of_incident(found):
        print(plain(line))


@app.command
def ack(
    *incidents: Incident,
    span: Annotated[
        str | None, Parameter(name="--for", help="For how long: 30m, 2h (default: until it is over).")
    ] = None,
    by: By = None,
    output: Output = "table",
) -> None:
    """Say that somebody is at it: nobody else is called, and it is not told again.

    Everybody who was told hears of it.
    """
    now = datetime.now(UTC)
    until = now + _span(span) if span is not None else None
    _do(incidents, Acknowledge(_who(by), until=until), now, output)


@app.command
def unack(*incidents: Incident, by: By = None, output: Output = "table") -> None:
    """Say that nobody is at it any more: escalation goes on."""
    _do(incidents, Unacknowledge(_who(by)), datetime.now(UTC), output)


@app.command
def resolve(*incidents: Incident, by: By = None, output: Output = "table") -> None:
    """Say that it is over. Whoever was told is told so; the same thing opens it anew only when it begins anew."""
    _do(incidents, Resolve(_who(by)), datetime.now(UTC), output)


@app.command
def silence(
    incident: Incident,
    /,
    *,
    span: Annotated[str, Parameter(name="--for", help="How long: 30m, 2h, 1d12h.")],
    comment: Annotated[str, Parameter(help="Why.")] = "",
    by: By = None,
    output: Output = "table",
) -> None:
    """Say nothing more of an incident's group for a while. Whoever was told still hears of the end."""
    now, act = datetime.now(UTC), Silence(_who(by), _span(span), comment=comment)
    with opened() as store, store.begin() as session:
        made = oncall_acts.silence(session, oncall.incident_named(session, incident), act, now)
    show_one(made, output)


@app.command
def explain(
    incident: Annotated[str | None, Parameter(help="Id of an incident, or its first letters.")] = None,
    /,
    *,
    event: Annotated[
        UUID | None, Parameter(help="What became of this event; `tocsin event ls` lists the newest.")
    ] = None,
    alert: Annotated[
        str | None, Parameter(help="The newest incidents with an alert of these labels: 'team=\"db\"'.")
    ] = None,
    output: Output = "table",
) -> None:
    """Say why somebody was told, or was not: firings, route, suppression, deliveries, attempts, what comes next."""
    look = _question(incident, event, alert)
    with opened() as store, store.read() as session:
        found = look(session, datetime.now(UTC))
    if output == "json":
        print_json(found)
        return
    for line in oncall_lines.of_explanation(found):
        print(plain(line))


def _question(incident: str | None, event: UUID | None, alert: str | None) -> Callable[[Session, datetime], Paged]:
    if sum(one is not None for one in (incident, event, alert)) != 1:
        raise Invalid("explain what? Give the id of an incident, --event with one of an event, or --alert with labels")
    if event is not None:
        return lambda session, now: oncall_explain.of_event(session, event, now)
    if alert is not None:
        return lambda session, now: oncall_explain.of_alerts(session, read_matchers(alert), now)
    return lambda session, now: oncall_explain.of_incident(session, oncall.incident_named(session, incident or ""), now)


def _do(incidents: tuple[str, ...], act: Act, now: datetime, output: Output) -> None:
    if not incidents:
        raise Invalid("which incident? `tocsin incident ls --state live` lists them")
    with opened() as store, store.begin() as session:
        wanted = [oncall.incident_named(session, one) for one in incidents]
        rows = [oncall_acts.do(session, one, act, now) for one in sorted(set(wanted))]
    show_rows(rows, output, _COLUMNS, _NOTHING, short={"id"})


def _who(by: str | None) -> str:
    return getpass.getuser() if by is None else by


def _span(text: str) -> timedelta:
    try:
        return read_span(text)
    except ValueError as error:
        raise Invalid(f"--for {text}: {error}") from error
