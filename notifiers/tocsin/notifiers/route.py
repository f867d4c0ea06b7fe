"""Routes: who is told of an alert, when, and what follows when nobody answers. A tree, as Alertmanager's.

An alert enters at the root and goes to the first child whose matchers it fits, on to the next one where that child
says `continue`; where no child fits, the node itself takes it, so the root takes whatever nobody else does. What a
child does not say it has from its parent; its matchers, `continue` and mute windows are its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import Name
from tocsin.notifiers.matchers import Matcher, equals, matches, read_matchers
from tocsin.notifiers.node import STORM, Node, Window
from tocsin.notifiers.spans import Span
from tocsin.notifiers.windows import MuteWindow

EVERY_LABEL: Final = "..."
MOST_NODES: Final = 1_000
DEEPEST: Final = 20
NEVER: Final = "never"

_NAME_LENGTH: Final = 60
_OPEN: Final = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _several(given: Any) -> Any:  # Any: what a document holds, before it is checked; one is a list of one
    return (given,) if isinstance(given, str) else given


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'"{name}" is named twice')
    return names


Names = Annotated[tuple[Name, ...], BeforeValidator(_several), Field(min_length=1, max_length=50)]
Labels = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_several), Field(max_length=100)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]
SpanOrNever = Span | Literal["never"]
Mute = Annotated[
    Annotated[MuteWindow, Tag("[window]")] | Annotated[str, Tag("[name]")],
    Discriminator(lambda given: "[name]" if isinstance(given, str) else "[window]"),
]
"""A mute window, or the name of one on record."""


class _Receiving(BaseModel):
    """What has receivers: `receiver` for one of them is taken, too."""

    model_config = _OPEN

    @model_validator(mode="before")
    @classmethod
    def _one_receiver(cls, given: Any) -> Any:  # Any: as above
        if not isinstance(given, Mapping) or "receiver" not in given:
            return given
        if "receivers" in given:
            raise ValueError("receiver and receivers say the same; leave one of them out")
        return {("receivers" if key == "receiver" else key): value for key, value in given.items()}


class Escalate(_Receiving):
    """A step of escalation: these receivers are told `after` so long without an answer."""

    after: Annotated[Span, Field(gt=timedelta())]
    receivers: Names

    _once = field_validator("receivers")(_each_once)


class Flap(BaseModel):
    """An incident that fires again `count` times in `window` flaps: its end is told after `quiet` without another."""

    model_config = _OPEN

    count: Annotated[int, Field(ge=2, le=1000)] = 4
    window: Annotated[Span, Field(gt=timedelta())] = timedelta(minutes=10)
    quiet: Span = timedelta(minutes=5)


class Route(_Receiving):
    """A node of a tree of routes, and the tree below it.

    The root needs `name` and `receivers` (notifiers' names). Its children fit what `match` (label: value, or any of
    several) and `matchers` (`team=~"db.*"`) say. `group_by` names the labels whose values make an incident, `"..."` all
    of them. Spans are timedelta, seconds or text such as `5m`; `repeat_interval` and `ack_timeout` may be `"never"`.
    """

    name: Annotated[str, Field(max_length=100)] = ""
    match: dict[str, str | tuple[str, ...]] = {}
    matchers: Texts = ()
    receivers: Names | None = None
    continue_: Annotated[bool, Field(alias="continue")] = False
    group_by: Labels | None = None
    group_wait: Span | None = None
    group_interval: Annotated[Span, Field(gt=timedelta())] | None = None
    repeat_interval: SpanOrNever | None = None
    resolve_wait: Span | None = None
    mute: tuple[Mute, ...] = ()
    escalation: tuple[Escalate, ...] | None = None
    escalation_repeat: Annotated[int, Field(ge=0, le=100)] | None = None
    ack_timeout: SpanOrNever | None = None
    flap: Flap | None = None
    routes: "tuple[Route, ...]" = ()

    _once = field_validator("receivers", "group_by")(lambda names: names and _each_once(names))

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", name):
            raise ValueError("a name begins with a letter or digit, and holds letters, digits, spaces, dots, _ and -")
        return name

    @field_validator("match", mode="before")
    @classmethod
    def _are_texts(cls, match: object) -> object:
        values = match.items() if isinstance(match, dict) else ()
        for name, value in (
            (name, one) for name, some in values for one in (some if isinstance(some, list) else [some])
        ):
            if isinstance(value, int | float):
                raise ValueError(f'{name}: the value of a label is text; write "{value}" in quotes')
        return match

    @field_validator("matchers")
    @classmethod
    def _are_matchers(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            read_matchers(texts)
        except Invalid as error:
            raise ValueError(str(error)) from error
        return texts

    @field_validator("group_by")
    @classmethod
    def _all_or_some(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and EVERY_LABEL in names and len(names) > 1:
            raise ValueError(f'"{EVERY_LABEL}" is every label already; leave the others out')
        return names

    @field_validator("repeat_interval", "ack_timeout")
    @classmethod
    def _some_time(cls, span: timedelta | str | None) -> timedelta | str | None:
        if span == timedelta():
            raise ValueError(f'for not at all write "{NEVER}"')
        return span

    @field_validator("escalation")
    @classmethod
    def _later_and_later(cls, steps: tuple[Escalate, ...] | None) -> tuple[Escalate, ...] | None:
        spans = [step.after for step in steps or ()]
        if any(second <= first for first, second in pairwise(spans)):
            raise ValueError("`after` counts from when the incident is told: each step is later than the one before")
        return steps

    @model_validator(mode="after")
    def _children_differ(self) -> Self:
        list(_named(self.routes))
        try:
            self.asks()
        except Invalid as error:
            raise ValueError(f"match: {error}") from error
        return self

    def asks(self) -> tuple[Matcher, ...]:
        """All its matchers, those of `match` first. Raises `Invalid`."""
        return (*(equals(name, value) for name, value in self.match.items()), *read_matchers(self.matchers))


@dataclass(frozen=True, slots=True)
class Tree:
    """A route made ready: its node, what an alert must fit to come here, and the trees below."""

    node: Node
    asks: tuple[Matcher, ...] = ()
    goes_on: bool = False
    below: "tuple[Tree, ...]" = ()


def grow(root: Route, windows: Mapping[str, MuteWindow] | None = None) -> Tree:
    """The tree of a root route; `windows` are the mute windows that it may name.

    Raises `Invalid` with the place, for a root without name or receivers or with matchers, and for a window unknown.
    """
    check_root(root)
    first = Node(group_by=(), group_wait_s=30.0, group_interval_s=300.0, repeat_interval_s=14_400.0)
    tree = _grown(root, root.name, first, None, windows or {})
    if (count := sum(1 for _ in walk(tree))) > MOST_NODES:
        raise Invalid(f'route "{root.name}": {count} nodes; at most {MOST_NODES} make a tree')
    return tree


def nodes(tree: Tree, labels: Mapping[str, str]) -> tuple[Node, ...]:
    """The nodes that an alert goes to, in the order of the tree: at least one, the root where no other fits."""
    found: list[Node] = []
    for child in tree.below:
        if matches(child.asks, labels):
            found += nodes(child, labels)
            if not child.goes_on:
                break
    return tuple(found) or (tree.node,)


def group_of(node: Node, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that say to which incident of `node` an alert belongs; one that is empty is not there."""
    names = labels if node.group_by is None else node.group_by
    return {name: labels[name] for name in names if labels.get(name)}


def walk(tree: Tree) -> Iterator[Tree]:
    """The tree and all below it, parents first."""
    yield tree
    for child in tree.below:
        yield from walk(child)


def receivers_of(tree: Tree) -> tuple[str, ...]:
    """Every notifier that the tree may tell, steps of escalation too, each once."""
    named = (
        name
        for one in walk(tree)
        for names in (one.node.receivers, *(step for _, step in one.node.escalation))
        for name in names
    )
    return tuple(dict.fromkeys(named))


def check_root(root: Route) -> None:
    """Raise `Invalid` for a route that cannot be a root: without name or receivers, or with matchers."""
    if not root.name:
        raise Invalid("a root route needs a name: by it `SendNotification(route=...)` finds it")
    where = f'route "{root.name}"'
    if root.name == STORM:
        raise Invalid(f"{where}: this name is that of storms; take another")
    if not root.receivers:
        raise Invalid(f"{where}: receivers: name the notifiers that are told of what no child takes")
    if root.match or root.matchers or root.continue_:
        raise Invalid(f"{where}: a root takes every alert; put matchers and `continue` into a child of it")


def _grown(
    route: Route, path: str, parent: Node, resolve_wait_s: float | None, windows: Mapping[str, MuteWindow]
) -> Tree:
    """The tree of `route`; `resolve_wait_s` is the one that an ancestor has said, else twice the group's wait."""
    if path.count("/") >= DEEPEST:
        raise Invalid(f'route "{path}": at most {DEEPEST} levels make a tree')
    said = route.resolve_wait.total_seconds() if route.resolve_wait is not None else resolve_wait_s
    own = _own(route)
    wait_s = own.get("group_wait_s", parent.group_wait_s)
    mute = tuple(_window(path, given, windows) for given in route.mute)
    node = msgspec.structs.replace(
        parent, **own, path=path, mute=mute, resolve_wait_s=2 * wait_s if said is None else said
    )
    below = tuple(_grown(child, f"{path}/{name}", node, said, windows) for name, child in _named(route.routes))
    return Tree(node, route.asks(), route.continue_, below)


def _own(route: Route) -> dict[str, Any]:  # Any: values of a Node's fields
    """What the route itself says, as fields of a Node."""
    said: dict[str, Any] = {
        "receivers": route.receivers,
        "group_wait_s": _seconds(route.group_wait),
        "group_interval_s": _seconds(route.group_interval),
        "escalation": _steps(route.escalation),
        "escalation_repeat": route.escalation_repeat,
    }
    own = {name: value for name, value in said.items() if value is not None}
    if route.group_by is not None:
        own["group_by"] = None if EVERY_LABEL in route.group_by else route.group_by
    if route.repeat_interval is not None:
        own["repeat_interval_s"] = _seconds(route.repeat_interval)
    if route.ack_timeout is not None:
        own["ack_timeout_s"] = _seconds(route.ack_timeout)
    if route.flap is not None:
        own |= {"flap_count": route.flap.count, "flap_window_s": _seconds(route.flap.window)}
        own["flap_quiet_s"] = _seconds(route.flap.quiet)
    return own


def _seconds(span: timedelta | str | None) -> float | None:
    return span.total_seconds() if isinstance(span, timedelta) else None


def _steps(steps: Sequence[Escalate] | None) -> tuple[tuple[float, tuple[str, ...]], ...] | None:
    return None if steps is None else tuple((step.after.total_seconds(), step.receivers) for step in steps)


def _window(path: str, given: MuteWindow | str, windows: Mapping[str, MuteWindow]) -> Window:
    if isinstance(given, MuteWindow):
        return given.window()
    if given not in windows:
        known = ", ".join(sorted(windows)) or "none"
        raise Invalid(f'route "{path}": mute: unknown mute window "{given}"; known: {known}')
    return windows[given].window()


def _named(children: Sequence[Route]) -> Iterator[tuple[str, Route]]:
    """The children under names of their own; who has none is named after what it asks for.

    Raises ValueError for a name that is given twice.
    """
    taken = {child.name for child in children if child.name}
    if len(taken) < sum(1 for child in children if child.name):
        twice = next(child.name for child in children if [other.name for other in children].count(child.name) > 1)
        raise ValueError(f'routes: two children are named "{twice}"; give each a name of its own')
    for child in children:
        name = child.name or _free(_made(child), taken)
        taken.add(name)
        yield name, child


def _made(child: Route) -> str:
    """`team-db` from `team="db"`."""
    asked = "-".join(f"{matcher.name}-{matcher.value}" for matcher in child.asks())
    words = re.sub(r"[^A-Za-z0-9._]+", "-", asked).strip("-._")
    return words[:_NAME_LENGTH].rstrip("-._") or "all"


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while (tried := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return tried
