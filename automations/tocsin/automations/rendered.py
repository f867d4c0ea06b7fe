"""What actions are rendered from."""

from dataclasses import dataclass
from typing import Any

from tocsin.automations.model import Automation
from tocsin.events.templates import render
from tocsin.triggers.steps import Firing


class Impossible(Exception):
    """The firing does not hold what the action needs."""


@dataclass(frozen=True)
class Rendering:
    """A firing and what templates see of it. Any: JSON."""

    automation: Automation
    firing: Firing
    context: dict[str, Any]

    def name(self, source: str, what: str) -> str:
        """The name that the template `source` gives. Raises Impossible for none, Invalid for a template that fails."""
        name = render(source, self.context).strip()
        if not name:
            raise Impossible(f"{what}: the template {source!r} gives no name for {self.about}")
        return name

    @property
    def about(self) -> str:
        """What the firing is about, for a message."""
        event = self.firing.about
        return f"event {event.event}" if event is not None else "this deadline"
