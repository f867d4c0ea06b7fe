"""The witness: what is remembered of an event for the day when something that should follow does not."""

import msgspec

from tocsin.events.model import Event

RELATED_BYTES = 4_096
"""Related resources that take more (as JSON) are left out of a witness."""


def witness(event: Event) -> Event:
    """`event` without its payload, and without its related resources where they are large: it is kept in a state."""
    related = event.related if len(msgspec.json.encode(event.related)) <= RELATED_BYTES else []
    return Event(
        id=event.id,
        event=event.event,
        occurred=event.occurred,
        resource=event.resource,
        related=related,
        follows=event.follows,
    )
