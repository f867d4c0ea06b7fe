"""`kill -9` in the middle of it: nothing is lost, nothing is done twice, nobody is told a second time by another id.

What should have been fired is what the simulation makes of the same events (`checker`). Seeds are printed.
"""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlmodel import select

from tests.automations.crashing import JUMP_S, Producers, Trial
from tests.automations.load import rules
from tests.automations.parts import START, invocations, rule, told
from tests.automations.stream_crashing import trial as stream_trial
from tests.kafka.broker import NoBroker, jars
from tocsin.automations.model import Automation
from tocsin.automations.store import apply, remove
from tocsin.flows.deployments import Deployment
from tocsin.flows.tables import FlowRun

pytestmark = pytest.mark.faults

LATE = 2_000_000
"""Microseconds: the machine may be busy with other tests. `bench/_soak.py` asks for 100 ms."""

POINTS = [
    ["fetched", "decide:3", "decided:3", "tick", "ticked", "write:4", "written:4", "commit:3"],
    ["committed:3", "claim:2", "claimed:2", "call:2", "called:2", "record:2", "recorded:2"],
]  # fmt: skip


@pytest.fixture
def seed() -> int:
    """A new one each time, printed where a test fails."""
    found = random.randrange(2**16)
    print(f"seed {found}")
    return found


def with_runs(url: str) -> list[Automation]:
    """A rule of each kind, and one that starts runs."""
    running = {"type": "run-deployment", "deployment": "refresh"}
    return [*rules(url), rule("run", running, trigger={"expect": ["opened"]}, rate_limit=None)]


@pytest.fixture
def trial(store_url: str, tmp_path: Path) -> "Trial":
    """A trial with every kind of rule."""
    found = Trial(store_url, tmp_path, with_runs)
    Deployment(name="refresh", entrypoint="a:b", flow_name="refresh").apply(found.store, now=START)
    return found


def check(trial: Trial) -> None:
    """All that is on the log has been decided and done, as it should be."""
    report = trial.check(trial.settle(), late=LATE)
    assert report.to_json()["wrong"] == {}, "\n".join(report.examples)
    assert report.total("expected") > 50
    assert len([line for line in report.lines.values() if line.expected]) > 15
    _check_outcomes(trial)


def _check_outcomes(trial: Trial) -> None:
    """Each invocation is told of once; each run exists once."""
    rows = invocations(trial.store)
    outcomes = Counter(event.payload["invocation"] for event in told(trial.store, "tocsin.automation.action."))
    assert outcomes == Counter(str(row.id) for row in rows)
    with trial.store.read() as session:
        keys = [run.idempotency_key for run in session.exec(select(FlowRun))]
    assert Counter(keys) == Counter(str(row.id) for row in rows if row.action == "run-deployment")


@pytest.mark.timeout(600)
def test_killed_at_random_times_under_load_it_fires_what_the_simulation_says(trial: Trial, seed: int) -> None:
    dice = random.Random(seed)
    with trial:
        with Producers(trial.store, trial.world, [seed, seed + 1]):
            for _ in range(5):
                running = trial.start()
                with trial.awake():
                    time.sleep(dice.uniform(0.05, 1.0))  # the moment of death
                running.kill()
                trial.world.jump(JUMP_S)
        trial.start()
        check(trial)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("points", POINTS, ids=["deciding", "doing"])
def test_killed_at_each_point_of_its_way_it_fires_what_the_simulation_says(
    trial: Trial, seed: int, points: list[str]
) -> None:
    with trial:
        with Producers(trial.store, trial.world, [seed, seed + 1]):
            for point in points:
                trial.start(point).dies()
                trial.world.jump(JUMP_S)
        trial.start()
        check(trial)


@pytest.mark.timeout(600)
def test_two_hosts_of_which_one_is_killed_fire_what_the_simulation_says(trial: Trial, seed: int) -> None:
    dice = random.Random(seed)
    with trial:
        with Producers(trial.store, trial.world, [seed, seed + 1]):
            running = [trial.start(), trial.start()]
            for _ in range(3):
                with trial.awake():
                    time.sleep(dice.uniform(0.05, 1.0))  # the moment of death
                running.pop(dice.randrange(2)).kill()
                trial.world.jump(JUMP_S)
                running.append(trial.start())
        check(trial)


@pytest.mark.timeout(600)
def test_a_host_that_was_frozen_and_comes_back_fires_nothing_of_its_own(trial: Trial, seed: int) -> None:
    """Meanwhile another one has taken its seat and gone on."""
    dice = random.Random(seed)
    with trial:
        with Producers(trial.store, trial.world, [seed, seed + 1]):
            running = [trial.start(), trial.start()]
            for frozen in (0, 1, 0, 1):
                time.sleep(dice.uniform(0.05, 0.5))
                running[frozen].send(signal.SIGSTOP)
                trial.world.jump(JUMP_S)
                time.sleep(dice.uniform(0.5, 1.5))
                running[frozen].send(signal.SIGCONT)
        check(trial)


@pytest.mark.timeout(600)
def test_rules_that_come_change_and_go_disturb_no_other(trial: Trial, seed: int) -> None:
    """Each change makes a batch that is under way stale; what it does not touch goes on as if nothing was."""
    dice = random.Random(seed)
    with trial:
        with Producers(trial.store, trial.world, [seed, seed + 1]):
            for life in range(3):
                running = trial.start()
                end = time.monotonic() + 1
                while time.monotonic() < end:
                    _edit(trial, dice)
                running.kill()
                if life == 1:
                    trial.world.jump(JUMP_S)
        trial.world.jump(JUMP_S)
        trial.start()
        check(trial)


def _edit(trial: Trial, dice: random.Random) -> None:
    """Change something that makes no difference to what the rules of the trial fire."""
    other = rule(f"other-{dice.randrange(3)}", trigger={"expect": ["nobody says this"]}, description=f"{dice.random()}")
    worded = dice.choice(trial.rules).model_copy(update={"description": f"{dice.random()}"})
    with trial.store.begin() as session:
        now = trial.world.now()
        apply(session, [other, worded], now)
        if dice.random() < 0.5:
            remove(session, other.name, now)
    trial.rules = [worded if one.name == worded.name else one for one in trial.rules]


@pytest.mark.apache
@pytest.mark.kafka
@pytest.mark.timeout(900)
async def test_members_of_the_stream_that_come_and_die_fire_what_the_simulation_says(tmp_path: Path, seed: int) -> None:
    """And Kafka is killed in the middle of it."""
    try:
        jars()
    except NoBroker as reason:
        pytest.skip(str(reason))
    deaths, report = await stream_trial(tmp_path, f"sqlite:///{tmp_path}/stream.db", seed, 30, LATE)
    wrong = {name: count for name, count in report.wrong.items() if name != "late"}
    assert wrong == {}, "\n".join(report.examples)
    assert deaths > 1
    assert report.total("expected") > 50
