"""Schedules over HTTP: pause, resume, and ticks of the past."""

from datetime import timedelta

from tests.server.conftest import Api
from tocsin.events.clock import SystemClock
from tocsin.store.engine import Store
from tocsin.triggers.schedules import Interval
from tocsin.triggers.store import put_schedule

ASKED = {"from": "2026-03-02T08:30", "to": "2026-03-02T11:00:00Z"}


async def test_a_schedule_rests_and_its_past_is_made_up_for(store: Store, api: Api) -> None:
    with store.begin() as session:
        put_schedule(session, "hourly", Interval(timedelta(hours=1)), overlap="queue", now=SystemClock().now())
    paused = await api.ask("POST", "/api/schedules/hourly/pause")
    assert (paused.json()["active"], paused.json()["overlap"]) == (False, "queue")
    backfill = "/api/schedules/hourly/backfill"
    said = (await api.ask("POST", backfill, json={**ASKED, "dry_run": True})).json()
    assert [row["scheduled_time"][11:13] for row in said] == ["09", "10", "11"]
    assert (await api.ask("POST", backfill, json=ASKED)).json() == said
    assert (await api.ask("POST", backfill, json=ASKED)).json() == []
    assert (await api.ask("POST", "/api/schedules/hourly/resume")).json()["active"] is True
    wrong = await api.ask("POST", backfill, json={**ASKED, "max_active": 0})
    unknown = await api.ask("POST", "/api/schedules/none/pause")
    assert (wrong.status, unknown.status) == (422, 404)
