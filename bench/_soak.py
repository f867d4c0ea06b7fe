"""Hosts that are killed every few seconds, for minutes on end; at the end what the checker says, as JSON.

    python -m bench._soak --minutes 10 --host embedded --seed 7 [--database postgresql] [--hosts 2]

Exits with 1 unless nothing was lost, invented, fired twice or late.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.automations.crashing import JUMP_S, SETTLED_S, Processor, Producers, Trial
from tests.automations.load import rules
from tests.automations.stream_crashing import trial
from tests.postgres.cluster import find

LIFE_S = (0.3, 6.0)
PRODUCERS = 2


def embedded(url: str, folder: Path, seed: int, minutes: float, hosts: int, late_ms: int) -> dict[str, object]:
    """The embedded host: `hosts` at a time, one of them killed every few seconds."""
    dice, deaths = random.Random(seed), 0
    end = time.monotonic() + minutes * 60
    with Trial(url, folder, rules) as played:
        with Producers(played.store, played.world, [seed * 100 + one for one in range(PRODUCERS)]):
            running: list[Processor] = [played.start() for _ in range(hosts)]
            settled_s = SETTLED_S
            while time.monotonic() < end:
                with played.awake(settled_s):
                    time.sleep(dice.uniform(*LIFE_S))
                running.pop(dice.randrange(hosts)).kill()
                deaths += 1
                settled_s = SETTLED_S
                if dice.random() < 0.8:
                    played.world.jump(JUMP_S)
                else:  # the dead one may hold the seat until its lease runs out
                    settled_s += JUMP_S
                running.append(played.start())
        until = played.settle()
        for one in running:
            one.kill()
        report = played.check(until, late_ms * 1_000).to_json()
    return {"host": "embedded", "database": url.split(":")[0], "seed": seed, "deaths": deaths, **report}


def stream(url: str, folder: Path, seed: int, minutes: float, late_ms: int) -> dict[str, object]:
    """The stream host: members come and die every few seconds, Kafka dies once in the middle."""
    deaths, report = asyncio.run(trial(folder, url, seed, minutes * 60, late_ms * 1_000))
    return {"host": "stream", "database": url.split(":")[0], "seed": seed, "deaths": deaths, **report.to_json()}


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The address of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/soak.db"
        return
    server = find()
    try:
        yield server.create()
    finally:
        server.stop()


def main() -> int:
    """Read the arguments, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--host", choices=["embedded", "stream"], default="embedded")
    parser.add_argument("--seed", type=int, default=random.randrange(2**16))
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--late-ms", type=int, default=100, help="how late a deadline may be")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(given.database, Path(folder)) as url:
        if given.host == "stream":
            found = stream(url, Path(folder), given.seed, given.minutes, given.late_ms)
        else:
            found = embedded(url, Path(folder), given.seed, given.minutes, given.hosts, given.late_ms)
    print(json.dumps(found, indent=2))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
