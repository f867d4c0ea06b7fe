"""What ends what an automation fired for: the trigger that `resolve_on` names, or the opposite of its own.

trigger                                     its opposite
Reactive    too many within a while    ──▶  Proactive   fewer than that, within the same while
Proactive   too few within a while     ──▶  Reactive    one of those that were missed
"""

from datetime import timedelta
from typing import Final

from tocsin.triggers.event import EventTrigger
from tocsin.triggers.kinds import Trigger

_NONE: Final = timedelta(0)


def opposite(trigger: Trigger) -> EventTrigger:
    """The event trigger of the other posture about the same events and keys. Raises ValueError where there is none."""
    if not isinstance(trigger, EventTrigger):
        raise ValueError("only an event trigger has an opposite; name the trigger that ends it")
    if trigger.posture == "Proactive":
        return _other(trigger, posture="Reactive", threshold=1, within=_NONE, after=(), grace=None)
    if trigger.after or not trigger.within:
        raise ValueError("its opposite is that these events stay away for `within`: give within, leave after out")
    return _other(trigger, posture="Proactive", grace=trigger.grace or _NONE)


def checked(ending: EventTrigger) -> EventTrigger:
    """The same trigger. Raises ValueError for one that could not end an episode."""
    if ending.after or ending.cooldown or ending.window == "tumbling":
        raise ValueError("one wait ends it: leave after, cooldown and window tumbling out")
    return ending


def closer(ending: EventTrigger) -> EventTrigger | None:
    """The trigger that an open episode remembers about its end, under the episode's own key; None: nothing."""
    return None if ending.stateless else ending.model_copy(update={"for_each": ()})


def _other(trigger: EventTrigger, **fields: object) -> EventTrigger:
    return trigger.model_copy(update={**fields, "cooldown": _NONE, "window": "sliding"})
