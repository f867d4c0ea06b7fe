"""Several processes on one database: a follower that reads along misses nothing and passes nothing."""

import asyncio
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import msgspec

from tests.store.writer_program import LANES
from tocsin.events.bus import Record
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus

ROOT = Path(__file__).parents[2]
WRITERS, EACH = 3, 300


async def start(url: str, writer: int) -> asyncio.subprocess.Process:
    arguments = [url, f"writer-{writer}", str(EACH)]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.writer_program", *arguments, cwd=ROOT
    )


def by_key(records: list[Record]) -> dict[str, list[int]]:
    lanes: dict[str, list[int]] = defaultdict(list)
    for record in records:
        event = msgspec.json.decode(record.body)
        assert event["event"] == "written"
        lanes[record.key].append(event["payload"]["n"])
    return dict(lanes)


async def test_a_follower_reads_what_three_processes_write_once_and_in_order(store: Store, store_url: str) -> None:
    found: list[Record] = []
    async with asyncio.timeout(60), LogBus(store).subscribe("g") as member:
        writers = [await start(store_url, writer) for writer in range(WRITERS)]
        while len(found) < WRITERS * EACH:
            records = await member.fetch(limit=50, wait=timedelta(seconds=5))
            await member.commit(records)
            found += records
        assert [await writer.wait() for writer in writers] == [0] * WRITERS
        assert await member.fetch(wait=timedelta(0)) == []
        assert await member.lag() == 0
    assert by_key(found) == {
        f"writer-{writer}-{lane}": list(range(lane, EACH, LANES)) for writer in range(WRITERS) for lane in range(LANES)
    }
