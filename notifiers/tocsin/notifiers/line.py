"""A line: one alert of one incident, as a value."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tocsin.notifiers.view import Severity

Status = Literal["firing", "resolved", "closed", "news"]


class Line(msgspec.Struct, frozen=True):
    """One alert of one incident: the columns of an `AlertRow` as a value, in their order."""

    incident_id: UUID
    fingerprint: UUID
    identity: str
    source: str
    status: Status
    severity: Severity
    subject: str
    body: str
    labels: dict[str, str]
    items: tuple[str, ...]
    total: int
    words: dict[str, tuple[UUID, str, str]]
    event_id: UUID
    ended_by: UUID | None
    starts: datetime
    fired: datetime
    ends: datetime | None


Place = tuple[UUID, UUID]
"""Incident and fingerprint."""
