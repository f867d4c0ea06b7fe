"""What an action is for when it names nothing: read from the firing's labels, else from the event that it is about."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE
from tocsin.triggers.steps import Firing

Labels = dict[str, str]
Things = dict[str, Labels]
"""The labels of what a firing is about, by kind (`flow-run`, `deployment` …), as far as they are known."""

_OURS: Final = "tocsin."


def things(firing: Firing) -> Things:
    """What the firing is about, the first of each kind: the kind is what stands in its id, `tocsin.<kind>.<name>`.

    Looked for among the values of `for_each`, then the event's own resource, then those related in the role of that
    name.
    """
    known = {labels[RESOURCE_ID]: labels for labels in _resources(firing)}
    found: Things = {}
    for identity in (*firing.labels.values(), *known):
        kind = _kind(identity)
        if kind and kind not in found:
            found[kind] = known.get(identity, {RESOURCE_ID: identity})
    return found


def name_of(kind: str, found: Things) -> str | None:
    """The name of the thing of this kind; None when there is none."""
    return found[kind][RESOURCE_ID].removeprefix(f"{_OURS}{kind}.") if kind in found else None


def as_id(text: str) -> UUID | str:
    """The id in `text`, else the text."""
    try:
        return UUID(text)
    except ValueError:
        return text


def attempt(found: Things) -> int:
    """Which attempt of the run the event tells of, from 1."""
    text = found.get("flow-run", {}).get("tocsin.run-count", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def shown_name(firing: Firing) -> str:
    """What people call what the firing is about: the resource's name, else its id, else the key."""
    event = firing.about
    if event is not None:
        return event.resource.get(RESOURCE_NAME) or event.resource_id
    return ", ".join(text for text in firing.key if text)


def _resources(firing: Firing) -> Iterator[Labels]:
    """The resources of the event that may be meant, its own first."""
    event = firing.about
    if event is None:
        return
    yield event.resource
    for labels in event.related:
        if labels.get(RESOURCE_ROLE) == _kind(labels[RESOURCE_ID]) and labels[RESOURCE_ID] != event.resource_id:
            yield labels


def _kind(identity: str) -> str:
    if not identity.startswith(_OURS):
        return ""
    kind, dot, name = identity.removeprefix(_OURS).partition(".")
    return kind if dot and name else ""
