"""Templates are checked by their pool's type, and processes start as they say."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.flows.yard import Serving, Yard, now
from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows.forking import LOST, Forks
from tocsin.flows.infrastructure import Exit, template_of
from tocsin.flows.orders import Order, order_for
from tocsin.flows.pools import create_pool, get_pool
from tocsin.flows.process import ProcessTemplate
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "template", "said"),
    [
        ("proces", {}, "known: process, thread"),
        ("process", {"enf": {}}, "enf: Extra inputs are not permitted; it may hold: env, working_dir, python, command"),
        ("process", {"env": {"A": 1}}, "env.A"),
        ("thread", {"env": {}}, "may hold: nothing"),
    ],
)
def test_a_template_that_its_type_does_not_know_is_refused(kind: str, template: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        template_of(kind, template)


@pytest.mark.parametrize(
    ("template", "plain"),
    [
        ({}, True),
        ({"env": {"REGION": "eu"}, "working_dir": "/"}, True),
        ({"env": {"PYTHONHASHSEED": "0"}}, False),
        ({"env": {"LD_LIBRARY_PATH": "/opt"}}, False),
        ({"python": sys.executable}, False),
        ({"command": ["env"]}, False),
    ],
    ids=str,
)
def test_what_is_settled_when_an_interpreter_starts_needs_a_new_one(template: dict[str, Any], plain: bool) -> None:
    assert ProcessTemplate(**template).plain is plain


def test_a_pool_keeps_its_type_and_takes_another_template(store: Store) -> None:
    with store.begin() as session:
        create_pool(session, "etl", template={"env": {"A": "1"}}, now=NOW)
        create_pool(session, "etl", now=NOW)
        assert get_pool(session, "etl").template == {"env": {"A": "1"}}
        create_pool(session, "etl", kind="process", template={}, now=NOW)
        assert get_pool(session, "etl").template == {}
        with pytest.raises(Invalid, match="of type process and stays so"):
            create_pool(session, "etl", kind="thread", now=NOW)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Exit(7), "its process exited with code 7 before the run had ended"),
        (Exit(-9), "killed by signal 9 (SIGKILL)"),
        (Exit(-99), "killed by signal 99"),
        (Exit(137, "too much memory"), "too much memory"),
    ],
)
def test_an_exit_is_told_in_words(how: Exit, said: str) -> None:
    assert how.said() == said


def run(**also: Any) -> dict[str, Any]:
    return {"attempt": 2, "reruns": 0, "lease": "ours", "state_type": "RUNNING", "state_name": "Running", **also}


@pytest.mark.parametrize(
    ("found", "order"),
    [
        pytest.param(run(), Order.KEEP, id="ours goes on"),
        pytest.param(None, Order.STOP, id="a run that is removed is stopped"),
        pytest.param(run(attempt=3, lease="theirs"), Order.STOP, id="a zombie's attempt is stopped"),
        pytest.param(run(attempt=3), Order.KEEP, id="what its process tries again by itself goes on"),
        pytest.param(run(attempt=3, state_type="CANCELLING"), Order.STOP, id="until it is cancelled"),
        pytest.param(run(lease=None, state_type="SCHEDULED", reruns=1), Order.STOP, id="and what is tried again later"),
        pytest.param(run(lease=None, state_type="CRASHED"), Order.STOP, id="what was given up is stopped"),
        pytest.param(run(state_type="CANCELLING"), Order.STOP, id="a cancelled run is stopped"),
        pytest.param(run(state_type="PAUSED", state_name="Suspended"), Order.STOP, id="a suspended run is stopped"),
        pytest.param(run(state_type="PAUSED", state_name="Paused"), Order.KEEP, id="a paused one stands still"),
        pytest.param(run(state_type="SCHEDULED", state_name="Resuming"), Order.STOP, id="also when it is resumed soon"),
        pytest.param(run(lease=None, state_type="COMPLETED"), Order.LEAVE, id="a run that is over leaves by itself"),
        pytest.param(run(lease=None, state_type="SCHEDULED"), Order.LEAVE, id="so does one that waits for a retry"),
    ],
)
def test_what_a_worker_does_about_a_run_follows_from_its_row(found: dict[str, Any] | None, order: Order) -> None:
    assert order_for(found, run(), "ours") is order


async def test_a_nursery_that_dies_takes_its_children_along() -> None:
    forks = Forks()
    await forks.open()
    nursery = forks._process
    assert nursery is not None
    child = await forks.start(["nonsense"], {}, None)
    assert await child.wait() == Exit(2), "it says how it is to be called"
    os.kill(nursery.pid, signal.SIGSTOP)
    waiting = forks._children
    starting = asyncio.create_task(forks.start(["nonsense"], {}, None))
    os.kill(nursery.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match=LOST.said()):
        await starting
    assert waiting == {}
    again = await forks.start(["nonsense"], {}, None)
    assert await again.wait() == Exit(2)
    await forks.close()


async def test_several_starts_that_find_the_nursery_dead_share_a_new_one() -> None:
    forks = Forks()
    async with asyncio.timeout(60):
        children = await asyncio.gather(*(forks.start(["nonsense"], {}, None) for _ in range(3)))
        assert [await child.wait() for child in children] == [Exit(2)] * 3
    await forks.close()


@pytest.mark.parametrize("early", [False, True], ids=["forked", "new interpreter"])
async def test_a_run_sees_what_the_template_says(
    small_yard: Yard, serving: Serving, tmp_path: Path, early: bool
) -> None:
    yard = small_yard
    asked = yard.ask("looks_around")
    template = {"env": {"REGION": "eu", **({"PYTHONHASHSEED": "1"} if early else {})}, "working_dir": str(tmp_path)}
    with yard.store.begin() as session:
        create_pool(session, "default", template=template, now=now())
    async with serving(yard):
        done = await yard.until(asked, "Completed", "Failed", "Crashed")
    assert done.result == {"kind": "json", "text": f'["eu", "{tmp_path}"]'}
