"""The tables of automations as revision 0001 made them. Frozen."""

from tocsin.server.migrations.forms import FLAG, JSON, NAME, NUMBER, TEXT, TIME, UUID, index, may, must, table


def make() -> None:
    """Make the tables of automations."""
    _automation()
    _firing()
    _invocation()
    _rulebook()
    _trigger_state()


def _automation() -> None:
    table(
        "automation",
        *must(NAME, "name"),
        *must(FLAG, "enabled"),
        *must(NAME, "digest"),
        *must(JSON, "definition"),
        *must(TIME, "created", "updated"),
        key=("name",),
    )


def _firing() -> None:
    table(
        "firing",
        *must(UUID, "id"),
        *must(NAME, "automation"),
        *must(JSON, "key"),
        *must(NAME, "state"),
        *must(UUID, "episode"),
        *must(TIME, "at", "recorded"),
        *must(UUID, "event_id"),
        *must(NUMBER, "count"),
        *must(JSON, "labels"),
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
        *must(NUMBER, "position"),
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


def _trigger_state() -> None:
    table(
        "trigger_state",
        *must(UUID, "id"),
        *must(NAME, "automation"),
        *must(JSON, "key", "state"),
        *may(UUID, "open_firing"),
        *must(NUMBER, "version"),
        *must(TIME, "updated"),
        key=("id",),
    )
    index("trigger_state", "automation")
    index("trigger_state", "open_firing")
