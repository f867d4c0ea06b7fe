"""The tables of automations as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import (
    BIG,
    FLAG,
    JSON,
    NAME,
    NUMBER,
    SEQUENCE,
    TEXT,
    TIME,
    UUID,
    index,
    may,
    must,
    table,
)


def make() -> None:
    """Make the tables of automations."""
    _automation()
    _automation_removed()
    _evaluation()
    _firing()
    _invocation()
    _rulebook()
    _tally()
    _trigger_state()


def _automation() -> None:
    table(
        "automation",
        *must(NAME, "name"),
        *must(FLAG, "enabled"),
        *must(NAME, "digest"),
        *must(JSON, "definition"),
        *must(NUMBER, "revision"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )
    index("automation", "revision")


def _automation_removed() -> None:
    table("automation_removed", *must(NAME, "name"), *must(NUMBER, "revision"), key=("name",))
    index("automation_removed", "revision")


def _evaluation() -> None:
    table(
        "evaluation",
        *must(SEQUENCE, "seq"),
        *must(NAME, "automation"),
        *must(JSON, "key"),
        *must(UUID, "event_id"),
        *must(TIME, "at"),
        *must(NAME, "outcome"),
        *must(JSON, "verdict"),
        key=("seq",),
    )
    index("evaluation", "automation", "seq")
    index("evaluation", "event_id")


def _firing() -> None:
    table(
        "firing",
        *must(UUID, "id"),
        *must(NAME, "automation"),
        *must(JSON, "key"),
        *must(NAME, "state"),
        *must(UUID, "episode"),
        *must(TIME, "at", "recorded"),
        *may(UUID, "event_id"),
        *must(NUMBER, "count"),
        *must(JSON, "labels", "children"),
        *must(FLAG, "late", "lasting"),
        key=("id",),
    )
    index("firing", "automation", "at")
    index("firing", "episode")
    index("firing", "event_id")
    index("firing", "recorded")


def _invocation() -> None:
    table(
        "invocation",
        *must(UUID, "id", "firing_id"),
        *must(NAME, "automation"),
        *must(NUMBER, "position", "ordinal"),
        *must(NAME, "action"),
        *must(JSON, "arguments", "cause"),
        *must(NAME, "state"),
        *must(TIME, "due"),
        *must(NUMBER, "tries"),
        *may(TIME, "lease_until"),
        *must(JSON, "attempts"),
        *may(TEXT, "reason"),
        *may(TIME, "finished"),
        key=("id",),
    )
    index("invocation", "automation")
    index("invocation", "firing_id")
    index("invocation", "state", "due")


def _rulebook() -> None:
    table("rulebook", *must(NUMBER, "id", "revision"), key=("id",))


def _tally() -> None:
    table(
        "tally",
        *must(NAME, "automation"),
        *must(BIG, "concerned", "fired", "late", "errors"),
        *may(TIME, "last_concerned", "last_fired"),
        *may(TEXT, "last_error"),
        key=("automation",),
    )


def _trigger_state() -> None:
    table(
        "trigger_state",
        *must(UUID, "id"),
        *must(NAME, "automation"),
        *must(JSON, "key", "state"),
        *may(UUID, "open_firing"),
        *may(BIG, "due"),
        *must(NUMBER, "version"),
        *must(TIME, "updated"),
        key=("id",),
    )
    index("trigger_state", "automation")
    index("trigger_state", "due")
    index("trigger_state", "open_firing")
