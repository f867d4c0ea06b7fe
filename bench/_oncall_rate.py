"""Deliveries a second to channels that take anything, each beside its bare client in the same process and run."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
from sqlmodel import select

from bench._oncall_desk import KEY, Figures, counted, cpu_s, furnish, open_incidents, opened, pager, webhook
from bench._oncall_sink import Sink, sink
from tocsin.notifiers.blocks import AnyBlock, PagerDuty, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.past import is_live
from tocsin.notifiers.tables import Delivery
from tocsin.store.engine import Store

SERVICES: Final = 4
PATIENCE_S: Final = 120.0
_FILLING: Final = "x" * 1_000
_LEFT: Final = select(Delivery.id).where(is_live(Delivery.state)).limit(1)


def rate(count: int) -> Figures:
    """Claimed, sent, written down, on SQLite: four PagerDuty services, one webhook."""
    with sink() as target:
        pagers = [pager(target.address, f"pager-{number}") for number in range(SERVICES)]
        return {
            "pagerduty": _beside(_rate(pagers, target, count), _bare_pagers(target.address, count)),
            "webhook": _beside(_rate([webhook(target.address)], target, count), asyncio.run(_bare(target, count))),
        }


def _beside(ours: Figures, floor: float) -> Figures:
    return {**ours, "floor_per_s": round(floor), "of_the_floor": round(ours["per_s"] / floor, 2)}


def _rate(blocks: Sequence[AnyBlock], target: Sink, count: int) -> Figures:
    with opened() as store:
        furnish(store, [block.model_copy(update={"storm": None}) for block in blocks])
        for place, block in enumerate(blocks):
            open_incidents(store, range(place * count, (place + 1) * count, len(blocks)), block.name)
        target.arrivals()  # of those before
        begun, burnt = time.monotonic(), cpu_s()
        asyncio.run(_until_told(store))
        seconds, cpu = time.monotonic() - begun, round(1e6 * (cpu_s() - burnt) / count)
        states = counted(store, Delivery, "state")
    return {"deliveries": states, "requests": len(target.arrivals()), "per_s": round(count / seconds), "cpu_us": cpu}


async def _until_told(store: Store) -> None:
    """A dispatcher serves until nothing is left."""
    stop = asyncio.Event()
    serving = asyncio.create_task(Dispatcher(store).serve(stop))
    deadline = time.monotonic() + PATIENCE_S
    while _is_left(store) and time.monotonic() < deadline:  # noqa: ASYNC110  (another loop writes the rows)
        await asyncio.sleep(0.1)
    stop.set()
    await serving


def _is_left(store: Store) -> bool:
    """Whether anything is still to be delivered; by an index, so that asking costs next to nothing."""
    with store.read() as session:
        return session.connection().scalar(_LEFT) is not None


def _bare_pagers(address: str, count: int) -> float:
    """Events a second of pdpyras alone, on as many threads."""
    import pdpyras  # its warning is silenced where tocsin imports it first

    local, begun = threading.local(), time.monotonic()

    def send(number: int) -> None:
        if not hasattr(local, "session"):
            local.session = pdpyras.EventsAPISession(KEY)
            local.session.url = address
        body: dict[str, Any] = {"summary": "floor", "source": "bench", "severity": "error"}  # Any: JSON
        body["custom_details"] = {"filling": _FILLING}
        local.session.send_event("trigger", dedup_key=f"floor/{number}", payload=body)

    with ThreadPoolExecutor(SERVICES * PagerDuty.at_once) as threads:
        list(threads.map(send, range(count)))
    return count / (time.monotonic() - begun)


async def _bare(target: Sink, count: int) -> float:
    """Posts a second of aiohttp alone, with as many under way."""
    url, body, begun = f"{target.address}/hooks/bare", f'{{"floor": "{_FILLING}"}}'.encode(), time.monotonic()
    async with aiohttp.ClientSession() as session:

        async def post(times: int) -> None:
            for _ in range(times):
                async with session.post(url, data=body) as answer:
                    await answer.read()

        await asyncio.gather(*[post(count // Webhook.at_once) for _ in range(Webhook.at_once)])
    return count // Webhook.at_once * Webhook.at_once / (time.monotonic() - begun)
