"""Whatever comes in whatever order: nothing is lost, whoever was told hears the end, in order, and within the limits.

`TOCSIN_TEST_ONCALL` is how many days are played (each 40 steps).
"""

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.notifiers.oncall_days import KEYS, RECEIVERS, ROUTE, Days, routes
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.standins import Fail, RateLimited, Reset
from tocsin.notifiers.tables import AlertRow, Delivery
from tocsin.store.engine import Store

EXAMPLES: Final = int(os.environ.get("TOCSIN_TEST_ONCALL", "6"))
FAULTS: Final = [Fail(500), Fail(503), RateLimited(3), RateLimited(90), RateLimited(), Reset(), Reset(accept=True)]
ACTS: Final[list[Act]] = [
    Acknowledge("ann"),
    Acknowledge("ann", via="pager"),
    Acknowledge("bob", via="slack"),
    Unacknowledge("ann"),
    Resolve("ann"),
    Silence("ann", timedelta(seconds=60)),
]

keys = st.sampled_from(KEYS)
skews = st.sampled_from([0, 0, 0, 2, 100])


class OnCall(RuleBasedStateMachine):
    """Alerts, people, faults and deaths; what must hold is looked at after each step and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.days = Days(Path(self._folder.name), mould())
        self.closed: set[str] = set()

    @rule(key=keys, to=st.sampled_from([ROUTE, ROUTE, ROUTE, "slack", "pager"]), skew_s=skews)
    def fires(self, key: str, to: str, skew_s: float) -> None:
        """One alert, by the route or straight to a notifier."""
        self.days.fire(key, to, skew_s=skew_s)

    @rule(skew_s=skews)
    def all_fire(self, skew_s: float) -> None:
        """Everything at once."""
        for key in KEYS:
            self.days.fire(key, ROUTE, skew_s=skew_s)

    @rule(key=keys)
    def fires_graver(self, key: str) -> None:
        """The same thing, worse."""
        self.days.fire(key, ROUTE, severity="critical")

    @rule(key=keys)
    def comes_again(self, key: str) -> None:
        """The same event a second time."""
        self.days.again(key)

    @rule(key=keys, skew_s=skews)
    def is_over(self, key: str, skew_s: float) -> None:
        """Its end."""
        self.days.over(key, skew_s=skew_s)

    @rule(seconds=st.sampled_from([0, 1, 10, 60, 400]))
    def time_passes(self, seconds: float) -> None:
        """With a dispatcher at work."""
        self.days.pass_time(seconds)

    @rule(seconds=st.sampled_from([5, 40, 1_000]))
    def nobody_works(self, seconds: float) -> None:
        """Without one, until another is there."""
        self.days.sleep(seconds)
        self.days.pass_time(0)

    @rule(point=st.sampled_from(["begin", "commit", "committed", "send", "sent"]), times=st.integers(1, 3))
    def dispatcher_dies(self, point: Any, times: int) -> None:
        """Somewhere on its way."""
        self.days.doom(point, times)

    @rule(receiver=st.sampled_from(RECEIVERS), faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3))
    def channel_breaks(self, receiver: str, faults: list[Any]) -> None:
        """For the next requests."""
        self.days.stand_ins[receiver].fail(*faults)

    @rule(number=st.integers(0, 5), what=st.sampled_from(ACTS))
    @precondition(lambda self: self.days.live())
    def person_acts(self, number: int, what: Act) -> None:
        """On one of the incidents."""
        live = self.days.live()
        self.days.act(live[number % len(live)].id, what)

    @rule(team=st.sampled_from(["db", "web"]), seconds=st.sampled_from([30, 500]))
    def is_silenced(self, team: str, seconds: float) -> None:
        """For a while."""
        self.days.silence(team, seconds)

    @rule()
    def is_unsilenced(self) -> None:
        """Before its time."""
        self.days.unsilence()

    @rule(number=st.integers(0, 2))
    def route_changes(self, number: int) -> None:
        """Under open incidents."""
        self.days.reroute(routes()[number])

    @invariant()
    def nothing_is_wrong(self) -> None:
        """The auditor finds nothing, nothing was sent beyond a limit."""
        assert self.days.audit() == []
        for stand_in in self.days.stand_ins.values():
            assert stand_in.violations == []
        assert self.days.slack.limits.refused == 0

    @invariant()
    def nothing_is_lost(self) -> None:
        """Whatever fires is an alert that fires in an incident that is not over, or one that a person has closed."""
        live = {row.id for row in self.days.live()}
        held = Counter(
            row.identity
            for row in self.days.rows(AlertRow)
            if (row.status == "firing" and row.incident_id in live) or row.status == "closed"
        )
        ways = {key: len({name == ROUTE for name in to}) for key, to in self.days.firing.items()}
        assert {key for key, count in ways.items() if count > held[key]} == set()

    def teardown(self) -> None:
        """Everything works again: all is told, and when all is over that is told, too."""
        try:
            self._end()
        finally:
            self.days.close()
            self._folder.cleanup()

    def _end(self) -> None:
        for stand_in in self.days.stand_ins.values():
            stand_in.heal()
        self.days.unsilence()
        self.days.pass_time(1_000)
        self._all_are_told()
        for key in KEYS:
            self.days.over(key)
        self.days.pass_time(1_000)
        self.nothing_is_wrong()
        self._all_are_told_the_end()
        self._in_order()

    def _all_are_told(self) -> None:
        told: dict[UUID, set[str]] = defaultdict(set)
        for row in self.days.rows(Delivery):
            told[row.incident_id] |= {row.receiver} if row.state == "delivered" else set()
        for incident in self.days.live():
            taken = (
                incident.state == "acknowledged" and incident.said is None
            )  # somebody was at it before anybody was told
            if incident.state in ("open", "acknowledged") and incident.firing and not taken:
                assert set(incident.node["receivers"]) - incident.storms.keys() <= told[incident.id], incident

    def _all_are_told_the_end(self) -> None:
        assert {row.state for row in self.days.incidents()} & set(LIVE) == set()
        assert {row.state for row in self.days.rows(Delivery)} <= {"delivered", "superseded"}
        alerts = Counter(alert.dedup_key for alert in self.days.pager.alerts)
        assert set(alerts.values()) <= {1}
        assert {alert.state for alert in self.days.pager.alerts} <= {"resolved"}
        shown = Counter(_incident(message.metadata) for message in self.days.slack.messages)
        assert set(shown.values()) <= {1}
        assert all(message.text.startswith("✅") for message in self.days.slack.messages)

    def _in_order(self) -> None:
        stories = defaultdict(list)
        for message in self.days.webhook.messages:
            stories[message["data"]["incident"]].append((message["data"]["revision"], message["type"]))
        for story in stories.values():
            assert story == sorted(story)
            assert [kind for _, kind in story].index("incident.resolved") == len(story) - 1


def mould() -> Path:
    """A database with every table and nothing in them, to be copied; made once."""
    if not _MOULD:
        folder = Path(tempfile.mkdtemp(prefix="tocsin-mould-"))
        Store.open(f"sqlite:///{folder / 'mould.db'}").close()
        _MOULD.append(folder / "mould.db")
    return _MOULD[0]


_MOULD: list[Path] = []


def _incident(metadata: object) -> str:
    assert isinstance(metadata, dict)
    return str(metadata["event_payload"]["incident"])


def teardown_module() -> None:
    """Nothing is left behind."""
    while _MOULD:
        shutil.rmtree(_MOULD.pop().parent)


TestOnCall = OnCall.TestCase
TestOnCall.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
