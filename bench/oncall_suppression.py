"""What it costs to know whether an alert is silenced, with 10,000 silences on record.

Sets of silences: `hosts` (each with an equal matcher of its own), `teams` (100 teams, an expression for the host each),
`expressions` (one expression each, and nothing equal), `mixed` (all of these and inhibitions with 1,000 firing
sources). Alerts have ten labels; one in ten is silenced, and no two hosts are the same, so that nothing is remembered
from the one before. `hostile` are expressions that begin with anything: the worst that RE2 meets.

    python bench/oncall_suppression.py [--silences 10000] [--alerts 20000]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import Matcher
from tocsin.notifiers.silence import Silence
from tocsin.notifiers.suppression import World, suppressed, world_of

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEAMS: Final = 100

Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON
Make = Callable[[int], tuple[Matcher, ...]]


def hosts(number: int) -> tuple[Matcher, ...]:
    """A team, and a host of its own."""
    return Matcher("team", "=", f"team-{number % TEAMS}"), Matcher("host", "=", f"host-{number}-0")


def teams(number: int) -> tuple[Matcher, ...]:
    """A team, and an expression for its hosts."""
    return Matcher("team", "=", f"team-{number % TEAMS}"), Matcher("host", "=~", f"host-{number}-0.*")


def expressions(number: int) -> tuple[Matcher, ...]:
    """An expression for hosts, of no team."""
    return (Matcher("host", "=~", f"host-{number}-0.*"),)


def hostile(number: int) -> tuple[Matcher, ...]:
    """An expression that may begin anywhere."""
    return (Matcher("host", "=~", f".*host-{number}-0[a-z]*"),)


def mixed(number: int) -> tuple[Matcher, ...]:
    """One of the first three."""
    return (hosts, teams, expressions)[number % 3](number)


KINDS: Final[Sequence[Make]] = (hosts, teams, expressions, mixed, hostile)


def world(make: Make, silences: int) -> World:
    """The world of so many silences of a kind; with inhibitions where they are mixed."""
    made = [
        Silence(id=UUID(int=number), matchers=make(number), starts=NOW, ends=NOW + timedelta(hours=1))
        for number in range(silences)
    ]
    if make is not mixed:
        return world_of(made)
    rule = Inhibition(name="rack", source=("alertname=RackDown",), target=("severity=warning",), equal=("rack",))
    return world_of(made, [rule], ({"alertname": "RackDown", "rack": f"rack-{number}"} for number in range(1_000)))


def alerts(count: int, silences: int) -> Iterator[dict[str, str]]:
    """Alerts of ten labels; one in ten is of a host that is silenced."""
    for number in range(count):
        of = number * 7919 % silences
        yield {
            "alertname": "HostLate",
            "automation": "HostLate",
            "severity": "warning",
            "team": f"team-{of % TEAMS}",
            "host": f"host-{of}-{0 if number % 10 == 0 else number + 1}",
            "rack": f"spare-{number}",
            "zone": "eu-1",
            "env": "production",
            "job": "node",
            "tocsin.resource.id": f"acme.host.{of}",
        }


def measure(silences: int = 10_000, count: int = 20_000) -> Figures:
    """By kind of silence: microseconds of processor time an alert (mean, median, 99th of 100), how many matched."""
    return {make.__name__: _one(make, silences, count if make is not hostile else 200) for make in KINDS}


def _one(make: Make, silences: int, count: int) -> Figures:
    begin = time.process_time()
    known = world(make, silences)
    suppressed({"host": "none", "team": "team-0"}, known, NOW)  # what is made when it is first needed
    built_s = time.process_time() - begin
    found, spans_us = 0, []
    of_alerts = list(alerts(count, silences))
    for first in range(0, count, 100):
        batch = of_alerts[first : first + 100]
        begin = time.process_time()
        found += sum(1 for labels in batch if suppressed(labels, known, NOW))
        spans_us.append((time.process_time() - begin) * 1e6 / len(batch))
    cuts = statistics.quantiles(spans_us, n=100)
    return {
        "mean_us": round(statistics.fmean(spans_us), 2),
        "median_us": round(cuts[49], 2),
        "p99_us": round(cuts[98], 2),
        "silenced": found,
        "alerts": count,
        "build_s": round(built_s, 3),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--silences", type=int, default=10_000)
    parser.add_argument("--alerts", type=int, default=20_000)
    chosen = parser.parse_args()
    figures = measure(chosen.silences, chosen.alerts)
    json.dump({"bench": "oncall_suppression", "silences": chosen.silences, **figures}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
