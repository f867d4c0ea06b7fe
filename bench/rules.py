"""What an event costs when many rules wait: bytes in, firings out, beside decoding the same bytes in the same run.

Rules: 70 % want an exact label, 20 % the first characters of one, 10 % a related resource and a condition on the
payload. Events: 700 bytes, each made so that one rule is met. `routed` is decoding and finding the rules, `fired` the
whole path to the firing, which every event makes; in `sparse` one event of twenty does. `of_decode` is each of these
through decoding alone: this process's processor time, in turns, medians of rounds. The adversarial sets are rules that
differ in one thing only, 10 and 10,000 of them, found without decoding. Rules are made without validation, which is
not what is measured; loading them is.

    python bench/rules.py [--most 100000] [--events 20000] [--rounds 5] [--only sizes changes adversaries conditions]
"""

import argparse
import gc
import json
import platform
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jmespath

from tocsin.automations.evaluate import decide
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.events import codec, jmes
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.triggers.event import EventTrigger

SIZES: Final = (1, 100, 1_000, 10_000, 100_000)
NAMES: Final = [
    f"acme.{thing}.{state}" for thing in ("pipeline", "run", "table", "host") for state in ("Failed", "Late", "Done")
]
CONDITION: Final = "payload.state.type == 'FAILED' && payload.attempt > `3`"

Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON


def rule(number: int, **trigger: object) -> Automation:
    """An automation that fires on each event its trigger is about, one key a resource."""
    fields: Any = {"for_each": (RESOURCE_ID,), **trigger}  # Any: the fields of the model
    return Automation.model_construct(name=f"rule-{number:06}", trigger=EventTrigger.model_construct(**fields))


def event(name: str = NAMES[0], number: int = 0, **parts: Any) -> Event:  # Any: the fields of the model
    """An event of about 700 bytes, in the form of those that tell of a flow run."""
    labels = {
        RESOURCE_ID: f"acme.other.{number}",
        "tocsin.resource.name": "brave-otter",
        "tocsin.state-name": "Failed",
        "tocsin.state-type": "FAILED",
        "tocsin.run-count": "4",
        "env": "prod",
    }
    related = [
        {RESOURCE_ID: f"tocsin.flow.other-{number}", RESOURCE_ROLE: "flow", "tocsin.resource.name": "daily"},
        {RESOURCE_ID: "tocsin.deployment.etl", RESOURCE_ROLE: "deployment", "tocsin.resource.name": "etl"},
        {RESOURCE_ID: "tocsin.work-pool.main", RESOURCE_ROLE: "work-pool", "tocsin.resource.name": "main"},
    ]
    payload = {"state": {"type": "FAILED", "name": "Failed"}, "attempt": 4, "parameters": {"day": "2026-03-01"}}
    return Event(
        event=name,
        resource=labels | parts.get("labels", {}),
        related=[*parts.get("related", ()), *related][:3],
        payload=payload | parts.get("payload", {}),
    )


# --- the mix ---


def mixed(number: int) -> Automation:
    """The rule of this number in the mix."""
    names = (NAMES[number % len(NAMES)],)
    match number % 10:
        case 9:
            related = {RESOURCE_ID: f"tocsin.flow.flow-{number}", RESOURCE_ROLE: "flow"}
            return rule(number, expect=names, match_related=(related,), where=CONDITION)
        case 7 | 8:
            return rule(number, expect=names, match={RESOURCE_ID: f"acme.team-{number}.*"})
        case _:
            return rule(number, expect=names, match={RESOURCE_ID: f"acme.resource.{number}"})


def meeting(number: int) -> Event:
    """An event that meets the rule of this number in the mix, and no other."""
    name = NAMES[number % len(NAMES)]
    match number % 10:
        case 9:
            flow = {RESOURCE_ID: f"tocsin.flow.flow-{number}", RESOURCE_ROLE: "flow"}
            return event(name, number, related=[flow])
        case 7 | 8:
            return event(name, number, labels={RESOURCE_ID: f"acme.team-{number}.table-{number % 7}"})
        case _:
            return event(name, number, labels={RESOURCE_ID: f"acme.resource.{number}"})


# --- rules that differ in one thing only ---


@dataclass(frozen=True)
class Adversary:
    """`make` the rule of a number, and of a number of rules an event that meets the one (`meet`)."""

    make: Callable[[int], Automation]
    meet: Callable[[int, int], Event]


def _where(condition: Callable[[int], str], payload: Callable[[int, int], dict[str, object]]) -> Adversary:
    return Adversary(
        lambda number: rule(number, expect=(NAMES[0],), where=condition(number)),
        lambda number, count: event(number=number, payload=payload(number, count)),
    )


def _match(match: Callable[[int], dict[str, object]], labels: Callable[[int], dict[str, str]]) -> Adversary:
    return Adversary(
        lambda number: rule(number, expect=(NAMES[0],), match=match(number)),
        lambda number, count: event(number=number, labels=labels(number)),
    )


ADVERSARIES: Final = {
    "payload equality": _where(lambda n: f"payload.table == 't{n}'", lambda n, count: {"table": f"t{n}"}),
    "label prefixes": _match(lambda n: {"table": f"t{n}.*"}, lambda n: {"table": f"t{n}.x"}),
    "label prefixes of any length": _match(
        lambda n: {"table": f"{'t' * (n % 50)}{n}.*"}, lambda n: {"table": f"{'t' * (n % 50)}{n}.x"}
    ),
    "lists of 5 values": _match(
        lambda n: {"table": [f"t{n}.{part}" for part in range(5)]}, lambda n: {"table": f"t{n}.{n % 5}"}
    ),
    "1,000 payload paths": _where(
        lambda n: f"payload.p{n % 1_000} == 't{n}'", lambda n, count: {f"p{n % 1_000}": f"t{n}"}
    ),
    "1,000 label sets": _match(
        lambda n: {f"label-{n % 1_000}": f"v{n}", "env": "prod"}, lambda n: {f"label-{n % 1_000}": f"v{n}"}
    ),
    "numeric threshold": _where(lambda n: f"payload.size > `{n}`", lambda n, count: {"size": 0.5}),
    "numeric ceiling": _where(lambda n: f"payload.size <= `{n}`", lambda n, count: {"size": count - 1}),
    "numeric equality": _where(lambda n: f"payload.size == `{n}`", lambda n, count: {"size": n}),
    "numeric band": _where(
        lambda n: f"payload.size > `{n * 10}` && payload.size <= `{n * 10 + 10}`",
        lambda n, count: {"size": n * 10 + 5},
    ),
    "or of equalities": _where(
        lambda n: f"payload.table == 't{n}' || payload.table == 'u{n}'", lambda n, count: {"table": f"u{n}"}
    ),
    "same condition": Adversary(
        lambda number: rule(
            number, expect=(NAMES[0],), where="starts_with(payload.state.name, 'C') || payload.attempt > `9`"
        ),
        lambda number, count: event(number=number),
    ),
    "same condition, failing": Adversary(
        lambda number: rule(number, expect=(NAMES[0],), where="length(payload.attempt) > `9`"),
        lambda number, count: event(number=number),
    ),
    "related labels": Adversary(
        lambda number: rule(number, expect=(NAMES[0],), match_related=({RESOURCE_ID: f"tocsin.flow.flow-{number}"},)),
        lambda number, count: event(
            number=number, related=[{RESOURCE_ID: f"tocsin.flow.flow-{number}", RESOURCE_ROLE: "flow"}]
        ),
    ),
    "event names": Adversary(
        lambda number: rule(number, expect=(f"acme.thing-{number}.*",)),
        lambda number, count: event(f"acme.thing-{number}.Failed", number),
    ),
}


# --- measuring ---


def each(bodies: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    """Microseconds of processor time that `work` takes for one of the bodies."""
    begun = time.process_time()
    for body in bodies:
        work(body)
    return (time.process_time() - begun) / len(bodies) * 1e6


def paths(index: Index) -> dict[str, Callable[[bytes], object]]:
    """Decoding alone, then what is measured beside it."""
    return {
        "decode": codec.decode,
        "routed": lambda body: index.route(codec.decode(body), 1),
        "fired": lambda body: decide(index.automations, {}, index.route(codec.decode(body), 1)),
    }


def in_turns(bodies: Sequence[bytes], works: dict[str, Callable[[bytes], object]], rounds: int) -> Figures:
    """Microseconds an event of each of the works, and their ratio to the first."""
    for work in works.values():
        each(bodies[:1_000], work)
    gc.collect()
    gc.freeze()  # as a host does once its rules are loaded
    taken = [{name: each(bodies, work) for name, work in works.items()} for _ in range(rounds)]
    gc.unfreeze()
    first, *others = works
    ratios = {name: round(statistics.median(one[name] / one[first] for one in taken), 2) for name in others}
    return {f"{name}_us": round(statistics.median(one[name] for one in taken), 2) for name in works} | {
        f"of_{first}": ratios
    }


def load(automations: Sequence[Automation]) -> tuple[Index, float]:
    """The index of these rules, and the microseconds that a rule took."""
    begun = time.process_time()
    index = Index(automations)
    return index, (time.process_time() - begun) / len(automations) * 1e6


def size(count: int, events: int, rounds: int) -> Figures:
    """The mix at `count` rules."""
    chance = random.Random(count)
    index, took = load([mixed(number) for number in range(count)])
    meet = [meeting(chance.randrange(count)) for _ in range(events)]
    mostly_none = [one if place % 20 == 0 else event(one.event, place) for place, one in enumerate(meet)]
    assert all(len(index.route(one)) == 1 for one in meet[:1_000]), "each event meets one rule"
    bodies, sparse = (list(map(codec.encode, made)) for made in (meet, mostly_none))
    works = paths(index)
    found = in_turns(bodies, works, rounds)
    rare = in_turns(sparse, {"decode": works["decode"], "sparse": works["fired"]}, rounds)
    found["of_decode"] |= rare["of_decode"]
    return {"event_bytes": len(bodies[0]), "load_us_a_rule": round(took, 1), **found, "sparse_us": rare["sparse_us"]}


def sizes(most: int, events: int, rounds: int) -> Figures:
    """The mix at every size, and how the paths grow from 100 rules to the most."""
    found: Figures = {f"{count:,}": size(count, events, rounds) for count in SIZES if count <= most}
    last = list(found.values())[-1]
    growth = {name: round(last[name] / found["100"][name], 2) for name in ("routed_us", "fired_us", "sparse_us")}
    return found | {"growth": growth, "bytes_a_rule": bytes_a_rule(min(most, 10_000))}


def bytes_a_rule(count: int) -> int:
    """What the index takes on top of the rules themselves."""
    automations = [mixed(number) for number in range(count)]
    for one in automations:
        _ = one.trigger.expression  # type: ignore[union-attr]  # the rule's own
    tracemalloc.start()
    index = Index(automations)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken // len(index.automations)


def changes(count: int, times: int = 500) -> Figures:
    """Milliseconds to add, change and remove one rule among `count`, and to route an event after it.

    The last two bring a shape and a name pattern that no rule had, while 4,000 event names are remembered. A full
    garbage collection of all rules takes `full_gc_ms`; they are frozen here, so that none comes in between.
    """
    index, _ = load([mixed(number) for number in range(count)])
    begun = time.process_time()
    gc.collect()
    full = (time.process_time() - begun) * 1e3
    gc.freeze()  # or one change in thousands waits for that
    for number in range(4_000):
        index.route(event(f"acme.thing-{number}"))
    numbers = range(count, count + times)
    added = [mixed(number) for number in numbers]
    changed = [one.model_copy(update={"trigger": mixed(place).trigger}) for place, one in enumerate(added)]
    shapes = [rule(number + times, match={f"new-{number}": "x"}, expect=("acme.*",)) for number in numbers]
    patterns = [rule(number + 2 * times, expect=(f"acme.*{number}", f"acme.{number}*")) for number in numbers]
    return {
        "rules": count,
        "full_gc_ms": round(full, 1),
        "add": spread(index.put, added, index),
        "change": spread(index.put, changed, index),
        "remove": spread(index.drop, [one.name for one in added], index),
        "add_shape": spread(index.put, shapes, index),
        "add_pattern": spread(index.put, patterns, index),
    }


def spread(work: Callable[[Any], object], arguments: Sequence[Any], index: Index) -> Figures:  # Any: what `work` takes
    """Milliseconds of `work` and of an event after it; `most_cpu_ms` without the time that other processes took."""
    happened, wall, processor = event(), [], []
    for argument in arguments:
        begun, spent = time.perf_counter(), time.process_time()
        work(argument)
        index.route(happened)
        wall.append((time.perf_counter() - begun) * 1e3)
        processor.append((time.process_time() - spent) * 1e3)
    return {
        "median_ms": round(statistics.median(wall), 3),
        "most_ms": round(max(wall), 3),
        "most_cpu_ms": round(max(processor), 3),
    }


def adversaries(count: int, rounds: int) -> Figures:
    """Each adversarial set: microseconds to route an event at 10 rules and at `count`, and their ratio."""
    return {name: adversary(one, count, rounds) for name, one in ADVERSARIES.items()}


def adversary(one: Adversary, count: int, rounds: int) -> Figures:
    """Routing alone, so that decoding hides nothing."""
    costs = []
    for rules in (10, count):
        chance = random.Random(rules)
        index = Index([one.make(number) for number in range(rules)])
        events = [one.meet(chance.randrange(rules), rules) for _ in range(2_000)]
        assert all(len(index.route(happened)) <= 1 for happened in events)
        costs.append(statistics.median(routing(index, events) for _ in range(rounds)))
    return {"10": round(costs[0], 2), f"{count:,}": round(costs[1], 2), "ratio": round(costs[1] / costs[0], 2)}


def routing(index: Index, events: Sequence[Event]) -> float:
    """Microseconds of processor time to route one of the events."""
    begun = time.process_time()
    for one in events:
        index.route(one)
    return (time.process_time() - begun) / len(events) * 1e6


def conditions(rounds: int) -> Figures:
    """Our evaluation of a condition beside the jmespath package's, in microseconds."""
    ours, theirs = jmes.compile(CONDITION), jmespath.compile(CONDITION)
    happened = event()
    document = json.loads(codec.encode(happened))
    pairs = [(timed(lambda: ours.meets(happened)), timed(lambda: theirs.search(document))) for _ in range(rounds)]
    mine, package = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"closures_us": round(mine, 3), "jmespath_us": round(package, 2), "ratio": round(package / mine, 1)}


def timed(work: Callable[[], object], times: int = 5_000) -> float:
    """Microseconds of processor time of one call."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times * 1e6


def parts(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """What can be measured, by name."""
    yield "sizes", lambda: sizes(arguments.most, arguments.events, arguments.rounds)
    yield "changes", lambda: changes(arguments.most)
    yield "adversaries", lambda: adversaries(min(arguments.most, 10_000), arguments.rounds)
    yield "conditions", lambda: conditions(arguments.rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="rules at the most")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=("sizes", "changes", "adversaries", "conditions"))
    arguments = parser.parse_args()
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    wanted = {name: measure() for name, measure in parts(arguments) if not arguments.only or name in arguments.only}
    json.dump({**machine, **wanted}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
