"""The same events lead to the same firings: whatever is restarted, repeated or dealt out to others in between."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tests.automations.checker import Report, check, log_of, wanted
from tests.automations.load import rules
from tests.automations.parts import START, define, log, rule
from tocsin.automations.episode import NOTHING, State, due, start_key, started
from tocsin.automations.evaluate import Decided, Place, decide, wake
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.automations.simulation import play
from tocsin.events.clock import ManualClock, Micros, instant, micros
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.store.tables import LogEntry
from tocsin.triggers.steps import Firing

TENTH = 100_000
BEGUN = micros(START)
END = BEGUN + 200_000_000
NO_WAIT = timedelta(0)

Stream = list[tuple[Event, Micros]]
RULES = rules()
KEYED = [one for one in RULES if one.key_labels == (RESOURCE_ID,) and one.name != "each"]


@st.composite
def streams(draw: st.DrawFn, most: int = 30) -> Stream:
    """Events of three resources, some of them late, in the order in which they were received; times in tenths."""
    one = st.tuples(
        st.sampled_from(["x", "x", "beat", "opened", "closed", "broke", "fixed", "chained"]),
        st.integers(0, 2),
        st.sampled_from([0, 0, 1, 3, 9, 14, 30]),
        st.sampled_from([0, 0, 0, 1, 5, 12, 40]),
        st.sampled_from([100, 550, 900]),
    )
    received, found = BEGUN, []
    for number, (name, resource, gap, late, n) in enumerate(draw(st.lists(one, min_size=4, max_size=most)), 1):
        received += gap * TENTH
        occurred = instant(received - late * TENTH)
        follows = UUID(int=draw(st.integers(1, number))) if draw(st.integers(0, 9)) == 0 else None
        found.append((event(number, name, f"orders.{resource}", occurred=occurred, n=n, follows=follows), received))
    return found


def event(number: int, name: str, resource: str, *, n: int = 0, **more: object) -> Event:
    labels = {RESOURCE_ID: resource, "team": "data"}
    related = [{RESOURCE_ID: f"flow.{number % 3}", RESOURCE_ROLE: "flow"}]
    given = {"id": UUID(int=number), "event": name, "resource": labels, "related": related, "payload": {"n": n}}
    return Event(**given, **more)  # type: ignore[arg-type]  # a test's own fields


def told(firings: Sequence[Firing]) -> dict[UUID, tuple[object, ...]]:
    """What a firing says, by its id; a repeated one once."""
    found: dict[UUID, tuple[object, ...]] = {}
    for one in firings:
        cause = one.event.id if one.event else None
        said = (one.automation, one.key, one.state, one.at, cause, one.count, one.episode, one.children, one.late)
        found.setdefault(one.id, said)
    return found


def simulated(automations: Sequence[Automation], stream: Stream) -> dict[UUID, tuple[object, ...]]:
    return told([one.firing for one in wanted(automations, stream, BEGUN, END).values()])


class Restarted:
    """A host that is started anew for every event and every deadline: all it has is JSON, and the rules."""

    def __init__(self, automations: Sequence[Automation]) -> None:
        self.index = Index(automations)
        self.rows: dict[Place, bytes] = {}
        self.firings: list[Firing] = []
        for one in automations:
            if first := started(one, NOTHING, BEGUN):
                self._keep({(one.name, start_key(one)): first})

    def goes_on(self, until: Micros) -> None:
        """Meet the deadlines up to `until`, the first one first."""
        while (at := min((at for at in map(self._due, self.rows) if at is not None), default=END + 1)) <= until:
            for place in [place for place in self.rows if self._due(place) == at]:
                self._take(wake(self.index.automations, {place: self._state(place)}, at))

    def hears(self, one: Event, received: Micros) -> None:
        """The next event; deadlines under other keys than its own wait for another day."""
        signals = self.index.route(one, received)
        self._take(decide(self.index.automations, {place: self._state(place) for place in self.rows}, signals))

    def _state(self, place: Place) -> State:
        return State.from_json(msgspec.json.decode(self.rows[place]))

    def _due(self, place: Place) -> Micros | None:
        return due(self.index.automations[place[0]], self._state(place))

    def _take(self, decided: Decided) -> None:
        self.firings += decided.firings
        self._keep(decided.states)

    def _keep(self, states: dict[Place, State]) -> None:
        for place, state in states.items():
            if state == NOTHING:
                self.rows.pop(place, None)
            else:
                self.rows[place] = msgspec.json.encode(state.to_json())


@settings(max_examples=60)
@given(streams(), st.booleans())
def test_a_restart_at_any_point_changes_nothing(stream: Stream, in_time: bool) -> None:
    """Nor does it matter whether deadlines are met in time, or only when the next event under the key comes."""
    host = Restarted(RULES)
    for one, received in stream:
        if in_time:
            host.goes_on(received - 1)
        host.hears(one, received)
    host.goes_on(END)
    assert told(host.firings) == simulated(RULES, stream)


@settings(max_examples=60)
@given(streams(), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 4)), max_size=12))
def test_repeated_delivery_changes_nothing(stream: Stream, repeats: list[tuple[int, int]]) -> None:
    """An event comes again right behind one of the next few."""
    repeated = [(stream[place], place + behind) for place, behind in repeats if place + behind < len(stream)]
    again = [
        (one, received)
        for place, (own, received) in enumerate(stream)
        for one in (own, *(earlier for (earlier, _), behind in repeated if behind == place))
    ]
    assert simulated(RULES, again) == simulated(RULES, stream)


@settings(max_examples=60)
@given(streams())
def test_the_order_between_partitions_that_share_no_key_does_not_matter(stream: Stream) -> None:
    apart: dict[UUID, tuple[object, ...]] = {}
    for resource in {one.resource_id for one, _ in stream}:
        apart |= simulated(KEYED, [(one, received) for one, received in stream if one.resource_id == resource])
    assert apart == simulated(KEYED, stream)


@cache
def _mould() -> bytes:
    """An SQLite file with every table and the rules."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mould.db"
        store = Store.open(f"sqlite:///{file}")
        define(store, *RULES)
        with store.begin() as session:  # what tells of the rules was written by the machine's clock
            session.connection().execute(delete(LogEntry))
        store.close()
        return file.read_bytes()


@contextmanager
def fresh() -> Iterator[Store]:
    """A database of its own for an example."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tocsin.db"
        file.write_bytes(_mould())
        store = Store.open(f"sqlite:///{file}")
        yield store
        store.close()


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(streams(), st.lists(st.sampled_from(["goes on", "restarts", "is down"]), min_size=30, max_size=30), st.data())
async def test_the_host_fires_what_the_simulation_says(stream: Stream, fates: list[str], data: st.DataObject) -> None:
    """Whatever the batches, whether it is up when an event comes, how often it is started anew, what comes twice."""
    with fresh() as store:
        clock = ManualClock(START)
        bus = LogBus(store, clock)
        batch = data.draw(st.sampled_from([1, 3, 1_000]))
        host, told_of = Host(store, bus, clock=clock, batch=batch), simulated(RULES, stream)
        repeated = data.draw(st.dictionaries(st.integers(0, 29), st.integers(0, 29), max_size=8))
        for place, ((one, received), fate) in enumerate(zip(stream, fates, strict=False)):
            clock.set(instant(received))
            log(store, one, now=clock.now())
            if (again := repeated.get(place)) is not None:  # the same id once more, from outside
                with store.begin() as session:
                    append(session, [stream[min(again, place)][0]], EXTERNAL, clock.now())
            if fate == "is down":
                continue
            if fate == "restarts":
                host = Host(store, bus, clock=clock, batch=batch)
            await works(host, bus)
        clock.set(instant(END))
        await works(host, bus)
        report = check(store, RULES, log_of(store), begun=BEGUN, until=END)
    assert undecided(report) == {}, report.examples
    if not repeated:
        assert report.total("found") == len(told_of)


async def works(host: Host, bus: LogBus) -> None:
    """Let it handle all that has come and all that is due, and leave."""
    async with bus.subscribe("automations", (EVENTS, EXTERNAL)) as subscription:
        while await host.turn(subscription, NO_WAIT) or await host.turn(subscription, NO_WAIT):
            pass


def undecided(report: Report) -> dict[str, int]:
    """What was not decided as it should be; nobody has carried it out here."""
    return {name: count for name, count in report.wrong.items() if name != "actions"}


DUE = START + timedelta(seconds=30)
STUCK = {"posture": "Proactive", "after": ["opened"], "expect": ["closed"], "for_each": [RESOURCE_ID], "within": 30}


@pytest.mark.parametrize(
    ("received", "fires"), [(0, False), (1, True)], ids=["at the instant at which it is due", "a microsecond later"]
)
@pytest.mark.parametrize("up", [True, False], ids=["up", "down meanwhile"])
async def test_what_comes_until_a_deadline_is_due_counts_for_it(
    sqlite_url: str, received: int, fires: bool, up: bool
) -> None:
    stuck = rule("stuck", trigger=STUCK)
    opened, closed = (event(number, name, "r", occurred=START) for number, name in enumerate(("opened", "closed"), 1))
    came = DUE + timedelta(microseconds=received)
    decided = list(play([stuck], [(opened, START), (closed, came)], until=instant(END)))
    assert [one.at for each in decided for one in each.firings] == ([DUE] if fires else [])
    store, clock = Store.open(sqlite_url), ManualClock(START)
    define(store, stuck)
    bus = LogBus(store, clock)
    host = Host(store, bus, clock=clock)
    log(store, opened, now=START)
    if up:
        await works(host, bus)
    clock.set(came)
    log(store, closed, now=came)
    clock.set(instant(END))
    await works(host, bus)
    report = check(store, [stuck], log_of(store), begun=BEGUN, until=END)
    assert (undecided(report), report.total("found")) == ({}, int(fires))
    store.close()
