"""A night on call: rules, routes and channels, a processor and a dispatcher that are killed again and again.

```text
processor   [A   ✝]   [B ✝]      [C      ✝]        every death moves the clock of the world beyond all leases
dispatcher    [a ✝]  [b       ✝]     [c ✝]
things      down … up … down …                      and at the end: all down, all told; all up, all told
```
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from pydantic import SecretStr
from sqlmodel import Session, col, func, select

from tests.automations.host_program import World
from tests.notifiers import oncall_program as program
from tocsin.automations.actions import SendNotification
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.automations.tables import StoredFiring, StoredInvocation
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import EVENTS
from tocsin.notifiers.audit import Violation, violations
from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook, Webhook
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Flap, Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.triggers.event import EventTrigger

RECEIVERS: Final = ("slack", "hook", "pager", "webhook")
DATABASES: Final = tuple(f"db.{number}" for number in range(3))
SITES: Final = tuple(f"web.{number}" for number in range(4))
PAUSE_S: Final = 0.1
LONG_S: Final = 2.0
PATIENCE_S: Final = 120.0

_SPAN: Final = timedelta(seconds=1)
_NEVER: Final = Flap(count=1000, window=_SPAN, quiet=timedelta())
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.notifiers.oncall_program"])
_ROLES: Final = {
    "processor": (program.processor, program.HOST_POINTS),
    "dispatcher": (program.dispatcher, program.DISPATCHER_POINTS),
}


def rules() -> list[Automation]:
    """Two, whose firings last: databases, told together, and sites, told one by one."""
    return [
        Automation(
            name=kind,
            trigger=EventTrigger(expect=(f"{kind}.down",), for_each=(RESOURCE_ID,)),
            resolve_on=EventTrigger(expect=(f"{kind}.up",)),
            actions=(SendNotification(route="oncall"),),
            labels={"kind": kind},
        )
        for kind in ("db", "web")
    ]


def route() -> Route:
    """Databases in one group that waits a little, sites each for itself and at once."""
    sites = Route(match={"kind": "web"}, group_by=(RESOURCE_ID,), group_wait=timedelta(), resolve_wait=timedelta())
    return Route(
        name="oncall",
        receivers=RECEIVERS,
        group_by=("alertname",),
        group_wait=_SPAN,
        group_interval=_SPAN * 2,
        resolve_wait=_SPAN * 2,
        flap=_NEVER,
        routes=(sites,),
    )


class Night:
    """Everything a night needs; `kills` counts by role."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self.url, self._clock, self.dice = url, folder / "clock", random.Random(seed)
        self.world = World.new(self._clock)
        self.store = Store.open(url, create=True)
        self.kills: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.down: set[str] = set()
        self.fired = 0
        self._up: dict[str, tuple[BaseProcess, float, str]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.slack, self.hook = enter(SlackStandIn()), enter(SlackStandIn())
        self.pager, self.webhook = enter(PagerDutyStandIn()), enter(WebhookStandIn())
        with self.store.begin() as session:
            self._furnish(session)
            apply(session, rules(), self.world.now())
        return self

    def __exit__(self, *_: object) -> None:
        for role in list(self._up):
            self._kill(role)
        self._stack.close()
        self.store.close()

    def rage(self, kills: int) -> None:
        """Things go down and come up, and processes die, until so many are dead."""
        while self.kills.total() < kills:
            for role in _ROLES:
                self._let_live(role)
            self._live()
            self._see_who_died()

    def dawn(self) -> None:
        """Everything is down and everybody told; then all is up. Nobody is killed any more."""
        for role in _ROLES:
            if role in self._up:
                self._kill(role)
            self._start(role, "")
        self._all("down", lambda session: _rest(session))
        self.at_worst = self._incidents()
        self._all("up", lambda session: (*_rest(session), _open(session)))

    def emit(self, thing: str, word: str) -> None:
        """`thing` goes down or comes up."""
        if (thing in self.down) == (word == "down"):
            return
        self.down ^= {thing}
        self.fired += word == "down"
        now = self.world.now()
        event = Event(
            id=uuid7(), occurred=now, event=f"{thing.partition('.')[0]}.{word}", resource={RESOURCE_ID: thing}
        )
        with self.store.begin() as session:
            append(session, [event], EVENTS, now)

    def rows(self, table: Any) -> list[Any]:  # Any: a table of ours, and its rows
        """All of them."""
        with self.store.read() as session:
            return list(session.exec(select(table)).all())

    def audit(self) -> list[Violation]:
        """What the auditor finds wrong."""
        with self.store.read() as session:
            return violations(session, self.world.now())

    def _furnish(self, session: Session) -> None:
        slack, hook, pager, webhook = self.slack, self.hook, self.pager, self.webhook
        token, signing = SecretStr(slack.token), SecretStr(webhook.secret)
        put_notifier(session, Slack(name="slack", token=token, channel=slack.channel, api_url=slack.api_url))
        put_notifier(session, SlackWebhook(name="hook", url=SecretStr(hook.url)))
        put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr(pager.routing_key), url=pager.url))
        put_notifier(
            session,
            Webhook(name="webhook", url=SecretStr(webhook.url), secret=signing, allow_private=(webhook.host,)),
        )
        put_route(session, route(), self.world.now())

    def _live(self) -> None:
        for thing in self.dice.sample([*DATABASES, *SITES], self.dice.randint(0, 2)):
            self.emit(thing, self.dice.choice(["down", "up"]))
        wait_for_any([process.sentinel for process, _, _ in self._up.values()], PAUSE_S)

    def _let_live(self, role: str) -> None:
        if role not in self._up:
            self._start(role, program.some_fate(_ROLES[role][1], self.dice))

    def _start(self, role: str, fate: str) -> None:
        arguments = (self.url, os.environ["TOCSIN_HOME"], str(self._clock), fate)
        process = _PROCESSES.Process(target=_ROLES[role][0], args=arguments, daemon=True)
        process.start()
        self._up[role] = (process, time.monotonic(), fate)

    def _see_who_died(self) -> None:
        for role, (process, since, fate) in list(self._up.items()):
            if process.is_alive() and time.monotonic() - since < LONG_S:
                continue
            self.points["anywhere" if process.is_alive() else fate.partition(":")[0]] += 1
            self._kill(role)
            self.kills[role] += 1
            self.world.jump(program.JUMP_S)

    def _kill(self, role: str) -> None:
        process, _, _ = self._up.pop(role)
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"a {role} ended by itself, with {process.exitcode}")
        process.close()

    def _all(self, word: str, rest: Callable[[Session], tuple[int, ...]]) -> None:
        for thing in (*DATABASES, *SITES):
            self.emit(thing, word)
        left: tuple[int, ...] = (1,)
        deadline = time.monotonic() + PATIENCE_S
        while any(left):
            if time.monotonic() > deadline:
                raise AssertionError(f"all {word}, and there are left: {left}")
            self.world.jump(program.JUMP_S)
            time.sleep(PAUSE_S)  # other processes work, and there is nothing to wait on but their rows
            with self.store.read() as session:
                # In the order in which things move on: what is not in one place any more is in the next.
                left = (self._unread(session), *rest(session))

    def _unread(self, session: Session) -> int:
        """How many firings are still to come; each thing that went down is one."""
        begun = select(func.count()).where(StoredFiring.state == "Triggered")
        return self.fired - session.exec(begun).one()

    def _incidents(self) -> dict[UUID, Incident]:
        return {row.id: row for row in self.rows(Incident)}


@contextmanager
def night(url: str, folder: Path, seed: int) -> Iterator[Night]:
    """A night that is over when the block is."""
    with Night(url, folder, seed) as found:
        yield found


def _rest(session: Session) -> tuple[int, ...]:
    """Actions that are due, incidents that wait, deliveries that are under way."""
    actions = select(func.count()).where(StoredInvocation.state == "due")
    untold = select(func.count()).where(Incident.state == "waiting")
    news = select(func.count()).where(col(Incident.news), col(Incident.state).in_(LIVE))
    live = select(func.count()).where(col(Delivery.state).in_(["pending", "sending", "unknown"]))
    return tuple(session.exec(count).one() for count in (actions, untold, news, live))


def _open(session: Session) -> int:
    return session.exec(select(func.count()).where(col(Incident.state).in_(LIVE))).one()
