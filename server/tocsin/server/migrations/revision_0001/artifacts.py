"""The table of artifacts, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import JSON, NAME, NUMBER, TEXT, TIME, UUID, index, may, must, table


def make() -> None:
    """Make it."""
    table(
        "artifact",
        *must(UUID, "id"),
        *may(NAME, "key"),
        *must(NAME, "type"),
        *must(TEXT, "description"),
        *may(TEXT, "body"),
        *may(JSON, "reference"),
        *must(NUMBER, "size"),
        *may(UUID, "flow_run_id", "task_run_id"),
        *must(TIME, "created", "updated"),
        key=("id",),
    )
    index("artifact", "created")
    index("artifact", "flow_run_id")
    index("artifact", "key", "created")
    index("artifact", "task_run_id")
