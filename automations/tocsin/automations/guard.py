"""The loop guard: how long a chain of automations may grow, who may stand in it, how often one may fire.

Each event that an automation causes, by its runs too, carries the names of the automations that led to it in
`tocsin.chain.path`, and how many they are in `tocsin.chain.depth`. At the cap, and when an automation is about to act
on what it caused itself, the actions are refused, and that is an event; what is caused by the refusal fires nothing at
all at the cap, and never the refused one again.

    x ──▶ a ──▶ run etl ──▶ failed ──▶ b ──▶ emits y ──▶ a        refused: a → b → a
"""

from typing import Final

from tocsin.events.model import Event

MAX_DEPTH: Final = 8


def refusal(automation: str, event: Event | None) -> str | None:
    """Why `automation` may do nothing because of `event`, or None. Nothing is known against a deadline without one."""
    if event is None:
        return None
    if automation in event.chain:
        path = " → ".join((*event.chain[event.chain.index(automation) :], automation))
        return (
            f"loop guard: automation {automation} would act on what it caused itself: {path}; a retry that ends is "
            "retry-flow-run, it has a budget"
        )
    return exhausted(event)


def exhausted(event: Event | None) -> str | None:
    """Why nobody may do anything because of `event`, or None: it stands at the end of too long a chain."""
    if event is None or event.depth < MAX_DEPTH:
        return None
    return (
        f"loop guard: this event stands at the end of a chain of {event.depth} automations; the longest is {MAX_DEPTH}"
    )


def unheard(event: Event, automation: str = "") -> bool:
    """Whether `event` tells of a refusal, so that it may not fire anything, or not fire `automation`."""
    return event.depth > MAX_DEPTH or event.chain.count(automation) > 1


def over_rate(count_in_last_minute: int, automation: str, limit: int | None) -> str | None:
    """Why `automation` is switched off, after so many firings within a minute; None while it may go on."""
    if limit is None or count_in_last_minute <= limit:
        return None
    return (
        f"loop guard: automation {automation} fired {count_in_last_minute} times within a minute, at most {limit} are "
        f"allowed; it is switched off until `tocsin automation enable {automation}`"
    )
