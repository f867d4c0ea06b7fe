"""A second, naive account of being on call: asked at every instant anew, without rows, due times or revisions.

It knows where alerts go, when a group is told and of what it is quiet, and says who hears that something fires, is
acknowledged, is over. Times are seconds from the beginning. Nothing of `tocsin` is used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Labels = Mapping[str, str]
Asks = tuple[tuple[str, Literal["=", "!=", "=~", "!~"], str], ...]
Said = tuple[float, str, str]
"""When, to whom, and which word: trigger, acknowledge, resolve."""


@dataclass(frozen=True)
class Branch:
    """A node of a tree of routes; what is None is its parent's."""

    name: str
    asks: Asks = ()
    goes_on: bool = False
    receivers: tuple[str, ...] | None = None
    group_by: tuple[str, ...] | None = None
    wait: float | None = None
    linger: float | None = None
    steps: tuple[tuple[float, tuple[str, ...]], ...] | None = None
    below: tuple["Branch", ...] = ()


@dataclass(frozen=True)
class Rule:
    """While something fires that fits `source`, what fits `target` is quiet."""

    source: Asks
    target: Asks
    equal: tuple[str, ...] = ()


@dataclass
class Story:
    """One episode of a group."""

    key: str
    episode: int
    branch: Branch
    wait_until: float
    firing: dict[str, tuple[str, Labels]] = field(default_factory=dict)
    state: Literal["waiting", "open", "acknowledged", "settling", "over"] = "waiting"
    was: Literal["open", "acknowledged"] = "open"
    settle_at: float = 0.0
    since: float | None = None
    level: int = 0
    missed: bool = False
    told: set[str] = field(default_factory=set)
    said: list[Said] = field(default_factory=list)


def fits(asks: Asks, labels: Labels) -> bool:
    """Whether the labels are as they are asked for."""
    return all(_fits(labels.get(name, ""), op, value) for name, op, value in asks)


def ways(branch: Branch, labels: Labels, path: str = "", parent: Branch | None = None) -> list[tuple[str, Branch]]:
    """Where an alert goes: the paths of nodes, and these with everything inherited."""
    if parent is not None and not fits(branch.asks, labels):
        return []
    here = _inherited(branch, parent)
    path = f"{path}/{branch.name}" if path else branch.name
    found: list[tuple[str, Branch]] = []
    for child in branch.below:
        deeper = ways(child, labels, path, here)
        found += deeper
        if deeper and not child.goes_on:
            break
    return found or [(path, here)]


class Naive:
    """Everything that has been heard, and what followed."""

    def __init__(self, root: Branch, rules: Sequence[Rule]) -> None:
        self.root, self.rules = root, rules
        self.stories: list[Story] = []
        self.silences: list[tuple[float, float, Asks]] = []
        self._closed: set[tuple[str, str, str]] = set()

    @property
    def live(self) -> list[Story]:
        """The episodes that are not over, the oldest first."""
        return [story for story in self.stories if story.state != "over"]

    def fire(self, now: float, name: str, source: str, labels: Labels) -> None:
        """An alert fires."""
        for path, branch in ways(self.root, labels):
            grouped = sorted((label, labels[label]) for label in branch.group_by or () if label in labels)
            key = f"{path}{{{', '.join(f'{label}={value}' for label, value in grouped)}}}"
            if (key, name, source) not in self._closed:
                self._hear(now, key, branch).firing[name] = (source, labels)
        self.pass_to(now)

    def over(self, now: float, name: str, source: str) -> None:
        """What this source said of an alert is over."""
        self._closed = {closed for closed in self._closed if closed[1:] != (name, source)}
        for story in self.live:
            if story.firing.get(name, ("", {}))[0] == source:
                del story.firing[name]
                if not story.firing and story.state in ("open", "acknowledged"):
                    story.was = "open" if story.state == "open" else "acknowledged"
                    story.state, story.settle_at = "settling", now + (story.branch.linger or 0)
        self.pass_to(now)

    def silence(self, now: float, span: float, asks: Asks) -> None:
        """From now on nothing is said of such alerts."""
        self.silences.append((now, now + span, asks))

    def acknowledge(self, now: float, story: Story) -> None:
        """Somebody is at it."""
        if "acknowledged" in (story.state, story.was if story.state == "settling" else ""):
            return
        if story.state == "settling":
            story.was = "acknowledged"
        else:
            story.state = "acknowledged"
        story.said += [(now, name, "acknowledge") for name in sorted(story.told)]

    def give_back(self, now: float, story: Story) -> None:
        """Nobody is at it any more."""
        if story.state == "acknowledged":
            story.state = "open"
            story.since = now if story.since is not None else None
        elif story.state == "settling":
            story.was = "open"
        self.pass_to(now)

    def close(self, now: float, story: Story) -> None:
        """A person says that it is over."""
        self._closed |= {(story.key, name, source) for name, (source, _) in story.firing.items()}
        story.firing = {}
        self._end(story, now)
        self.pass_to(now)

    def next_change(self, now: float) -> float | None:
        """When something may follow although nothing comes."""
        ends = [end for _, end, _ in self.silences if end > now]
        dues = [due for story in self.live if (due := self._due(story)) is not None and due > now]
        return min(ends + dues, default=None)

    def pass_to(self, now: float) -> None:
        """What has come due by now, until nothing follows from it any more."""
        while [change for story in self.live if (change := self._advance(story, now))]:
            pass

    def _hear(self, now: float, key: str, branch: Branch) -> Story:
        story = next((one for one in self.live if one.key == key), None)
        if story is None:
            episode = 1 + sum(one.key == key for one in self.stories)
            story = Story(key, episode, branch, now + (branch.wait or 0))
            self.stories.append(story)
        if story.state == "settling":
            story.state = story.was
        return story

    def _advance(self, story: Story, now: float) -> bool:
        """One step; whether there was one."""
        quiet = self._quiet(story, now)
        call = self._call_at(story)
        match story.state:
            case "waiting" if story.wait_until <= now:
                story.state = "open" if story.firing else "over"
            case "settling" if story.settle_at <= now:
                self._end(story, now)
            case "open" if quiet and call is not None and call <= now and not story.missed:
                story.missed = True
            case "open" if not quiet and story.missed:
                story.missed, story.since = False, now
            case "open" if not quiet and story.since is None:
                story.since = now
                self._tell(story, now, story.branch.receivers or ())
            case "open" if not quiet and call is not None and call <= now:
                self._tell(story, now, (story.branch.steps or ())[story.level][1])
                story.level += 1
            case _:
                return False
        return True

    def _tell(self, story: Story, now: float, names: Sequence[str]) -> None:
        story.said += [(now, name, "trigger") for name in names if name not in story.told]
        story.told.update(names)

    def _end(self, story: Story, now: float) -> None:
        story.state = "over"
        story.said += [(now, name, "resolve") for name in sorted(story.told)]

    def _due(self, story: Story) -> float | None:
        match story.state:
            case "waiting":
                return story.wait_until
            case "settling":
                return story.settle_at
            case _:
                return self._call_at(story)

    def _call_at(self, story: Story) -> float | None:
        steps = story.branch.steps or ()
        if story.state != "open" or story.since is None or story.level >= len(steps):
            return None
        return story.since + steps[story.level][0]

    def _quiet(self, story: Story, now: float) -> bool:
        return bool(story.firing) and all(self._hushed(labels, now) for _, labels in story.firing.values())

    def _hushed(self, labels: Labels, now: float) -> bool:
        if any(begin <= now < end and fits(asks, labels) for begin, end, asks in self.silences):
            return True
        others = [other for story in self.live for _, other in story.firing.values()]
        return any(_inhibits(rule, other, labels) for rule in self.rules for other in others)


def _inhibits(rule: Rule, source: Labels, target: Labels) -> bool:
    both = fits(rule.target, source) and fits(rule.source, target)
    same = all(source.get(name, "") == target.get(name, "") for name in rule.equal)
    return fits(rule.source, source) and fits(rule.target, target) and same and not both


def _inherited(branch: Branch, parent: Branch | None) -> Branch:
    if parent is None:
        return branch
    own = {name: getattr(branch, name) for name in ("receivers", "group_by", "wait", "linger", "steps")}
    kept = {name: getattr(parent, name) if value is None else value for name, value in own.items()}
    return Branch(branch.name, branch.asks, branch.goes_on, **kept, below=branch.below)


def _fits(value: str, op: str, asked: str) -> bool:
    like = re.fullmatch(asked, value) is not None if "~" in op else value == asked
    return like is not op.startswith("!")
