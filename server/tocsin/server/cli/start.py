"""Commands that run until they are stopped: the roles, all of them at once, and the demo."""

import asyncio
from typing import Annotated, Literal

from cyclopts import Parameter

from tocsin.server.settings import check_binding, load

Host = Annotated[str | None, Parameter(help="Address to listen on (default: TOCSIN_HOST).")]
Port = Annotated[int | None, Parameter(help="Port to listen on (default: TOCSIN_PORT); 0 takes a free one.")]
Told = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"], help="For people, or JSON for programs.")]
Pool = Annotated[str | None, Parameter(help="Whose runs to take (default: TOCSIN_WORK_POOL).")]


def server(*, host: Host = None, port: Port = None) -> None:
    """Serve the HTTP API. Listens on loopback; any other address needs TOCSIN_API_KEY."""
    check_binding(load(host=host, port=port))
    _run("server", host=host, port=port)


def scheduler() -> None:
    """Emit the ticks of schedules, those of deployments among them. Any number may run; each tick has one id."""
    _run("scheduler")


def processor() -> None:
    """Evaluate automations on the stream of events. A second one stands by, or takes its share of partitions."""
    _run("processor")


def dispatcher() -> None:
    """Perform actions, deliver notifications, find crashed runs, and bring the log to Kafka when there is one."""
    _run("dispatcher")


def demo(*, output: Told = "text") -> int:
    """Play one event's whole way on a database of its own: a flow fails, people are told, it recovers."""
    from tocsin.server.demo.program import main

    return main(output=output)


def dev(*, port: Port = None, pool: Pool = None) -> None:
    """API, clock, processor, dispatcher and a worker in one process on SQLite. No broker, no set-up."""
    from tocsin.server.dev import run_dev

    asyncio.run(run_dev(load(port=port, work_pool=pool)))


def _run(role: str, **given: str | int | None) -> None:
    from tocsin.server.roles import run_roles

    asyncio.run(run_roles([role], load(**given)))
