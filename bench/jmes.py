"""How fast a condition is tested, beside the jmespath package on the same event in the same run.

`package_ns` is the package's `compile(text).search(document)`, `reused_ns` the same with one interpreter kept, which is
the best that can be had of it. Ours: `search_ns` and `test_ns` on the document, `meets_ns` on the Event itself.
`ratio` is `package_ns` through the slower of `test_ns` and `meets_ns`, `of_reused` the same for `reused_ns`.

    python bench/jmes.py [--rounds 7] [--number 2000]
"""

import argparse
import json
import platform
import statistics
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jmespath
import msgspec
from jmespath.visitor import TreeInterpreter

from tocsin.events import jmes
from tocsin.events.model import Event

CONDITIONS = {
    "equality": "payload.state.type == 'FAILED'",
    "number": "payload.run_count > `3`",
    "and of two": "payload.state.type == 'FAILED' && payload.run_count > `3`",
    "contains": "contains(payload.flow.name, 'etl')",
    "filter": "payload.tasks[?state == 'FAILED'].name | [0] == 'load'",
    "or, not, number": "(payload.state.type == 'CRASHED' || payload.state.type == 'FAILED')"
    " && !(payload.flow.name == 'other') && payload.run_count > `3`",
    "missing path": "payload.nothing.of.this == 'x'",
    "max_by": "max_by(payload.tasks, &seconds).name == 'load'",
}
Figures = dict[str, Any]  # Any: numbers, for JSON


def sample() -> Event:
    """An event of about 700 bytes."""
    return Event(
        event="tocsin.flow-run.Failed",
        occurred=datetime(2026, 3, 2, 6, 0, 12, 345678, tzinfo=UTC),
        resource={"tocsin.resource.id": "tocsin.flow-run.0197a3f2", "tocsin.resource.name": "brave-otter"},
        related=[{"tocsin.resource.id": "tocsin.flow.daily-order-etl", "tocsin.resource.role": "flow"}],
        payload={
            "state": {"type": "FAILED", "name": "Failed", "message": "the load ended with an error"},
            "run_count": 5,
            "flow": {"name": "daily-order-etl"},
            "tasks": [
                {"name": "extract", "state": "COMPLETED", "seconds": 12.5},
                {"name": "load", "state": "FAILED", "seconds": 32.25},
                {"name": "notify", "state": "PENDING", "seconds": 0},
            ],
            "parameters": {"day": "2026-03-01", "region": "eu", "limit": 10_000},
        },
    )


def measure(text: str, event: Event, rounds: int, number: int) -> Figures:
    """The figures of one condition; each is the median of `rounds`, taken in turn so that noise falls on all."""
    document = msgspec.json.decode(msgspec.json.encode(event))
    theirs, ours, interpreter = jmespath.compile(text), jmes.compile(text), TreeInterpreter()
    calls: dict[str, Callable[[], object]] = {
        "package_ns": lambda: theirs.search(document),
        "reused_ns": lambda: interpreter.visit(theirs.parsed, document),
        "search_ns": lambda: ours.search(document),
        "test_ns": lambda: ours.test(document),
        "meets_ns": lambda: ours.meets(event),
    }
    if not calls["package_ns"]() == calls["search_ns"]() == ours.event(event):
        raise SystemExit(f"{text}: different answers")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(timeit.timeit(call, number=number) / number * 1e9)
    figures: Figures = {name: round(statistics.median(times)) for name, times in taken.items()}
    slower = max(figures["test_ns"], figures["meets_ns"])
    figures["ratio"] = round(figures["package_ns"] / slower, 1)
    figures["of_reused"] = round(figures["reused_ns"] / slower, 1)
    return figures


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--number", type=int, default=2000)
    options = parser.parse_args()
    event = sample()
    figures = {
        name: {"condition": text, **measure(text, event, options.rounds, options.number)}
        for name, text in CONDITIONS.items()
    }
    smallest = min(found["ratio"] for found in figures.values())
    machine = {"python": platform.python_version(), "event_bytes": len(msgspec.json.encode(event))}
    print(json.dumps({**machine, "smallest_ratio": smallest, "conditions": figures}, indent=2))


if __name__ == "__main__":
    main()
