"""The loop guard: how long a chain of automations may grow.

Each event that an automation causes, by its runs too, carries one more than its cause in `tocsin.chain.depth`. At the
cap the actions are refused, and that is an event; what is caused by the refusal fires nothing at all.
"""

from typing import Final

from tocsin.events.model import Event

MAX_DEPTH: Final = 8


def refusal(event: Event) -> str | None:
    """Why nothing may be done because of `event`, or None."""
    if event.depth < MAX_DEPTH:
        return None
    return (
        f"loop guard: this event stands at the end of a chain of {event.depth} automations; the longest is {MAX_DEPTH}"
    )


def unheard(event: Event) -> bool:
    """Whether `event` tells of a refusal, so that it may not fire anything."""
    return event.depth > MAX_DEPTH
