"""Why nothing may be said of an alert: a silence, an inhibition, a mute window of its route, a storm."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from tocsin.notifiers.inhibition import Hold, Inhibition, Rule, holds_of, inhibited
from tocsin.notifiers.node import Node
from tocsin.notifiers.silence import Silence, SilenceIndex
from tocsin.notifiers.windows import end_of, holds

LOOK_AGAIN: Final = timedelta(minutes=1)
"""An inhibition has no end that is known: after so long it is looked at again."""

INHIBITED: Final = "inhibited by "
"""How the reason of an inhibition begins."""

Kind = Literal["silence", "inhibition", "mute", "storm"]


class Reason(msgspec.Struct, frozen=True):
    """Why nothing is said, and when to look again (None: nobody knows). `name` is a silence's id, or a name."""

    kind: Kind
    name: str
    until: datetime | None
    text: str


@dataclass(frozen=True, slots=True)
class World:
    """What keeps alerts quiet: silences, inhibitions, and what is held by the alerts that fire."""

    silences: SilenceIndex = field(default_factory=SilenceIndex)
    rules: tuple[Rule, ...] = ()
    held: frozenset[Hold] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether nothing can be suppressed by it, whatever the labels."""
        return not (self.silences.size or self.held)


def world_of(
    silences: Iterable[Silence] = (),
    inhibitions: Iterable[Inhibition] = (),
    sources: Iterable[Mapping[str, str]] = (),
) -> World:
    """The world of these silences and inhibitions, while alerts with the labels of `sources` fire."""
    rules = tuple(inhibition.rule() for inhibition in inhibitions)
    return with_sources(World(SilenceIndex(silences), rules), sources)


def with_sources(world: World, sources: Iterable[Mapping[str, str]]) -> World:
    """The world in which alerts with these labels fire, too."""
    if not world.rules:
        return world
    return replace(world, held=world.held.union(hold for labels in sources for hold in holds_of(world.rules, labels)))


def suppressed(labels: Mapping[str, str], world: World, now: datetime) -> Reason | None:
    """Why nothing is said of an alert with these labels, or None."""
    if world.silences.size and (silence := world.silences.find(labels, now)):
        return _silenced(silence)
    if world.held and (rule := inhibited(world.rules, world.held, labels)):
        return Reason("inhibition", rule.name, now + LOOK_AGAIN, f"{INHIBITED}{rule.name}")
    return None


def muted(node: Node, now: datetime) -> Reason | None:
    """Why a route says nothing at `now`: its mute windows. `until` is when the last of them is over."""
    on = [window.name for window in node.mute if holds(window, now)]
    if not on:
        return None
    until = end_of(node.mute, now)
    return Reason("mute", ", ".join(on), until, f"muted by {', '.join(on)} until {_shown(until)}")


def _silenced(silence: Silence) -> Reason:
    by = f" by {silence.author}" if silence.author else ""
    why = f": {silence.comment}" if silence.comment else ""
    return Reason("silence", str(silence.id), silence.ends, f"silenced{by} until {_shown(silence.ends)}{why}")


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
