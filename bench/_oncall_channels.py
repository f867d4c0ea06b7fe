"""Channels: one that asks to wait, one that is away for hours, and a quiet system."""

import asyncio
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from bench._oncall_desk import (
    NOW,
    ROUTE,
    Figures,
    S,
    alert,
    counted,
    furnish,
    open_incidents,
    opened,
    pager,
    simulated,
    slack,
    spread_ms,
    webhook,
)
from bench._oncall_sink import LIMITED, RETRY_AFTER_S, Arrival, Sink, sink
from tocsin.automations.actions import SendNotification
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.events.clock import ManualClock
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.route import Route
from tocsin.notifiers.standins import Fail, PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Delivery
from tocsin.notifiers.take import take
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.triggers.event import EventTrigger

PATIENCE_S: Final = 120.0


def flap(changes: int, seconds: float) -> Figures:
    """An alert that changes so often within so many simulated seconds, then is over; `group_interval` 10 s."""
    clock = ManualClock(NOW)
    with SlackStandIn() as chat, PagerDutyStandIn() as calls, opened() as store:
        route = Route(name=ROUTE, receivers=("slack", "pager"), group_wait=10 * S, group_interval=10 * S)
        furnish(store, [slack(chat.address), pager(calls.url)], route)
        for number in range(changes):
            with store.begin() as session:
                take(session, [_change(number, clock)], clock.now())
            asyncio.run(simulated(store, clock, S * seconds / changes))
        asyncio.run(simulated(store, clock, 900 * S))
    actions = Counter(call["event_action"] for call in calls.calls)
    return {
        "changes": changes,
        "pagerduty": dict(actions),
        "slack_messages": len(chat.messages),
        "slack_thread_lines": len(chat.replies),
        "states": counted_over(chat.messages[0].text, calls.alerts[0].state),
    }


def counted_over(text: str, state: str) -> list[str]:
    """How both channels stand at the end."""
    return [text.partition(":")[0], state]


def _change(number: int, clock: ManualClock) -> Any:  # Any: an alert with an event of its own
    changed = alert(1, "one", over=number % 2 == 1, at=clock.now())
    return type(changed)(
        **{
            **{name: getattr(changed, name) for name in changed.__struct_fields__},
            "event_id": uuid7(),
            "source": f"HostLate/1/{number // 2}",
        }
    )


def waits(seconds: float) -> Figures:
    """A channel that answers 429 with Retry-After beside one that works: when it is asked again, the other's delays."""
    with sink() as target:
        alone, _ = _beside(target, seconds, limited=False)
        beside, asked = _beside(target, seconds, limited=True)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    return {
        "retry_after_s": RETRY_AFTER_S,
        "requests_to_the_limited": len(asked),
        "next_after_s": [round(min(gaps), 2), round(max(gaps), 2)],
        "too_early": sum(gap < RETRY_AFTER_S for gap in gaps),
        "later_than_a_second": sum(gap > RETRY_AFTER_S + 1 for gap in gaps),
        "others_alone": alone,
        "others_beside": beside,
        "p99_more_ms": round(beside["p99_ms"] - alone["p99_ms"], 1),
    }


def _beside(target: Sink, seconds: float, *, limited: bool) -> tuple[Figures, list[float]]:
    """Latencies of a webhook at 40 messages a second; and when the limited channel was asked."""
    with opened() as store:
        broken = webhook(target.address, "limited").model_copy(
            update={"url": type(webhook(target.address).url)(target.address + LIMITED), "storm": None}
        )
        furnish(store, [webhook(target.address).model_copy(update={"storm": None}), broken])
        put = asyncio.run(_paced(store, seconds, limited))
    came = target.arrivals()
    mine = {one.mark: one.at for one in came if one.path != LIMITED}
    return spread_ms([mine[mark] - at for mark, at in put.items()]), [one.at for one in came if one.path == LIMITED]


async def _paced(store: Store, seconds: float, limited: bool) -> dict[str, float]:
    stop, put = asyncio.Event(), {}
    serving = asyncio.create_task(Dispatcher(store).serve(stop))
    for number in range(int(seconds * 40)):
        now = datetime.now(UTC)
        put[f"host-{number}"] = time.monotonic()
        _put(store, number, "webhook", now)
        if limited and number % 20 == 0:
            _put(store, 1_000_000 + number, "limited", now)
        await asyncio.sleep(1 / 40)
    await asyncio.sleep(2)
    stop.set()
    await serving
    return put


def _put(store: Store, number: int, to: str, now: datetime) -> None:
    with store.begin() as session:
        take(session, [alert(number, to=to, at=now)], now)


def outage(incidents: int) -> Figures:
    """A channel is down for six simulated hours, each incident changes meanwhile; then it gets the newest of each."""
    clock, begun = ManualClock(NOW), time.monotonic()
    with WebhookStandIn() as target, opened() as store:
        furnish(store, [webhook(target.address).model_copy(update={"storm": None})])
        open_incidents(store, range(incidents), "webhook")
        target.fail(*[Fail(503)] * (incidents * 100))
        asyncio.run(_rounds(store, clock, 3))
        open_incidents(store, range(incidents), "webhook", clock.now(), graver=True)
        asyncio.run(_rounds(store, clock, 3))
        tried, down = target.requests, counted(store, Delivery, "state")
        target.heal()
        asyncio.run(simulated(store, clock, 900 * S))
        states, newest = counted(store, Delivery, "state"), Counter(one["data"]["severity"] for one in target.messages)
    return {
        "incidents": incidents,
        "tries_while_down": tried,
        "while_down": down,
        "after": states,
        "messages": dict(newest),
        "took_s": round(time.monotonic() - begun, 1),
    }


async def _rounds(store: Store, clock: ManualClock, hours: int) -> None:
    """A dispatcher tries all once an hour: more seldom than a real one would, which changes nothing but the time."""
    for _ in range(hours):
        dispatcher = Dispatcher(store, clock, jitter=lambda: 0.5)
        await dispatcher.run_due()
        await dispatcher.close()
        clock.advance(3_600 * S)


def quiet(samples: int, spacing: float) -> Figures:
    """Event appended to the log → request at the sink; the host and the dispatcher are processes of their own."""
    with sink() as target, opened() as store:
        route = Route(name=ROUTE, receivers=("webhook",), group_by=("...",), group_wait=S * 0)
        block = webhook(target.address).model_copy(update={"storm": None})
        furnish(store, [block], route, now=datetime.now(UTC))
        with store.begin() as session:
            apply(session, [_rule()], datetime.now(UTC))
        with Roles(store.engine.url.render_as_string(hide_password=False)):
            _emitted(store, target, range(20), 0.05)  # connections, caches, imports
            emitted, came = _emitted(store, target, range(1_000, 1_000 + samples), spacing)
    return {"events": samples, **spread_ms([came[mark] - at for mark, at in emitted.items()])}


class Roles:
    """The processor and the dispatcher, each in a process."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        work: Sequence[Callable[[str], None]] = (_processor, _dispatcher)
        self._processes = [context.Process(target=role, args=(url,), daemon=True) for role in work]

    def __enter__(self) -> None:
        for process in self._processes:
            process.start()

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _processor(url: str) -> None:
    store = Store.open(url)
    asyncio.run(Host(store, LogBus(store)).serve(asyncio.Event()))


def _dispatcher(url: str) -> None:
    asyncio.run(Dispatcher(Store.open(url)).serve(asyncio.Event()))


def _emitted(store: Store, target: Sink, numbers: range, spacing: float) -> tuple[dict[str, float], dict[str, float]]:
    emitted: dict[str, float] = {}
    came: list[Arrival] = []
    for number in numbers:
        now = datetime.now(UTC)
        emitted[f"host-{number}"] = time.monotonic()
        event = Event(id=uuid7(), occurred=now, event="host.late", resource={RESOURCE_ID: f"host-{number}.acme"})
        with store.begin() as session:
            append(session, [event], now=now)
        threading.Event().wait(spacing)
    deadline = time.monotonic() + PATIENCE_S
    while not emitted.keys() <= {one.mark for one in came}:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(emitted.keys() - {one.mark for one in came})} of {len(emitted)} never came")
        threading.Event().wait(0.05)
        came += target.arrivals()
    return emitted, {one.mark: one.at for one in came}


def _rule() -> Automation:
    notify = SendNotification(route=ROUTE, subject="{{ event.resource.id }} is late")
    return Automation(
        name="HostLate",
        trigger=EventTrigger(expect=("host.late",), for_each=(RESOURCE_ID,)),
        resolve_on=EventTrigger(expect=("host.in-time",)),
        actions=(notify,),
    )
