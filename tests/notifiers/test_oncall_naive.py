"""Random nights on call, told by a naive account and by the real thing: the same words at the same times."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.notifiers.naive import Asks, Branch, Naive, Rule, Story
from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Unacknowledge
from tocsin.notifiers.audit import violations
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.inhibitions import put_inhibition
from tocsin.notifiers.matchers import Matcher
from tocsin.notifiers.route import Escalate, Route
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.view import view_from_json
from tocsin.store.engine import Store

NAMES = ("slack", "pager", "hook")
LABELS = {
    "a1": {"team": "db", "severity": "critical", "node": "n1"},
    "a2": {"team": "db", "severity": "warning", "node": "n1"},
    "a3": {"team": "web", "severity": "warning", "node": "n2"},
    "a4": {"team": "web", "severity": "critical", "node": "n2"},
    "a5": {"team": "bi", "severity": "error", "node": "n1"},
}
ASKS: tuple[Asks, ...] = (
    (("team", "=", "db"),),
    (("team", "=~", "db|web"),),
    (("severity", "=", "critical"),),
    (("alertname", "!~", "a[12]"),),
    (("alertname", "!=", "a1"), ("team", "!=", "bi")),
)
SILENCED: tuple[Asks, ...] = ((("team", "=", "db"),), (("alertname", "=~", "a[34]"),), (("alertname", "=", "a5"),))
RULES = (
    Rule((("severity", "=", "critical"),), (("severity", "=", "warning"),), ("node",)),
    Rule((("team", "=", "db"),), (("node", "=", "n1"),)),
)
GROUPS = ((), ("team",), ("alertname",), ("team", "alertname"))


def branch(dice: random.Random, name: str, depth: int) -> Branch:
    """A random node; the root says everything, a child some of it."""

    def some(value: Any, chance: float = 0.4) -> Any:
        return value if depth == 0 or dice.random() < chance else None

    children = dice.choice([0, 1, 2, 3]) if depth < 2 else 0
    steps = tuple((after, (dice.choice(NAMES),)) for after in sorted(dice.sample([6.0, 12.0, 25.0], 2)))
    return Branch(
        name,
        () if depth == 0 else dice.choice(ASKS),
        goes_on=depth > 0 and dice.random() < 0.4,
        receivers=some(tuple(dice.sample(NAMES, dice.choice([1, 2])))),
        group_by=some(dice.choice(GROUPS)),
        wait=some(float(dice.choice([0, 2, 5]))),
        linger=some(float(dice.choice([0, 4, 10]))),
        steps=some(steps if dice.random() < 0.7 else (), 0.6),
        below=tuple(branch(dice, f"{name}{n}", depth + 1) for n in range(children)),
    )


def route(one: Branch, root: bool = True) -> Route:
    """The same as a route."""
    spans = {"group_wait": one.wait, "resolve_wait": one.linger}
    given: dict[str, Any] = {name: span for name, span in spans.items() if span is not None}
    given |= {name: value for name in ("receivers", "group_by") if (value := getattr(one, name)) is not None}
    if one.steps is not None:
        given["escalation"] = tuple(Escalate(after=timedelta(seconds=s), receivers=who) for s, who in one.steps)
    if root:
        given |= {"group_interval": 3, "repeat_interval": 20, "flap": {"count": 1000}}
    else:
        given |= {"matchers": texts(one.asks), "continue_": one.goes_on}
    return Route(name=one.name, **given, routes=tuple(route(child, root=False) for child in one.below))


def texts(asks: Asks) -> tuple[str, ...]:
    return tuple(f'{name}{op}"{value}"' for name, op, value in asks)


@dataclass
class Night:
    """A naive account and an office, side by side."""

    dice: random.Random
    naive: Naive
    office: Office
    start: datetime
    now: float = 0.0

    def go_on(self, until: float) -> None:
        """Both to the same time, and in between wherever the naive account sees something coming."""
        while self.now < until:
            coming = self.naive.next_change(self.now)
            self.now = until if coming is None else min(coming, until)
            self.office.pass_time((self.start + timedelta(seconds=self.now) - self.office.clock.now()).total_seconds())
            self.office.turn()
            self.naive.pass_to(self.now)
            self.office.tell()

    def happen(self) -> None:
        """Something happens to both."""
        name, source = self.dice.choice(list(LABELS)), str(self.dice.choice([1, 1, 2]))
        match self.dice.choice(["fire", "fire", "fire", "over", "over", "silence", "person"]):
            case "fire":
                self.office.fire(name, to="r", source=source, labels=LABELS[name])
                self.naive.fire(self.now, name, source, {"alertname": name, **LABELS[name]})
            case "over":
                self.office.over(name, to="r", source=source)
                self.naive.over(self.now, name, source)
            case "silence":
                self.silence(float(self.dice.choice([7, 20, 45])), self.dice.choice(SILENCED))
            case _:
                known = [story for story in self.naive.live if story.said]
                if known:
                    self.act(self.dice.choice(known))
        self.office.turn()
        self.office.tell()

    def silence(self, span: float, asks: Asks) -> None:
        now = self.office.clock.now()
        matchers = [Matcher(*one) for one in asks]
        with self.office.store.begin() as session:
            ends = now + timedelta(seconds=span)
            add_silence(session, matchers, starts=now, ends=ends, author="ann", comment="", now=now)
        self.naive.silence(self.now, span, asks)

    def act(self, story: Story) -> None:
        acts: tuple[Act, ...] = (Acknowledge(by="ann"), Unacknowledge(by="ann"), Resolve(by="ann"))
        act = self.dice.choice(acts)
        [row] = [one for one in self.office.incidents() if (one.key, one.episode) == (story.key, story.episode)]
        self.office.act(row.id, act)
        match act:
            case Acknowledge():
                self.naive.acknowledge(self.now, story)
            case Unacknowledge():
                self.naive.give_back(self.now, story)
            case _:
                self.naive.close(self.now, story)

    def heard(self) -> list[tuple[str, int, str, list[tuple[float, str]]]]:
        """By incident and receiver the words that matter, and when they were put down."""
        found = []
        for row in self.office.incidents():
            for name in NAMES:
                views = [
                    view_from_json(one.view)
                    for one in self.office.deliveries(name)
                    if one.incident_id == row.id and one.state == "delivered"
                ]
                words: list[tuple[float, str]] = [
                    ((view.at - self.start).total_seconds(), view.action)
                    for view in views
                    if view.action in ("trigger", "resolve") or (view.action == "acknowledge" and name != "hook")
                ]
                found += [(row.key, row.episode, name, words)] if words else []
        return sorted(found)

    def expected(self) -> list[tuple[str, int, str, list[tuple[float, str]]]]:
        found = []
        for story in self.naive.stories:
            for name in NAMES:
                said = [(at, word) for at, who, word in story.said if who == name]
                words = [(round(at, 6), word) for at, word in said if name != "hook" or word != "acknowledge"]
                found += [(story.key, story.episode, name, words)] if words else []
        return sorted(found)


@pytest.mark.parametrize("seed", range(8))
def test_both_accounts_of_a_night_agree(seed: int, sqlite_url: str, clock: ManualClock) -> None:
    dice = random.Random(seed)
    root = branch(dice, "r", 0)
    rules = [rule for rule in RULES if dice.random() < 0.4]
    store = Store.open(sqlite_url)
    office = Office(store, clock)
    office.furnish(route(root))
    with store.begin() as session:
        for number, rule in enumerate(rules):
            sides = {"source": texts(rule.source), "target": texts(rule.target)}
            put_inhibition(session, Inhibition(name=f"rule{number}", equal=rule.equal, **sides), clock.now())
    night = Night(dice, Naive(root, rules), office, clock.now())
    for step in range(dice.randint(10, 30)):
        night.go_on(int(night.now) + dice.choice([1, 2, 4, 9, 20]) + (step + 1) / 1000)
        night.happen()
    night.go_on(night.now + 60)
    assert night.heard() == night.expected()
    with store.read() as session:
        assert violations(session, clock.now()) == []
    store.close()
