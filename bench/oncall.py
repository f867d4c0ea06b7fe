"""On call: what storms, channels, outages and a quiet night cost, each beside the floor of the same run.

    python bench/oncall.py [storm group events limited flap waits quiet rate outage match] [--alerts 100000] …

Without names all of them run. The storm runs on SQLite and on PostgreSQL (a server of its own, fsync on, or the one
named in TOCSIN_BENCH_POSTGRES as postgresql://user:password@host/postgres), each in a process of its own, for its
memory. Simulated time is said to be so; all else is the machine's. JSON on the standard output.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import _oncall_channels as channels
from bench import _oncall_rate as rates
from bench import _oncall_storm as storms
from bench._oncall_desk import Figures
from bench.oncall_suppression import measure
from tests.postgres.cluster import Cluster, Databases, NoPostgres, Server

Section = Callable[[argparse.Namespace], Figures]


def storm(given: argparse.Namespace) -> Figures:
    """100,000 alerts in 100 groups, taken in batches of a thousand."""
    figures = {"sqlite": apart(storms.storm, "", given.alerts, given.groups)}
    with postgresql() as server:
        if server is None:
            figures["postgresql"] = {"skipped": "no PostgreSQL here"}
        else:
            figures["postgresql"] = apart(storms.storm, server.create(), given.alerts, given.groups)
    return figures | {"to a webhook": apart(storms.told, "", given.alerts, given.groups)}


def group(given: argparse.Namespace) -> Figures:
    """100,000 alerts in one group."""
    return apart(storms.group, given.alerts)


def events(given: argparse.Namespace) -> Figures:
    """Events through the embedded host into 100 groups."""
    return apart(storms.events, given.events, given.groups)


def limited(given: argparse.Namespace) -> Figures:
    """20,000 groups into one Slack channel."""
    return apart(storms.limited, given.crowd)


def flap(given: argparse.Namespace) -> Figures:
    """30 changes in 120 simulated seconds."""
    return channels.flap(30, 120)


def waits(given: argparse.Namespace) -> Figures:
    """429 with Retry-After beside a channel that works."""
    return channels.waits(given.seconds)


def quiet(given: argparse.Namespace) -> Figures:
    """From an event to its request."""
    return channels.quiet(given.samples, 0.1)


def rate(given: argparse.Namespace) -> Figures:
    """Deliveries a second."""
    return rates.rate(given.deliveries)


def outage(given: argparse.Namespace) -> Figures:
    """A channel that is down for six simulated hours."""
    return channels.outage(given.incidents)


def match(given: argparse.Namespace) -> Figures:
    """10,000 silences; `bench/oncall_suppression.py` has more."""
    return measure()


SECTIONS: dict[str, Section] = {
    one.__name__: one for one in (storm, group, events, limited, flap, waits, quiet, rate, outage, match)
}


# Any: a section's arguments.
def apart(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """The figures of `work` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, work, *arguments))
    process.start()
    theirs.close()
    try:
        found: Figures = ours.recv()
    except EOFError:
        raise SystemExit(f"{work.__name__} ended without figures") from None
    process.join()
    return found


def _work(pipe: Connection, work: Callable[..., Figures], *arguments: Any) -> None:  # Any: as above
    pipe.send(work(*arguments))


@contextmanager
def postgresql() -> Iterator[Databases | None]:
    """A server that makes databases; None where there is none."""
    if address := os.environ.get("TOCSIN_BENCH_POSTGRES"):
        yield Server(address)
        return
    try:
        cluster = Cluster(settings=())
        cluster.start()
    except NoPostgres:
        yield None
        return
    try:
        yield cluster
    finally:
        cluster.stop()


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    for name, most in (("alerts", 100_000), ("groups", 100), ("events", 20_000), ("crowd", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=most)
    for name, most in (("seconds", 15), ("samples", 200), ("deliveries", 4_000), ("incidents", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=most)
    given = parser.parse_args()
    if unknown := set(given.sections) - SECTIONS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SECTIONS)}")
    figures = {name: SECTIONS[name](given) for name in given.sections or SECTIONS}
    load = [round(part, 2) for part in os.getloadavg()]
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": load}
    json.dump({"bench": "oncall", "machine": machine, **figures}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
