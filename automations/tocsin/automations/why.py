"""Why an automation fired on an event, or did not, in words for people. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

from tocsin.automations.evaluate import Decided
from tocsin.automations.model import Automation
from tocsin.events.clock import Micros, instant
from tocsin.events.model import Event
from tocsin.triggers.checks import Check, checks
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.kinds import CompoundTrigger, SequenceTrigger, Trigger
from tocsin.triggers.metric import MetricTrigger
from tocsin.triggers.steps import Verdict

OFF: Final = "it is switched off"

_SAID: Final = {
    "fired": "it fires",
    "resolved": "it is over",
    "opened": "it begins to wait",
    "satisfied": "what it expected came in time",
    "held": "kept for a window that may open",
    "repeated": "it counted before",
    "late": "too late to count",
    "cooldown": "silent after a firing",
    "deaf": "its window has fired and is deaf to its end",
    "unopened": "no `after` event came first",
    "lapsed": "its window ended",
    "steady": "that changes nothing",
    "unheard": "the loop guard lets nobody hear it",
    "error": "an expression failed",
}


@dataclass(frozen=True)
class Condition:
    """What one trigger asks of an event, each check with the values it saw. `trigger` is its path in the document."""

    trigger: str
    matched: bool
    checks: tuple[Check, ...]


def conditions(automation: Automation, event: Event) -> list[Condition]:
    """Every event and metric trigger of the automation, that of `resolve_on` last, held against `event`."""
    found = [_condition(path, leaf, event) for path, leaf in leaves(automation.trigger, "trigger")]
    if automation.ending is not None:
        found.append(_condition("resolve_on", automation.ending, event))
    return found


def leaves(trigger: Trigger, path: str) -> Iterator[tuple[str, EventTrigger | MetricTrigger]]:
    """The event and metric triggers that one is made of, depth first, each with its path."""
    match trigger:
        case EventTrigger() | MetricTrigger():
            yield path, trigger
        case CompoundTrigger() | SequenceTrigger():
            for place, child in enumerate(trigger.triggers):
                yield from leaves(child, f"{path}.triggers.{place}")
        case _ as never:
            assert_never(never)


def reach(trigger: Trigger) -> timedelta:
    """How far back an event may lie and still bear on what happens now; without a bound of its own, a day."""
    match trigger:
        case EventTrigger():
            return trigger.within + (trigger.grace or timedelta(0)) + trigger.cooldown
        case MetricTrigger():
            return trigger.metric.range + trigger.metric.firing_for
        case CompoundTrigger() | SequenceTrigger():
            inner = max(map(reach, trigger.triggers))
            return inner + (timedelta(days=1) if trigger.within is None else trigger.within) + trigger.cooldown
        case _ as never:
            assert_never(never)


def told(automation: str, decided: Decided) -> list[str]:
    """What `decided` says of the automation: its firings, else why an event that matched fired nothing."""
    firings = [one for one in decided.firings if one.automation == automation]
    if firings:
        return [f"{'fires' if one.state == 'Triggered' else 'is over'}, {_counted(one.count)}" for one in firings]
    return [said(one.verdict) for one in decided.traces if one.automation == automation]


def unmatched(automation: Automation, event: Event) -> list[str]:
    """Why `event` does not concern the automation: of each trigger the checks that failed."""
    if not automation.enabled:
        return [OFF]
    found = [one for one in conditions(automation, event) if not one.matched and one.trigger != "resolve_on"]
    alone = len(found) == 1
    return [f"no match: {'' if alone else f'{one.trigger}: '}{'; '.join(_failed(one.checks))}" for one in found]


def said(verdict: Verdict) -> str:
    """A verdict as a sentence: `counted 2 of 3`."""
    return ", ".join(_words(verdict))


def _words(verdict: Verdict) -> Iterator[str]:
    if verdict.outcome == "counted" or (verdict.threshold is not None and verdict.outcome not in _SAID):
        yield f"counted {verdict.count} of {verdict.threshold}" if verdict.threshold else f"counted {verdict.count}"
    else:
        yield _SAID.get(verdict.outcome, verdict.outcome)
    if verdict.value is not None:
        yield f"value {verdict.value:g}"
    if verdict.until is not None:
        yield f"until {_clock(verdict.until)}"
    if verdict.reason:
        yield verdict.reason
    yield from (f"trigger {child.trigger}: {said(child)}" for child in verdict.children)


def _condition(path: str, trigger: EventTrigger | MetricTrigger, event: Event) -> Condition:
    found = checks(trigger, event)
    return Condition(path, _matched(found), found)


def _matched(found: Sequence[Check]) -> bool:
    """Expected, or an `after` event (of which `where` is not asked), and no other check failed."""
    names = {check.about for check in found if check.about in ("expect", "after") and check.held}
    asked = [check for check in found if check.about not in ("expect", "after")]
    if "expect" in names and all(check.held for check in asked):
        return True
    return "after" in names and all(check.held for check in asked if check.about != "where")


def _failed(found: Sequence[Check]) -> list[str]:
    """The checks that failed, in words; of the names both only when neither is met."""
    named = any(check.held for check in found if check.about in ("expect", "after"))
    failed = (check for check in found if not check.held and not (named and check.about in ("expect", "after")))
    return [f"{check.about}: wanted {check.wanted}, saw {check.saw}" for check in failed]


def _counted(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _clock(at: Micros) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M:%S}Z"
