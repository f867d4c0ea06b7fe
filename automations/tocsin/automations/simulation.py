"""What would have fired: the decision path of the live hosts over events at hand, with no I/O."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from tocsin.automations.episode import State
from tocsin.automations.evaluate import Place, decide, signals_of
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.events.model import Event
from tocsin.triggers.window import Firing


@dataclass(frozen=True)
class Simulated:
    """A firing that would have been. `event_id` is its cause; `children` are the firings a composite is made of."""

    automation: str
    state: Literal["Triggered", "Resolved"]
    at: datetime
    event_id: UUID | None
    labels: dict[str, str]
    count: int
    children: tuple[UUID, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The firing as a JSON object, times in ISO 8601. Any: JSON."""
        cause = str(self.event_id) if self.event_id else None
        children = [str(child) for child in self.children]
        return {**asdict(self), "at": self.at.isoformat(), "event_id": cause, "children": children}


def simulate(
    automations: Iterable[Automation], events: Iterable[Event], until: datetime | None = None
) -> list[Simulated]:
    """The firings of `automations` on `events`, taken in the order given; nothing after `until` is looked at."""
    index = Index(automations)
    states: dict[Place, State] = {}
    firings: list[Simulated] = []
    for event in events:
        if until is not None and event.occurred > until:
            continue
        decided = decide(index, states, signals_of(index, [event]))
        states |= decided.states
        firings.extend(map(_simulated, decided.firings))
    return firings


def _simulated(firing: Firing) -> Simulated:
    return Simulated(firing.automation, firing.state, firing.at, firing.event.id, firing.labels, firing.count)
