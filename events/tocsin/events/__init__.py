"""What happened, and how it travels."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
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

__getattr__ = exports(
    __name__,
    {
        "BadEvent": "errors",
        "Conflict": "errors",
        "Event": "model",
        "Invalid": "errors",
        "NotFound": "errors",
        "TocsinError": "errors",
        "Unavailable": "errors",
        "emit_event": "emit",
        "emit_event_async": "emit",
    },
)
