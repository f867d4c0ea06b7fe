"""The table of what paused runs ask for, as revision 0001 made it. Frozen."""

from tocsin.server.migrations.forms import JSON, NAME, TIME, UUID, may, must, table


def make() -> None:
    """Make the table of what paused runs ask for."""
    table(
        "flow_run_input",
        *must(UUID, "flow_run_id"),
        *must(NAME, "key"),
        *must(TIME, "asked"),
        *may(TIME, "answered"),
        *may(JSON, "input"),
        key=("flow_run_id", "key"),
    )
