"""Any order of calls on a bus, held against a list and two numbers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.events.bus import Bus, Message, Record
from tocsin.events.memory import MemoryBus
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 5)),
        st.tuples(st.just("fetch"), st.integers(1, 4)),
        st.tuples(st.just("commit"), st.integers(0, 6)),
        st.tuples(st.just("rewind"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


async def walk(bus: Bus, topic: str, steps: Sequence[Step]) -> None:
    """Take the steps and hold each answer against a list and two numbers."""
    count = position = committed = 0
    open_records: list[Record] = []
    member = bus.subscribe(topic, [topic])
    await member.__aenter__()
    for step, size in [*steps, ("reopen", 0), ("fetch", 500)]:
        if step == "publish":
            new = range(count, count + size)
            await bus.publish([Message(topic, f"key-{n % 3}", str(n).encode()) for n in new])
            count += size
        elif step == "fetch":
            found = await member.fetch(size, timedelta(0))
            assert [int(record.body) for record in found] == list(range(position, min(count, position + len(found))))
            assert found or position == count
            position += len(found)
            open_records += found
        elif step == "commit":
            await member.commit(open_records[:size])
            committed += len(open_records[:size])
            open_records = open_records[size:]
        else:
            if step == "reopen":
                await member.__aexit__(None, None, None)
                member = bus.subscribe(topic, [topic])
                await member.__aenter__()
            else:
                await member.rewind()
            position, open_records = committed, []
        assert await member.lag() == count - committed
    assert position == count
    await member.__aexit__(None, None, None)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_any_order_of_calls_on_memory(steps: list[Step]) -> None:
    asyncio.run(walk(MemoryBus(), "topic", steps))


def test_any_order_of_calls_on_the_log(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/log.db")
    topics = iter(range(1_000_000))

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS)
    def check(steps: list[Step]) -> None:
        asyncio.run(walk(LogBus(store), f"topic-{next(topics)}", steps))

    check()
    store.close()
