"""Incidents over HTTP: list, show, explain, and what people do about them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from tocsin.events.errors import Invalid
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.spans import Span
from tocsin.server import oncall, oncall_acts, oncall_explain, reads
from tocsin.server.api.state import Here
from tocsin.server.oncall import State
from tocsin.server.oncall_explain import Paged
from tocsin.server.oncall_views import IncidentDetail, IncidentView
from tocsin.server.routing import SilenceView, aware, labels_in

router = APIRouter(prefix="/api/incidents", tags=["incidents"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]
Alerts = Annotated[int, Query(ge=0, le=reads.MOST, description="So many of its alerts, the newest.")]


class Person(BaseModel):
    """Who does it."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=200)] = "somebody"


class AckRequest(Person):
    """Somebody is at it: `until` a time, or `for` so long (seconds, text such as `2h`); neither: until it is over."""

    until: datetime | None = None
    span: Span | None = Field(default=None, alias="for")


class SilenceRequest(Person):
    """Nothing is said of its group `for` so long (seconds, or text such as `2h`)."""

    span: Annotated[Span, Field(alias="for")]
    comment: str = ""


@router.get("", summary="List incidents, the latest opened first")
async def list_incidents(
    here: Here,
    state: Annotated[State | None, Query(description="Only those; `live`: not over yet.")] = None,
    route: Annotated[str | None, Query(description="Only those by this route, or a child of it.")] = None,
    label: Annotated[
        list[str] | None, Query(description="Only those with such an alert: `name=value`; repeatable.")
    ] = None,
    limit: Limit = 50,
) -> list[IncidentView]:
    """Incidents, the latest opened first."""
    labels = labels_in(label or [])
    return await here.store.look(
        lambda session: oncall.incidents(session, state=state, route=route, labels=labels, limit=limit)
    )


@router.get("/explain", summary="Say who was told of an event, or of alerts, and why")
async def explain(
    here: Here,
    event: Annotated[UUID | None, Query(description="The event's id.")] = None,
    alert: Annotated[
        str | None, Query(description='Matchers: the newest incidents with such an alert; `team="db"`.')
    ] = None,
) -> Paged:
    """From the event through firings, route and suppression to the attempts, and what comes next."""
    now = here.clock.now()
    if (event is None) == (alert is None):
        raise Invalid("explain what? Give `event` with the id of one, or `alert` with matchers")
    if event is not None:
        return await here.store.look(lambda session: oncall_explain.of_event(session, event, now))
    matchers = read_matchers(alert or "")
    return await here.store.look(lambda session: oncall_explain.of_alerts(session, matchers, now))


@router.get("/{incident}", summary="Show an incident: what happened to it, and what comes next")
async def get_incident(here: Here, incident: UUID, alerts: Alerts = oncall.ALERTS) -> IncidentDetail:
    """One incident with its newest alerts, who knows of it, its story, and what follows when."""
    now = here.clock.now()
    return await here.store.look(lambda session: oncall.incident(session, incident, now, alerts))


@router.get("/{incident}/explain", summary="Say who was told of an incident, and why")
async def explain_incident(here: Here, incident: UUID) -> Paged:
    """The route taken with the values its matchers saw, suppression, deliveries, attempts, and what comes next."""
    now = here.clock.now()
    return await here.store.look(lambda session: oncall_explain.of_incident(session, incident, now))


@router.post("/{incident}/acknowledge", summary="Say that somebody is at it")
async def acknowledge(here: Here, incident: UUID, wanted: AckRequest | None = None) -> IncidentView:
    """Nobody else is called, and it is not told again. 409 when it is over."""
    wanted, now = wanted or AckRequest(), here.clock.now()
    if wanted.until is not None and wanted.span is not None:
        raise Invalid("until and for say the same; leave one of them out")
    until = now + wanted.span if wanted.span is not None else aware(wanted.until, "until")
    return await _do(here, incident, Acknowledge(wanted.by, until=until))


@router.post("/{incident}/unacknowledge", summary="Say that nobody is at it any more")
async def unacknowledge(here: Here, incident: UUID, wanted: Person | None = None) -> IncidentView:
    """Escalation goes on. 409 when it is over."""
    return await _do(here, incident, Unacknowledge((wanted or Person()).by))


@router.post("/{incident}/resolve", summary="Say that it is over")
async def resolve(here: Here, incident: UUID, wanted: Person | None = None) -> IncidentView:
    """Whoever was told is told so."""
    return await _do(here, incident, Resolve((wanted or Person()).by))


@router.post("/{incident}/silence", summary="Say nothing more of its group for a while")
async def silence(here: Here, incident: UUID, wanted: SilenceRequest) -> SilenceView:
    """The silence. Whoever was told still hears of the end. 409 when it is over."""
    now, act = here.clock.now(), Silence(wanted.by, wanted.span, comment=wanted.comment)
    return await here.store.run(lambda session: oncall_acts.silence(session, incident, act, now))


async def _do(here: Here, incident: UUID, act: Act) -> IncidentView:
    now = here.clock.now()
    return await here.store.run(lambda session: oncall_acts.do(session, incident, act, now))
