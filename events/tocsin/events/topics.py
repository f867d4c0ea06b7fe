"""The topics: one table from which the start-up check, the compose file and the docs are made."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

EVENTS: Final = "tocsin.events"
EXTERNAL: Final = "tocsin.external"
SIGNALS: Final = "tocsin.signals"
CHANGELOG: Final = "tocsin.changelog"
INVOCATIONS: Final = "tocsin.invocations"
DEAD_LETTERS: Final = "tocsin.dead-letters"


@dataclass(frozen=True, slots=True)
class Topic:
    """What a topic is for and how the broker has to keep it."""

    name: str
    purpose: str
    partitions: int
    retention: timedelta
    cleanup: Literal["delete", "compact"] = "delete"


TOPICS: Final = (
    Topic(EVENTS, "tocsin's own events; only tocsin may write", 8, timedelta(days=7)),
    Topic(EXTERNAL, "events of anybody else; names may not begin with `tocsin.`", 8, timedelta(days=7)),
    Topic(
        SIGNALS, "events found to concern an automation, keyed by automation and for_each values", 8, timedelta(days=7)
    ),
    Topic(CHANGELOG, "what triggers remember; its owner cuts off what is outdated", 8, timedelta(days=3650)),
    Topic(INVOCATIONS, "decisions: firings, and actions to perform, each under its own id", 8, timedelta(days=7)),
    Topic(DEAD_LETTERS, "records that could not be read, each with the reason", 1, timedelta(days=30)),
)
