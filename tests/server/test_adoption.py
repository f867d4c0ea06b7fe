"""Deployments' schedules become rows of the clock, as they say; a bad one harms only itself."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from tocsin.events.clock import ManualClock, SystemClock
from tocsin.events.errors import Invalid
from tocsin.flows.deployments import Deployment, pause_deployment
from tocsin.flows.tables import DeploymentRow
from tocsin.server.adoption import Adoption
from tocsin.server.commands import apply_deployments
from tocsin.store.engine import Store
from tocsin.triggers.schedules import Cron, Interval, from_dict
from tocsin.triggers.store import list_schedules, pause_schedule, put_schedule
from tocsin.triggers.tables import Schedule

DAILY = {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}
HOURLY = {"interval": 3600}


def deploy(store: Store, clock: ManualClock, *schedules: dict[str, Any], name: str = "etl", **given: Any) -> None:
    made = Deployment(name=name, entrypoint="etl.py:etl", flow_name="etl", schedules=list(schedules), **given)
    made.apply(store, now=clock.now())


async def adopt(store: Store, clock: ManualClock) -> dict[str, Schedule]:
    await Adoption(store, clock).look()
    with store.read() as session:
        return {row.slug: row for row in list_schedules(session)}


async def test_a_deployments_schedules_are_put_as_they_say(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, DAILY, {**HOURLY, "slug": "fast", "parameters": {"n": 1}, "catchup": "all"})
    rows = await adopt(store, clock)
    assert {slug: (row.kind, row.timezone, row.deployment, row.parameters) for slug, row in rows.items()} == {
        "etl": ("cron", "Europe/Berlin", "etl", {}),
        "fast": ("interval", "UTC", "etl", {"n": 1}),
    }
    assert (rows["fast"].catchup, rows["etl"].active) == ("all", True)


async def test_what_a_deployment_says_of_late_ticks_and_overlaps_is_kept(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, {**HOURLY, "catchup": "all", "catchup_window": 600, "overlap": "queue", "jitter": 60})
    row = (await adopt(store, clock))["etl"]
    assert (row.catchup, row.window_s, row.overlap, row.spec["jitter"]) == ("all", 600, "queue", 60)


async def test_a_definition_may_be_given_as_it_is_or_as_json(store: Store, clock: ManualClock) -> None:
    nine, easter = datetime(2026, 3, 2, 9), date(2026, 4, 5)  # noqa: DTZ001
    definition = Cron(
        "0 9 * * *", timezone="Europe/Berlin", start=nine, exdates=[easter], jitter=timedelta(minutes=5), day_or=False
    )
    fields = {"timezone": "Europe/Berlin", "start": nine, "exdates": [easter], "jitter": timedelta(minutes=5)}
    deploy(store, clock, definition, {"cron": "0 9 * * *", "day_or": False, **fields})  # type: ignore[arg-type]
    rows = await adopt(store, clock)
    assert [from_dict(row.spec) for row in rows.values()] == [definition, definition]
    assert {row.kind for row in rows.values()} == {"cron"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"overlap": "maybe"}, "overlap: 'maybe' is none of allow, skip, queue, cancel_running"),
        ({"catchup": "some"}, "catchup: 'some' is none of all, latest, none"),
        ({"catchup_window": 0}, "catchup_window: 0 is no number of seconds above 0"),
        ({"catchup_window": "1h"}, "catchup_window: '1h' is no number of seconds"),
    ],
)
def test_what_a_schedule_cannot_mean_is_refused_when_it_is_applied(
    store: Store, clock: ManualClock, wrong: dict[str, Any], said: str
) -> None:
    made = Deployment(name="etl", entrypoint="etl.py:etl", flow_name="etl", schedules=[{**HOURLY, **wrong}])
    with pytest.raises(Invalid, match=said):
        apply_deployments(store, [made], clock.now())


async def test_adopting_again_changes_nothing(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, HOURLY)
    before = (await adopt(store, clock))["etl"]
    clock.advance(timedelta(minutes=5))
    after = (await adopt(store, clock))["etl"]
    assert (after.version, after.cursor, after.next_at) == (before.version, before.cursor, before.next_at)


async def test_a_dropped_schedule_is_paused_and_a_changed_one_is_put(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, DAILY, HOURLY)
    await adopt(store, clock)
    deploy(store, clock, HOURLY)
    rows = await adopt(store, clock)
    assert (rows["etl"].kind, rows["etl"].active, rows["etl-2"].active) == ("interval", True, False)


async def test_a_deployment_that_is_gone_ticks_no_more(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, HOURLY)
    await adopt(store, clock)
    with store.begin() as session:
        session.delete(session.get_one(DeploymentRow, "etl"))
    assert not (await adopt(store, clock))["etl"].active


async def test_a_paused_deployment_rests_and_goes_on(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, HOURLY, {**DAILY, "active": False})
    for paused in (False, True, False):
        with store.begin() as session:
            pause_deployment(session, "etl", paused=paused, now=clock.now())
        rows = await adopt(store, clock)
        assert (rows["etl"].active, rows["etl-2"].active) == (not paused, False)


async def test_a_bad_schedule_harms_only_itself(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, {**HOURLY, "slug": "was-good"})
    await adopt(store, clock)
    bad = [{"cron": "61 * * * *", "slug": "was-good"}, {"cron": "x", "slug": "bad"}]
    deploy(store, clock, *bad, {**HOURLY, "slug": "ok"})
    rows = await adopt(store, clock)
    assert {slug: row.active for slug, row in rows.items()} == {"was-good": False, "ok": True}


async def test_somebody_elses_schedule_is_left_alone(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        put_schedule(session, "etl", Interval(timedelta(days=1)), now=clock.now())
    deploy(store, clock, {**HOURLY, "slug": "a"}, name="first")
    await adopt(store, clock)
    deploy(store, clock, HOURLY, {**HOURLY, "slug": "a"})
    rows = await adopt(store, clock)
    assert {slug: row.deployment for slug, row in rows.items()} == {"etl": None, "a": "first"}


@pytest.mark.parametrize("change", ["deploy", "redeploy"])
async def test_a_change_is_taken_up_within_a_second(store: Store, clock: ManualClock, change: str) -> None:
    if change == "redeploy":
        deploy(store, clock, DAILY)
    stop = asyncio.Event()
    adoption = Adoption(store, SystemClock())
    serving = asyncio.create_task(adoption.serve(stop))
    await adoption.look()
    deploy(store, clock, HOURLY)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with store.watch("schedules") as watch:
        while [row.kind for row in await store.look(list_schedules)] != ["interval"]:
            await watch.wait(timedelta(milliseconds=50))
            assert loop.time() - began < 60
    stop.set()
    await serving


async def test_what_a_person_paused_stays_paused_through_a_redeploy(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, DAILY)
    await adopt(store, clock)
    with store.begin() as session:
        pause_schedule(session, "etl", clock.now())
    deploy(store, clock, HOURLY, tags=["new"])
    row = (await adopt(store, clock))["etl"]
    assert (row.kind, row.active) == ("interval", False)


async def test_what_a_person_paused_stays_paused_when_the_deployment_goes_on(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, DAILY, HOURLY)
    await adopt(store, clock)
    with store.begin() as session:
        pause_schedule(session, "etl", clock.now())
    for paused in (True, True, False):
        with store.begin() as session:
            pause_deployment(session, "etl", paused=paused, now=clock.now())
        deploy(store, clock, DAILY, HOURLY, tags=[str(paused)])
        rows = await adopt(store, clock)
        assert (rows["etl"].active, rows["etl-2"].active) == (False, not paused)


async def test_a_deployment_that_changes_its_word_has_the_last_one(store: Store, clock: ManualClock) -> None:
    deploy(store, clock, DAILY)
    await adopt(store, clock)
    with store.begin() as session:
        pause_schedule(session, "etl", clock.now())
    for active in (False, True):
        deploy(store, clock, {**DAILY, "active": active})
        row = (await adopt(store, clock))["etl"]
    assert row.active


async def test_a_schedule_that_comes_back_ticks_again(store: Store, clock: ManualClock) -> None:
    for schedules in ((DAILY, HOURLY), (DAILY,), (DAILY, HOURLY)):
        deploy(store, clock, *schedules)
        rows = await adopt(store, clock)
    assert rows["etl-2"].active
