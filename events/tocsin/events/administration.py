"""What is asked of a Kafka cluster's administration; its client is aiokafka's, passed in by its door."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from tocsin.events import topic_plan
from tocsin.events.errors import Invalid
from tocsin.events.topics import Topic

TOPIC_EXISTS: Final = 36

# Any, below: aiokafka has no types.


async def widths(admin: Any) -> dict[str, int]:
    """How many partitions each topic has; asking for all of them creates none."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(None)}


async def create(admin: Any, topics: Sequence[Topic], prefix: str, new_topic: Callable[..., Any]) -> None:
    """Create topics, replicated threefold where there are brokers enough. Raises `Invalid` with Kafka's reason."""
    replicas = min(3, len((await admin.describe_cluster())["brokers"]))
    settings = topic_plan.settings
    answer = await admin.create_topics(
        [new_topic(prefix + one.name, one.partitions, replicas, topic_configs=settings(one)) for one in topics]
    )
    for name, code, *why in answer.topic_errors:
        if code not in (0, TOPIC_EXISTS):
            raise Invalid(f"Kafka topic {name} cannot be created ({code}: {why})")


async def settled(admin: Any, topics: Sequence[Topic], prefix: str) -> None:
    """Return when every broker that is asked knows the topics."""
    while topic_plan.missing(topics, prefix, await widths(admin)):  # noqa: ASYNC110  (nothing tells us)
        await asyncio.sleep(0.02)
