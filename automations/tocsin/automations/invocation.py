"""An invocation: one action of one firing, ready to be carried out."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from tocsin.events.chain import Cause
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID
from tocsin.triggers.steps import Firing

# Any, in this file: JSON.
Arguments = dict[str, Any]

REPLAY: Final = "replay"
"""In an invocation's `cause` and in the payload of what tells of it: it comes of a replay."""

_NOWHERE: Final[dict[str, Any]] = {"name": None, "resource": None, "depth": 0, "path": []}


@dataclass(frozen=True)
class Invocation:
    """One action to carry out. `refused`: why it must not or cannot be, told in its outcome.

    `cause` holds of the event that the firing is about its `name`, `resource` (id), `depth` and `path` (the automations
    behind it), and as `event` the id of the event that made it fire: None for a deadline.
    """

    id: UUID
    firing: UUID
    automation: str
    position: int
    action: str
    arguments: Arguments
    cause: dict[str, Any]
    refused: str | None = None

    @property
    def behind(self) -> Cause:
        """What stands behind all that this action changes: its automation is one more in the chain.

        What a deadline leads to follows the event that tells of the firing.
        """
        event = self.cause["event"]
        return Cause(
            event=UUID(event) if event else fired_id(self.firing),
            depth=self.cause["depth"] + 1,
            path=(*self.cause["path"], self.automation),
            request=self.id,
        )


def cause_of(firing: Firing) -> dict[str, Any]:
    """What an invocation keeps of its firing's cause."""
    about = firing.about
    event = {"event": str(firing.event.id) if firing.event else None}
    if about is None:
        return {**_NOWHERE, **event}
    return {
        **event,
        "name": about.event,
        "resource": about.resource[RESOURCE_ID],
        "depth": about.depth,
        "path": list(about.chain),
    }


def fired_id(firing: UUID) -> UUID:
    """Id of the event that tells of a firing."""
    return derive("fired", firing)
