"""The Event: what happened to a resource."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tocsin.events.ids import uuid7

RESOURCE_ID = "tocsin.resource.id"
RESOURCE_NAME = "tocsin.resource.name"
RESOURCE_ROLE = "tocsin.resource.role"
DEPTH = "tocsin.chain.depth"
CHAIN = "tocsin.chain.path"
_DIGITS = 6  # anybody may write the label, and a longer number fits no column
_PATH = 4_000  # characters: more than the longest chain of the longest names


def _now() -> datetime:
    return datetime.now(UTC)


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happened to a resource, once.

    `occurred` is aware UTC; `resource` and each of `related` are flat labels with at least `tocsin.resource.id`
    (related ones also `tocsin.resource.role`); `payload` is any JSON object; `follows` is the id of the event that
    caused this one.
    """

    event: str
    resource: dict[str, str]
    id: UUID = msgspec.field(default_factory=uuid7)
    occurred: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(default_factory=_now)
    related: list[dict[str, str]] = msgspec.field(default_factory=list)
    # Any: a payload is whatever JSON its producer chose.
    payload: dict[str, Any] = msgspec.field(default_factory=dict)
    follows: UUID | None = None

    @property
    def resource_id(self) -> str:
        """The id of the resource it happened to."""
        return self.resource[RESOURCE_ID]

    @property
    def depth(self) -> int:
        """How many automations stand between this event and an outside cause; 0 for an outside one."""
        text = self.resource.get(DEPTH, "0")
        return int(text[:_DIGITS]) if text.isascii() and text.isdigit() else 0

    @property
    def chain(self) -> tuple[str, ...]:
        """The automations that stand between an outside cause and this event, the first one first.

        A path of more than 4,000 characters, which none of ours has, reads as no path.
        """
        text = self.resource.get(CHAIN, "")
        return tuple(text.split("/")) if 0 < len(text) <= _PATH else ()

    def related_as(self, role: str) -> Iterator[dict[str, str]]:
        """The related resources in this role, in their order."""
        return (labels for labels in self.related if labels.get(RESOURCE_ROLE) == role)
