"""CloudEvents out by the roles: what the settings refuse, the guard against a loop, the whole way."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kafka.broker import ApacheBroker
from tocsin.events import cloudevents
from tocsin.events.bus import Record
from tocsin.events.errors import Invalid
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import Topic
from tocsin.server.cloudevents_out import outlet_of, read_back
from tocsin.server.pulse import noted
from tocsin.server.roles import run_roles, services
from tocsin.server.settings import Settings, load
from tocsin.server.wiring import open_parts
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.triggers import source_store
from tocsin.triggers.source import KafkaSource


async def test_without_kafka_a_dispatcher_refuses_and_names_the_way_out(home: Path) -> None:
    settings = Settings(home=home, cloudevents_topic="shop.alerts")
    async with open_parts(settings) as parts:
        with pytest.raises(Invalid, match=r"TOCSIN_CLOUDEVENTS_TOPIC=shop.alerts needs Kafka: set TOCSIN_KAFKA"):
            services(["dispatcher"], parts)


def test_what_is_written_is_what_the_settings_say(home: Path) -> None:
    settings = Settings(
        home=home,
        kafka_bootstrap_servers="k:9092",
        cloudevents_topic="alerts",
        cloudevents_mode="binary",
        cloudevents_events="tocsin.flow-run.Failed, orders.* ,",
        cloudevents_source="/tocsin/eu",
    )
    outlet = outlet_of(settings)
    assert (outlet.topic, outlet.mode, outlet.source) == ("alerts", "binary", "/tocsin/eu")
    assert outlet.names == ("tocsin.flow-run.Failed", "orders.*")


@pytest.mark.parametrize("topic", ["tocsin.external", "eu.tocsin.events"])
def test_a_topic_of_our_own_is_refused(home: Path, topic: str) -> None:
    settings = Settings(home=home, kafka_bootstrap_servers="k:9092", cloudevents_topic=topic)
    with pytest.raises(Invalid, match="a topic of tocsin's own"):
        outlet_of(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOCSIN_CLOUDEVENTS_TOPIC", "a b"),
        ("TOCSIN_CLOUDEVENTS_MODE", "both"),
        ("TOCSIN_CLOUDEVENTS_SOURCE", "/shop"),
        ("TOCSIN_CLOUDEVENTS_EVENTS", ""),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=name):
        load()


def reading(topic: str, address: str | None = None) -> KafkaSource:
    return KafkaSource(name="back", topic=topic, format="cloudevents", bootstrap_servers=address)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (reading("alerts"), "the source back reads alerts"),
        (reading("alerts", "elsewhere:9092"), "the source back reads alerts"),  # may be the same, or mirrored
        (reading("others"), None),
    ],
    ids=["the same topic", "the same name elsewhere", "another topic"],
)
def test_a_topic_that_a_source_reads_is_not_written_to(store: Store, source: KafkaSource, said: str | None) -> None:
    with store.begin() as session:
        source_store.apply(session, [source], datetime.now(UTC))
        reason = read_back(session, "alerts")
    assert reason == said or (said is not None and reason is not None and reason.startswith(said))


async def until(home: Path, **wanted: bool) -> None:
    """Wait until the dispatcher says that its figures are (or are not) nought."""
    async with asyncio.timeout(60):
        while True:
            figures = noted(home, "dispatcher")
            if figures and all(bool(figures[name]) == value for name, value in wanted.items()):
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_dispatcher_writes_and_stands_still_while_a_source_reads_it_back(
    apache_kafka: ApacheBroker, topic_prefix: str, home: Path
) -> None:
    topic = f"{topic_prefix}alerts"
    settings = Settings(
        home=home,
        kafka_bootstrap_servers=apache_kafka.address,
        kafka_topic_prefix=topic_prefix,
        cloudevents_topic=topic,
        cloudevents_events="orders.*",
    )
    outside, store, stop = KafkaBus(apache_kafka.address), Store.open(settings.url, create=True), asyncio.Event()
    await outside.prepare([Topic(topic, "alerts", 1, timedelta(days=1))])
    first, second = (Event(event="orders.late", resource={RESOURCE_ID: "order.7"}, payload={"n": n}) for n in (1, 2))
    with store.begin() as session:
        append(session, [first])
    running = asyncio.create_task(run_roles(["dispatcher"], settings, stop))
    await until(home, cloudevents_behind=False, cloudevents_failures=False)
    with store.begin() as session:
        source_store.apply(session, [reading(topic)], datetime.now(UTC))
        append(session, [second])
    await until(home, cloudevents_behind=True, cloudevents_failures=True)
    with store.begin() as session:
        source_store.remove(session, "back", datetime.now(UTC))
    await until(home, cloudevents_behind=False, cloudevents_failures=False)
    records: list[Record] = []
    async with outside.subscribe(f"{topic_prefix}reader", (topic,)) as member, asyncio.timeout(60):
        while len(records) < 2:
            records += await member.fetch(wait=timedelta(seconds=30))
    stop.set()
    await running
    await outside.close()
    store.close()
    now = datetime.now(UTC)
    assert [cloudevents.from_kafka(one.headers, one.body, now) for one in records] == [first, second]
