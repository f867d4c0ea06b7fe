"""An event trigger's step, whichever machine it is: by its posture, its window, and whether it waits `after` something.

    Reactive    sliding.py     after.py with `after`       tumbling.py with window "tumbling"
    Proactive   silence.py     absence.py with `after`     tumbling.py with window "tumbling"

A state that another machine made, for another definition, is as good as none.
"""

from tocsin.triggers import absence, after, silence, sliding, tumbling
from tocsin.triggers.absence import AbsenceState
from tocsin.triggers.after import AfterState
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.silence import SilenceState
from tocsin.triggers.sliding import SlidingState
from tocsin.triggers.steps import Micros, Moment, Step
from tocsin.triggers.tumbling import TumblingState

EventState = SlidingState | AfterState | TumblingState | AbsenceState | SilenceState
"""What an event trigger remembers under one key; as JSON told apart by `kind`."""


def advance(trigger: EventTrigger, state: object | None, moment: Moment) -> Step[EventState]:
    """Where `moment`, with the hits `EXPECTED` and `BEGINS`, leads. State None: nothing is remembered."""
    if trigger.stateless:
        return sliding.advance(trigger, None, moment)
    if trigger.window == "tumbling":
        return tumbling.advance(trigger, state if isinstance(state, TumblingState) else None, moment)
    if trigger.posture == "Reactive":
        if trigger.after:
            return after.advance(trigger, state if isinstance(state, AfterState) else None, moment)
        return sliding.advance(trigger, state if isinstance(state, SlidingState) else None, moment)
    if trigger.after:
        return absence.advance(trigger, state if isinstance(state, AbsenceState) else None, moment)
    return silence.advance(trigger, state if isinstance(state, SilenceState) else None, moment)


def due(trigger: EventTrigger, state: object | None) -> Micros | None:
    """When it must next be told the time: a deadline, or something to forget. None: never, until an event comes."""
    match state:
        case SlidingState():
            return sliding.due(trigger, state)
        case AfterState():
            return after.due(trigger, state)
        case TumblingState():
            return tumbling.due(trigger, state)
        case AbsenceState():
            return absence.due(trigger, state)
        case SilenceState():
            return silence.due(trigger, state)
        case _:
            return None
