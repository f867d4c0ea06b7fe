"""`tocsin dev`: every role in one process on SQLite, for trying out."""

import asyncio

from tocsin.events.clock import SystemClock
from tocsin.flows.pools import create_pool
from tocsin.server.http import address, listen, serve_http
from tocsin.server.logs import set_up
from tocsin.server.roles import ROLES, Service, pulse, run_services, services, stopping_on_signals
from tocsin.server.settings import Settings
from tocsin.server.wiring import open_parts, topics_ready

_NEXT = """tocsin runs at {url}
  database   {database}
  work pool  {pool}

Next:
  tocsin event tail                       follow what happens
  tocsin event emit orders.loaded orders  say that something happened
  tocsin automation apply FILE            say what is to be done then
  tocsin deployment apply FILE            let the worker run your flows
Stop with Ctrl-C.
"""


async def run_dev(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run every role until `stop` is set or a signal comes; prints the URL and what to do next."""
    set_up(settings, "dev")
    stop = stop or asyncio.Event()
    listener = listen(settings)
    async with open_parts(settings) as parts:
        now = SystemClock().now()
        await parts.store.run(lambda session: create_pool(session, settings.work_pool, now=now))
        others = services([name for name in ROLES if name != "server"], parts)
        api = Service("api", lambda stop: serve_http(parts, stop, listener))
        print(
            _NEXT.format(url=address(listener), database=parts.store.url, pool=settings.work_pool), end="", flush=True
        )
        with stopping_on_signals(stop):
            if await topics_ready(parts.bus, stop):
                await run_services([api, *others, pulse(settings, list(ROLES))], stop)
