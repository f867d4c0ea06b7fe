"""The cache over HTTP, and in what Prometheus is told."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.server.conftest import Api
from tests.server.test_metrics import Scrape
from tocsin.events.ids import uuid7
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.changes import columns_of
from tocsin.flows.tables import CacheEntry, TaskRun
from tocsin.store.engine import Store, insert_new

ONE = {"kind": "json", "text": "[1]"}


def filled(store: Store) -> None:
    """Two entries, one of them expired; a flight; four runs of a task, three of which took a result."""
    now = datetime.now(UTC)
    with store.begin() as session:
        for key, expires in (("shop.rate:1", None), ("shop.rate:2", now - timedelta(hours=1))):
            entry = CacheEntry(key=key, task_key="shop.rate", result=ONE, task_run_id=uuid4(), created=now)
            entry.expires = expires
            session.add(entry)
        session.add(CacheFlight(key="shop.rate:3", task_run_id=uuid4(), lease="l", since=now))
        task = {"task_key": "shop.rate", "task_name": "rate", "name": "rate-0", "state_type": "COMPLETED"}
        for name in ("Completed", "Cached", "Cached", "Cached"):
            run = columns_of(TaskRun, id=uuid7(), state_name=name, state_at=now, created=now, **task)
            insert_new(session, TaskRun, [run])


async def test_the_cache_is_listed_counted_and_cleared(api: Api, store: Store) -> None:
    filled(store)
    listed = (await api.get("/api/cache", params={"expired": "true"})).json()
    assert [(entry["key"], entry["expired"]) for entry in listed] == [("shop.rate:2", True)]
    shown = (await api.get("/api/cache/entries/shop.rate:1")).json()
    assert (shown["bytes"], shown["storage"], shown["serializer"]) == (3, "database", "json")
    (effect,) = (await api.get("/api/cache/effectiveness", params={"last": "1h"})).json()
    assert effect == {"task": "shop.rate", "name": "rate", "total": 4, "skipped": 3, "effectiveness": 75.0}
    (flight,) = (await api.get("/api/cache/flights")).json()
    assert flight["key"] == "shop.rate:3"
    cleared = await api.ask("DELETE", "/api/cache", params={"expired": "true"})
    assert cleared.json()["entries"] == 1
    assert (await api.get("/api/cache/entries/shop.rate:2")).status == 404
    refused = await api.ask("DELETE", "/api/cache")
    assert (refused.status, "Give a key" in refused.json()["detail"]) == (422, True)


async def test_prometheus_is_told_how_effective_the_cache_is(api: Api, store: Store) -> None:
    filled(store)
    scrape = Scrape((await api.get("/metrics")).body.decode())
    assert scrape.of("tocsin_cache_effectiveness_ratio") == {("shop.rate",): 0.75}
    assert scrape.of("tocsin_cache_task_runs") == {("shop.rate",): 4}
    assert scrape.of("tocsin_cache_skipped_runs") == {("shop.rate",): 3}
    assert (scrape.one("tocsin_cache_entries"), scrape.one("tocsin_cache_flights")) == (2, 1)
