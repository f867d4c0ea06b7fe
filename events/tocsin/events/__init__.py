"""What happened, and how it travels."""

from tocsin.events.emit import emit_event, emit_event_async
from tocsin.events.errors import BadEvent, Conflict, Invalid, NotFound, TocsinError, Unavailable
from tocsin.events.model import Event

__all__ = [
    "BadEvent",
    "Conflict",
    "Event",
    "Invalid",
    "NotFound",
    "TocsinError",
    "Unavailable",
    "emit_event",
    "emit_event_async",
]
