"""What is kept of an evaluation, so that `explain` can say why an automation did not fire.

A firing is on record by itself. Of the rest near-misses (the event matched, and nothing fired) and errors are kept, a
bounded number for each automation; events that do not match are counted by what is left: all less those that did.
"""

from typing import Any, Final
from uuid import UUID

import msgspec

from tocsin.events.clock import Micros
from tocsin.triggers.steps import Key, Signal, Verdict

NOT_KEPT: Final = frozenset({"lapsed", "steady"})
"""Outcomes that tell nobody anything."""


class Evaluation(msgspec.Struct, frozen=True):
    """That an event concerned an automation under a key and fired nothing, and why. `at` is the clock of the bus."""

    automation: str
    key: Key
    at: Micros
    event: UUID
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON object. Any: JSON."""
        made: dict[str, Any] = msgspec.to_builtins(self.verdict)
        return made


def evaluated(signal: Signal, verdict: Verdict) -> Evaluation:
    """What is kept of a decision that fired nothing."""
    return Evaluation(signal.automation, signal.key, signal.received, signal.event.id, verdict)
