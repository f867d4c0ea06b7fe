"""Rules of every kind, and a seeded stream of events that sets them off: for whoever kills hosts or compares them.

load = Load(seed); load.batch(now)     the next few events: several resources, late ones, repeats, followers
"""

import random
from collections import deque
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tocsin.automations.model import Automation
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event

EACH = {"for_each": [RESOURCE_ID]}
NAMES = ("x", "x", "x", "beat", "beat", "opened", "closed", "broke", "fixed")
RESOURCES = 6
REPEATED = 0.08
LATE = 0.15
LATENESS_S = 12.0
REMEMBERED = 50

Actions = list[dict[str, Any]]  # Any: definitions as JSON


def rules(url: str | None = None) -> list[Automation]:
    """One of each kind of trigger, in time spans of seconds; with `url` some of them call it."""
    calls = [_call(url)] if url else [{"type": "do-nothing"}]
    return [
        *_plain(calls),
        *_counting(calls),
        *_silent(calls),
        *_composed(calls),
        *_sequences(calls),
        *_measuring(calls),
    ]


def _plain(calls: Actions) -> list[Automation]:
    """Those that fire at once, and those that are silent afterwards or wait for an end."""
    return [
        _rule("each", {"expect": ["x"], **EACH, "match": {RESOURCE_ID: "orders.1"}}, calls),
        _rule("prefix", {"expect": ["b*"], "match": {RESOURCE_ID: "orders.*", "team": ["data", "ops"]}}),
        _rule("related", {"match_related": {RESOURCE_ROLE: "flow", RESOURCE_ID: "flow.0"}, "expect": ["x"]}),
        _rule(
            "lasting",
            {"expect": ["broke"], **EACH},
            calls,
            resolve_on={"expect": ["fixed"]},
            actions_on_resolve=calls,
        ),
        _rule("cooldown", {"expect": ["x"], **EACH, "cooldown": 4}, calls),
        _rule(
            "emitting",
            {"expect": ["broke"], **EACH, "threshold": 2, "within": 10},
            [{"type": "emit-event", "event": "chained"}],
        ),
        _rule("chained", {"expect": ["chained"], "threshold": 2, "within": 20}),
    ]


def _counting(calls: Actions) -> list[Automation]:
    """Those that count."""
    return [
        _rule("counted", {"expect": ["x"], **EACH, "threshold": 3, "within": 4}, calls),
        _rule(
            "counted-lasting", {"expect": ["x"], **EACH, "threshold": 2, "within": 3}, resolve_on={"expect": ["beat"]}
        ),
        _rule("where", {"expect": ["x"], "where": "payload.n > `500`", "threshold": 2, "within": 6}),
        _rule("graceful", {"expect": ["x"], **EACH, "threshold": 3, "within": 5, "grace": 30}),
        _rule("after", {"after": ["opened"], "expect": ["x"], **EACH, "within": 5}),
        _rule("after-two", {"after": ["opened"], "expect": ["x", "opened"], **EACH, "threshold": 2, "within": 8}),
        _rule("counted-cooldown", {"expect": ["x"], **EACH, "threshold": 2, "within": 3, "cooldown": 6}),
        _rule("tumbling", {"expect": ["x"], **EACH, "threshold": 3, "within": 4, "window": "tumbling"}),
    ]


def _silent(calls: Actions) -> list[Automation]:
    """Those that wait for what does not come."""
    return [
        _rule("silent", {"posture": "Proactive", "expect": ["beat"], **EACH, "within": 2}, calls),
        _rule(
            "silent-lasting",
            {"posture": "Proactive", "expect": ["beat"], **EACH, "within": 3, "cooldown": 2},
            resolve_on={"expect": ["fixed"]},
        ),
        _rule("silent-all", {"posture": "Proactive", "expect": ["beat"], "threshold": 9, "within": 2}),
        _rule("stuck", {"posture": "Proactive", "after": ["opened"], "expect": ["closed"], **EACH, "within": 3}, calls),
        _rule(
            "stuck-graceful",
            {"posture": "Proactive", "after": ["opened"], "expect": ["closed"], **EACH, "within": 3, "grace": 2},
        ),
        _rule(
            "tumbling-silent", {"posture": "Proactive", "expect": ["beat"], **EACH, "within": 2, "window": "tumbling"}
        ),
    ]


def _composed(calls: Actions) -> list[Automation]:
    """Those that are made of others."""
    return [
        _rule(
            "all",
            {
                "type": "compound",
                "require": "all",
                "within": 10,
                "triggers": [{"expect": ["x"], **EACH}, {"expect": ["broke"], **EACH}],
            },
        ),
        _rule(
            "any",
            {
                "type": "compound",
                "require": "any",
                "triggers": [{"expect": ["broke"], **EACH}, {"expect": ["x"], **EACH, "threshold": 3, "within": 5}],
            },
        ),
        _rule(
            "two-of",
            {
                "type": "compound",
                "require": 2,
                "within": 8,
                **EACH,
                "cooldown": 3,
                "triggers": [
                    {"expect": ["x"]},
                    {"expect": ["closed"]},
                    {
                        "type": "compound",
                        "require": "all",
                        "within": 6,
                        "triggers": [{"expect": ["broke"]}, {"expect": ["fixed"]}],
                    },
                ],
            },
        ),
    ]


def _sequences(calls: Actions) -> list[Automation]:
    """Those that are made of others, in their order."""
    return [
        _rule(
            "sequence",
            {
                "type": "sequence",
                "within": 15,
                "triggers": [{"expect": ["opened"], **EACH}, {"expect": ["x"], **EACH}, {"expect": ["closed"], **EACH}],
            },
            calls,
        ),
        _rule(
            "sequence-silent",
            {
                "type": "sequence",
                "within": 20,
                **EACH,
                "triggers": [
                    {"expect": ["broke"]},
                    {"posture": "Proactive", "after": ["broke"], "expect": ["fixed"], "within": 2},
                    {"expect": ["x"]},
                ],
            },
        ),
    ]


def _measuring(calls: Actions) -> list[Automation]:
    """Those that measure."""
    return [
        _rule(
            "metric",
            {
                "type": "metric",
                "expect": ["x"],
                **EACH,
                "metric": {"value": "payload.n", "operator": ">", "threshold": 600, "range": 5, "firing_for": 1},
            },
            calls,
        ),
        _rule(
            "metric-count",
            {
                "type": "metric",
                "expect": ["broke"],
                "metric": {"aggregate": "count", "operator": ">=", "threshold": 15, "range": 4, "firing_for": 0},
            },
        ),
    ]


class Load:
    """Events as producers make them. Its own course depends on the seed alone; `now` only dates it."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._made: deque[Event] = deque(maxlen=REMEMBERED)

    def batch(self, now: datetime) -> list[Event]:
        """The next one to five events."""
        return [self._one(now) for _ in range(self._dice.randint(1, 5))]

    def _one(self, now: datetime) -> Event:
        if self._made and self._dice.random() < REPEATED:
            return self._dice.choice(self._made)
        late = self._dice.random()
        back = self._dice.random() * (LATENESS_S if late < LATE else 0.05)
        event = self._event(now - timedelta(seconds=back))
        self._made.append(event)
        return event

    def _event(self, occurred: datetime) -> Event:
        dice = self._dice
        number = dice.randrange(RESOURCES)
        labels = {RESOURCE_ID: f"orders.{number}", "team": dice.choice(["data", "ops", "web"])}
        related = [{RESOURCE_ID: f"flow.{dice.randrange(3)}", RESOURCE_ROLE: "flow"}]
        follows = dice.choice(self._made).id if self._made and dice.random() < 0.05 else None
        return Event(
            id=UUID(int=dice.getrandbits(128), version=4),
            event=dice.choice(NAMES),
            occurred=occurred,
            resource=labels,
            related=related,
            payload={"n": dice.randrange(1_000)},
            follows=follows,
        )


def _call(url: str) -> dict[str, Any]:  # Any: a definition as JSON
    payload = {"firing": "{{ firing.id }}", "state": "{{ firing.state }}"}
    return {"type": "call-webhook", "url": url, "payload": payload, "allow_private": ["127.0.0.0/8"]}


def _rule(name: str, trigger: dict[str, Any], actions: Actions | None = None, **more: Any) -> Automation:
    """Any: definitions as JSON."""
    given = {"name": name, "trigger": trigger, "actions": actions or [{"type": "do-nothing"}], "rate_limit": None}
    return Automation.model_validate({**given, **more})
