"""What an action is for when it names nothing: read from the firing's labels, else from the event that it is about."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.triggers.steps import Firing

_PREFIX: Final = "tocsin."


def inferred(firing: Firing, kind: str) -> str | None:
    """What follows `tocsin.<kind>.` in the id of the first such resource; None when there is none.

    Looked for among the values of `for_each`, then the event's own resource, then those related in the role `kind`.
    """
    prefix = f"{_PREFIX}{kind}."
    return next((found.removeprefix(prefix) for found in _ids(firing, kind) if found.startswith(prefix)), None)


def labels_of(firing: Firing, kind: str) -> dict[str, str]:
    """The labels of that resource, as far as they are known; {} when there is none."""
    name = inferred(firing, kind)
    if name is None:
        return {}
    identity = f"{_PREFIX}{kind}.{name}"
    known = (labels for labels in _resources(firing.about, kind) if labels[RESOURCE_ID] == identity)
    return next(known, {RESOURCE_ID: identity})


def flow_run_of(firing: Firing) -> UUID | str | None:
    """The id of the flow run that the firing is about; a text when it is no id, None without one."""
    return as_id(found) if (found := inferred(firing, "flow-run")) is not None else None


def as_id(text: str) -> UUID | str:
    """The id in `text`, else the text."""
    try:
        return UUID(text)
    except ValueError:
        return text


def attempt(firing: Firing) -> int:
    """Which attempt of the run the event tells of, from 1."""
    text = labels_of(firing, "flow-run").get("tocsin.run-count", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def shown_name(firing: Firing) -> str:
    """What people call what the firing is about: the resource's name, else its id, else the key."""
    event = firing.about
    if event is not None:
        return event.resource.get(RESOURCE_NAME) or event.resource_id
    return ", ".join(text for text in firing.key if text)


def _ids(firing: Firing, kind: str) -> Iterator[str]:
    yield from firing.labels.values()
    for labels in _resources(firing.about, kind):
        yield labels[RESOURCE_ID]


def _resources(event: Event | None, role: str) -> Iterator[dict[str, str]]:
    if event is not None:
        yield event.resource
        yield from event.related_as(role)
