"""What actions are rendered from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tocsin.automations.context import template_context
from tocsin.automations.model import Automation
from tocsin.automations.targets import Things, things
from tocsin.events.templates import is_template, render, render_value
from tocsin.triggers.steps import Firing

# Any, in this file: JSON.


class Impossible(Exception):
    """The firing does not hold what the action needs."""


@dataclass(frozen=True)
class Rendering:
    """A firing, and what templates see of it once one asks."""

    automation: Automation
    firing: Firing

    @cached_property
    def things(self) -> Things:
        """What the firing is about."""
        return things(self.firing)

    @cached_property
    def context(self) -> dict[str, Any]:
        """What templates see."""
        return template_context(self.automation, self.firing, self.things)

    def text(self, source: str) -> str:
        """The text that the template gives. Raises Invalid for one that fails."""
        return render(source, self.context) if is_template(source) else source

    def value(self, source: Any) -> Any:
        """The JSON that templates in `source` give. Raises Invalid for one that fails."""
        return render_value(source, self.context)

    def name(self, source: str, what: str) -> str:
        """The name that the template `source` gives. Raises Impossible for none, Invalid for a template that fails."""
        name = self.text(source).strip()
        if not name:
            raise Impossible(f"{what}: the template {source!r} gives no name for {self.about}")
        return name

    @property
    def about(self) -> str:
        """What the firing is about, for a message."""
        event = self.firing.about
        return f"event {event.event}" if event is not None else "this deadline"
