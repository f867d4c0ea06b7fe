"""KafkaSource: a topic of anybody's, and how its messages become events."""

from collections.abc import Mapping as Members
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tocsin.events import cloudevents, codec
from tocsin.events.bus import Record
from tocsin.events.clock import instant
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.events.topics import TOPICS
from tocsin.triggers import openlineage
from tocsin.triggers.mapping import Mapping, mapped, wanted

Form = Literal["json", "cloudevents", "openlineage", "tocsin"]

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_TOPIC: Final = r"^[A-Za-z0-9._-]{1,249}$"
_OURS: Final = tuple(topic.name for topic in TOPICS)


class KafkaSource(BaseModel):
    """Messages of `topic` become events; every one is taken once, in the order of its partition.

    `format`: `json` by `mapping`; `cloudevents` (structured or binary); `openlineage` (RunEvents); `tocsin` (our own
    JSON). `group`: the consumer group (default: `source.<name>`, behind the topic prefix of the installation).
    `bootstrap_servers`: where the topic is (default: the Kafka of the installation). `since`: messages stamped earlier
    are passed over. A message that means no event goes to the dead letters with the reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=_NAME)]
    topic: Annotated[str, Field(pattern=_TOPIC)]
    format: Form = "json"
    mapping: Mapping | None = None
    group: Annotated[str | None, Field(min_length=1, max_length=249)] = None
    bootstrap_servers: Annotated[str | None, Field(min_length=1)] = None
    since: AwareDatetime | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.format == "json" and self.mapping is None:
            raise ValueError("format json needs a mapping: event and resource at least")
        if self.format != "json" and self.mapping is not None:
            raise ValueError(f"format {self.format} says itself what is what; leave the mapping out")
        if self.topic.endswith(_OURS):  # behind whatever prefix
            raise ValueError(f"{self.topic} is tocsin's own topic: what is read from it would come back to it for ever")
        return self

    @property
    def consumer(self) -> str:
        """Under which name its positions are kept."""
        return f"source.{self.name}"

    @property
    def origin(self) -> str:
        """Within which its ids that are no UUIDs are unique."""
        return f"source:{self.name}"


def source_of(document: Any) -> KafkaSource:  # Any: what a person or a row gave, before it is checked
    """The source that a document defines. Raises `Invalid` naming source and field."""
    try:
        return KafkaSource.model_validate(document)
    except ValidationError as error:
        name = document.get("name") if isinstance(document, dict) else None
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"source {str(name)[:80]!r}: {f'{place}: ' if place else ''}{said}") from error


def event_of(source: KafkaSource, record: Record, now: datetime) -> Event | None:
    """The event that a record means; None: it means none (filtered, too old, a tombstone). Raises `BadEvent`."""
    stamped = _stamped(record, now)
    if source.since is not None and stamped < source.since:
        return None
    if len(record.body) > codec.MAX_BYTES:
        raise BadEvent(f"{len(record.body):,} bytes, at most {codec.MAX_BYTES:,}; put a reference into the message")
    if _is_tombstone(source, record):
        return None
    if source.format == "cloudevents":
        return cloudevents.from_kafka(record.headers, record.body, now, stamped)
    document = codec.strict_json(record.body)
    match source.format:
        case "json":
            return _mapped(source, record, document, stamped, now)
        case "openlineage":
            return openlineage.from_document(document, now)
        case _:
            return _ours(record, document, stamped, now)


def _is_tombstone(source: KafkaSource, record: Record) -> bool:
    """An empty message; a CloudEvent may have its attributes in the headers, and no data."""
    return not record.body and not (source.format == "cloudevents" and cloudevents.named(record.headers))


def context(name: str, record: Record) -> dict[str, Any]:  # Any: as `SCOPE` says
    """What a mapping may ask about how a message came."""
    return {
        "name": name,
        "headers": {header: value.decode(errors="replace") for header, value in record.headers},
        "key": record.key or None,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def _mapped(source: KafkaSource, record: Record, document: Any, stamped: datetime, now: datetime) -> Event | None:
    mapping, known = source.mapping, context(source.name, record)
    assert mapping is not None  # format json has one
    if not wanted(mapping, document, known):
        return None
    place = derive("record", record.stream, record.partition, record.offset)
    return mapped(mapping, document, known, now, origin=source.origin, event_id=place, occurred=stamped)


def _ours(record: Record, document: Any, stamped: datetime, now: datetime) -> Event:
    if not isinstance(document, dict):
        raise BadEvent("an event is a JSON object")
    place = derive("record", record.stream, record.partition, record.offset)
    given: Members[str, Any] = {"id": str(place), "occurred": stamped.isoformat(), **document}
    return codec.from_document(dict(given), now)


def _stamped(record: Record, now: datetime) -> datetime:
    """When the message was sent, as far as its stamp can be believed."""
    stamped = instant(record.received) if record.received > 0 else now
    return stamped if codec.EARLIEST <= stamped <= now else now
