"""What the API and the command line show of incidents and deliveries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import field_validator

from tocsin.notifiers.coming import Coming
from tocsin.notifiers.explained import Alerted
from tocsin.notifiers.knows import Knows, Tried
from tocsin.notifiers.timeline import Happening
from tocsin.server.views import View


class IncidentView(View):
    """One episode of trouble: from its first alert to the end. `firing` counts its alerts that fire.

    `grouped` are the labels that its alerts share by its route; `suppressed` says why nothing is said of it, `due` when
    something follows although nothing comes, `closed_by` who resolved it by hand.
    """

    id: UUID
    key: str
    episode: int
    route: str
    grouped: dict[str, str]
    state: str
    severity: str
    subject: str
    labels: dict[str, str]
    firing: int
    revision: int
    level: int
    flapping: bool
    acked_by: str
    ack_until: datetime | None
    suppressed: str | None
    due: datetime | None
    event_id: UUID
    opened: datetime
    updated: datetime
    resolved: datetime | None
    resolved_by: UUID | None
    closed_by: str


class IncidentDetail(IncidentView):
    """An incident with what happened to it, oldest first, and what comes next.

    `alerts` are the newest, `counts` how many there are of each status; `people` says what each receiver knows.
    """

    answer: str
    alerts: list[Alerted]
    counts: dict[str, int]
    people: list[Knows]
    timeline: list[Happening]
    next: list[Coming]
    notes: list[str]


class DeliveryView(View):
    """What one receiver must learn, and how far that has come."""

    id: UUID
    incident_id: UUID
    receiver: str
    revision: int
    action: str
    state: str
    due: datetime
    tries: int
    minimal: bool
    maybe_told: bool
    reason: str | None
    since: datetime
    updated: datetime


class DeliveryDetail(DeliveryView):
    """A delivery with its attempts, oldest first, and what was or will be shown (`view`).

    `handle` is what the channel gave back to find the message again.
    """

    subject: str
    attempts: list[Tried]
    handle: dict[str, Any] | None  # Any: the channel's own JSON
    view: dict[str, Any]  # Any: a View as JSON

    @field_validator("view", mode="before")
    @classmethod
    def _plain(cls, view: Mapping[str, Any]) -> dict[str, Any]:  # Any: as above
        return dict(view)


class RedrivenView(View):
    """What became of a dead delivery: `put` is what its receiver will be told now, null when nothing is owed."""

    delivery: UUID
    incident: UUID
    receiver: str
    put: str | None
    why: str
