"""Days on call, simulated: whatever may come, stand-ins for the channels, dispatchers that die.

What is known here of alerts and channels is kept apart from the database, so that the two can be compared.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlmodel import Session, col, select

from tocsin.events.clock import ManualClock
from tocsin.notifiers.act import Act
from tocsin.notifiers.acts import act
from tocsin.notifiers.agenda import next_due
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.audit import Violation, violations
from tocsin.notifiers.blocks import PagerDuty, Slack, Webhook
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.claims import Claimed
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.matchers import equals
from tocsin.notifiers.outcomes import Outcome
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Escalate, Flap, Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.silences import add_silence, expire_silence, list_silences
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.take import take
from tocsin.notifiers.view import Message
from tocsin.store.engine import Store

T = TypeVar("T")
Point = Literal["begin", "commit", "committed", "send", "sent"]

RECEIVERS: Final = ("slack", "pager", "webhook")
KEYS: Final = ("db-1", "db-2", "web-1")
ROUTE: Final = "oncall"
S: Final = timedelta(seconds=1)
_ROUNDS: Final = 5_000


class Killed(BaseException):
    """The process is gone."""


class Fate:
    """Dies at the so-manieth time that one of these points is come to."""

    def __init__(self, point: Point, times: int) -> None:
        self._point, self._left = point, times

    def at(self, point: Point) -> None:
        """Die, if this is the place."""
        self._left -= point == self._point
        if self._left == 0:
            raise Killed


class MortalStore:
    """A store whose process may die around its transactions."""

    def __init__(self, store: Store, fate: Fate) -> None:
        self._store, self._fate, self.look = store, fate, store.look

    async def run(self, work: Callable[[Session], T]) -> T:
        """The result of `work`."""
        self._fate.at("begin")

        def mortal(session: Session) -> T:
            found = work(session)
            self._fate.at("commit")
            return found

        found = await self._store.run(mortal)
        self._fate.at("committed")
        return found


class MortalDispatcher(Dispatcher):
    """A dispatcher whose process may die."""

    def __init__(self, store: Store, clock: ManualClock, fate: Fate) -> None:
        mortal: Any = MortalStore(store, fate)  # Any: it has the two methods that a dispatcher calls here
        super().__init__(mortal, clock, jitter=lambda: 0.5)
        self._fate = fate

    async def _send(self, channel: Notifier, message: Message, claimed: Claimed) -> Outcome:
        self._fate.at("send")
        outcome = await super()._send(channel, message, claimed)
        self._fate.at("sent")
        return outcome


def routes() -> list[Route]:
    """What the route may be at one time and another."""
    web = Route(
        match={"team": "web"}, receivers=("webhook",), group_by=("alertname",), group_wait=S * 0, continue_=True
    )
    steps = (Escalate(after=S * 120, receivers=("webhook",)), Escalate(after=S * 240, receivers=("pager",)))
    slow: dict[str, Any] = {
        "group_by": ("team",),
        "group_wait": S * 10,
        "group_interval": S * 30,
        "resolve_wait": S * 20,
        "repeat_interval": S * 600,
        "ack_timeout": S * 300,
    }
    flap = Flap(count=3, window=S * 300, quiet=S * 60)
    return [
        Route(name=ROUTE, receivers=("slack", "pager"), escalation=steps, escalation_repeat=1, flap=flap, **slow),
        Route(name=ROUTE, receivers=("slack",), routes=(web,), flap=flap, **slow),
        Route(name=ROUTE, receivers=RECEIVERS, group_by=("...",), group_wait=S * 0, resolve_wait=S * 0),
    ]


class Days:
    """A database, a clock, three channels, and what is known of the alerts."""

    def __init__(self, folder: Path, mould: Path) -> None:
        shutil.copy(mould, folder / "tocsin.db")
        self.store = Store.open(f"sqlite:///{folder / 'tocsin.db'}")
        self.clock = ManualClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        self.slack, self.pager, self.webhook = SlackStandIn(), PagerDutyStandIn(), WebhookStandIn()
        self.slack.limits.on, self.slack.limits.now = True, lambda: self.clock.now().timestamp()
        self.firing: dict[str, set[str]] = {}
        self._sources: dict[str, int] = dict.fromkeys(KEYS, 0)
        self._last: dict[str, Alert] = {}
        self._runner = asyncio.Runner()
        with self.store.begin() as session:
            self._furnish(session)

    def close(self) -> None:
        """Put everything away."""
        self._runner.close()
        for stand_in in self.stand_ins.values():
            stand_in.close()
        self.store.close()

    @property
    def stand_ins(self) -> dict[str, SlackStandIn | PagerDutyStandIn | WebhookStandIn]:
        """The other ends of the channels."""
        return {"slack": self.slack, "pager": self.pager, "webhook": self.webhook}

    def fire(self, key: str, to: str, *, skew_s: float = 0, **more: Any) -> None:
        """`key` fires, by the route or for the notifier `to`; the clock of its host may run behind."""
        if not self.firing.get(key):
            self._sources[key] += 1
        alert = self._alert(key, to, "firing", skew_s, more)
        self._last[key] = alert
        self.take(alert)
        self.firing.setdefault(key, set()).add(to)

    def over(self, key: str, *, skew_s: float = 0) -> None:
        """It is over for everybody."""
        if self.firing.get(key):
            to = sorted(self.firing.pop(key))
            self.take(self._alert(key, to[0], "resolved", skew_s, {}))

    def again(self, key: str) -> None:
        """The last firing comes a second time."""
        if key in self._last and self.firing.get(key):
            self.take(self._last[key])

    def take(self, *alerts: Alert) -> None:
        """Take alerts, the first time in a process that dies before its commit."""
        try:
            with self.store.begin() as session:
                take(session, alerts, self.clock.now())
                raise Killed
        except Killed:
            pass
        with self.store.begin() as session:
            take(session, alerts, self.clock.now())

    def act(self, incident: UUID, what: Act) -> None:
        """A person does something about an incident."""
        with self.store.begin() as session:
            act(session, incident, what, self.clock.now())

    def silence(self, team: str, seconds: float) -> None:
        """Nothing is said of a team."""
        now = self.clock.now()
        with self.store.begin() as session:
            add_silence(
                session,
                [equals("team", team)],
                starts=now,
                ends=now + S * seconds,
                author="ann",
                comment="",
                now=now,
            )

    def unsilence(self) -> None:
        """Every silence is over."""
        with self.store.begin() as session:
            for row in list_silences(session, self.clock.now(), "active"):
                expire_silence(session, row.id, by="ann", now=self.clock.now())

    def reroute(self, route: Route) -> None:
        """The route is changed."""
        with self.store.begin() as session:
            put_route(session, route, self.clock.now())

    def pass_time(self, seconds: float) -> None:
        """Time passes with a dispatcher at work; it is another one each time."""
        until = self.clock.now() + S * seconds
        dispatcher = Dispatcher(self.store, self.clock, jitter=lambda: 0.5)
        self._runner.run(self._work(dispatcher, until))

    def sleep(self, seconds: float) -> None:
        """Time passes, and no dispatcher is there."""
        self.clock.advance(S * seconds)

    def doom(self, point: Point, times: int) -> None:
        """A dispatcher works on what is due and dies."""
        self._runner.run(self._die(MortalDispatcher(self.store, self.clock, Fate(point, times))))

    def incidents(self) -> list[Incident]:
        """All of them, the oldest first."""
        return self.rows(Incident, Incident.opened)

    def live(self) -> list[Incident]:
        """Those that are not over."""
        return [row for row in self.incidents() if row.state in LIVE]

    def rows(self, table: Any, *order: Any) -> list[Any]:  # Any: a table of ours, its columns and rows
        """All rows of a table."""
        with self.store.read() as session:
            return list(session.exec(select(table).order_by(*(col(column) for column in order))).all())

    def audit(self) -> list[Violation]:
        """What the auditor says."""
        with self.store.read() as session:
            return violations(session, self.clock.now())

    async def _work(self, dispatcher: Dispatcher, until: datetime) -> None:
        for _ in range(_ROUNDS):
            await dispatcher.run_due()
            now = self.clock.now()
            with self.store.read() as session:
                due = next_due(session, now)
            if due is None or due > until:
                break
            self.clock.set(due)
        else:
            raise AssertionError(f"a dispatcher that never rests, at {self.clock.now()}")
        self.clock.set(until)
        await dispatcher.run_due()
        await dispatcher.close()

    async def _die(self, dispatcher: Dispatcher) -> None:
        with suppress(Killed):
            await dispatcher.run_due()
        await dispatcher.close()

    def _alert(self, key: str, to: str, status: Literal["firing", "resolved"], skew_s: float, more: Any) -> Alert:
        team = key.partition("-")[0]
        return Alert(
            source=f"{key}/{self._sources[key]}",
            identity=key,
            to=ToRoute(ROUTE) if to == ROUTE else ToNotifier(to),
            subject=f"{key} is down",
            event_id=uuid4(),
            at=self.clock.now() - S * skew_s,
            status=status,
            labels={"alertname": key, "team": team, "severity": "error"},
            **more,
        )

    def _furnish(self, session: Session) -> None:
        slack, webhook = self.slack, self.webhook
        token, signing = SecretStr(slack.token), SecretStr(webhook.secret)
        url = SecretStr(webhook.url)
        put_notifier(session, Slack(name="slack", token=token, channel=slack.channel, api_url=slack.api_url))
        put_notifier(
            session, PagerDuty(name="pager", routing_key=SecretStr(self.pager.routing_key), url=self.pager.url)
        )
        put_notifier(session, Webhook(name="webhook", url=url, secret=signing, allow_private=(webhook.host,)))
        put_route(session, routes()[0], self.clock.now())
