"""The chain of automations behind a change: what led to it, and how its events carry that on."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tocsin.events.ids import derive, uuid7
from tocsin.events.model import CHAIN, DEPTH


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is changed.

    `event` led to it; `path` names the automations between an outside cause and the change, the first one first, and
    `depth` counts them. `request` is the id under which the same request is known again.
    """

    event: UUID | None = None
    depth: int = 0
    path: tuple[str, ...] = ()
    request: UUID | None = None

    @property
    def labels(self) -> dict[str, str]:
        """What the resource of an event says of it; nothing when the cause is outside."""
        depth = {DEPTH: str(self.depth)} if self.depth else {}
        return {**depth, CHAIN: joined(self.path)} if self.path else depth

    def identity(self, kind: str, *parts: object) -> UUID:
        """Id of an event that tells of the change: the same when the request is the same."""
        return derive(kind, self.request, *parts) if self.request is not None else uuid7()


OUTSIDE: Final = Cause()
"""A person, a program, a schedule: no automation stands behind it."""


def joined(path: tuple[str, ...]) -> str:
    """The text in which a path travels."""
    return "/".join(path)
