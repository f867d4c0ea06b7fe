"""Which topics a cluster lacks, and how they are made: decided from the one table of topics."""

from collections.abc import Mapping, Sequence
from typing import Final

from tocsin.events.bus import Message
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.topics import Topic

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""What our topics take: the biggest event as a dead letter (base64) with room to spare."""

OVERHEAD_BYTES: Final = 1024


def missing(topics: Sequence[Topic], prefix: str, found: Mapping[str, int]) -> list[Topic]:
    """The topics that are not there yet; `found` tells how many partitions each topic of the cluster has.

    Raises `Invalid`, with the command that mends it, for a topic with too few partitions.
    """
    for topic in topics:
        name = prefix + topic.name
        if found.get(name, topic.partitions) < topic.partitions:
            raise Invalid(
                f"Kafka topic {name} has {found[name]} partitions, tocsin needs {topic.partitions}: once everything in "
                f"it is read and nobody writes (keys change their partition), run kafka-topics.sh "
                f"--bootstrap-server HOST:PORT --alter --topic {name} --partitions {topic.partitions}"
            )
    return [topic for topic in topics if prefix + topic.name not in found]


def settings(topic: Topic) -> dict[str, str]:
    """The topic's settings in Kafka's words."""
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(round(topic.retention.total_seconds() * 1000)),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",  # when it came onto the bus, whatever its producer's clock says
    }


def refuse_large(messages: Sequence[Message]) -> None:
    """Raise `BadEvent` for a message that no topic of ours would take."""
    for message in messages:
        if (size := len(message.body) + len(message.key)) > MAX_MESSAGE_BYTES - OVERHEAD_BYTES:
            raise BadEvent(
                f"message of {message.key[:80]!r}: {size:,} bytes, Kafka takes {MAX_MESSAGE_BYTES - OVERHEAD_BYTES:,}"
            )
