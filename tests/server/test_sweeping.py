"""The watchdog's service: silence is a death only where others could have been heard."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session

from tocsin.events.clock import ManualClock
from tocsin.flows.beat import TTL
from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.runs import create_run, get_run
from tocsin.server.sweeping import EVERY, STOOD_STILL, Sweeping
from tocsin.store import leases
from tocsin.store.engine import Store


class Watched:
    """A run under a worker's lease, and a watchdog on a clock that the test drives."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock, self.watchdog = store, clock, Sweeping(store, clock)
        with store.begin() as session:
            put_deployment(session, Deployment(name="d", entrypoint="a:b", flow_name="f"), clock.now())
            self.run: UUID = create_run(session, "d", now=clock.now()).id
            claim(session, "default", 1, lease="worker:1", worker="1", now=clock.now())
        self.beat()

    def beat(self) -> None:
        with self.store.begin() as session:
            leases.acquire(session, "worker:1", "somebody", self.clock.now(), TTL)

    async def looks_for(self, span: timedelta) -> str:
        """The state of the run after the watchdog has looked every two seconds for so long."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            await self.watchdog.look()
            self.clock.advance(EVERY)
        with self.store.read() as session:
            return get_run(session, self.run).state_name

    async def change(self, statement: str) -> None:
        def work(session: Session) -> None:
            session.connection().execute(text(statement))

        await self.store.run(work)


@pytest.fixture
def watched(store: Store, clock: ManualClock) -> Watched:
    return Watched(store, clock)


async def test_a_silent_process_is_found_when_its_lease_is_over(watched: Watched) -> None:
    assert await watched.looks_for(TTL - EVERY) == "Pending"
    assert await watched.looks_for(3 * EVERY) == "Crashed"


async def test_a_process_that_is_found_dead_at_the_start_is_not_waited_for(watched: Watched) -> None:
    watched.clock.advance(2 * TTL)
    assert await watched.looks_for(EVERY) == "Crashed"


async def stands_still(watched: Watched) -> None:
    watched.clock.advance(timedelta(hours=8))


async def loses_its_database(watched: Watched) -> None:
    await watched.change("ALTER TABLE lease RENAME TO away")
    await watched.looks_for(2 * TTL)
    await watched.change("ALTER TABLE away RENAME TO lease")


@pytest.mark.parametrize("trouble", [stands_still, loses_its_database])
@pytest.mark.parametrize("lives", [True, False], ids=["lives", "is dead"])
async def test_after_a_standstill_everybody_is_heard_before_he_is_dead(
    watched: Watched, trouble: Callable[[Watched], Awaitable[None]], lives: bool
) -> None:
    await watched.looks_for(EVERY)
    await trouble(watched)
    assert await watched.looks_for(TTL - EVERY) == "Pending"
    if lives:
        watched.beat()
    assert await watched.looks_for(3 * EVERY) == ("Pending" if lives else "Crashed")


def test_a_look_that_is_a_little_late_is_no_standstill() -> None:
    assert 2 * EVERY < STOOD_STILL < TTL
