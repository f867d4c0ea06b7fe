"""Routes in Alertmanager's words: a configuration that `amtool` can read and test.

What Alertmanager has no word for is left out: escalation, acknowledgement, flapping, `resolve_wait`. A receiver is a
name only, its channel a placeholder; several receivers of one node are one of theirs, named after all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import yaml

from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.node import Node, Window
from tocsin.notifiers.route import EVERY_LABEL, Route, Tree, grow, walk
from tocsin.notifiers.spans import span_text
from tocsin.notifiers.windows import MONTHS, WEEKDAYS, MuteWindow, Range, clock

# Any, in this file: YAML as plain values.

LABEL: Final = "tocsin_route"
"""By this label an alert finds its tree, where several trees are one configuration."""

NOBODY: Final = "nobody"
NEVER: Final = "52w"
PLACEHOLDER: Final = "http://127.0.0.1:9/put-the-channel-here"
_HEAD: Final = """\
# Made by `tocsin route export`: the routes, mute windows and inhibitions of tocsin in Alertmanager's words.
# Receivers are placeholders. Escalation, acknowledgement, flapping and resolve_wait have no word here.
"""


def export_alertmanager(
    routes: Sequence[Route],
    windows: Mapping[str, MuteWindow] | None = None,
    inhibitions: Sequence[Inhibition] = (),
) -> str:
    """The YAML of a configuration with these trees.

    One tree is the tree of the configuration; several stand below one that tells nobody, each asking for its name in
    the label `tocsin_route`. Raises `Invalid` for what is no tree.
    """
    trees = [grow(route, windows) for route in routes]
    plain = len(trees) == 1 and not trees[0].node.mute
    named = _named(window for tree in trees for one in walk(tree) for window in one.node.mute)
    root = _route(trees[0], None, named) if plain else _above(trees, named)
    receivers = dict.fromkeys(_receivers(root))
    document = {
        "route": root,
        "receivers": [_receiver(name) for name in receivers],
        "time_intervals": [{"name": name, "time_intervals": [_interval(one)]} for one, name in named.items()],
        "inhibit_rules": [_inhibition(one) for one in inhibitions],
    }
    kept = {name: value for name, value in document.items() if value}
    return _HEAD + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110)


def receiver_name(node: Node) -> str:
    """All receivers of a node as the one name that Alertmanager's receiver has."""
    return "+".join(node.receivers)


def _above(trees: Sequence[Tree], named: Mapping[Window, str]) -> dict[str, Any]:
    """A root above the trees: Alertmanager has one tree only, and none of its roots is muted."""
    several = len(trees) > 1
    below = []
    for tree in trees:
        asks = {"matchers": [f'{LABEL}="{tree.node.path}"']} if several else {}
        below.append({**asks, **_route(tree, None, named)})
    return {"receiver": NOBODY if several or not trees else receiver_name(trees[0].node), "routes": below}


def _route(tree: Tree, parent: Node | None, named: Mapping[Window, str]) -> dict[str, Any]:
    """The route and all below it; what it has from its parent is not said again."""
    own: dict[str, Any] = {"matchers": [str(matcher) for matcher in tree.asks]} if tree.asks else {}
    own |= {name: value for name, value in _says(tree.node).items() if parent is None or _says(parent)[name] != value}
    if tree.goes_on:
        own["continue"] = True
    if tree.node.mute:
        own["mute_time_intervals"] = list(dict.fromkeys(named[window] for window in tree.node.mute))
    if tree.below:
        own["routes"] = [_route(child, tree.node, named) for child in tree.below]
    return own


def _says(node: Node) -> dict[str, Any]:
    group_by = [EVERY_LABEL] if node.group_by is None else list(node.group_by)
    repeat = NEVER if node.repeat_interval_s is None else _span(node.repeat_interval_s)
    return {
        "receiver": receiver_name(node),
        "group_by": group_by,
        "group_wait": _span(node.group_wait_s),
        "group_interval": _span(node.group_interval_s),
        "repeat_interval": repeat,
    }


def _span(seconds: float) -> str:
    return span_text(timedelta(seconds=seconds))


def _receivers(route: Mapping[str, Any]) -> Iterator[str]:
    if "receiver" in route:
        yield route["receiver"]
    for child in route.get("routes", ()):
        yield from _receivers(child)


def _receiver(name: str) -> dict[str, Any]:
    if name == NOBODY:
        return {"name": name}
    return {
        "name": name,
        "webhook_configs": [{"url": f"{PLACEHOLDER}/{one}".replace(" ", "-")} for one in name.split("+")],
    }


def _named(windows: Iterable[Window]) -> dict[Window, str]:
    """Each window under a name of its own: two routes may mean different ones by the same name."""
    found: dict[Window, str] = {}
    for window in windows:
        if window not in found:
            names = set(found.values())
            number = 1
            while (name := window.name if number == 1 else f"{window.name}-{number}") in names:
                number += 1
            found[window] = name
    return found


def _interval(window: Window) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "times": [{"start_time": clock(begin), "end_time": clock(end)} for begin, end in window.times],
        "weekdays": [_between(given, lambda day: WEEKDAYS[day]) for given in window.weekdays],
        "days_of_month": [_between(given, str) for given in window.days_of_month],
        "months": [_between(given, lambda month: MONTHS[month - 1]) for given in window.months],
        "years": [_between(given, str) for given in window.years],
        "location": window.zone,
    }
    return {name: value for name, value in parts.items() if value}


def _between(given: Range, name: Any) -> str:
    begin, end = given
    return str(name(begin)) if begin == end else f"{name(begin)}:{name(end)}"


def _inhibition(inhibition: Inhibition) -> dict[str, Any]:
    rule = inhibition.rule()
    told: dict[str, Any] = {
        "name": rule.name,
        "source_matchers": [str(matcher) for matcher in rule.source],
        "target_matchers": [str(matcher) for matcher in rule.target],
        "equal": list(rule.equal),
    }
    return {name: value for name, value in told.items() if value}
