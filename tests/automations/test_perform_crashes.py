"""A performer that dies at any point does each thing once."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count

from sqlmodel import Session, select

from tests.automations.parts import START, Outbox, calling, decided, define, happened, invocations, on, outcomes
from tocsin.automations.calls import Call
from tocsin.automations.perform import LEASE, Ended, Performer
from tocsin.events.clock import ManualClock
from tocsin.flows.deployments import Deployment
from tocsin.flows.tables import FlowRun
from tocsin.store.engine import Store


class Crash(BaseException):
    """The process ends here."""


class FragilePerformer(Performer):
    """May die before and after each of its transactions."""

    def __init__(self, store: Store, clock: ManualClock, outbox: Outbox, at: int, places: "count[int]") -> None:
        super().__init__(store, clock, outbox)
        self._at, self._places = at, places

    def claim(self, session: Session) -> tuple[int, list[Call]]:
        self._here()
        claimed = super().claim(session)
        self._here()
        return claimed

    def record(self, session: Session, ended: Sequence[Ended]) -> None:
        self._here()
        super().record(session, ended)
        self._here()

    async def _make(self, call: Call) -> None:
        try:
            self._here()
            await super()._make(call)
        except Crash:
            self.dead = True

    def _here(self) -> None:
        if next(self._places) == self._at:
            raise Crash

    dead = False


async def test_a_crash_at_any_point_does_each_thing_once(store: Store, clock: ManualClock) -> None:
    Deployment(name="refresh", entrypoint="a:b", flow_name="refresh").apply(store, now=START)
    define(store, calling("call", "x"), on("run", {"type": "run-deployment", "deployment": "refresh"}))
    for place in range(40):
        clock.advance(timedelta(hours=1))
        before = len(invocations(store))
        await decided(store, clock, happened("x", payload={"n": place}))
        outbox, places = Outbox(), count()
        dead = await killed(FragilePerformer(store, clock, outbox, place, places))
        clock.advance(LEASE)
        await Performer(store, clock, outbox).settle()
        rows = invocations(store)
        assert len(rows) == before + 2
        assert {row.state for row in rows} == {"done"}
        assert len(set(outbox.ids)) == 1
        assert len(outbox.ids) <= 2
        assert len(outcomes(store)) == len(rows)
        with store.read() as session:
            assert len(session.exec(select(FlowRun)).all()) == place + 1
        if not dead:
            break
    assert 3 < place < 40


async def killed(performer: FragilePerformer) -> bool:
    """Let it work until it dies or all is done; whether it died. What it had under way dies with it."""
    try:
        await performer.settle()
    except Crash:
        return True
    return performer.dead
